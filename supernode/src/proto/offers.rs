//! Who has which content: what we tell the holders of our children's contents, and what we hold for others.
//!
//! Once there is more than one group, a content has a place as a user has, and its holders know which homes have children with it. A home tells them of a
//! content when the first file of it comes, and again within [`REPUBLISH`]; nobody says that a content is gone. So what is held is a hint that
//! costs at most a question in vain, and where it leads to nothing the whole net is searched as for words: a summary has contents too.
//!
//! # What it costs
//! A content is eight bytes of its hash. A home with 10,000 of them tells one contact in each group of 78 in an hour: 22 B/s; as a contact of others
//! it hears as much and sends it to three holders, as a holder it hears three times as much: 90 B/s each way.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::{Duration, Instant},
};

use nearmesh_common::{ContentHash, NodeId, UnixMillis, wire::mesh::MAX_SOURCE_HOMES};

use super::placement::Groups;

/// Within this time each content is told again (guess: what is lost is found by a search of the whole net meanwhile).
pub(super) const REPUBLISH: Duration = Duration::from_secs(3600);
/// After this time at the least, and twice it at the most, a hint is forgotten.
const KEPT: Duration = Duration::from_secs(75 * 60);
/// How often some are told again.
const TELL_EVERY: Duration = Duration::from_secs(20);
/// Into how many steps that divides the whole.
const STEPS: usize = (REPUBLISH.as_secs() / TELL_EVERY.as_secs()) as usize;
/// How long new contents are gathered (guess: a child publishes its files in a second or two).
const GATHER: Duration = Duration::from_secs(1);
/// New contents that are told at once; the rest follows after another such wait.
const MAX_NEW: usize = 2000;
/// Contents of our children that are told of (guess: 300 children with 1000 files each; 40 bytes each).
const MAX_OWN: usize = 300_000;
/// Hints that are held for others (guess: 50 bytes each; in a net of 1,000,000 nodes with 100 files each it is 30,000).
const MAX_HELD: usize = 500_000;

/// Eight bytes of a content's hash.
pub(super) fn key(hash: &ContentHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Our children's contents, as far as they were told, and others' as far as they told us.
#[derive(Debug, Default)]
pub(super) struct Offers {
    own: BTreeSet<ContentHash>,
    new: BTreeSet<ContentHash>,
    told_upto: Option<ContentHash>,
    tell_at: Option<Instant>,
    new_at: Option<Instant>,
    young: BTreeSet<(u64, NodeId)>,
    old: BTreeSet<(u64, NodeId)>,
    turn_at: Option<Instant>,
}

impl Offers {
    /// A child shares this.
    pub(super) fn handle_content(&mut self, hash: ContentHash, now: Instant) {
        if self.own.len() < MAX_OWN && self.own.insert(hash) {
            self.new.insert(hash);
            self.new_at.get_or_insert(now + GATHER);
            self.tell_at.get_or_insert(now + TELL_EVERY);
        }
    }

    /// The net is divided otherwise: all is new to somebody.
    pub(super) fn handle_regrouped(&mut self, now: Instant) {
        self.new.clone_from(&self.own);
        if !self.new.is_empty() {
            self.new_at.get_or_insert(now + GATHER);
        }
    }

    /// A home says what it has.
    pub(super) fn on_offer(&mut self, home: NodeId, contents: &[u64], now: Instant) {
        self.turn_at.get_or_insert(now + KEPT);
        for content in contents {
            self.old.remove(&(*content, home));
            if self.young.len() + self.old.len() < MAX_HELD {
                self.young.insert((*content, home));
            }
        }
    }

    /// The homes that said they have it.
    pub(super) fn find(&self, content: u64) -> Vec<NodeId> {
        let range = (content, NodeId([0; 32]))..=(content, NodeId([255; 32]));
        let found = self.young.range(range.clone()).chain(self.old.range(range));
        found.take(MAX_SOURCE_HOMES).map(|(_, home)| *home).collect()
    }

    /// Forgets what was not said again. Returns what is to be told now, by group; `offers` says whether a content is still shared here.
    pub(super) fn handle_timeout(
        &mut self,
        groups: Groups,
        offers: impl Fn(&ContentHash) -> bool,
        now: Instant,
    ) -> Vec<Vec<u64>> {
        if self.turn_at.take_if(|at| *at <= now).is_some() {
            self.old = std::mem::take(&mut self.young);
            self.turn_at = (!self.old.is_empty()).then(|| now + KEPT);
        }
        let mut due = BTreeSet::new();
        if self.new_at.take_if(|at| *at <= now).is_some() {
            let rest = self.new.iter().nth(MAX_NEW).copied().map(|first| self.new.split_off(&first));
            due.append(&mut self.new);
            self.new = rest.unwrap_or_default();
            self.new_at = (!self.new.is_empty()).then(|| now + GATHER);
        }
        if self.tell_at.take_if(|at| *at <= now).is_some() {
            due.extend(self.next_step());
            self.tell_at = (!self.own.is_empty()).then(|| now + TELL_EVERY);
        }
        due.retain(|hash| offers(hash) || !self.own.remove(hash));
        if groups == Groups::ONE {
            return Vec::new();
        }
        let mut by_group: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        due.iter().for_each(|hash| by_group.entry(groups.of(&hash.0)).or_default().push(key(hash)));
        by_group.into_values().collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.tell_at, self.new_at, self.turn_at].into_iter().flatten().min()
    }

    fn next_step(&mut self) -> Vec<ContentHash> {
        let start = self.told_upto.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<_> =
            self.own.range((start, Bound::Unbounded)).take(self.own.len().div_ceil(STEPS)).copied().collect();
        self.told_upto = some.last().copied();
        some
    }
}

/// Which of two contacts is told now: in turn, as one of them may be dead.
pub(super) fn choice(wall: UnixMillis) -> usize {
    usize::from((wall.0 / 1000).is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::start;

    fn hash(number: u8) -> ContentHash {
        ContentHash(*blake3::hash(&[number]).as_bytes())
    }

    #[test]
    fn everything_is_told_at_once_and_again_within_the_hour_until_it_is_gone() {
        let (mut offers, start) = (Offers::default(), start());
        (0..200).for_each(|number| offers.handle_content(hash(number), start));
        let mut told = BTreeMap::new();
        let mut now = start;
        while let Some(at) = offers.poll_timeout().filter(|at| *at < start + 2 * REPUBLISH + TELL_EVERY) {
            now = at;
            for contents in offers.handle_timeout(Groups::new(3), |hash| hash.0[31] > 9, now) {
                let group = |content: &u64| content >> 61;
                assert!(contents.iter().all(|content| group(content) == group(&contents[0])));
                contents.into_iter().for_each(|content| *told.entry(content).or_insert(0) += 1);
            }
        }
        assert!(now > start + REPUBLISH);
        let still = (0..200).map(hash).filter(|hash| hash.0[31] > 9).count();
        assert_eq!(told.len(), still);
        // A small set goes round faster than it must.
        assert!(told.values().all(|times| (3..=6).contains(times)), "{told:?}");
    }

    #[test]
    fn a_hint_that_is_not_repeated_is_forgotten() {
        let (mut offers, start) = (Offers::default(), start());
        let (bob, alice) = (NodeId([1; 32]), NodeId([2; 32]));
        offers.on_offer(bob, &[7], start);
        offers.on_offer(alice, &[7, 8], start);
        assert_eq!(offers.find(7), [bob, alice]);
        let mut now = start;
        for _ in 0..3 {
            now += KEPT;
            offers.handle_timeout(Groups::new(3), |_| true, now);
            offers.on_offer(alice, &[7], now);
        }
        assert_eq!((offers.find(7), offers.find(8)), (vec![alice], vec![]));
    }
}
