//! Queries of other supernodes: each is answered once, from the own index.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use nearmesh_common::{
    NodeId,
    wire::{
        mesh::{Mesh, QueryId},
        query::{Hit, MAX_HITS_PER_MESSAGE},
    },
};

use super::{
    budget::{Budget, Rate},
    outbox::Outbox,
};

/// Recent queries that are remembered: at the rate below, of 64 members, several seconds' worth (40 bytes each: 640 KiB).
const MAX_RECENT: usize = 16 * 1024;
/// Bytes of hits in one message, about: a quarter of the largest frame.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Queries of one supernode: the questions of all its children (measured: the index answers 10,000 a second and more).
const QUERIES: Rate = Rate { per_second: 500, burst: 2000 };

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Search, and answer with this many results at most.
    Search,
    /// Answer that there is nothing: the peer asks too much.
    Decline,
    /// It was answered already, or is not the peer's own.
    Ignore,
}

/// What was answered lately, and what peers may still ask.
#[derive(Debug, Default)]
pub struct Answers {
    recent: BTreeSet<QueryId>,
    order: VecDeque<QueryId>,
    budgets: BTreeMap<NodeId, Budget>,
}

impl Answers {
    /// Whether to answer a query.
    pub fn on_query(&mut self, from: NodeId, id: QueryId, now: Instant) -> Verdict {
        if id.origin != from || !self.recent.insert(id) {
            return Verdict::Ignore;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        let budget = self.budgets.entry(from).or_insert_with(|| Budget::new(QUERIES));
        if budget.take(now) { Verdict::Search } else { Verdict::Decline }
    }

    /// Forgets a peer that is no supernode any more.
    pub fn forget(&mut self, node: NodeId) {
        self.budgets.remove(&node);
    }
}

/// Sends the hits, in as many messages as it takes.
pub fn answer(to: NodeId, id: QueryId, hits: Vec<Hit>, outbox: &mut Outbox) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for hit in hits {
        let size = size_of_hit(&hit);
        if !batch.is_empty() && (batch.len() == MAX_HITS_PER_MESSAGE || bytes + size > MAX_ANSWER_BYTES) {
            outbox.mesh(to, Mesh::Answer { id, hits: std::mem::take(&mut batch), more: true });
            bytes = 0;
        }
        bytes += size;
        batch.push(hit);
    }
    outbox.mesh(to, Mesh::Answer { id, hits: batch, more: false });
}

/// Bytes on the wire, at most about: hash, node id, size and lengths take 96, an IPv6 address 20.
fn size_of_hit(hit: &Hit) -> usize {
    96 + hit.name.len() + hit.source.user.as_str().len() + 20 * hit.source.addresses.len()
}
