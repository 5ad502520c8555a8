//! The two relays of a session: the nearest to both, and the next best on another machine.
//!
//! A better relay must have less than two thirds of the present one's sum of round trips (iroh's rule for home relays). The
//! first choice by measurements only needs to be better by a tenth: what it replaces was not chosen by any.

use std::time::{Duration, Instant};

use nearmesh_common::NodeId;

use super::known::Known;

/// A relay must have less than this part of the present one's sum.
const CLEARLY: (u64, u64) = (2, 3);
/// At first, less than this.
const AT_FIRST: (u64, u64) = (9, 10);
/// Sums that are known before the first choice by measurements; fewer, if there are no more relays.
const ENOUGH: usize = 3;
/// When both sides have measured, or never will (guess).
const FIRST_TIME: Duration = Duration::from_secs(5);

/// How the caller has chosen so far.
#[derive(Debug, Default)]
pub(super) struct Pair {
    chosen: Vec<NodeId>,
    met: Option<Instant>,
}

impl Pair {
    /// The choice, best first, at most two.
    pub(super) fn chosen(&self) -> &[NodeId] {
        &self.chosen
    }

    /// At the callee: the caller has chosen.
    pub(super) fn follow(&mut self, chosen: Vec<NodeId>) {
        self.chosen = chosen;
    }

    /// At the caller: the peer has made an offer.
    pub(super) fn on_offer(&mut self, now: Instant) {
        self.met.get_or_insert(now);
    }

    /// At the caller: chooses. True if the choice changed.
    pub(super) fn choose(&mut self, known: &Known, now: Instant) -> bool {
        let part = if self.met.is_some_and(|met| met + FIRST_TIME <= now) { CLEARLY } else { AT_FIRST };
        let usable = known.usable(now);
        let Some(first) = self.best(&usable, part, known) else { return false };
        let others: Vec<NodeId> = usable.iter().copied().filter(|node| *node != first).collect();
        let elsewhere: Vec<NodeId> =
            others.iter().copied().filter(|node| !known.same_machine(*node, first)).collect();
        let second = self.best(if elsewhere.is_empty() { &others } else { &elsewhere }, part, known);
        let chosen: Vec<NodeId> = [first].into_iter().chain(second).collect();
        let changed = chosen != self.chosen;
        self.chosen = chosen;
        changed
    }

    /// The best of these, or a chosen one of them if none is clearly better.
    fn best(&self, usable: &[NodeId], part: (u64, u64), known: &Known) -> Option<NodeId> {
        let present = self.chosen.iter().copied().find(|node| usable.contains(node));
        let sums = usable.iter().filter_map(|node| Some((known.sum(*node)?, *node)));
        let enough = sums.clone().count() >= ENOUGH.min(usable.len());
        let Some((best_sum, best)) = sums.min().filter(|_| enough) else {
            return present.or(usable.first().copied());
        };
        match present.map(|node| (node, known.sum(node))) {
            Some((node, Some(sum))) if part.1 * best_sum >= part.0 * sum => Some(node),
            _ => Some(best),
        }
    }
}
