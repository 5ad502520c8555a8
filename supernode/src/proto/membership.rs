//! Which supernodes there are, and the links to them.
//!
//! Every supernode signs a record of itself and renews it. Records travel by rumour: whatever is news to one is passed to all it is
//! linked to, so each record crosses each link at most once or twice. Whoever learns of a supernode links to it; of two that
//! learn of each other at the same moment, the one with the lower id dials and the other waits a little. A member counts as *alive* only
//! while its own link is up: nobody's word can kill it, and nobody's word can keep it alive. A broken link is dialled again a few times,
//! then the member is forgotten until its record is renewed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UnixMillis,
    signed::{Signed, Verified},
    supernode_record::{LIFETIME, SupernodeRecord},
    wire::{
        NodeAddress,
        home::MAX_SUPERNODE_LIST,
        mesh::Mesh,
    },
};

use super::outbox::Outbox;

/// Supernodes known at most: far beyond the 64 that a full mesh serves, so that groups can follow.
pub const MAX_MEMBERS: usize = 1024;
/// How long the one with the higher id waits for the other's dial.
const COURTESY: Duration = Duration::from_millis(500);
/// A dial that has not led to a `Hello` by then has failed.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait before a lost member is dialled again; doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Dials before a member is forgotten: 1 + 2 + 4 + 8 + 16 s.
const MAX_RETRIES: u32 = 5;

/// What connects us to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    /// Greeted: alive.
    Linked,
    /// Being dialled, or about to be at the given time.
    Dialling { until: Instant, tries: u32 },
    /// To be dialled at that time.
    Waiting { at: Instant, tries: u32 },
}

#[derive(Clone, Debug)]
struct Member {
    /// Nothing yet, where only the address is known.
    record: Option<Verified<SupernodeRecord>>,
    address: NodeAddress,
    contact: Contact,
}

/// The supernodes of the net, but for this one.
#[derive(Debug)]
pub struct Membership {
    me: NodeId,
    members: BTreeMap<NodeId, Member>,
}

impl Membership {
    /// Nobody known yet.
    pub fn new(me: NodeId) -> Self {
        Self { me, members: BTreeMap::new() }
    }

    /// Those whose link is up.
    pub fn alive(&self) -> impl Iterator<Item = NodeId> + Clone {
        self.members.iter().filter(|(_, member)| member.contact == Contact::Linked).map(|(node, _)| *node)
    }

    /// Whether that one's link is up and greeted.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.contact == Contact::Linked)
    }

    /// Whether this machine wants a link to that node.
    pub fn is_known(&self, node: NodeId) -> bool {
        self.members.contains_key(&node)
    }

    /// The records of those who are alive.
    pub fn records(&self) -> impl Iterator<Item = &Verified<SupernodeRecord>> {
        let alive = self.members.values().filter(|member| member.contact == Contact::Linked);
        alive.filter_map(|member| member.record.as_ref())
    }

    /// Those with room for a child, the one with most of it first.
    pub fn with_room(&self) -> Vec<Signed<SupernodeRecord>> {
        let mut roomy: Vec<_> = self.records().filter(|record| record.content.has_room()).collect();
        roomy.sort_by_key(|record| {
            let SupernodeRecord { children, capacity, .. } = record.content;
            std::cmp::Reverse(capacity.saturating_sub(children))
        });
        roomy.into_iter().take(MAX_SUPERNODE_LIST).map(|record| record.signed.clone()).collect()
    }

    /// Supernodes that may be there.
    pub fn handle_candidates(&mut self, candidates: Vec<NodeAddress>, now: Instant) {
        for address in candidates {
            if address.node == self.me || self.members.contains_key(&address.node) || self.is_full() {
                continue;
            }
            let contact = Contact::Waiting { at: now, tries: 0 };
            self.members.insert(address.node, Member { record: None, address, contact });
        }
    }

    /// A peer greeted us with its record: it is alive. Gives it back if, on the contrary, it steps down.
    pub fn on_hello(&mut self, record: Verified<SupernodeRecord>, outbox: &mut Outbox) -> Option<NodeId> {
        let node = record.content.node;
        if !record.content.serving {
            return self.leave(node);
        }
        if self.is_full() && !self.members.contains_key(&node) {
            return None;
        }
        let address = address_of(&record.content);
        let news = self.is_news(&record);
        let record = match self.members.remove(&node).and_then(|member| member.record) {
            Some(known) if !news => known,
            _ => record,
        };
        if news {
            self.rumour(node, &record.signed, outbox);
        }
        self.members.insert(node, Member { record: Some(record), address, contact: Contact::Linked });
        None
    }

    /// A peer passes on a record that was verified. Gives the member that steps down by it.
    pub fn on_record(
        &mut self,
        from: NodeId,
        record: Verified<SupernodeRecord>,
        now: Now,
        outbox: &mut Outbox,
    ) -> Option<NodeId> {
        let node = record.content.node;
        if node == self.me || !self.is_news(&record) || (self.is_full() && !self.is_known(node)) {
            return None;
        }
        self.rumour(from, &record.signed, outbox);
        if !record.content.serving {
            return self.leave(node);
        }
        let address = address_of(&record.content);
        let wait = if self.me < node { Duration::ZERO } else { COURTESY };
        let contact = match self.members.get(&node).map(|member| member.contact) {
            Some(contact) => contact,
            None => Contact::Waiting { at: now.instant + wait, tries: 0 },
        };
        self.members.insert(node, Member { record: Some(record), address, contact });
        None
    }

    /// A link is gone, or a dial failed. Says whether it was that of a member that was alive.
    pub fn on_lost(&mut self, node: NodeId, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(&node) else { return false };
        let was_alive = member.contact == Contact::Linked;
        let tries = match member.contact {
            Contact::Linked => 0,
            Contact::Dialling { tries, .. } => tries,
            Contact::Waiting { .. } => return false,
        };
        if tries >= MAX_RETRIES {
            self.members.remove(&node);
        } else {
            member.contact = Contact::Waiting { at: now + FIRST_RETRY * 2u32.pow(tries), tries: tries + 1 };
        }
        was_alive
    }

    /// Forgets a member, for instance because it was revoked.
    pub fn forget(&mut self, node: NodeId) {
        self.members.remove(&node);
    }

    /// The records that a newcomer, or a child, should know.
    pub fn list(&self) -> Vec<Signed<SupernodeRecord>> {
        self.records().take(MAX_SUPERNODE_LIST - 1).map(|record| record.signed.clone()).collect()
    }

    /// Dials whose time has come; forgets records that nobody renewed.
    pub fn handle_timeout(&mut self, now: Now, outbox: &mut Outbox) {
        self.members.retain(|_, member| {
            member.contact == Contact::Linked || member.record.as_ref().is_none_or(|record| is_current(record, now.wall))
        });
        let mut late = Vec::new();
        for (node, member) in &mut self.members {
            match member.contact {
                Contact::Waiting { at, tries } if at <= now.instant => {
                    outbox.dial(member.address.clone());
                    member.contact = Contact::Dialling { until: now.instant + HELLO_TIMEOUT, tries };
                }
                Contact::Dialling { until, .. } if until <= now.instant => late.push(*node),
                _ => {}
            }
        }
        for node in late {
            self.on_lost(node, now.instant);
        }
    }

    /// When there is something to dial or to give up.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = |member: &Member| match member.contact {
            Contact::Linked => None,
            Contact::Dialling { until, .. } => Some(until),
            Contact::Waiting { at, .. } => Some(at),
        };
        self.members.values().filter_map(due).min()
    }

    fn is_full(&self) -> bool {
        self.members.len() >= MAX_MEMBERS
    }

    fn is_news(&self, record: &Verified<SupernodeRecord>) -> bool {
        let known = self.members.get(&record.content.node).and_then(|member| member.record.as_ref());
        known.is_none_or(|known| record.content.sequence > known.content.sequence)
    }

    fn leave(&mut self, node: NodeId) -> Option<NodeId> {
        self.members.remove(&node).map(|_| node)
    }

    fn rumour(&self, from: NodeId, record: &Signed<SupernodeRecord>, outbox: &mut Outbox) {
        for node in self.alive().filter(|node| *node != from) {
            outbox.mesh(node, Mesh::Members(vec![record.clone()]));
        }
    }
}

fn address_of(record: &SupernodeRecord) -> NodeAddress {
    NodeAddress { node: record.node, addresses: record.addresses.clone() }
}

fn is_current(record: &Verified<SupernodeRecord>, wall: UnixMillis) -> bool {
    record.content.sequence.after(LIFETIME) > wall
}
