//! Which supernodes a node is told of.

use std::cmp::Reverse;

use nearmesh_common::{
    NodeId,
    signed::{Signed, Verified},
    supernode_record::SupernodeRecord,
    wire::{home::MAX_SUPERNODE_LIST, mesh::short_name},
};

use super::{super::links::Links, Membership};

/// Alternatives in a redirect (guess: more than a node probes).
const MAX_ALTERNATIVES: usize = 20;

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

    /// Whether any other member has room.
    pub(in super::super) fn has_room_elsewhere(&self) -> bool {
        self.records().skip(1).any(|record| record.content.has_room())
    }

    /// Other members with room for `child`, the least loaded first; equals in an order that differs from child to child.
    pub(in super::super) fn alternatives(&self, child: &NodeId) -> Vec<Signed<SupernodeRecord>> {
        let salt = salt(child);
        let percent = |record: &SupernodeRecord| {
            u64::from(record.children).saturating_mul(100) / u64::from(record.capacity.max(1))
        };
        let roomy = self.records().skip(1).filter(|record| record.content.has_room());
        let mut sorted: Vec<_> = roomy
            .map(|record| ((percent(&record.content), short_name(&record.content.node, salt)), record))
            .collect();
        sorted.sort_unstable_by_key(|(rank, _)| *rank);
        sorted.into_iter().take(MAX_ALTERNATIVES).map(|(_, record)| record.signed.clone()).collect()
    }

    /// As [`Self::alternatives`]; where nobody has room other members all the same, which take a few more then.
    pub(in super::super) fn alternatives_or_all(
        &self,
        child: &NodeId,
        links: &Links,
    ) -> Vec<Signed<SupernodeRecord>> {
        let alternatives = self.alternatives(child);
        if alternatives.is_empty() {
            self.list(child, links).into_iter().skip(1).collect()
        } else {
            alternatives
        }
    }
}

fn salt(asker: &NodeId) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| asker.0[index]))
}
