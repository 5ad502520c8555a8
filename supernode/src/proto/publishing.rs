//! Telling the holders of each child's user where the child is.
//!
//! A presence goes to the three members that placement names, at once and with each refresh; when the membership changes it also goes
//! to those who became holders by that. When a child's link breaks all who were ever told are told that it is gone: who is no
//! holder now may be one again, and must not believe what it heard then.

use std::collections::{BTreeMap, BTreeSet};

use nearmesh_common::{
    NodeId, UserName,
    presence::Presence,
    signed::{Signed, Verified},
    wire::{home::DirectoryEntry, mesh::Mesh},
};

use super::{
    batches,
    placement::{self, Groups},
    world::World,
};

/// The children's presences, as far as they were told. As many as there are children.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    told: BTreeMap<NodeId, Told>,
}

#[derive(Debug)]
struct Told {
    presence: Verified<Presence>,
    holders: BTreeSet<NodeId>,
    /// Members that were holders once, while we had the child; at most all members.
    former: BTreeSet<NodeId>,
}

/// The members that hold a user, this supernode among them if it is one.
pub(super) fn holders(user: &UserName, members: &[NodeId]) -> Vec<NodeId> {
    placement::holders(user.as_str().as_bytes(), members.iter().copied(), Groups::ONE)
}

impl Publishing {
    /// A child signed a presence. `members` are all supernodes, this one included.
    pub(super) fn handle_presence(
        &mut self,
        presence: Verified<Presence>,
        members: &[NodeId],
        world: &mut World,
    ) {
        let holders = holders(&presence.signer.user, members);
        for holder in &holders {
            world.tell_mesh(*holder, Mesh::Store(vec![presence.signed.clone()]));
        }
        let node = presence.content.node;
        let former = self.told.remove(&node).map(|told| told.former).unwrap_or_default();
        self.told.insert(node, Told { presence, holders: holders.into_iter().collect(), former });
    }

    /// The membership changed: whoever became a holder is told what it lacks. Returns what we hold ourselves by that.
    pub(super) fn handle_members(
        &mut self,
        members: &[NodeId],
        world: &mut World,
    ) -> Vec<Verified<Presence>> {
        let mut due: BTreeMap<NodeId, Vec<Signed<Presence>>> = BTreeMap::new();
        let mut own = Vec::new();
        for told in self.told.values_mut() {
            let holders: BTreeSet<_> = holders(&told.presence.signer.user, members).into_iter().collect();
            for new in holders.difference(&told.holders) {
                if *new == world.own() {
                    own.push(told.presence.clone());
                } else {
                    due.entry(*new).or_default().push(told.presence.signed.clone());
                }
            }
            let before = std::mem::replace(&mut told.holders, holders);
            told.former.extend(before);
            // Who was lost and comes back believes nothing of us that is not said again.
            told.former.retain(|former| members.contains(former) && !told.holders.contains(former));
        }
        for (holder, presences) in due {
            for presences in batches::presences(presences) {
                world.tell_mesh(holder, Mesh::Store(presences));
            }
        }
        own
    }

    /// A child is gone without a word, or says that it goes offline.
    pub(super) fn handle_gone(
        &mut self,
        node: &NodeId,
        farewell: Option<&Signed<Presence>>,
        world: &mut World,
    ) {
        let Some(Told { presence, holders, former }) = self.told.remove(node) else { return };
        let message = match farewell {
            Some(farewell) => Mesh::Store(vec![farewell.clone()]),
            None => Mesh::Gone { node: *node, user: presence.signer.user },
        };
        holders.into_iter().chain(former).for_each(|holder| world.tell_mesh(holder, message.clone()));
    }

    /// A child moved to another home, which tells the present holders itself.
    pub(super) fn handle_moved(&mut self, node: &NodeId, world: &mut World) {
        let Some(Told { presence, former, .. }) = self.told.remove(node) else { return };
        let gone = Mesh::Gone { node: *node, user: presence.signer.user };
        former.into_iter().for_each(|former| world.tell_mesh(former, gone.clone()));
    }

    /// Our own children of this user.
    pub(super) fn find(&self, user: &UserName, world: &World) -> Vec<DirectoryEntry> {
        let wall = world.now.wall;
        let own = self.told.values().filter(|told| told.presence.signer.user == *user);
        own.map(|Told { presence, .. }| DirectoryEntry {
            presence: presence.signed.clone(),
            online: presence.content.online && presence.content.expires > wall,
        })
        .collect()
    }
}
