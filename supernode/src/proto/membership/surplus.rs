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

/// A member of another group.
#[derive(Clone, Copy)]
struct Contact {
    node: NodeId,
    mine: bool,
    theirs: bool,
    since: Instant,
}

impl Membership {
    /// Lets go of some contacts, if there are too many.
    pub(super) fn shed_contacts(&mut self, world: &mut World) {
        let share = self.mates().count() + SHARE * self.other_groups().count();
        let share = share.clamp(NEVER_TOO_MANY, MAX_MEMBERS - ROOM);
        let excess = self.table.members().len().saturating_sub(share);
        if excess == 0 || self.is_changing() {
            return;
        }
        let mut unneeded = self.spare_contacts();
        unneeded.retain(|contact| !contact.mine && contact.since + GRACE <= world.now.instant);
        unneeded.shuffle(&mut world.rng);
        unneeded.truncate(excess.min(AT_ONCE));
        unneeded.into_iter().for_each(|contact| self.let_go(contact.node));
    }

    /// Makes room for one more member; whether there is.
    pub(super) fn make_room(&mut self) -> bool {
        let members = self.table.members().len();
        if members < MAX_MEMBERS {
            return true;
        }
        let spare = self.spare_contacts().into_iter();
        let least = spare.min_by_key(|contact| (contact.mine, contact.theirs, contact.since));
        least.map(|contact| self.let_go(contact.node)).is_some() && members < MAX_MEMBERS + ROOM
    }

    /// A link that membership does not need stays all the same: the member is a child too, or our own node needs it.
    pub(in super::super) fn handle_kept(&mut self, node: &NodeId, world: &World) {
        if let Some(known) = self.table.get_mut(node).filter(|known| known.is_member()) {
            known.theirs = true;
            known.stage = Stage::Member { since: world.now.instant };
        }
    }

    /// Contacts beyond those that we need: of each group the two that were linked first, if we need more than two. One walk over all that we know: the
    /// supernode of a large net's ticket asks for each newcomer.
    fn spare_contacts(&self) -> Vec<Contact> {
        let groups = self.groups();
        let contact = |(node, known): (&NodeId, &Known)| match known.stage {
            Stage::Member { since } => {
                Some(Contact { node: *node, mine: known.mine, theirs: known.theirs, since })
            }
            _ => None,
        };
        // In the order of their ids, which is that of their groups.
        let mut contacts: Vec<Contact> = self.table.all().filter_map(contact).collect();
        contacts.retain(|contact| !self.is_of_ours(&contact.node));
        let parts = contacts.chunk_by_mut(|one, next| groups.of(&one.node.0) == groups.of(&next.node.0));
        let spare = parts.flat_map(|part| {
            part.sort_by_key(|contact| (!contact.mine, contact.since));
            part.iter().skip(CONTACTS).copied()
        });
        spare.collect()
    }

    fn let_go(&mut self, node: NodeId) {
        if let Some(known) = self.table.get_mut(&node) {
            (known.mine, known.theirs) = (false, false);
        }
        self.events.push_back(Event::Unneeded(node));
    }
}
