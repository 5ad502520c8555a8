//! Letting go of contacts where too many want to be linked to us.
//!
//! Whoever stands in everybody's ticket is the first contact of all, and would remain it. Beyond its share of the links a supernode closes those that it
//! does not need itself, some in each round; the other end has a second contact, and asks that one for another. A newcomer is never turned
//! away for them: if need be, the one that was linked first goes for it at once. The two that we need in each group are not touched.

use std::time::Instant;

use nearmesh_common::NodeId;
use rand::seq::SliceRandom;

use super::{
    super::world::World,
    Event, Known, MAX_MEMBERS, Membership, Stage,
    tending::{CONTACTS, GRACE},
};

/// Links into each other group that are borne, as a mean. Two are our own and two are others', fewer where those are the same: it is twice what all have on
/// average.
const SHARE: usize = 6;
/// So many members are never too many (guess: nobody notices what they cost).
const NEVER_TOO_MANY: usize = 256;
/// What is left of [`MAX_MEMBERS`] for mates and newcomers, however large the share; and how far these may go beyond it (guess).
const ROOM: usize = MAX_MEMBERS / 4;
/// Most that are let go in a round (guess: each of them looks for another contact at once).
const AT_ONCE: usize = 16;

impl Membership {
    /// Lets go of some contacts, if there are too many.
    pub(super) fn shed_contacts(&mut self, world: &mut World) {
        let share = self.mates().count() + SHARE * self.other_groups().count();
        let share = share.clamp(NEVER_TOO_MANY, MAX_MEMBERS - ROOM);
        let excess = self.table.members().len().saturating_sub(share);
        if excess == 0 || self.is_changing() {
            return;
        }
        let over = |node: &NodeId| self.since(node).is_some_and(|since| since + GRACE <= world.now.instant);
        let mut unneeded = self.spare_contacts();
        unneeded.retain(|node| self.table.get(node).is_some_and(|known| !known.mine) && over(node));
        unneeded.shuffle(&mut world.rng);
        unneeded.truncate(excess.min(AT_ONCE));
        unneeded.into_iter().for_each(|node| self.let_go(node));
    }

    /// Makes room for one more member; whether there is.
    pub(super) fn make_room(&mut self) -> bool {
        let members = self.table.members().len();
        if members < MAX_MEMBERS {
            return true;
        }
        let needed = |known: &Known| (known.mine, known.theirs);
        let spare = self.spare_contacts().into_iter();
        let least = spare.min_by_key(|node| (self.table.get(node).map(needed), self.since(node)));
        least.map(|node| self.let_go(node)).is_some() && members < MAX_MEMBERS + ROOM
    }

    /// A link that membership does not need stays all the same: the member is a child too.
    pub(in super::super) fn handle_kept(&mut self, node: &NodeId, world: &World) {
        if let Some(known) = self.table.get_mut(node).filter(|known| known.is_member()) {
            known.theirs = true;
            known.stage = Stage::Member { since: world.now.instant };
        }
    }

    /// Contacts beyond those that we need: of each group the two that were linked first, if we need more than two.
    fn spare_contacts(&self) -> Vec<NodeId> {
        let groups = self.groups();
        // In the order of their ids, which is that of their groups.
        let members: Vec<NodeId> = self.table.members().collect();
        let parts = members.chunk_by(|one, next| groups.of(&one.0) == groups.of(&next.0));
        let parts = parts.filter(|part| part.len() > CONTACTS && !self.is_of_ours(&part[0]));
        parts.flat_map(|part| self.spare_of(part)).collect()
    }

    fn spare_of(&self, part: &[NodeId]) -> Vec<NodeId> {
        let mut part = part.to_vec();
        part.sort_by_key(|node| (!self.table.get(node).is_some_and(|known| known.mine), self.since(node)));
        part.split_off(CONTACTS)
    }

    fn since(&self, node: &NodeId) -> Option<Instant> {
        match self.table.get(node)?.stage {
            Stage::Member { since } => Some(since),
            _ => None,
        }
    }

    fn let_go(&mut self, node: NodeId) {
        if let Some(known) = self.table.get_mut(&node) {
            (known.mine, known.theirs) = (false, false);
        }
        self.events.push_back(Event::Unneeded(node));
    }
}
