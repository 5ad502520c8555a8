//! One round of measurements: who was asked, and when enough is known.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use nearmesh_common::{NodeId, Now};

/// Answers that a choice wants of each: one may meet a queue, all three rarely do (guess).
pub const ROUNDS: u32 = 3;
/// The same at home, where two surveys have to agree, and a probe that is not answered is repeated.
pub const ROUNDS_AT_HOME: u32 = 1;
/// When a round ends if nobody answers (three STUN rounds with a loss each, over a slow access network).
const WAIT: Duration = Duration::from_secs(2);
/// When a round ends if somebody answered: who is slower by then is not the nearest.
const SETTLE: Duration = Duration::from_millis(500);

/// A round of measurements.
#[derive(Debug)]
pub(super) struct Survey {
    waiting: BTreeSet<NodeId>,
    answered: bool,
    began: Instant,
}

impl Survey {
    /// These are being measured.
    pub(super) fn new(nodes: impl Iterator<Item = NodeId>, now: Now) -> Self {
        Self { waiting: nodes.collect(), answered: false, began: now.instant }
    }

    /// One of them answered, or never will.
    pub(super) fn on_probed(&mut self, node: NodeId, answered: bool) {
        self.answered |= self.waiting.remove(&node) && answered;
    }

    /// When it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.waiting.is_empty() || self.poll_timeout() <= now.instant
    }

    /// When it is over at the latest.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.began + if self.answered { SETTLE } else { WAIT }
    }
}
