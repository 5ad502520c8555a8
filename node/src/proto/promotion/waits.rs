//! Waits between two switches of the role, which double with every switch.

use std::time::Duration;

use nearmesh_common::UnixMillis;

/// The first wait (gtk-gnutella: 1800 s after a switch).
const FIRST: Duration = Duration::from_secs(1800);
/// The longest (gtk-gnutella: 61,200 s, 17 hours). Who has not switched for so long begins anew.
const LONGEST: Duration = Duration::from_secs(61_200);

/// How often the role was switched, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// How often, since there was a long rest.
    pub switches: u32,
    /// When last, on the wall clock: it outlives the process.
    pub last: UnixMillis,
}

impl Default for Waits {
    /// Never switched.
    fn default() -> Self {
        Self { switches: 0, last: UnixMillis(0) }
    }
}

impl Waits {
    /// What was written down once, at `wall`. A time to come was written by a clock that was wrong.
    pub(super) fn kept(self, wall: UnixMillis) -> Self {
        Self { last: self.last.min(wall), ..self }
    }

    /// The role was switched.
    pub(super) fn switched(&mut self, wall: UnixMillis) {
        if wall.since(self.last) >= LONGEST {
            self.switches = 0;
        }
        self.switches = self.switches.saturating_add(1);
        self.last = wall;
    }

    /// How much longer the role stays as it is.
    pub(super) fn left(&self, wall: UnixMillis) -> Duration {
        if self.switches == 0 {
            return Duration::ZERO;
        }
        let wait = FIRST.saturating_mul(1 << (self.switches - 1).min(16)).min(LONGEST);
        wait.saturating_sub(wall.since(self.last))
    }
}
