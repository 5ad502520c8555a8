//! Which supernodes a node is told of.

use std::cmp::Reverse;

use nearmesh_common::{
    NodeId,
    signed::{Signed, Verified},
    supernode_record::SupernodeRecord,
    wire::{home::MAX_SUPERNODE_LIST, mesh::short_name},
};

use super::{super::links::Links, Membership};

impl Membership {
    /// Ourselves and other members, for `asker`: all, or else the nearest with room, and as many by chance.
    pub(in super::super) fn list(&self, asker: &NodeId, links: &Links) -> Vec<Signed<SupernodeRecord>> {
        let salt = salt(asker);
        let mut others: Vec<_> = self.records().skip(1).collect();
        if others.len() >= MAX_SUPERNODE_LIST {
            let rank = |record: &Verified<SupernodeRecord>| {
                let node = record.content.node;
                (Reverse(record.content.has_room()), links.rtt(&node), short_name(&node, salt))
            };
            others.sort_by_cached_key(|record| rank(record));
            let rest = &mut others[MAX_SUPERNODE_LIST / 2..];
            rest.sort_by_cached_key(|record| {
                (Reverse(record.content.has_room()), short_name(&record.content.node, salt))
            });
        }
        let all = std::iter::once(self.own.record()).chain(others);
        all.take(MAX_SUPERNODE_LIST).map(|record| record.signed.clone()).collect()
    }
}

fn salt(asker: &NodeId) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| asker.0[index]))
}
