//! Somebody who was asked, and who is asked instead if nothing comes.

use std::time::{Duration, Instant};

use nearmesh_common::{NodeId, wire::mesh::Scope};

use super::super::world::World;

/// How many of its round trips a contact may say nothing (guess).
const SILENT_ROUND_TRIPS: u32 = 3;
/// And at least this long (guess: scheduling on a busy machine, and a lost packet).
const MIN_SILENCE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) to: NodeId,
    pub(super) scope: Scope,
    /// Who could be asked instead.
    pub(super) others: Vec<NodeId>,
    /// When it has said nothing for too long, if there is anybody else to ask.
    pub(super) silent_at: Option<Instant>,
}

impl Asked {
    /// The first of `contacts`, if there is any.
    pub(super) fn new(scope: Scope, mut contacts: Vec<NodeId>, world: &World) -> Option<Self> {
        if contacts.is_empty() {
            return None;
        }
        let to = contacts.remove(0);
        let patience = (world.links.expected_rtt(&to) * SILENT_ROUND_TRIPS).max(MIN_SILENCE);
        let silent_at = (!contacts.is_empty()).then(|| world.now.instant + patience);
        Some(Self { to, scope, others: contacts, silent_at })
    }
}
