//! Ceasing to be a supernode.

use std::time::{Duration, Instant};

use nearmesh_common::Now;
use rand::RngExt;

use super::{Output, Promotion, Stage, Unfit, fitness, jitter, need};
use crate::config::Promote;

/// How long there must have been too many supernodes before one steps down (gtk-gnutella: an hour without a leaf;
/// guess: a tenth of it is more than a moment), and how long the rounds are from then on.
pub(super) const SPARE_AFTER: Duration = Duration::from_secs(600);
const SPARE_ROUND: Duration = Duration::from_secs(120);
/// How long a supernode must have been unfit before it steps down (guess: a line that changes is measured anew by then).
pub(super) const UNFIT_AFTER: Duration = Duration::from_secs(120);
/// How much more of the machine a supernode may use than it had to find free at first.
pub(super) const IN_USE: u64 = 4;

/// There are too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spare {
    /// When the next lot is drawn.
    pub(super) at: Instant,
}

impl Promotion {
    /// Why it should not go on serving, if there are others.
    pub(super) fn lasting_objection(&self) -> Option<Unfit> {
        let others = self.around.is_some_and(|around| around.supernodes > 1);
        let unfit = fitness::lasting_objection(&self.facts, IN_USE);
        unfit.filter(|_| others && self.promote == Promote::Auto)
    }

    pub(super) fn is_spare(&self) -> bool {
        self.promote == Promote::Auto && self.around.and_then(|around| need::surplus(&around)).is_some()
    }

    pub(super) fn spare_round(&mut self, first: Duration, now: Now) -> Spare {
        Spare { at: now.instant + jitter(&mut self.rng, first, first + SPARE_ROUND) }
    }

    pub(super) fn consider_demotion(&mut self, spare: Option<Spare>, unfit_since: Option<Instant>, now: Now) {
        if unfit_since.is_some_and(|since| since + UNFIT_AFTER <= now.instant) {
            return self.switch(Output::Demote);
        }
        if spare.is_none_or(|spare| spare.at > now.instant) {
            return;
        }
        let surplus = self.around.and_then(|around| need::surplus(&around));
        let falls = surplus.is_some_and(|many| self.rng.random_bool(many.clamp(0.0, 1.0)));
        if falls && self.waits.left(now.wall).is_zero() {
            return self.switch(Output::Demote);
        }
        let spare = surplus.is_some().then(|| self.spare_round(SPARE_ROUND / 2, now));
        self.stage = Stage::Serving { spare, unfit_since };
    }
}
