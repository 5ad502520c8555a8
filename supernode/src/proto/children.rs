//! Who is attached here, and by what right.
//!
//! A node attaches with a presence that it signed for this very attachment: about itself, naming this supernode as its
//! home, later than any seen before. A full supernode names others that have room; while none has, it takes a few more than it
//! wanted, so that nobody is left outside. A child whose link broke is remembered for as long as a replay of its
//! presence could be tried.

use std::collections::{BTreeMap, BTreeSet};

use nearmesh_common::{
    NodeId, UnixMillis, UserName,
    presence::{MAX_ADDRESSES, Presence},
    signed::{Signed, Verified},
    text::words,
    wire::{
        home::{Decline, DirectoryEntry},
        query::{MAX_QUERY_BYTES, MAX_QUERY_WORDS, Query, Source, Subject},
    },
};

use super::world::World;

/// A full supernode takes a quarter more while no other has room (guess: better slow than homeless).
const OVERFLOW_DIVISOR: u32 = 4;
/// Standbys for each child that fits: as each node keeps one home and one standby, twice the mean.
const STANDBYS_PER_PLACE: usize = 2;
/// Departed nodes that are remembered (guess: several times the children; 2 kB each).
const MAX_DEPARTED: usize = 2048;
/// Searches and lookups of one child at the same time (a node has at most as many open).
pub(super) const MAX_OPEN_QUESTIONS: usize = 64;

/// The children, those that wait, and those that left.
#[derive(Debug)]
pub(super) struct Children {
    capacity: u32,
    attached: BTreeMap<NodeId, Verified<Presence>>,
    standbys: BTreeSet<NodeId>,
    /// The last presence's sequence and expiry.
    departed: BTreeMap<NodeId, (UnixMillis, UnixMillis)>,
}

/// What becomes of an `Attach`.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is a child now.
    Taken(Box<Verified<Presence>>),
    /// There is no room.
    Full,
    /// The presence is not good for it.
    Refused,
}

impl Children {
    pub(super) fn new(capacity: u32) -> Self {
        let (attached, standbys, departed) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { capacity, attached, standbys, departed }
    }

    pub(super) fn len(&self) -> usize {
        self.attached.len()
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.attached.contains_key(node)
    }

    pub(super) fn is_standby(&self, node: &NodeId) -> bool {
        self.standbys.contains(node)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.attached.keys().copied()
    }

    /// What this one said last.
    pub(super) fn presence(&self, node: &NodeId) -> Option<&Verified<Presence>> {
        self.attached.get(node)
    }

    /// Those of a user.
    pub(super) fn find(&self, user: &UserName, wall: UnixMillis) -> Vec<DirectoryEntry> {
        let own = self.attached.values().filter(|presence| presence.signer.user == *user);
        own.map(|Verified { content, signed, .. }| DirectoryEntry {
            presence: signed.clone(),
            online: content.online && content.expires > wall,
        })
        .collect()
    }

    /// What each of them said last.
    pub(super) fn presences(&self) -> impl Iterator<Item = &Presence> {
        self.attached.values().map(|presence| &presence.content)
    }

    /// A node asks to be a child. `room_elsewhere` says whether it has anywhere to go instead, `listed` what the
    /// directory saw of it last.
    pub(super) fn on_attach(
        &mut self,
        from: NodeId,
        presence: Signed<Presence>,
        room_elsewhere: bool,
        listed: Option<UnixMillis>,
        world: &mut World,
    ) -> Admission {
        let known = self.attached.contains_key(&from) || from == world.own();
        if !known && !self.has_place(room_elsewhere) {
            return Admission::Full;
        }
        let newest = self.last_sequence(&from).max(listed);
        let Some(verified) = check(from, presence, newest, world).filter(|verified| verified.content.online)
        else {
            return Admission::Refused;
        };
        self.standbys.remove(&from);
        self.departed.remove(&from);
        self.attached.insert(from, verified.clone());
        Admission::Taken(Box::new(verified))
    }

    /// A child signed anew where it is. `None` if it is no child or the presence is not good.
    pub(super) fn on_refresh(
        &mut self,
        from: NodeId,
        presence: Signed<Presence>,
        world: &mut World,
    ) -> Option<Verified<Presence>> {
        let present = self.attached.get_mut(&from)?;
        let newest = Some(present.content.sequence);
        let verified = check(from, presence, newest, world).filter(|verified| verified.content.online)?;
        *present = verified.clone();
        Some(verified)
    }

    /// A child leaves. Its last presence, if it is good: it says where to, or that the node goes offline.
    pub(super) fn on_detach(
        &mut self,
        from: NodeId,
        presence: Signed<Presence>,
        world: &mut World,
    ) -> Option<Verified<Presence>> {
        let newest = self.last_sequence(&from);
        self.remove(&from);
        let verified = world.presence(presence)?;
        let newer = newest.is_none_or(|newest| newest < verified.content.sequence);
        if verified.signer.node != from || !newer {
            world.counters.bad_records += 1;
            return None;
        }
        let Presence { sequence, expires, .. } = verified.content;
        self.departed.insert(from, (sequence, expires));
        Some(verified)
    }

    /// A node would like a warm place; whether it gets one.
    pub(super) fn on_standby(&mut self, from: NodeId) -> bool {
        let room = self.standbys.len() < self.capacity as usize * STANDBYS_PER_PLACE;
        if room {
            self.standbys.insert(from);
        }
        room
    }

    /// A link ended; whether it was a child's.
    pub(super) fn remove(&mut self, node: &NodeId) -> bool {
        self.standbys.remove(node);
        let Some(presence) = self.attached.remove(node) else { return false };
        let Presence { sequence, expires, .. } = presence.content;
        if self.departed.len() >= MAX_DEPARTED {
            let oldest = self.departed.iter().min_by_key(|(_, (_, expires))| *expires).map(|(node, _)| *node);
            oldest.and_then(|oldest| self.departed.remove(&oldest));
        }
        self.departed.insert(*node, (sequence, expires));
        true
    }

    /// Forgets departed nodes whose presences can no longer be replayed.
    pub(super) fn forget_expired(&mut self, wall: UnixMillis) {
        self.departed.retain(|_, (_, expires)| *expires > wall);
    }

    /// The children whose presence does not hold any more, after a revocation.
    pub(super) fn revoked(&self, world: &World) -> Vec<NodeId> {
        let holds = |presence: &Verified<Presence>| {
            world.keyring.verify(presence.signed.clone(), world.now.wall).is_ok()
        };
        self.attached.iter().filter(|(_, presence)| !holds(presence)).map(|(node, _)| *node).collect()
    }

    /// A child as the source of a file.
    pub(super) fn source(&self, node: &NodeId, world: &World) -> Option<Source> {
        let presence = self.attached.get(node)?;
        let mut addresses = presence.content.addresses.clone();
        let observed = world.links.observed(node).filter(|_| *node != world.own());
        if let Some(observed) = observed.filter(|seen| !addresses.contains(seen))
            && addresses.len() < MAX_ADDRESSES
        {
            addresses.push(observed);
        }
        Some(Source {
            user: presence.signer.user.clone(),
            node: *node,
            addresses: addresses.into(),
            home: world.own(),
            reach: presence.content.reach,
        })
    }

    fn has_place(&self, room_elsewhere: bool) -> bool {
        let overflow = if room_elsewhere { 0 } else { self.capacity / OVERFLOW_DIVISOR };
        self.attached.len() < (self.capacity + overflow) as usize
    }

    fn last_sequence(&self, node: &NodeId) -> Option<UnixMillis> {
        let departed = self.departed.get(node).map(|(sequence, _)| *sequence);
        self.attached.get(node).map(|presence| presence.content.sequence).max(departed)
    }
}

/// A presence that `from` signed for us, newer than `newest`.
fn check(
    from: NodeId,
    presence: Signed<Presence>,
    newest: Option<UnixMillis>,
    world: &mut World,
) -> Option<Verified<Presence>> {
    let verified = world.presence(presence)?;
    let newer = newest.is_none_or(|newest| newest < verified.content.sequence);
    let good = verified.signer.node == from && verified.content.home == world.own() && newer;
    if !good {
        world.counters.bad_records += 1;
        tracing::debug!(%from, newer, "a presence that is not for this home, or not new");
    }
    good.then_some(verified)
}

/// Why a query is not asked, if it is not.
pub(super) fn objection(query: &Query) -> Option<Decline> {
    let Subject::Words(text) = &query.subject else { return None };
    if text.len() > MAX_QUERY_BYTES {
        return Some(Decline::TooLong);
    }
    match words(text).take(MAX_QUERY_WORDS + 1).count() {
        0 => Some(Decline::NoWords),
        count if count > MAX_QUERY_WORDS => Some(Decline::TooLong),
        _ => None,
    }
}
