//! What we hold of the users that placement gives us: where their nodes were last.
//!
//! A presence is signed by its node and names its home, so it is true whoever brings it; the later of two counts, and a replay changes
//! nothing. That a node is gone again is its home's word: the home's own on a link of ours, or, where its group is another, as a member
//! of our group passed it on. Of what a home did not tell us itself any mate may say so: who hands an entry on hears of its end before us.
//! So a lying member can hide users of its own group until they sign anew, and nobody else's.
//! When a home of our own group dies all its entries are offline; when it comes back it stores them again. An
//! offline entry is kept for three days.
//!
//! When our group's members change, entries move ([`Directory::handle_members`]): the first of the old holders that is left sends each
//! to those who are holders now and were not before; who is no holder any more forgets it. A copy that came although by what we see others
//! hold it counts for as long as we may just not know yet that they are dead.

mod lately;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::{Duration, Instant},
};

use lately::Lately;
use nearmesh_common::{
    NodeId, Now, UnixMillis, UserName, codec,
    presence::Presence,
    signed::{Signed, Verified},
    wire::{
        home::{DirectoryEntry, MAX_NODES_PER_USER},
        mesh::Stored,
    },
};

use super::{
    handover::{Division, Handover},
    placement::Place,
    world::World,
};

/// How long an entry outlives its presence (Skype kept users findable for 72 hours).
pub(super) const KEPT: Duration = Duration::from_secs(72 * 3600);
/// Most entries (guess: 3 holders for each of a million nodes among 64 supernodes is half of it; 1 kB each).
const MAX_ENTRIES: usize = 100_000;
/// Within what time after somebody else we see that a holder is dead (guess: a mate's link ends after 15 s and a look; in trouble a roll call finds it
/// in seconds).
const NOTICED: Duration = Duration::from_secs(40);
/// How often entries are looked through after a revocation, and how many each time: 10 ms of work, at 50 us.
const RECHECK_EVERY: Duration = Duration::from_millis(50);
const RECHECKED: usize = 200;

/// The entries.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: BTreeMap<NodeId, Entry>,
    by_user: BTreeSet<(UserName, NodeId)>,
    by_expiry: BTreeSet<(UnixMillis, NodeId)>,
    recheck: Option<Recheck>,
    handover: Handover,
    lately: Lately,
    moves: Vec<(Whither, Stored)>,
}

/// A presence, with those of its fields that matter here: it is decoded once.
#[derive(Debug)]
struct Entry {
    user: UserName,
    home: NodeId,
    sequence: UnixMillis,
    expires: UnixMillis,
    /// By the node's own word.
    online: bool,
    word: Word,
    signed: Signed<Presence>,
}

/// What others say of an entry's node.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// Its home lives and did not say that it is gone.
    here: bool,
    way: Way,
}

/// How it came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From its home, to us as a holder: it would tell us of the end as well, and nobody else is believed.
    Home,
    /// From another supernode, to us as a holder.
    Other,
    /// To us although by what we see others hold it: one of them fell silent and we come next, which we shall see soon; or whoever sent it was wrong.
    Astray(Instant),
}

#[derive(Debug)]
struct Recheck {
    after: Option<NodeId>,
    at: Instant,
}

/// Where an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whither {
    /// To this holder.
    Holder(NodeId),
    /// To the holders of this place, in its group.
    Group(Place),
}

/// A home's word that a node is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) node: NodeId,
    pub(super) home: NodeId,
    pub(super) sequence: UnixMillis,
}

impl Way {
    /// What its home, or somebody else, says to one that holds the entry, or does not.
    fn of(home_says: bool, holds: bool, now: Instant) -> Self {
        match (holds, home_says) {
            (false, _) => Self::Astray(now),
            (true, true) => Self::Home,
            (true, false) => Self::Other,
        }
    }
}

impl Word {
    fn came_astray_lately(&self, now: Instant) -> bool {
        matches!(self.way, Way::Astray(at) if at + NOTICED > now)
    }
}

impl Entry {
    fn as_stored(&self) -> Stored {
        Stored { user: self.user.clone(), presence: self.signed.clone(), here: self.word.here }
    }

    fn is_online(&self, wall: UnixMillis) -> bool {
        self.word.here && self.online && self.expires > wall
    }
}

impl Directory {
    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The latest presence seen of a node.
    pub(super) fn sequence_of(&self, node: &NodeId) -> Option<UnixMillis> {
        self.entries.get(node).map(|entry| entry.sequence)
    }

    /// A presence to hold; whether it was taken. One that we hold already costs nothing, but what is said of it
    /// may be new: its home is always believed, others as long as it has said nothing, and only that the node is gone.
    pub(super) fn on_store(
        &mut self,
        (from, holds): (NodeId, bool),
        stored: Stored,
        pay: impl FnOnce(&mut World) -> bool,
        world: &mut World,
    ) -> bool {
        let claimed = codec::decode::<Presence>(&stored.presence.payload).ok().map(|presence| presence.node);
        let known =
            claimed.filter(|node| self.entries.get(node).is_some_and(|e| e.signed == stored.presence));
        if let Some(node) = known {
            self.hear_again(&node, (from, holds), stored.here, world);
            return false;
        }
        let verified = if pay(world) { world.presence(stored.presence) } else { None };
        verified.is_some_and(|verified| {
            let home_says = from == verified.content.home;
            let over = !home_says && self.lately.is_over(&verified.content, world.now.instant);
            let way = Way::of(home_says, holds, world.now.instant);
            self.take(&verified, Word { here: stored.here && !over, way }, world)
        })
    }

    /// Somebody says of an entry that we have whether its node is there.
    fn hear_again(&mut self, node: &NodeId, (from, holds): (NodeId, bool), here: bool, world: &World) {
        let Some(entry) = self.entries.get_mut(node) else { return };
        if entry.home == from {
            entry.word = Word { here, way: Way::of(true, holds, world.now.instant) };
        } else if entry.word.way != Way::Home && entry.home != world.own() {
            entry.word.here &= here;
        }
    }

    /// Takes a verified presence of our own child.
    pub(super) fn store(&mut self, verified: &Verified<Presence>, world: &mut World) {
        if let Some(entry) = self.entries.get_mut(&verified.content.node)
            && entry.signed == verified.signed
        {
            entry.word.here = true;
            return;
        }
        self.take(verified, Word { here: true, way: Way::Home }, world);
    }

    fn take(&mut self, verified: &Verified<Presence>, word: Word, world: &mut World) -> bool {
        let Verified { content: presence, signer, signed } = verified;
        if self.sequence_of(&presence.node).is_some_and(|known| known >= presence.sequence) {
            world.counters.bad_records += 1;
            tracing::debug!(node = %presence.node, "an old presence");
            return false;
        }
        self.remove(&presence.node);
        self.make_room(&signer.user);
        self.by_expiry.insert((presence.expires, presence.node));
        self.by_user.insert((signer.user.clone(), presence.node));
        let entry = Entry {
            user: signer.user.clone(),
            home: presence.home,
            sequence: presence.sequence,
            expires: presence.expires,
            online: presence.online,
            word,
            signed: signed.clone(),
        };
        self.entries.insert(presence.node, entry);
        self.tell_newcomers(&presence.node, world);
        true
    }

    /// What changed goes on to whoever got the entry from us lately: its home may not know of them yet, or what we sent is still on its way.
    fn tell_newcomers(&mut self, node: &NodeId, world: &World) {
        let Some(entry) = self.entries.get(node) else { return };
        for newcomer in self.handover.newcomers(Place::of_user(&entry.user), world.own(), world.now) {
            self.moves.push((Whither::Holder(newcomer), entry.as_stored()));
        }
    }

    /// A home says that a node is there no more.
    pub(super) fn on_gone(&mut self, departure: &Departure, world: &World) {
        self.lately.handle_departure(departure, world.now.instant);
        let Departure { node, home, sequence } = departure;
        let entry = self.entries.get_mut(node);
        let entry = entry.filter(|entry| entry.home == *home && entry.sequence <= *sequence);
        if entry.is_some_and(|entry| std::mem::replace(&mut entry.word.here, false)) {
            self.tell_newcomers(node, world);
        }
    }

    /// A home died.
    pub(super) fn handle_home_lost(&mut self, home: &NodeId, now: Now) {
        self.lately.handle_home_lost(*home, now.instant);
        self.entries
            .values_mut()
            .filter(|entry| entry.home == *home)
            .for_each(|entry| entry.word.here = false);
    }

    /// It is there again.
    pub(super) fn handle_home_back(&mut self, home: &NodeId) {
        self.lately.handle_home_back(home);
    }

    /// What we hold on a user. A copy of what others hold shows nobody online for long: they know better.
    pub(super) fn find(&self, user: &UserName, holds: bool, world: &World) -> Vec<DirectoryEntry> {
        let (now, own_id) = (world.now, world.own());
        let own = self.by_user.range((user.clone(), NodeId([0; 32]))..=(user.clone(), NodeId([255; 32])));
        let entries = own.filter_map(|(_, node)| self.entries.get(node));
        entries
            .map(|entry| {
                let counts = holds || entry.home == own_id || entry.word.came_astray_lately(now.instant);
                DirectoryEntry { presence: entry.signed.clone(), online: counts && entry.is_online(now.wall) }
            })
            .collect()
    }

    /// The members of our group, or the division into groups, changed: entries move to their new holders.
    pub(super) fn handle_members(&mut self, division: Division, now: Now) {
        self.handover.begin(division, now);
    }

    /// A newer revocation list: whatever is held is verified again, a little at a time.
    pub(super) fn handle_crl(&mut self, now: Now) {
        self.recheck = Some(Recheck { after: None, at: now.instant });
    }

    /// Entries that are to be sent to others.
    pub(super) fn poll_moves(&mut self) -> Option<Vec<(Whither, Stored)>> {
        (!self.moves.is_empty()).then(|| std::mem::take(&mut self.moves))
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
        self.go_on_handing_over(world);
    }

    pub(super) fn poll_timeout(&self, now: Now) -> Option<Instant> {
        let oldest = self.by_expiry.first().map(|(expires, _)| expires.after(KEPT));
        let expiry = oldest.map(|at| now.instant + at.since(now.wall));
        let recheck = self.recheck.as_ref().map(|recheck| recheck.at);
        [expiry, recheck, self.handover.due()].into_iter().flatten().min()
    }

    fn go_on_handing_over(&mut self, world: &World) {
        let Some(after) = self.handover.step(world.now) else { return };
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let (mut last, mut foreign) = (None, Vec::new());
        for (node, entry) in self.entries.range(range).take(Handover::BATCH) {
            last = Some(*node);
            let place = Place::of_user(&entry.user);
            let moves = self.handover.moves(place, world.own());
            if !moves.stays {
                foreign.push(*node);
            }
            let to = moves.to.into_iter().map(Whither::Holder);
            for whither in to.chain(moves.across.then_some(Whither::Group(place))) {
                self.moves.push((whither, entry.as_stored()));
            }
        }
        self.handover.stepped(last, world.now);
        foreign.iter().for_each(|node| self.remove(node));
    }

    fn go_on_rechecking(&mut self, world: &mut World) {
        let Some(recheck) = self.recheck.take() else { return };
        let start = recheck.after.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<_> = self.entries.range((start, Bound::Unbounded)).take(RECHECKED).collect();
        let last = some.last().map(|(node, _)| **node);
        let holds = |entry: &Entry| world.keyring.verify(entry.signed.clone(), world.now.wall).is_ok();
        let revoked: Vec<_> =
            some.into_iter().filter(|(_, entry)| !holds(entry)).map(|(node, _)| *node).collect();
        self.recheck = last.map(|last| Recheck { after: Some(last), at: world.now.instant + RECHECK_EVERY });
        revoked.iter().for_each(|node| self.remove(node));
    }

    /// Room for one more of `user`'s nodes: the oldest of its own goes, or else the one that expired first.
    fn make_room(&mut self, user: &UserName) {
        let own = self.by_user.range((user.clone(), NodeId([0; 32]))..=(user.clone(), NodeId([255; 32])));
        let own: Vec<_> = own.map(|(_, node)| (self.sequence_of(node), *node)).collect();
        let oldest_own = own.iter().min().filter(|_| own.len() >= MAX_NODES_PER_USER).map(|(_, node)| *node);
        let oldest = || self.by_expiry.first().map(|(_, node)| *node).filter(|_| self.len() >= MAX_ENTRIES);
        if let Some(node) = oldest_own.or_else(oldest) {
            self.remove(&node);
        }
    }

    fn remove(&mut self, node: &NodeId) {
        if let Some(entry) = self.entries.remove(node) {
            self.by_expiry.remove(&(entry.expires, *node));
            self.by_user.remove(&(entry.user, *node));
        }
    }
}
