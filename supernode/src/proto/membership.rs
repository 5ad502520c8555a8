//! Who is a supernode, and a link to each of them.
//!
//! A supernode is known by its signed record. Those we hear of we dial; once it said `Hello` on a live link it is a *member*, until
//! that link ends. We tell everybody at once of a supernode that we did not know, and of one that steps down. Our own
//! record goes to all members when it is due for renewal, when our addresses change, and when our load took a clear step.
//!
//! Whom we lost is dialled again, with growing waits, and forgotten after many failures; meanwhile it counts as dead.
//!
//! Invariant: only our own link makes a member and ends one; a rumour makes us dial.

mod contact;
mod own;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use contact::{Contact, Stage};
use nearmesh_common::{
    NodeId, Now, UnixMillis, codec,
    presence::MAX_ADDRESSES,
    signed::{Signed, Verified},
    supernode_record::{LIFETIME, SupernodeRecord},
    wire::{NodeAddress, home::MAX_SUPERNODE_LIST, mesh::Mesh},
};
use own::Own;

use super::{CloseReason, budget::Charge, world::World};

/// Most supernodes that are known: a full mesh of 64, its newcomers and its dead, many times over (guess).
pub(super) const MAX_MEMBERS: usize = 1024;
/// Dials under way at once (guess: a handshake costs some 10 kB).
const MAX_DIALS: usize = 64;

/// What happened to the membership.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Say hello.
    Greet(NodeId),
    /// It is a member now.
    Up(NodeId),
    /// It is no member any more.
    Down(NodeId),
}

/// All known supernodes.
#[derive(Debug)]
pub(super) struct Membership {
    own: Own,
    contacts: BTreeMap<NodeId, Contact>,
    events: VecDeque<Event>,
}

impl Membership {
    pub(super) fn new(addresses: Vec<SocketAddr>, capacity: u32, world: &World) -> Self {
        Self { own: Own::new(addresses, capacity, world), contacts: BTreeMap::new(), events: VecDeque::new() }
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Our own record, as it was signed last.
    pub(super) fn own_record(&self) -> &Verified<SupernodeRecord> {
        self.own.record()
    }

    pub(super) fn is_serving(&self) -> bool {
        self.own.record().content.serving
    }

    pub(super) fn is_member(&self, node: &NodeId) -> bool {
        self.contacts.get(node).is_some_and(|contact| contact.stage == Stage::Member)
    }

    /// The members' ids, without our own.
    pub(super) fn members(&self) -> impl Iterator<Item = NodeId> {
        self.contacts.iter().filter(|(_, contact)| contact.stage == Stage::Member).map(|(node, _)| *node)
    }

    /// The members' records, our own first.
    pub(super) fn records(&self) -> impl Iterator<Item = &Verified<SupernodeRecord>> {
        let members = self.contacts.values().filter(|contact| contact.stage == Stage::Member);
        std::iter::once(self.own.record()).chain(members.filter_map(|contact| contact.record.as_ref()))
    }

    /// The members' records as they travel, our own first.
    pub(super) fn list(&self) -> Vec<Signed<SupernodeRecord>> {
        self.records().take(MAX_SUPERNODE_LIST).map(|record| record.signed.clone()).collect()
    }

    /// Supernodes learnt elsewhere.
    pub(super) fn handle_candidates(&mut self, candidates: Vec<NodeAddress>, world: &mut World) {
        for address in candidates.into_iter().take(MAX_MEMBERS) {
            if address.node != world.own() && !address.addresses.is_empty() {
                self.learn(address, world);
            }
        }
        self.dial_due(world);
    }

    /// A link opened: greet whom we wanted to reach.
    pub(super) fn on_link_up(&mut self, node: NodeId) {
        let wanted = |contact: &&mut Contact| matches!(contact.stage, Stage::Dialling { .. });
        if let Some(contact) = self.contacts.get_mut(&node).filter(wanted) {
            contact.greeted = true;
            self.events.push_back(Event::Greet(node));
        }
    }

    /// A link, or the attempt at one, ended.
    pub(super) fn on_link_gone(&mut self, node: &NodeId, world: &mut World) {
        let Some(contact) = self.contacts.get_mut(node) else { return };
        if contact.stage == Stage::Member {
            self.events.push_back(Event::Down(*node));
        }
        contact.fail(world);
        self.dial_due(world);
    }

    /// A supernode says who it is.
    pub(super) fn on_hello(&mut self, from: NodeId, signed: Signed<SupernodeRecord>, world: &mut World) {
        if from == world.own() || !self.is_serving() || !world.charge(&from, Charge::Record, 1) {
            return;
        }
        let record = world.record(signed).filter(|record| record.content.node == from);
        let Some(record) = record else { return world.close(from, CloseReason::Misbehaved) };
        let address = NodeAddress { node: from, addresses: record.content.addresses.clone() };
        if !self.learn(address, world) {
            return world.strange(&from, "a supernode too many");
        }
        let news = self.adopt(record);
        let Some(contact) = self.contacts.get_mut(&from) else { return };
        if !contact.serves() {
            return;
        }
        if !std::mem::replace(&mut contact.greeted, true) {
            self.events.push_back(Event::Greet(from));
        }
        contact.tries = 0;
        if std::mem::replace(&mut contact.stage, Stage::Member) == Stage::Member {
            return;
        }
        self.events.push_back(Event::Up(from));
        if news == News::Newcomer {
            self.rumour(from, from, world);
        }
    }

    /// Records that may be news.
    pub(super) fn on_members(
        &mut self,
        from: NodeId,
        records: Vec<Signed<SupernodeRecord>>,
        world: &mut World,
    ) {
        for signed in records {
            if self.is_stale(&signed, world) {
                continue;
            }
            if !world.charge(&from, Charge::Record, 1) {
                break;
            }
            if let Some(record) = world.record(signed) {
                self.on_record(from, record, world);
            }
        }
        self.dial_due(world);
    }

    /// Where we are reached has changed.
    pub(super) fn handle_addresses(&mut self, addresses: Vec<SocketAddr>, world: &mut World) {
        if self.own.set_addresses(addresses, world) {
            self.tell_all(&Mesh::Members(vec![self.own.record().signed.clone()]), world);
        }
    }

    /// We have so many children.
    pub(super) fn handle_load(&mut self, children: usize, world: &mut World) {
        self.own.set_children(children);
        self.renew(world);
    }

    /// We stop being a supernode.
    pub(super) fn handle_step_down(&mut self, world: &mut World) {
        self.own.step_down(world);
        self.tell_all(&Mesh::Members(vec![self.own.record().signed.clone()]), world);
    }

    /// Contacts whose records do not hold any more, after a revocation: forgotten. Returns who they were.
    pub(super) fn drop_revoked(&mut self, world: &World) -> Vec<NodeId> {
        let revoked = |_: &NodeId, contact: &mut Contact| {
            let signed = contact.record.as_ref().map(|record| record.signed.clone());
            signed.is_some_and(|signed| world.keyring.verify(signed, world.now.wall).is_err())
        };
        let gone: Vec<_> = self.contacts.extract_if(.., revoked).collect();
        for (node, contact) in &gone {
            if contact.stage == Stage::Member {
                self.events.push_back(Event::Down(*node));
            }
        }
        gone.into_iter().map(|(node, _)| node).collect()
    }

    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        self.renew(world);
        self.expire(world);
        let overdue: Vec<_> = self.overdue(world.now.instant);
        for node in overdue {
            if let Some(contact) = self.contacts.get_mut(&node) {
                contact.fail(world);
            }
        }
        self.contacts.retain(|_, contact| !contact.is_hopeless());
        self.dial_due(world);
    }

    pub(super) fn poll_timeout(&self, now: Now) -> Option<Instant> {
        let dialling =
            self.contacts.values().filter(|contact| matches!(contact.stage, Stage::Dialling { .. })).count();
        let may_dial = dialling < MAX_DIALS && self.is_serving();
        let waits = self.contacts.values().filter_map(|contact| match contact.stage {
            Stage::Dialling { until } => Some(until),
            Stage::Resting { at } => (may_dial && contact.may_serve()).then_some(at),
            Stage::Member => None,
        });
        let expiries = self.contacts.values().filter_map(|contact| contact.expires()).min();
        let expiry = expiries.map(|expiry| now.instant + expiry.since(now.wall));
        waits.chain(expiry).chain([self.own.due()]).min()
    }

    fn on_record(&mut self, from: NodeId, record: Verified<SupernodeRecord>, world: &mut World) {
        let node = record.content.node;
        let address = NodeAddress { node, addresses: record.content.addresses.clone() };
        let serving = record.content.serving;
        if !serving && !self.contacts.contains_key(&node) || serving && !self.learn(address, world) {
            return;
        }
        let news = self.adopt(record);
        if !serving {
            self.rumour(node, from, world);
            let Some(contact) = self.contacts.get_mut(&node) else { return };
            if std::mem::replace(&mut contact.stage, Stage::Resting { at: world.now.instant })
                == Stage::Member
            {
                self.events.push_back(Event::Down(node));
            }
            return;
        }
        if news == News::Newcomer {
            self.rumour(node, from, world);
        }
        // Somebody saw it alive: no reason to wait any longer.
        let resting = |contact: &&mut Contact| matches!(contact.stage, Stage::Resting { .. });
        if let Some(contact) = self.contacts.get_mut(&node).filter(resting).filter(|_| news != News::None) {
            contact.tries = 0;
            contact.stage = Stage::Resting { at: world.now.instant };
        }
    }

    /// Takes a record in place of an older one.
    fn adopt(&mut self, record: Verified<SupernodeRecord>) -> News {
        let Some(contact) = self.contacts.get_mut(&record.content.node) else { return News::None };
        let sequence = contact.record.as_ref().map(|known| known.content.sequence);
        match sequence {
            Some(known) if known >= record.content.sequence => News::None,
            known => {
                contact.addresses = record.content.addresses.clone();
                contact.record = Some(record);
                if known.is_none() { News::Newcomer } else { News::Renewed }
            }
        }
    }

    /// Whether there is nothing new in it, as far as can be told without checking its signature.
    fn is_stale(&self, signed: &Signed<SupernodeRecord>, world: &World) -> bool {
        let Ok(claimed) = codec::decode::<SupernodeRecord>(&signed.payload) else { return false };
        let known = self.contacts.get(&claimed.node).and_then(|contact| contact.record.as_ref());
        claimed.node == world.own() || known.is_some_and(|known| known.content.sequence >= claimed.sequence)
    }

    /// Makes sure that a supernode is among the contacts; whether it is.
    fn learn(&mut self, address: NodeAddress, world: &World) -> bool {
        if self.contacts.contains_key(&address.node) {
            return true;
        }
        if self.contacts.len() >= MAX_MEMBERS {
            let resting =
                self.contacts.iter().filter(|(_, contact)| matches!(contact.stage, Stage::Resting { .. }));
            let worst = resting.max_by_key(|(_, contact)| contact.tries).map(|(node, _)| *node);
            let Some(worst) = worst else { return false };
            self.contacts.remove(&worst);
        }
        let mut addresses = address.addresses;
        addresses.truncate(MAX_ADDRESSES);
        self.contacts.insert(address.node, Contact::new(addresses, world.now));
        true
    }

    fn dial_due(&mut self, world: &mut World) {
        if !self.is_serving() {
            return;
        }
        let dialling = |contact: &Contact| matches!(contact.stage, Stage::Dialling { .. });
        let mut room =
            MAX_DIALS.saturating_sub(self.contacts.values().filter(|contact| dialling(contact)).count());
        for (node, contact) in &mut self.contacts {
            let due = matches!(contact.stage, Stage::Resting { at } if at <= world.now.instant);
            if !due || room == 0 || !contact.may_serve() {
                continue;
            }
            room -= 1;
            contact.begin_dial(world.now);
            if world.links.contains(node) {
                // It is linked already, as a child of ours, or we of its.
                contact.greeted = true;
                self.events.push_back(Event::Greet(*node));
            } else {
                world.dial(NodeAddress { node: *node, addresses: contact.addresses.clone() });
            }
        }
    }

    fn overdue(&self, now: Instant) -> Vec<NodeId> {
        let overdue = |contact: &Contact| matches!(contact.stage, Stage::Dialling { until } if until <= now);
        self.contacts.iter().filter(|(_, contact)| overdue(contact)).map(|(node, _)| *node).collect()
    }

    /// Records that were not renewed are no longer believed.
    fn expire(&mut self, world: &mut World) {
        for (node, contact) in &mut self.contacts {
            if contact.expires().is_none_or(|expiry| expiry > world.now.wall) {
                continue;
            }
            let over = contact.record.take().is_some_and(|record| !record.content.serving);
            contact.tries = if over { contact::MAX_TRIES } else { contact.tries };
            if contact.stage == Stage::Member {
                self.events.push_back(Event::Down(*node));
                world.close(*node, CloseReason::Unneeded);
            }
        }
    }

    fn renew(&mut self, world: &mut World) {
        if self.own.renew(world) {
            self.tell_all(&Mesh::Members(vec![self.own.record().signed.clone()]), world);
        }
    }

    /// Tells everybody of `node`, except itself and who told us.
    fn rumour(&self, node: NodeId, from: NodeId, world: &mut World) {
        let record = self.contacts.get(&node).and_then(|contact| contact.record.as_ref());
        let Some(signed) = record.map(|record| record.signed.clone()) else { return };
        for member in self.members().filter(|member| *member != node && *member != from) {
            world.tell_mesh(member, Mesh::Members(vec![signed.clone()]));
        }
    }

    fn tell_all(&self, message: &Mesh, world: &mut World) {
        self.members().for_each(|member| world.tell_mesh(member, message.clone()));
    }
}

/// What a record told us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Newcomer,
    Renewed,
    None,
}

/// When a record of this age is no longer believed.
fn expiry(sequence: UnixMillis) -> UnixMillis {
    sequence.after(LIFETIME)
}
