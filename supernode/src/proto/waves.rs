//! Whom a search asks next: a pure plan.
//!
//! The first wave is as many supernodes as give enough results if each that matches has as much as our own children, and one at the least, and a quarter
//! more; so of what is popular there is enough at once. First the nearest matching members of our own group; then group by group, by the
//! nearest contact: a group counts as many supernodes as match in our own, which is what summaries tell of how popular the words are. Where nobody
//! matches in ours the first wave is a few groups. What a wave finds shows how many of the others it takes to find the rest.
//! While nothing is found waves grow fast: most queries that find nothing at first find nothing at all, and each wave costs a round trip.
//! Beyond the first wave the order is random, so that a popular word does not always burden the same ones.

use std::{collections::VecDeque, time::Duration};

use nearmesh_common::{NodeId, wire::mesh::Part};
use rand::{Rng, seq::SliceRandom};

/// Groups in the first wave, and the fewest supernodes (KaZaA asked 6 to 10: SearchIndirectNodesMin and Max).
pub(super) const FIRST_WAVE: usize = 8;
/// Supernodes that a wave may grow to (guess: a net of 10,000 is swept in four waves).
pub(super) const MAX_WAVE: usize = 1024;
/// How much a wave that found nothing grows.
const GROWTH: usize = 4;
/// The first wave beyond what should be enough: a quarter more (guess: words may match that stand in different names).
const MARGIN: (usize, usize) = (5, 4);

/// One that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A member of our own group.
    Mate(NodeId),
    /// A part of the net, by any of these contacts, the nearest first.
    Part(Part, Vec<NodeId>),
}

/// Those that are worth asking, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Plan {
    waiting: VecDeque<Target>,
    /// How many members of our own group match.
    matching: usize,
    asked: usize,
}

impl Plan {
    /// For these members and groups, and their round trips.
    pub(super) fn new(
        mates: Vec<(Duration, NodeId)>,
        parts: Vec<(Duration, Part, Vec<NodeId>)>,
        rng: &mut impl Rng,
    ) -> Self {
        let matching = mates.len();
        let mates = ordered(mates, rng).into_iter().map(|(_, node)| Target::Mate(node));
        let parts = ordered(parts, rng).into_iter().map(|(_, part, contacts)| Target::Part(part, contacts));
        Self { waiting: mates.chain(parts).collect(), matching, asked: 0 }
    }

    /// Whether all have been asked.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next wave, when those asked so far found `found` of `limit` results.
    pub(super) fn next_wave(&mut self, found: usize, limit: usize) -> Vec<Target> {
        let size = match self.asked {
            0 => self.first_wave(found, limit),
            asked => wave_size(asked, found, limit),
        };
        let wanted = self.asked + size;
        let mut wave = Vec::new();
        while self.asked < wanted
            && let Some(target) = self.waiting.pop_front()
        {
            self.asked += match target {
                Target::Mate(_) => 1,
                Target::Part(..) => self.matching.max(1),
            };
            wave.push(target);
        }
        wave
    }

    fn first_wave(&self, found: usize, limit: usize) -> usize {
        match limit.saturating_sub(found) {
            0 => 0,
            _ if self.matching == 0 => FIRST_WAVE,
            missing => (missing * MARGIN.0).div_ceil(found.max(1) * MARGIN.1).clamp(FIRST_WAVE, MAX_WAVE),
        }
    }

    /// A member died before it was asked. Returns how many parts of the net nobody is left to ask for.
    pub(super) fn remove(&mut self, node: &NodeId) -> usize {
        let before = self.waiting.len();
        let mut mates = 0;
        self.waiting.retain_mut(|target| match target {
            Target::Mate(mate) => {
                mates += usize::from(mate == node);
                mate != node
            }
            Target::Part(_, contacts) => {
                contacts.retain(|contact| contact != node);
                !contacts.is_empty()
            }
        });
        before - self.waiting.len() - mates
    }
}

/// The nearest first, the others in random order.
fn ordered<T: Ord>(mut targets: Vec<T>, rng: &mut impl Rng) -> Vec<T> {
    targets.sort_unstable();
    if targets.len() > FIRST_WAVE {
        targets[FIRST_WAVE..].shuffle(rng);
    }
    targets
}

/// As many as should find the rest if they have as much as those before them; if those had nothing, several times as many.
fn wave_size(asked: usize, found: usize, limit: usize) -> usize {
    let missing = limit.saturating_sub(found);
    match (missing, found) {
        (0, _) => 0,
        (_, 0) => (GROWTH * asked).min(MAX_WAVE),
        _ => (missing * asked).div_ceil(found).clamp(1, MAX_WAVE),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn plan(members: u8, groups: u16) -> Plan {
        let rtt = |n: u16| Duration::from_millis(u64::from(n));
        let mates = (0..members).map(|n| (rtt(n.into()), node(n)));
        let part = |n| (rtt(n), Part { bits: 8, number: n }, vec![node(200), node(201)]);
        Plan::new(mates.collect(), (0..groups).map(part).collect(), &mut ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn the_nearest_are_asked_first_and_everybody_once() {
        let mut plan = plan(60, 0);
        let mut asked = plan.next_wave(0, 20);
        assert_eq!(asked.len(), 25);
        assert_eq!(asked[..8], (0..8).map(|n| Target::Mate(node(n))).collect::<Vec<_>>());
        while !plan.is_done() {
            asked.extend(plan.next_wave(0, 50));
        }
        asked.sort_unstable_by_key(|target| match target {
            Target::Mate(node) => node.0[0],
            Target::Part(..) => 0,
        });
        assert_eq!(asked, (0..60).map(|n| Target::Mate(node(n))).collect::<Vec<_>>());
    }

    #[test]
    fn a_wave_is_as_large_as_the_shortage() {
        let after_first = |found| {
            let mut plan = plan(200, 0);
            assert_eq!(plan.next_wave(0, 20).len(), 25, "one result each would do, and some more");
            plan.next_wave(found, 20).len()
        };
        assert_eq!(after_first(0), 100, "nothing found: ask four times as many");
        assert_eq!(after_first(15), 9, "three of five have one: nine more will do");
        assert_eq!(after_first(1), 175, "all that are left");
        assert_eq!(after_first(20), 0, "enough");
    }

    #[test]
    fn what_our_own_children_have_tells_how_many_to_ask() {
        assert_eq!(plan(200, 0).next_wave(2, 50).len(), 30);
        assert_eq!(plan(200, 0).next_wave(25, 50).len(), 8, "never fewer");
    }

    #[test]
    fn a_net_in_which_nobody_near_has_it_is_swept_in_four_waves() {
        let mut plan = plan(0, 128);
        let waves: Vec<_> = (0..4).map(|_| plan.next_wave(0, 50).len()).collect();
        assert_eq!(waves, [8, 32, 88, 0]);
    }

    #[test]
    fn a_word_that_the_own_group_knows_well_needs_few_groups() {
        let mut plan = plan(40, 100);
        assert_eq!(plan.next_wave(0, 100).len(), 40 + 3, "a group has as many as ours");
        assert_eq!(plan.next_wave(90, 100).len(), 1);
    }

    #[test]
    fn the_summaries_of_the_own_group_tell_how_many_groups_are_asked_at_once() {
        assert_eq!(plan(13, 15).next_wave(0, 50).len(), 13 + 4, "each fourth of five knows the word");
        assert_eq!(plan(1, 100).next_wave(0, 50).len(), 1 + 62, "it is rare");
        assert_eq!(plan(0, 100).next_wave(0, 50).len(), 8, "nobody knows");
    }

    #[test]
    fn a_group_is_lost_only_with_its_last_contact() {
        let mut plan = plan(3, 2);
        assert_eq!(plan.remove(&node(1)), 0);
        assert_eq!(plan.remove(&node(200)), 0);
        assert_eq!(plan.remove(&node(201)), 2);
        assert_eq!(plan.next_wave(0, 50).len(), 2);
    }
}
