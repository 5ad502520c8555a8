//! Time, as it is handed to a protocol machine.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC: the only time that means something to another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// The moment an input is handled: both clocks, read once by whoever drives the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For waits and round trips. Never goes backwards.
    pub instant: Instant,
    /// For what is signed and shown. May jump, when somebody sets the clock.
    pub wall: UnixMillis,
}

impl UnixMillis {
    /// This moment moved on by `by`.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// How long ago `earlier` was; zero if it is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Now {
    /// This moment moved on by `by`, on both clocks: how a simulator steps.
    pub fn after(self, by: Duration) -> Self {
        Self { instant: self.instant + by, wall: self.wall.after(by) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
