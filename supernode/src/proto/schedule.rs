//! When each of many things is due, without looking at all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// Due times by number.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    ordered: BTreeSet<(Instant, u64)>,
    at: BTreeMap<u64, Instant>,
}

impl Schedule {
    /// This one is due then, not when it was before.
    pub(super) fn set(&mut self, number: u64, at: Instant) {
        if let Some(before) = self.at.insert(number, at) {
            self.ordered.remove(&(before, number));
        }
        self.ordered.insert((at, number));
    }

    /// This one is not due any more.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(before) = self.at.remove(&number) {
            self.ordered.remove(&(before, number));
        }
    }

    /// The next due time.
    pub(super) fn first(&self) -> Option<Instant> {
        self.ordered.first().map(|(at, _)| *at)
    }

    /// All that are due at `now`; they stay until they are set anew or removed.
    pub(super) fn due(&self, now: Instant) -> Vec<u64> {
        let due = self.ordered.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, number)| *number).collect()
    }
}
