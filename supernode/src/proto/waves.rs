//! Whom a search asks next: a pure plan.
//!
//! The nearest matching members are the first wave; it shows how popular the words are, and so how many of the others it takes to find the
//! rest. Those are asked in random order, so that a popular word does not always burden the same ones.

use std::{collections::VecDeque, time::Duration};

use nearmesh_common::NodeId;
use rand::{Rng, seq::SliceRandom};

/// Members in the first wave (KaZaA asked 6 to 10: SearchIndirectNodesMin and Max).
pub(super) const FIRST_WAVE: usize = 8;
/// Members that a wave may grow to (guess: a full mesh is swept by the first wave and one more).
pub(super) const MAX_WAVE: usize = 64;

/// The members that are worth asking, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Plan {
    waiting: VecDeque<NodeId>,
    asked: usize,
}

impl Plan {
    /// For these members and their round trips.
    pub(super) fn new(mut matching: Vec<(Duration, NodeId)>, rng: &mut impl Rng) -> Self {
        matching.sort_unstable();
        if matching.len() > FIRST_WAVE {
            matching[FIRST_WAVE..].shuffle(rng);
        }
        Self { waiting: matching.into_iter().map(|(_, node)| node).collect(), asked: 0 }
    }

    /// Whether all have been asked.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next wave, when those asked so far found `found` of `limit` results.
    pub(super) fn next_wave(&mut self, found: usize, limit: usize) -> Vec<NodeId> {
        let size = wave_size(self.asked, found, limit).min(self.waiting.len());
        self.asked += size;
        self.waiting.drain(..size).collect()
    }

    /// A member died before it was asked.
    pub(super) fn remove(&mut self, node: &NodeId) {
        self.waiting.retain(|waiting| waiting != node);
    }
}

/// As many as should find the rest if they have as much as those before them; if those had nothing, twice as many.
fn wave_size(asked: usize, found: usize, limit: usize) -> usize {
    let missing = limit.saturating_sub(found);
    match (missing, asked, found) {
        (0, _, _) => 0,
        (_, 0, _) => FIRST_WAVE,
        (_, _, 0) => (2 * asked).min(MAX_WAVE),
        _ => (missing * asked).div_ceil(found).clamp(1, MAX_WAVE),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn plan(members: u8) -> Plan {
        let matching = (0..members).map(|n| (Duration::from_millis(u64::from(n)), NodeId([n; 32])));
        Plan::new(matching.collect(), &mut ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn the_nearest_are_asked_first_and_everybody_once() {
        let mut plan = plan(60);
        let mut asked = plan.next_wave(0, 50);
        assert_eq!(asked, (0..8).map(|n| NodeId([n; 32])).collect::<Vec<_>>());
        while !plan.is_done() {
            asked.extend(plan.next_wave(0, 50));
        }
        asked.sort_unstable();
        assert_eq!(asked, (0..60).map(|n| NodeId([n; 32])).collect::<Vec<_>>());
    }

    #[test]
    fn a_wave_is_as_large_as_the_shortage() {
        let after_first = |found| {
            let mut plan = plan(200);
            plan.next_wave(0, 50);
            plan.next_wave(found, 50).len()
        };
        assert_eq!(after_first(0), 16, "nothing found: ask twice as many");
        assert_eq!(after_first(40), 2, "five each: two more will do");
        assert_eq!(after_first(1), MAX_WAVE);
        assert_eq!(after_first(50), 0, "enough");
    }
}
