//! Lookups of this supernode's own children.
//!
//! What this supernode knows itself is the beginning: its own children, and what it holds. Unless it is a holder itself and knows the user to be online, the
//! holders are asked, the nearest first; one that is slow does not hold up the next. The answer goes out as soon as a holder knows a node
//! to be online, or when every holder has answered, or at the deadline.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, UserName,
    presence::Presence,
    signed::Verified,
    wire::{
        home::{DirectoryEntry, MAX_NODES_PER_USER, RequestId, ToChild},
        mesh::Mesh,
    },
};

use super::{directory::merge, outbox::Outbox};

/// How long a lookup may take in all.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// A holder that has not answered within so many round trips, or [`MIN_HEDGE`], is not waited for alone.
const HEDGE_ROUND_TRIPS: u32 = 3;
/// See [`HEDGE_ROUND_TRIPS`]; a busy machine answers late (guess).
const MIN_HEDGE: Duration = Duration::from_millis(50);
/// Lookups at a time in all.
pub const MAX_LOOKUPS: usize = 4096;

/// Presences by node, each with whether it is online.
pub type Known = BTreeMap<NodeId, (Verified<Presence>, bool)>;

/// A holder to ask, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub node: NodeId,
    /// Its round trip, if it was measured.
    pub rtt: Option<Duration>,
}

#[derive(Debug)]
struct Lookup {
    child: NodeId,
    id: RequestId,
    user: UserName,
    known: Known,
    /// Whether a holder has had its say.
    heard: bool,
    left: VecDeque<Holder>,
    outstanding: BTreeSet<NodeId>,
    hedge_at: Option<Instant>,
    deadline: Instant,
}

/// All lookups under way.
#[derive(Debug, Default)]
pub struct Lookups {
    next: u64,
    running: BTreeMap<u64, Lookup>,
}

impl Lookups {
    /// Whether there may be one more.
    pub fn has_room(&self) -> bool {
        self.running.len() < MAX_LOOKUPS
    }

    /// Begins one, with what is known here, whether that is a holder's knowledge, and the other holders to ask.
    pub fn start(
        &mut self,
        (child, id): (NodeId, RequestId),
        user: UserName,
        (known, heard): (Known, bool),
        mut holders: Vec<Holder>,
        (now, outbox): (Instant, &mut Outbox),
    ) {
        holders.sort_by_key(|holder| holder.rtt.unwrap_or(Duration::MAX));
        let lookup = Lookup {
            child,
            id,
            user,
            known,
            heard,
            left: holders.into(),
            outstanding: BTreeSet::new(),
            hedge_at: None,
            deadline: now + DEADLINE,
        };
        let number = self.next;
        self.next += 1;
        self.running.insert(number, lookup);
        self.advance(number, now, outbox);
    }

    /// A holder answers with presences that were verified.
    pub fn on_held(
        &mut self,
        from: NodeId,
        number: u64,
        nodes: Vec<(Verified<Presence>, bool)>,
        (now, outbox): (Instant, &mut Outbox),
    ) {
        let Some(lookup) = self.running.get_mut(&number) else { return };
        if !lookup.outstanding.remove(&from) {
            return;
        }
        lookup.heard = true;
        for (presence, online) in nodes {
            if presence.signer.user == lookup.user {
                merge(&mut lookup.known, presence, online);
            }
        }
        self.advance(number, now, outbox);
    }

    /// A member is gone: it will not answer.
    pub fn on_member_lost(&mut self, node: NodeId, now: Instant, outbox: &mut Outbox) {
        let mut concerned = Vec::new();
        for (number, lookup) in &mut self.running {
            lookup.left.retain(|holder| holder.node != node);
            if lookup.outstanding.remove(&node) {
                concerned.push(*number);
            }
        }
        for number in concerned {
            self.advance(number, now, outbox);
        }
    }

    /// A child is gone.
    pub fn on_child_gone(&mut self, child: NodeId) {
        self.running.retain(|_, lookup| lookup.child != child);
    }

    /// Asks the next holders where one is slow; ends what has taken too long.
    pub fn handle_timeout(&mut self, now: Instant, outbox: &mut Outbox) {
        let numbers: Vec<u64> = self
            .running
            .iter()
            .filter(|(_, lookup)| lookup.due() <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.advance(number, now, outbox);
        }
    }

    /// When a holder is late or a lookup over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.running.values().map(Lookup::due).min()
    }

    fn advance(&mut self, number: u64, now: Instant, outbox: &mut Outbox) {
        let Some(lookup) = self.running.get_mut(&number) else { return };
        let settled = lookup.heard && lookup.known.values().any(|(_, online)| *online);
        let exhausted = lookup.left.is_empty() && lookup.outstanding.is_empty();
        if settled || exhausted || lookup.deadline <= now {
            if let Some(lookup) = self.running.remove(&number) {
                lookup.answer(outbox);
            }
            return;
        }
        if lookup.outstanding.is_empty() || lookup.hedge_at.is_some_and(|at| at <= now) {
            lookup.ask_next(number, now, outbox);
        }
    }
}

impl Lookup {
    fn due(&self) -> Instant {
        self.hedge_at.map_or(self.deadline, |hedge| hedge.min(self.deadline))
    }

    fn ask_next(&mut self, number: u64, now: Instant, outbox: &mut Outbox) {
        self.hedge_at = None;
        let Some(holder) = self.left.pop_front() else { return };
        outbox.mesh(holder.node, Mesh::Find { number, user: self.user.clone() });
        self.outstanding.insert(holder.node);
        if !self.left.is_empty() {
            let patience = holder.rtt.map_or(MIN_HEDGE, |rtt| (rtt * HEDGE_ROUND_TRIPS).max(MIN_HEDGE));
            self.hedge_at = Some(now + patience);
        }
    }

    fn answer(self, outbox: &mut Outbox) {
        let mut nodes: Vec<_> = self.known.into_values().collect();
        nodes.sort_by_key(|(presence, online)| std::cmp::Reverse((*online, presence.content.sequence)));
        let entry = |(presence, online): (Verified<Presence>, bool)| DirectoryEntry { presence: presence.signed, online };
        let nodes = nodes.into_iter().take(MAX_NODES_PER_USER).map(entry).collect();
        outbox.child(self.child, ToChild::Found { id: self.id, nodes });
    }
}
