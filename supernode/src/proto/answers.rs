//! Which queries of other supernodes are answered: each once, within the asker's budget.

use std::collections::{BTreeSet, VecDeque};

use nearmesh_common::{
    NodeId,
    wire::mesh::{Counts, Mesh, Scope},
};

use super::{budget::Charge, world::World};

/// Queries that are remembered, so that none is answered twice (guess: a minute of 64 busy members; 40 bytes each).
pub(super) const MAX_REMEMBERED: usize = 16 * 1024;

/// The queries that were answered lately.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: BTreeSet<(NodeId, u64)>,
    order: VecDeque<(NodeId, u64)>,
}

impl Answers {
    /// A supernode asks. Where we search for it; none if we do not.
    pub(super) fn admit(
        &mut self,
        from: NodeId,
        number: u64,
        scope: Scope,
        world: &mut World,
    ) -> Option<Scope> {
        if !world.charge(&from, Charge::Query, 1) {
            let done = Some(Counts { asked: 1, answered: 0 });
            world.tell_mesh(from, Mesh::Answer { number, hits: Vec::new(), done });
            return None;
        }
        if !self.remember((from, number)) {
            world.counters.repeated_queries += 1;
            return None;
        }
        match scope {
            Scope::Part { .. } | Scope::Home(_) if !world.charge(&from, Charge::Sweep, 1) => Some(Scope::Own),
            scope => Some(scope),
        }
    }

    /// A link ended: its numbers may come again.
    pub(super) fn handle_member_lost(&mut self, node: &NodeId) {
        let own: Vec<_> = self.known.range((*node, 0)..=(*node, u64::MAX)).copied().collect();
        for id in own {
            self.known.remove(&id);
        }
    }

    /// Whether it is new.
    fn remember(&mut self, id: (NodeId, u64)) -> bool {
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
