//! Finding a user, or the homes that have a content, for a child or for a supernode of another group.
//!
//! A key of our own group: its holders know; the nearest one is asked first, and if it has not answered soon, the next one too. Any other
//! key: the nearest contact in its group is asked, which answers or asks a holder, and the second one if the first is slow; last, while the division into
//! groups changes, one by the former division. So a lookup costs its home one request in the usual case and [`MAX_REQUESTS`] at most while nobody is silent, and each of
//! these at most as many again; who comes just after the net was divided lets holders ask the former ones, which is once more.
//!
//! Who does not answer soon may be dead long before the transport notices. Where all that were asked let a lookup wait, those who come after them are asked too,
//! as they become known to be silent, [`MAX_ASKED`] in all.
//!
//! The first answer with a node that is online is the answer. While there is none, the others are asked as well, and the newest that
//! anybody knows of each node is told; a word is taken for a presence only when its signature holds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, UnixMillis, UserName,
    wire::{
        home::{Decline, DirectoryEntry, MAX_NODES_PER_USER, RequestId, ToChild},
        mesh::{MAX_SOURCE_HOMES, Mesh},
    },
};

use super::{placement::Place, schedule::Schedule, world::World};

/// Supernodes that are asked for one question, here (as many as there are holders); twice as many while two divisions of the net count.
pub(super) const MAX_REQUESTS: usize = 3;
/// And those that are asked where others are silent, with these (guess: of eight one lives where a third is dead, and in most nets that are worse).
const MAX_ASKED: usize = 8;
/// How soon those who come after silent ones are looked for again (guess: who is silent becomes known in the meantime).
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long all holders together may take (guess: a few round trips around the world; a node waits 8 s).
const DEADLINE: Duration = Duration::from_secs(3);
/// The same, where another supernode asks: it must hear before its own time is over.
const PASSED_DEADLINE: Duration = Duration::from_secs(2);
/// How many of its round trips a holder has before the next is asked as well (guess).
const HEDGE_ROUND_TRIPS: u32 = 3;
/// And at least this long (guess: scheduling on a busy machine).
const MIN_HEDGE: Duration = Duration::from_millis(50);
/// What a contact may take more, if it has to ask a holder of its group: a round trip around the world (as between the farthest regions of the
/// large clouds).
const PASS_ON: Duration = Duration::from_millis(300);
/// Lookups at the same time, of all children (guess: as searches).
const MAX_LOOKUPS: usize = 4096;

/// All lookups under way.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    found: VecDeque<(u64, Vec<NodeId>)>,
    starved: VecDeque<u64>,
    running: BTreeMap<u64, Lookup>,
    schedule: Schedule,
    last: u64,
}

/// Who is told the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A child, by its number.
    Child(NodeId, RequestId),
    /// Another supernode, by its number.
    Member(NodeId, u64),
    /// A search of ours.
    Search(u64),
}

/// What is sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// Where this user is.
    User(UserName),
    /// Who has this content.
    Content(u64),
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) node: NodeId,
    /// How many more times it may pass the question on.
    pub(super) hops: u8,
}

#[derive(Debug)]
struct Lookup {
    asker: Asker,
    sought: Sought,
    homes: BTreeSet<NodeId>,
    waiting: VecDeque<Target>,
    outstanding: BTreeMap<NodeId, Pending>,
    asked: BTreeSet<NodeId>,
    /// How many more times its targets may pass it on.
    hops: u8,
    /// Somebody who was asked is late, or gone.
    missed: bool,
    known: BTreeMap<NodeId, Known>,
    hedge_at: Instant,
    until: Instant,
}

/// The newest that anybody said of a node.
#[derive(Debug)]
struct Known {
    sequence: UnixMillis,
    /// Only we ourselves know it so far, who do not hold it: a holder knows better whether the node is there.
    hearsay: bool,
    entry: DirectoryEntry,
}

/// A question to one supernode.
#[derive(Debug)]
struct Pending {
    hops: u8,
    late_at: Instant,
    /// It was noticed.
    late: bool,
}

impl Lookups {
    pub(super) fn count_of(&self, child: &NodeId) -> usize {
        self.running.values().filter(|lookup| lookup.is_of(child)).count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.running.len() < MAX_LOOKUPS
    }

    /// Asks `targets` in this order, all of them linked and none twice; `own` is what we know ourselves, and `hearsay` what we have a copy of that is
    /// for others to hold.
    pub(super) fn begin(
        &mut self,
        asker: Asker,
        sought: Sought,
        (own, hearsay): (Vec<DirectoryEntry>, Vec<DirectoryEntry>),
        targets: Vec<Target>,
        world: &mut World,
    ) {
        let now = world.now.instant;
        let deadline = match asker {
            Asker::Child(..) => DEADLINE,
            Asker::Member(..) | Asker::Search(_) => PASSED_DEADLINE,
        };
        let mut lookup = Lookup {
            asker,
            sought,
            homes: BTreeSet::new(),
            hops: targets.first().map_or(0, |target| target.hops),
            waiting: targets.into_iter().take(2 * MAX_REQUESTS).collect(),
            outstanding: BTreeMap::new(),
            asked: BTreeSet::new(),
            missed: false,
            known: BTreeMap::new(),
            hedge_at: now,
            until: now + deadline,
        };
        hearsay.into_iter().for_each(|entry| lookup.learn(entry, true, world));
        own.into_iter().for_each(|entry| lookup.learn(entry, false, world));
        self.last += 1;
        self.running.insert(self.last, lookup);
        self.go_on(self.last, world);
    }

    /// A holder says what it holds.
    pub(super) fn on_held(
        &mut self,
        from: NodeId,
        number: u64,
        nodes: Vec<DirectoryEntry>,
        world: &mut World,
    ) {
        let asked = self.running.get_mut(&number).filter(|lookup| lookup.outstanding.contains_key(&from));
        let Some(lookup) = asked.filter(|lookup| matches!(lookup.sought, Sought::User(_))) else {
            return world.strange(&from, "an answer from the directory that is not waited for");
        };
        lookup.outstanding.remove(&from);
        nodes.into_iter().for_each(|entry| lookup.learn(entry, false, world));
        if lookup.is_online() {
            return self.end(number, world);
        }
        lookup.hedge_at = world.now.instant;
        self.go_on(number, world);
    }

    /// A holder names the homes that have a content: the first that names any is believed.
    pub(super) fn on_sources(&mut self, from: NodeId, number: u64, homes: Vec<NodeId>, world: &mut World) {
        let asked = self.running.get_mut(&number).filter(|lookup| lookup.outstanding.contains_key(&from));
        let Some(lookup) = asked.filter(|lookup| matches!(lookup.sought, Sought::Content(_))) else {
            return world.strange(&from, "sources that are not waited for");
        };
        lookup.outstanding.remove(&from);
        lookup.homes.extend(homes);
        if !lookup.homes.is_empty() {
            return self.end(number, world);
        }
        lookup.hedge_at = world.now.instant;
        self.go_on(number, world);
    }

    /// The homes that a search of ours may ask.
    pub(super) fn poll_found(&mut self) -> Option<(u64, Vec<NodeId>)> {
        self.found.pop_front()
    }

    /// A member is gone: it will not answer.
    pub(super) fn handle_member_lost(&mut self, node: &NodeId, world: &mut World) {
        let running: Vec<u64> = self.running.keys().copied().collect();
        for number in running {
            let Some(lookup) = self.running.get_mut(&number) else { continue };
            lookup.waiting.retain(|target| target.node != *node);
            if lookup.outstanding.remove(node).is_some() {
                lookup.missed = true;
                lookup.hedge_at = world.now.instant;
                self.go_on(number, world);
            }
        }
    }

    pub(super) fn handle_child_lost(&mut self, child: &NodeId) {
        for (number, _) in self.running.extract_if(.., |_, lookup| lookup.is_of(child)) {
            self.schedule.remove(number);
        }
    }

    /// We see the net no more: our children ask again elsewhere.
    pub(super) fn handle_step_down(&mut self, world: &mut World) {
        for (number, lookup) in std::mem::take(&mut self.running) {
            self.schedule.remove(number);
            if let Asker::Child(child, id) = lookup.asker {
                world.tell_child(child, ToChild::Declined { id, reason: Decline::Leaving });
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        let due = self.schedule.due(world.now.instant);
        for number in &due {
            self.running.get_mut(number).into_iter().for_each(|lookup| lookup.note_late(world));
        }
        due.into_iter().for_each(|number| self.go_on(number, world));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.first()
    }

    /// Asks the next one if it is time, ends the lookup if nobody is left.
    fn go_on(&mut self, number: u64, world: &mut World) {
        let Some(lookup) = self.running.get_mut(&number) else { return };
        let now = world.now.instant;
        if lookup.hedge_at <= now
            && let Some(Target { node, hops }) = lookup.waiting.pop_front()
        {
            let question = match &lookup.sought {
                Sought::User(user) => Mesh::Find { number, user: user.clone(), hops },
                Sought::Content(content) => Mesh::FindSources { number, content: *content, hops },
            };
            world.tell_mesh(node, question);
            // Who may pass it on has another round trip to wait for.
            let wait = world.links.expected_rtt(&node) * HEDGE_ROUND_TRIPS + PASS_ON * u32::from(hops > 0);
            lookup.hedge_at = now + wait.max(MIN_HEDGE);
            lookup.outstanding.insert(node, Pending { hops, late_at: lookup.hedge_at, late: false });
            lookup.asked.insert(node);
        }
        let idle = lookup.outstanding.is_empty() && lookup.waiting.is_empty();
        let starved = lookup.missed && lookup.may_ask_more();
        if lookup.until <= now || idle && !starved {
            return self.end(number, world);
        }
        if starved && lookup.waiting.is_empty() && (idle || lookup.hedge_at <= now) {
            lookup.hedge_at = now + LOOK_AGAIN;
            self.starved.push_back(number);
        }
        self.schedule.set(number, lookup.due());
    }

    /// A lookup whose targets let it wait: its number, the place of what it seeks, and how many more times that may be passed on.
    pub(super) fn poll_starved(&mut self) -> Option<(u64, Place, u8)> {
        while let Some(number) = self.starved.pop_front() {
            let Some(lookup) = self.running.get(&number) else { continue };
            let place = match &lookup.sought {
                Sought::User(user) => Place::of_user(user),
                Sought::Content(content) => Place::of_content(*content),
            };
            return Some((number, place, lookup.hops));
        }
        None
    }

    /// Others that may be asked, as far as they were not yet.
    pub(super) fn add_targets(&mut self, number: u64, targets: Vec<Target>, world: &mut World) {
        let Some(lookup) = self.running.get_mut(&number) else { return };
        let room = MAX_ASKED.saturating_sub(lookup.asked.len()).min(MAX_REQUESTS);
        let asker = if let Asker::Member(member, _) = lookup.asker { Some(member) } else { None };
        let fresh = |target: &Target| !lookup.asked.contains(&target.node) && Some(target.node) != asker;
        let more: Vec<_> = targets.into_iter().filter(fresh).take(room).collect();
        if more.is_empty() {
            if lookup.outstanding.is_empty() {
                self.end(number, world);
            }
            return;
        }
        lookup.waiting.extend(more);
        lookup.hedge_at = world.now.instant;
        self.go_on(number, world);
    }

    fn end(&mut self, number: u64, world: &mut World) {
        self.schedule.remove(number);
        let Some(mut lookup) = self.running.remove(&number) else { return };
        let homes = std::mem::take(&mut lookup.homes).into_iter().take(MAX_SOURCE_HOMES).collect();
        match (lookup.asker, &lookup.sought) {
            (Asker::Search(search), _) => return self.found.push_back((search, homes)),
            (Asker::Member(member, number), Sought::Content(_)) => {
                return world.tell_mesh(member, Mesh::Sources { number, homes });
            }
            _ => {}
        }
        let mut nodes: Vec<_> = lookup.known.into_values().collect();
        nodes.sort_by_key(|known| std::cmp::Reverse((known.entry.online, known.sequence)));
        let nodes = nodes.into_iter().take(MAX_NODES_PER_USER).map(|known| known.entry).collect();
        match lookup.asker {
            Asker::Child(child, id) => world.tell_child(child, ToChild::Found { id, nodes }),
            Asker::Member(member, number) => world.tell_mesh(member, Mesh::Held { number, nodes }),
            Asker::Search(_) => {}
        }
    }
}

/// What the directory has, for [`Lookups::begin`]: our own word where we hold the key, else hearsay.
pub(super) fn own_and_hearsay(
    known: Vec<DirectoryEntry>,
    holds: bool,
) -> (Vec<DirectoryEntry>, Vec<DirectoryEntry>) {
    if holds { (known, Vec::new()) } else { (Vec::new(), known) }
}

impl Lookup {
    fn seeks(&self, user: &UserName) -> bool {
        matches!(&self.sought, Sought::User(sought) if sought == user)
    }

    fn is_of(&self, child: &NodeId) -> bool {
        matches!(self.asker, Asker::Child(asker, _) if asker == *child)
    }

    fn due(&self) -> Instant {
        let next = match self.waiting.is_empty() {
            false => Some(self.hedge_at),
            true if !self.may_ask_more() => None,
            true if self.missed => Some(self.hedge_at),
            true => self.outstanding.values().map(|pending| pending.late_at).min(),
        };
        next.map_or(self.until, |next| next.min(self.until))
    }

    fn may_ask_more(&self) -> bool {
        self.asked.len() < MAX_ASKED
    }

    /// Who should have answered by now is silent; who may have had to ask others perhaps is.
    fn note_late(&mut self, world: &mut World) {
        let now = world.now.instant;
        let late = |pending: &Pending| !pending.late && pending.late_at <= now;
        for (node, pending) in self.outstanding.iter_mut().filter(|(_, pending)| late(pending)) {
            (self.missed, pending.late) = (true, true);
            match pending.hops {
                0 => world.fell_silent(node),
                _ => world.doubt(node),
            }
        }
    }

    fn is_online(&self) -> bool {
        self.known.values().any(|known| known.entry.online)
    }

    /// The newest of each node; where two know the same, online if one of them says so, and a holder rather than hearsay.
    fn learn(&mut self, entry: DirectoryEntry, hearsay: bool, world: &mut World) {
        let verified = world.keyring.verify(entry.presence.clone(), world.now.wall);
        let verified = verified.ok().filter(|verified| {
            self.seeks(&verified.signer.user) && verified.signer.node == verified.content.node
        });
        let Some(verified) = verified else {
            world.counters.bad_records += 1;
            return;
        };
        let (node, sequence) = (verified.content.node, verified.content.sequence);
        let known = self.known.get(&node);
        let room = known.is_some() || self.known.len() < MAX_NODES_PER_USER;
        let rank = (sequence, !hearsay, entry.online);
        if room && known.is_none_or(|known| (known.sequence, !known.hearsay, known.entry.online) < rank) {
            self.known.insert(node, Known { sequence, hearsay, entry });
        }
    }
}
