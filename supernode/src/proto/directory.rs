//! What we hold of the users that placement gives us: where their nodes were last.
//!
//! Only a node's home stores its presence here, and only the home that the newest presence names may say that it is
//! gone. Of two presences the later one counts, so a replay changes nothing. When a home dies all its entries are offline;
//! when it comes back it stores them again. An offline entry is kept for three days.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UnixMillis, UserName, codec,
    presence::Presence,
    signed::{Signed, Verified},
    wire::home::{DirectoryEntry, MAX_NODES_PER_USER},
};

use super::world::World;

/// How long an entry outlives its presence (Skype kept users findable for 72 hours).
pub(super) const KEPT: Duration = Duration::from_secs(72 * 3600);
/// Most entries (guess: 3 holders for each of a million nodes among 64 supernodes is half of it; 2 kB each).
const MAX_ENTRIES: usize = 100_000;
/// How often entries are looked through after a revocation, and how many each time: 10 ms of work, at 50 us.
const RECHECK_EVERY: Duration = Duration::from_millis(50);
const RECHECK_USERS: usize = 200;

/// The entries, by user and node.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: BTreeMap<UserName, BTreeMap<NodeId, Entry>>,
    owners: BTreeMap<NodeId, UserName>,
    by_expiry: BTreeSet<(UnixMillis, NodeId)>,
    recheck: Option<Recheck>,
}

#[derive(Debug)]
struct Entry {
    presence: Presence,
    signed: Signed<Presence>,
    /// Its home lives and did not say that it is gone.
    here: bool,
}

#[derive(Debug)]
struct Recheck {
    after: Option<UserName>,
    at: Instant,
}

impl Entry {
    fn is_online(&self, wall: UnixMillis) -> bool {
        self.here && self.presence.online && self.presence.expires > wall
    }
}

impl Directory {
    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    /// The latest presence seen of a node.
    pub(super) fn sequence_of(&self, node: &NodeId) -> Option<UnixMillis> {
        self.entry(node).map(|entry| entry.presence.sequence)
    }

    /// A home stores a presence. One that we hold already is only marked as here again, without being verified again.
    pub(super) fn on_store(
        &mut self,
        from: NodeId,
        signed: Signed<Presence>,
        pay: impl FnOnce(&mut World) -> bool,
        world: &mut World,
    ) {
        let claimed = codec::decode::<Presence>(&signed.payload).ok();
        if let Some(entry) = claimed.and_then(|claimed| self.entry_mut(&claimed.node))
            && entry.signed == signed
        {
            entry.here |= entry.presence.home == from;
            return;
        }
        if !pay(world) {
            return;
        }
        if let Some(verified) = world.presence(signed) {
            self.store(from, verified, world);
        }
    }

    /// Takes a verified presence from the home that it names.
    pub(super) fn store(&mut self, from: NodeId, verified: Verified<Presence>, world: &mut World) {
        let Verified { content: presence, signer, signed } = verified;
        if let Some(entry) = self.entry_mut(&presence.node)
            && entry.signed == signed
        {
            entry.here |= entry.presence.home == from;
            return;
        }
        let stale = self.sequence_of(&presence.node).is_some_and(|known| known >= presence.sequence);
        if presence.home != from || stale {
            world.counters.bad_records += 1;
            tracing::debug!(%from, stale, "a presence that is old, or of another home");
            return;
        }
        self.remove(&presence.node);
        self.make_room(&signer.user);
        self.by_expiry.insert((presence.expires, presence.node));
        self.owners.insert(presence.node, signer.user.clone());
        let nodes = self.users.entry(signer.user).or_default();
        nodes.insert(presence.node, Entry { presence, signed, here: true });
    }

    /// A home says that a node is there no more.
    pub(super) fn on_gone(&mut self, from: NodeId, node: &NodeId) {
        if let Some(entry) = self.entry_mut(node).filter(|entry| entry.presence.home == from) {
            entry.here = false;
        }
    }

    /// A home died.
    pub(super) fn handle_home_lost(&mut self, home: &NodeId) {
        let entries = self.users.values_mut().flat_map(BTreeMap::values_mut);
        entries.filter(|entry| entry.presence.home == *home).for_each(|entry| entry.here = false);
    }

    /// What we hold on a user.
    pub(super) fn find(&self, user: &UserName, wall: UnixMillis) -> Vec<DirectoryEntry> {
        let nodes = self.users.get(user).into_iter().flat_map(BTreeMap::values);
        nodes
            .map(|entry| DirectoryEntry { presence: entry.signed.clone(), online: entry.is_online(wall) })
            .collect()
    }

    /// A newer revocation list: whatever is held is verified again, a little at a time.
    pub(super) fn handle_crl(&mut self, now: Now) {
        self.recheck = Some(Recheck { after: None, at: now.instant });
    }

    /// Forgets what is too old, and what was revoked.
    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        while let Some((expires, node)) = self.by_expiry.first().copied() {
            if expires.after(KEPT) > world.now.wall {
                break;
            }
            self.remove(&node);
        }
        if self.recheck.as_ref().is_some_and(|recheck| recheck.at <= world.now.instant) {
            self.go_on_rechecking(world);
        }
    }

    pub(super) fn poll_timeout(&self, now: Now) -> Option<Instant> {
        let oldest = self.by_expiry.first().map(|(expires, _)| expires.after(KEPT));
        let expiry = oldest.map(|at| now.instant + at.since(now.wall));
        expiry.into_iter().chain(self.recheck.as_ref().map(|recheck| recheck.at)).min()
    }

    fn go_on_rechecking(&mut self, world: &mut World) {
        let Some(recheck) = self.recheck.take() else { return };
        let start = recheck.after.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<_> = self.users.range((start, Bound::Unbounded)).take(RECHECK_USERS).collect();
        let last = some.last().map(|(user, _)| (*user).clone());
        let holds = |entry: &Entry| world.keyring.verify(entry.signed.clone(), world.now.wall).is_ok();
        let entries = some.iter().flat_map(|(_, nodes)| nodes.iter());
        let revoked: Vec<_> = entries.filter(|(_, entry)| !holds(entry)).map(|(node, _)| *node).collect();
        self.recheck = last.map(|last| Recheck { after: Some(last), at: world.now.instant + RECHECK_EVERY });
        revoked.iter().for_each(|node| self.remove(node));
    }

    /// Room for one more of `user`'s nodes: the oldest of its own goes, or else the one that expired first.
    fn make_room(&mut self, user: &UserName) {
        let nodes = self.users.get(user);
        let own = nodes.filter(|nodes| nodes.len() >= MAX_NODES_PER_USER).and_then(|nodes| {
            nodes.values().map(|entry| (entry.presence.sequence, entry.presence.node)).min()
        });
        let oldest = || self.by_expiry.first().map(|(_, node)| *node).filter(|_| self.len() >= MAX_ENTRIES);
        if let Some(node) = own.map(|(_, node)| node).or_else(oldest) {
            self.remove(&node);
        }
    }

    fn remove(&mut self, node: &NodeId) {
        let Some(user) = self.owners.remove(node) else { return };
        let Some(nodes) = self.users.get_mut(&user) else { return };
        if let Some(entry) = nodes.remove(node) {
            self.by_expiry.remove(&(entry.presence.expires, *node));
        }
        if nodes.is_empty() {
            self.users.remove(&user);
        }
    }

    fn entry(&self, node: &NodeId) -> Option<&Entry> {
        self.users.get(self.owners.get(node)?)?.get(node)
    }

    fn entry_mut(&mut self, node: &NodeId) -> Option<&mut Entry> {
        self.users.get_mut(self.owners.get(node)?)?.get_mut(node)
    }
}
