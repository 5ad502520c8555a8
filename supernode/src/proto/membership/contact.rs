//! One supernode that we know of.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{Now, UnixMillis, signed::Verified, supernode_record::SupernodeRecord};
use rand::RngExt;

use super::{super::world::World, expiry};

/// How long a dial may take, until the peer's hello (guess: longer than the transport gives it).
const DIAL_WAIT: Duration = Duration::from_secs(15);
/// The wait before the first dial after a failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How often it doubles: up to two minutes.
const DOUBLINGS: u32 = 8;
/// Dials until a supernode is forgotten: about an hour, so that a net that fell apart in two finds itself again.
pub(super) const MAX_TRIES: u32 = 40;

/// How we stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No link; the next dial is at `at`.
    Resting { at: Instant },
    /// A link is being opened, or is open and waits for the hello.
    Dialling { until: Instant },
    /// It said hello, on a link that lives.
    Member,
}

/// A supernode: its record, if we saw one, and how we stand.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) record: Option<Verified<SupernodeRecord>>,
    pub(super) stage: Stage,
    /// Whether we said hello on the present link.
    pub(super) greeted: bool,
    /// Failures in a row.
    pub(super) tries: u32,
}

impl Contact {
    pub(super) fn new(addresses: Vec<SocketAddr>, now: Now) -> Self {
        Self { addresses, record: None, stage: Stage::Resting { at: now.instant }, greeted: false, tries: 0 }
    }

    /// Whether it says that it serves.
    pub(super) fn serves(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.content.serving)
    }

    /// Whether it is worth dialling: it did not say that it stepped down.
    pub(super) fn may_serve(&self) -> bool {
        self.record.as_ref().is_none_or(|record| record.content.serving)
    }

    pub(super) fn begin_dial(&mut self, now: Now) {
        self.stage = Stage::Dialling { until: now.instant + DIAL_WAIT };
        self.greeted = false;
    }

    /// A link or a dial failed: when to try again.
    pub(super) fn fail(&mut self, world: &mut World) {
        let wait = FIRST_WAIT * (1 << self.tries.min(DOUBLINGS));
        let jitter = wait.mul_f64(world.rng.random_range(0.0..0.5));
        self.tries += 1;
        self.greeted = false;
        self.stage = Stage::Resting { at: world.now.instant + wait + jitter };
    }

    /// Whether it is to be forgotten.
    pub(super) fn is_hopeless(&self) -> bool {
        let resting = matches!(self.stage, Stage::Resting { .. });
        resting && self.record.is_none() && self.tries >= MAX_TRIES
    }

    pub(super) fn expires(&self) -> Option<UnixMillis> {
        self.record.as_ref().map(|record| expiry(record.content.sequence))
    }
}
