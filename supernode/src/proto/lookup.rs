//! Finding a user for a child.
//!
//! A holder knows; the nearest one is asked first, and if it has not answered soon, the next one too. The first answer with a
//! node that is online is the answer. While there is none, the others are asked as well, and the newest that anybody knows of
//! each node is told; a holder's word is taken for a presence only when its signature holds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, UnixMillis, UserName,
    wire::{
        home::{DirectoryEntry, MAX_NODES_PER_USER, RequestId, ToChild},
        mesh::Mesh,
    },
};

use super::world::World;

/// How long all holders together may take (guess: a few round trips around the world; a node waits 8 s).
const DEADLINE: Duration = Duration::from_secs(3);
/// How many of its round trips a holder has before the next is asked as well (guess).
const HEDGE_ROUND_TRIPS: u32 = 3;
/// And at least this long (guess: scheduling on a busy machine).
const MIN_HEDGE: Duration = Duration::from_millis(50);
/// Lookups at the same time, of all children (guess: as searches).
const MAX_LOOKUPS: usize = 4096;

/// All lookups under way.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    running: BTreeMap<u64, Lookup>,
    last: u64,
}

#[derive(Debug)]
struct Lookup {
    child: NodeId,
    id: RequestId,
    user: UserName,
    waiting: VecDeque<NodeId>,
    outstanding: BTreeSet<NodeId>,
    known: BTreeMap<NodeId, (UnixMillis, DirectoryEntry)>,
    hedge_at: Instant,
    until: Instant,
}

impl Lookups {
    pub(super) fn count_of(&self, child: &NodeId) -> usize {
        self.running.values().filter(|lookup| lookup.child == *child).count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.running.len() < MAX_LOOKUPS
    }

    /// Asks `holders`, to which there are links; `own` is what we know ourselves.
    pub(super) fn begin(
        &mut self,
        (child, id): (NodeId, RequestId),
        user: UserName,
        own: Vec<DirectoryEntry>,
        mut holders: Vec<NodeId>,
        world: &mut World,
    ) {
        holders.sort_by_key(|holder| world.links.rtt(holder));
        let now = world.now.instant;
        let mut lookup = Lookup {
            child,
            id,
            user,
            waiting: holders.into(),
            outstanding: BTreeSet::new(),
            known: BTreeMap::new(),
            hedge_at: now,
            until: now + DEADLINE,
        };
        own.into_iter().for_each(|entry| lookup.learn(entry, world));
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
        let asked = self.running.get_mut(&number).filter(|lookup| lookup.outstanding.contains(&from));
        let Some(lookup) = asked else {
            return world.strange(&from, "an answer from the directory that is not waited for");
        };
        lookup.outstanding.remove(&from);
        nodes.into_iter().for_each(|entry| lookup.learn(entry, world));
        if lookup.is_online() {
            return self.end(number, world);
        }
        lookup.hedge_at = world.now.instant;
        self.go_on(number, world);
    }

    /// A member is gone: it will not answer.
    pub(super) fn handle_member_lost(&mut self, node: &NodeId, world: &mut World) {
        let running: Vec<u64> = self.running.keys().copied().collect();
        for number in running {
            let Some(lookup) = self.running.get_mut(&number) else { continue };
            lookup.waiting.retain(|holder| holder != node);
            if lookup.outstanding.remove(node) {
                lookup.hedge_at = world.now.instant;
                self.go_on(number, world);
            }
        }
    }

    pub(super) fn handle_child_lost(&mut self, child: &NodeId) {
        self.running.retain(|_, lookup| lookup.child != *child);
    }

    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        let now = world.now.instant;
        let due = |lookup: &Lookup| lookup.due() <= now;
        let due: Vec<u64> =
            self.running.iter().filter(|(_, lookup)| due(lookup)).map(|(number, _)| *number).collect();
        due.into_iter().for_each(|number| self.go_on(number, world));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.running.values().map(Lookup::due).min()
    }

    /// Asks the next holder if it is time, ends the lookup if nobody is left.
    fn go_on(&mut self, number: u64, world: &mut World) {
        let Some(lookup) = self.running.get_mut(&number) else { return };
        let now = world.now.instant;
        if lookup.hedge_at <= now
            && let Some(holder) = lookup.waiting.pop_front()
        {
            world.tell_mesh(holder, Mesh::Find { number, user: lookup.user.clone() });
            lookup.outstanding.insert(holder);
            lookup.hedge_at = now + (world.links.rtt(&holder) * HEDGE_ROUND_TRIPS).max(MIN_HEDGE);
        }
        if lookup.outstanding.is_empty() && lookup.waiting.is_empty() || lookup.until <= now {
            self.end(number, world);
        }
    }

    fn end(&mut self, number: u64, world: &mut World) {
        let Some(lookup) = self.running.remove(&number) else { return };
        let mut nodes: Vec<_> = lookup.known.into_values().collect();
        nodes.sort_by_key(|(sequence, entry)| std::cmp::Reverse((entry.online, *sequence)));
        let nodes = nodes.into_iter().take(MAX_NODES_PER_USER).map(|(_, entry)| entry).collect();
        world.tell_child(lookup.child, ToChild::Found { id: lookup.id, nodes });
    }
}

impl Lookup {
    fn due(&self) -> Instant {
        if self.waiting.is_empty() { self.until } else { self.until.min(self.hedge_at) }
    }

    fn is_online(&self) -> bool {
        self.known.values().any(|(_, entry)| entry.online)
    }

    /// The newest of each node; where two know the same, online if one of them says so.
    fn learn(&mut self, entry: DirectoryEntry, world: &mut World) {
        let verified = world.keyring.verify(entry.presence.clone(), world.now.wall);
        let verified = verified.ok().filter(|verified| {
            verified.signer.user == self.user && verified.signer.node == verified.content.node
        });
        let Some(verified) = verified else {
            world.counters.bad_records += 1;
            return;
        };
        let (node, sequence) = (verified.content.node, verified.content.sequence);
        let known = self.known.get(&node).map(|(known, entry)| (*known, entry.online));
        let rank = (sequence, entry.online);
        let room = known.is_some() || self.known.len() < MAX_NODES_PER_USER;
        if room && known.is_none_or(|known| known < rank) {
            self.known.insert(node, (sequence, entry));
        }
    }
}
