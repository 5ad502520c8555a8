//! Which supernodes a node is told of.
//!
//! In a large net some members stand for all: whoever asks needs one home, and looks around again from there.

use std::cmp::Reverse;

use nearmesh_common::{
    NodeId,
    signed::{Signed, Verified},
    supernode_record::SupernodeRecord,
    wire::mesh::short_name,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{super::links::Links, Membership};

/// Most that are named in a list (guess: four times what a node measures at once; at 640 bytes each, 40 kB).
pub(in super::super) const LISTED: usize = 64;
/// And to one who has a home here and asks now and then what is new (guess: a hundred children that ask every two hours cost 0.07 kB/s).
pub(in super::super) const LISTED_AT_HOME: usize = 8;
/// Members that are looked at, if there are more (guess: so that half a list are the nearest quarter of them).
const LOOKED_AT: usize = 128;

impl Membership {
    /// Ourselves and other members, for somebody who looks for a home: all, or else the nearest with room, and as many by chance. The same
    /// ones if he asks again.
    pub(in super::super) fn list(&self, asker: &NodeId, links: &Links) -> Vec<Signed<SupernodeRecord>> {
        self.chosen(LISTED, salt(asker), links)
    }

    /// Fewer of them, for a child; others each time.
    pub(in super::super) fn short_list(
        &self,
        links: &Links,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Signed<SupernodeRecord>> {
        self.chosen(LISTED_AT_HOME, rng.random(), links)
    }

    fn chosen(&self, most: usize, salt: u64, links: &Links) -> Vec<Signed<SupernodeRecord>> {
        let mut others: Vec<_> = self.some(LOOKED_AT, salt as usize).collect();
        if others.iter().filter(|other| other.content.has_room()).count() < most / 2 {
            others = self.some(usize::MAX, 0).collect();
        }
        if others.len() >= most {
            let rank = |record: &Verified<SupernodeRecord>| {
                let node = record.content.node;
                (Reverse(record.content.has_room()), links.rtt(&node), short_name(&node, salt))
            };
            others.sort_by_cached_key(|record| rank(record));
            let rest = &mut others[most / 2..];
            rest.sort_by_cached_key(|record| {
                (Reverse(record.content.has_room()), short_name(&record.content.node, salt))
            });
        }
        let all = std::iter::once(self.own.record()).chain(others);
        all.take(most).map(|record| record.signed.clone()).collect()
    }

    /// The records of members by chance, if there are more than `most`.
    pub(in super::super) fn sample(
        &self,
        most: usize,
        rng: &mut ChaCha8Rng,
    ) -> impl Iterator<Item = &Verified<SupernodeRecord>> {
        self.some(most, rng.random_range(0..usize::MAX))
    }

    /// At most so many, evenly from all groups; `which` of all such selections.
    fn some(&self, most: usize, which: usize) -> impl Iterator<Item = &Verified<SupernodeRecord>> {
        let step = self.table.members().len().div_ceil(most).max(1);
        let members = self.table.members().skip(which % step).step_by(step);
        members.filter_map(|member| self.table.get(&member)?.record())
    }
}

fn salt(asker: &NodeId) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| asker.0[index]))
}
