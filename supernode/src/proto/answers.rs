//! Answering other supernodes' queries from our own index: each once, within the asker's budget.

use std::collections::{BTreeSet, VecDeque};

use nearmesh_common::{
    NodeId,
    wire::{
        mesh::{Mesh, QueryId},
        query::Hit,
    },
};

use super::{batches, budget::Charge, world::World};

/// Queries that are remembered, so that none is answered twice (guess: a minute of 64 busy members; 40 bytes each).
pub(super) const MAX_REMEMBERED: usize = 16 * 1024;

/// The queries that were answered lately.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: BTreeSet<QueryId>,
    order: VecDeque<QueryId>,
}

impl Answers {
    /// A member asks; `search` looks into our own index.
    pub(super) fn on_query(
        &mut self,
        from: NodeId,
        id: QueryId,
        search: impl FnOnce(&World) -> Vec<Hit>,
        world: &mut World,
    ) {
        if id.origin != from {
            return world.strange(&from, "a query that it does not ask itself");
        }
        if !world.charge(&from, Charge::Query, 1) {
            return world.tell_mesh(from, Mesh::Answer { id, hits: Vec::new(), more: false });
        }
        if !self.remember(id) {
            world.counters.repeated_queries += 1;
            return;
        }
        let mut messages = batches::hits(search(world));
        let last = messages.pop().unwrap_or_default();
        for hits in messages {
            world.tell_mesh(from, Mesh::Answer { id, hits, more: true });
        }
        world.tell_mesh(from, Mesh::Answer { id, hits: last, more: false });
    }

    /// Whether it is new.
    fn remember(&mut self, id: QueryId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
