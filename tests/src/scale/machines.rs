//! Between machines and network: inputs go in, outputs come out and become events.

use std::{sync::Arc, time::Instant};

use crate::{
    sim::message_kind,
    workload::{FileId, Node},
};
use nearmesh_common::{
    NodeId, Now, UnixMillis,
    nat::Reach,
    presence::{LIFETIME, Presence, REFRESH},
    signed::{Keyring, Signed},
    wire::{
        LinkMessage, NodeAddress,
        file::{Change, FileEntry, FileNumber, JournalMark, Kind, MAX_BATCH},
        home::ToHome,
    },
};
use nearmesh_supernode::proto::{self as supernode, Supernode};
use rand::RngExt;

use super::{
    Event, Net,
    asking::NO_CAUSE,
    calendar::{Moment, nanos},
    links::{Role, Side},
    names::{self, NOBODY, Peer},
};

/// The round trip of a process to itself: 20 us.
pub(super) const OWN_RTT: Moment = 20_000;
/// Shortest wait between two wakes of one machine.
const LEAST_WAKE: Moment = 1000;

/// What a machine made of an input.
struct Made {
    /// Of the message in which it came.
    kind: &'static str,
    outputs: Vec<supernode::Output>,
    wake: Option<Instant>,
}

/// A supernode's machine, and what its process said.
pub(super) struct Super {
    pub(super) machine: Supernode,
    wake: Moment,
    /// What it made of its last input, until that is carried out.
    made: Option<Made>,
    /// Bytes sent and received since the last reset.
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Super {
    /// Whether it is to be woken then.
    pub(super) fn wakes_at(&self, at: Moment) -> bool {
        self.wake == at
    }

    /// Gives its machine an input, which came in a message of this kind, and keeps what that makes of it.
    pub(super) fn work(&mut self, input: supernode::Input, kind: &'static str, now: Now) {
        assert!(self.made.is_none(), "something happened before what was worked out in advance");
        self.machine.handle(input, now);
        let outputs = std::iter::from_fn(|| self.machine.poll_output()).collect();
        self.made = Some(Made { kind, outputs, wake: self.machine.poll_timeout() });
    }
}

/// What a message is to the supernode that it reaches; nothing if it is for the node.
pub(super) fn input_of(from: NodeId, message: LinkMessage) -> Option<supernode::Input> {
    match message {
        LinkMessage::ToHome(message) => Some(supernode::Input::FromChild { from, message }),
        LinkMessage::Mesh(message) => Some(supernode::Input::FromMesh { from, message }),
        LinkMessage::ToChild(_) | LinkMessage::Pulse(_) => None,
    }
}

impl Net {
    /// A peer begins to serve: its supernode machine starts, and its node becomes its own child.
    pub(super) fn begin_serving(&mut self, peer: Peer, known: &[Peer]) {
        let now = self.calendar.moment();
        let keyring: Arc<dyn Keyring> = Arc::new(names::keyring(self.seed, peer));
        let config = supernode::Config { capacity: self.capacity_of(peer) };
        let seed: [u8; 32] = self.rng.random();
        let machine = Supernode::new(config, keyring, vec![names::address(peer)], seed, now);
        self.supers[peer as usize] =
            Some(Box::new(Super { machine, wake: 0, made: None, sent: 0, received: 0 }));
        self.sides[peer as usize].widen();
        self.serving.insert(peer);
        self.children[peer as usize].serves = true;
        let addresses =
            known.iter().filter(|known| **known != peer).map(|known| self.address_of(*known)).collect();
        self.tell_super(peer, supernode::Input::Candidates(addresses), NO_CAUSE);
    }

    pub(super) fn address_of(&self, peer: Peer) -> NodeAddress {
        NodeAddress { node: names::node(self.seed, peer), addresses: vec![names::address(peer)] }
    }

    /// Hands an input to a supernode's machine, and does what it wants.
    pub(super) fn tell_super(&mut self, peer: Peer, input: supernode::Input, cause: u32) {
        let now = self.calendar.moment();
        let Some(running) = &mut self.supers[peer as usize] else { return };
        running.work(input, "", now);
        self.carry_out(peer, cause);
    }

    /// Does what a supernode's machine wants after its last input.
    fn carry_out(&mut self, peer: Peer, cause: u32) {
        let made = self.supers[peer as usize].as_mut().and_then(|running| running.made.take());
        let Some(Made { outputs, wake, .. }) = made else { return };
        outputs.into_iter().for_each(|output| self.obey(peer, output, cause));
        self.plan_super(peer, wake);
    }

    pub(super) fn wake_super(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let Some(running) = &mut self.supers[peer as usize] else { return };
        if running.wakes_at(now) {
            running.wake = 0;
            if running.made.is_none() {
                running.work(supernode::Input::Timeout, "", self.calendar.moment());
            }
            self.carry_out(peer, NO_CAUSE);
        }
    }

    fn plan_super(&mut self, peer: Peer, wake: Option<Instant>) {
        let now = self.calendar.now();
        let Some(running) = &mut self.supers[peer as usize] else { return };
        let Some(at) = wake else { return };
        let at = self.calendar.of(at).max(now + LEAST_WAKE);
        if running.wake == 0 || at < running.wake || running.wake <= now {
            running.wake = at;
            self.calendar.at(at, Event::WakeSuper(peer));
        }
    }

    fn obey(&mut self, peer: Peer, output: supernode::Output, cause: u32) {
        match output {
            supernode::Output::Send { to, message } => self.send(peer, names::peer(&to), message, cause),
            supernode::Output::Dial(address) => self.dial(peer, Role::Supernode, names::peer(&address.node)),
            supernode::Output::Release(node) => self.release(peer, node),
            supernode::Output::Close { node, .. } => self.close(peer, Role::Supernode, names::peer(&node)),
            supernode::Output::SendDialBack { token, asker, .. } => {
                if let Some(asker) = asker {
                    let input = supernode::Input::DialBackSent { asker, token, port: Some(4001) };
                    self.calendar.at(self.calendar.now(), Event::Tell(peer, Box::new(input)));
                }
            }
            supernode::Output::OfferedCrl(_) => {}
        }
    }

    /// A node says something to a supernode.
    pub(super) fn say(&mut self, from: Peer, to: Peer, message: ToHome) {
        self.say_because(from, to, message, NO_CAUSE);
    }

    pub(super) fn say_because(&mut self, from: Peer, to: Peer, message: ToHome, cause: u32) {
        if to != NOBODY {
            self.send(from, to, LinkMessage::ToHome(message), cause);
        }
    }

    pub(super) fn send(&mut self, from: Peer, to: Peer, message: LinkMessage, handling: u32) {
        let now = self.calendar.now();
        let way = self.way(from, to);
        let Some(side) = self.side_mut(from, to).filter(|side| side.up) else {
            self.traffic.unsent += 1;
            return;
        };
        let (before, at) = (side.arrives, side.arrives.max(now + way));
        side.arrives = at;
        let link = side.id;
        self.note_spoken((from, to), before);
        let cause = match message {
            LinkMessage::ToHome(_) => handling,
            _ => self.asking.cause((from, to), &message, handling, now),
        };
        if from != to {
            let bytes = self.traffic.note(&message);
            if let Some(sender) = &mut self.supers[from as usize] {
                sender.sent += bytes;
            }
            if let Some(receiver) = &mut self.supers[to as usize] {
                receiver.received += bytes;
            }
            if cause != NO_CAUSE && matches!(message, LinkMessage::Mesh(_)) {
                self.asking.note_bytes(cause, bytes);
            }
        }
        self.calendar.at(at, Event::Deliver { link, from, to, cause, message: Some(Box::new(message)) });
    }

    /// A packet arrives.
    pub(super) fn deliver(
        &mut self,
        link: u32,
        (from, to): (Peer, Peer),
        message: Option<Box<LinkMessage>>,
        cause: u32,
    ) {
        let now = self.calendar.now();
        let Some(message) = message else {
            let made = self.supers[to as usize].as_ref().and_then(|running| running.made.as_ref());
            self.digest.note(now, from, to, made.map_or("", |made| made.kind));
            return self.carry_out(to, cause);
        };
        if !self.is_open(link, (from, to)) {
            return;
        }
        self.digest.note(now, from, to, message_kind(&message));
        match self.tampered((from, to), *message) {
            Some(LinkMessage::ToChild(message)) => self.child_hears(to, from, message),
            Some(message) => {
                if let Some(input) = input_of(names::node(self.seed, from), message) {
                    self.tell_super(to, input, cause);
                }
            }
            None => {}
        }
    }

    /// Whether what was sent on this link arrives.
    pub(super) fn is_open(&self, link: u32, (from, to): (Peer, Peer)) -> bool {
        let side = self.sides.get(to as usize).and_then(|sides| sides.get(from));
        side.is_some_and(|side| side.id == link && side.up) && !self.separated(from, to)
    }

    /// Opens a link, or says that there is one.
    pub(super) fn dial(&mut self, from: Peer, role: Role, to: Peer) {
        let now = self.calendar.now();
        if let Some(side) = self.side_mut(from, to) {
            side.add(role);
            if side.up {
                let link = side.id;
                self.calendar.at(now, Event::Reused { from, to, link, role });
            }
            return;
        }
        self.links += 1;
        let link = self.links;
        self.sides[from as usize].insert(to, Side::new(link, role, false));
        if self.answers(from, to) {
            let handshake = self.rtt(from, to) * 3 / 2;
            self.calendar.at(now + handshake, Event::Established { from, to, link });
        } else {
            self.calendar
                .at(now + nanos(nearmesh::daemon::DIAL_TIMEOUT), Event::DialFailed { from, to, link });
        }
    }

    pub(super) fn establish(&mut self, from: Peer, to: Peer, link: u32) {
        if self.side_mut(from, to).is_none_or(|side| side.id != link || side.up) {
            return;
        }
        if !self.answers(from, to) {
            let at = self.calendar.now() + nanos(nearmesh::daemon::DIAL_TIMEOUT);
            return self.calendar.at(at, Event::DialFailed { from, to, link });
        }
        let mut wanted_there = None;
        if from != to {
            if self.side_mut(to, from).is_some_and(|side| side.up) {
                // It restarted before its end was noticed here.
                self.end_link(to, from);
            }
            let mut there = Side::new(link, Role::Supernode, true);
            if let Some(dialling) = self.side_mut(to, from).copied()
                && dialling.serves(Role::Client)
            {
                there.add(Role::Client);
                wanted_there = Some(Role::Client);
            }
            self.sides[to as usize].insert(from, there);
        }
        if let Some(side) = self.side_mut(from, to) {
            side.up = true;
            if from == to {
                side.add(Role::Supernode);
            }
        }
        self.super_link_up(to, from);
        if wanted_there.is_some() {
            self.child_link_up(to, from);
        }
        let here = self.side_mut(from, to).copied();
        if from != to && here.is_some_and(|side| side.serves(Role::Supernode)) {
            self.super_link_up(from, to);
        }
        if here.is_some_and(|side| side.serves(Role::Client)) {
            self.child_link_up(from, to);
        }
    }

    /// A link that the process had already serves one more of its machines.
    pub(super) fn reused(&mut self, (from, to): (Peer, Peer), link: u32, role: Role) {
        if self.side_mut(from, to).is_none_or(|side| side.id != link || !side.serves(role)) {
            return;
        }
        match role {
            Role::Client => self.child_link_up(from, to),
            Role::Supernode => self.super_link_up(from, to),
        }
    }

    fn super_link_up(&mut self, peer: Peer, other: Peer) {
        let node = names::node(self.seed, other);
        let rtt = std::time::Duration::from_nanos(self.shown_rtt(peer, other));
        let observed = names::address(other);
        let peer_of = supernode::Peer { node, user: names::user(other), observed };
        self.tell_super(peer, supernode::Input::LinkUp { peer: peer_of }, NO_CAUSE);
        self.tell_super(peer, supernode::Input::Rtt { node, rtt }, NO_CAUSE);
    }

    pub(super) fn dial_failed(&mut self, from: Peer, to: Peer, link: u32) {
        if self.side_mut(from, to).is_none_or(|side| side.id != link) {
            return;
        }
        let Some(side) = self.sides[from as usize].remove(to) else { return };
        if side.serves(Role::Supernode) {
            let node = names::node(self.seed, to);
            self.tell_super(from, supernode::Input::DialFailed { node }, NO_CAUSE);
        }
        if side.serves(Role::Client) {
            self.child_link_gone(from, to);
        }
    }

    /// Its supernode needs the link no more; its own node may.
    fn release(&mut self, peer: Peer, node: NodeId) {
        let other = names::peer(&node);
        if self.sides[peer as usize].get(other).is_none_or(|side| !side.serves(Role::Client)) {
            self.close(peer, Role::Supernode, other);
            let down = Box::new(supernode::Input::LinkDown { node });
            self.calendar.at(self.calendar.now(), Event::Tell(peer, down));
        }
    }

    /// One machine of `from` needs the link no more. The other end hears of it after everything that was sent before.
    pub(super) fn close(&mut self, from: Peer, role: Role, to: Peer) {
        let way = self.way(from, to);
        let now = self.calendar.now();
        let Some(side) = self.side_mut(from, to).filter(|side| side.serves(role)) else { return };
        if !side.release(role) {
            return;
        }
        let (link, at) = (side.id, side.arrives.max(now + way));
        self.sides[from as usize].remove(to);
        self.calendar.at(at, Event::Down { at: to, other: from, link });
    }

    /// The end of a link is noticed at one end.
    pub(super) fn down(&mut self, at: Peer, other: Peer, link: u32) {
        if self.side_mut(at, other).is_some_and(|side| side.id == link) {
            self.end_link(at, other);
        }
    }

    fn end_link(&mut self, at: Peer, other: Peer) {
        let Some(side) = self.sides[at as usize].remove(other) else { return };
        if self.supers[at as usize].is_some() {
            let node = names::node(self.seed, other);
            self.tell_super(at, supernode::Input::LinkDown { node }, NO_CAUSE);
        }
        if side.serves(Role::Client) {
            self.child_link_gone(at, other);
        }
    }

    pub(super) fn side_mut(&mut self, peer: Peer, other: Peer) -> Option<&mut Side> {
        self.sides.get_mut(peer as usize)?.get_mut(other)
    }

    /// Whether the node can speak to a supernode now.
    pub(super) fn speaks(&self, peer: Peer, other: Peer) -> bool {
        self.sides[peer as usize].get(other).is_some_and(|side| side.up && side.serves(Role::Client))
    }

    /// Whether a supernode answers what this peer sends it.
    pub(super) fn answers(&self, peer: Peer, other: Peer) -> bool {
        self.supers.get(other as usize).is_some_and(Option::is_some) && !self.separated(peer, other)
    }

    pub(super) fn rtt(&self, a: Peer, b: Peer) -> Moment {
        let place = |peer: Peer| self.children.get(peer as usize).map(|child| child.place);
        match (place(a), place(b)) {
            (Some(here), Some(there)) if a != b => nanos(here.rtt(there)),
            _ => OWN_RTT,
        }
    }

    /// How long one packet takes this time, lost ones included.
    fn way(&mut self, from: Peer, to: Peer) -> Moment {
        let rtt = self.rtt(from, to);
        let mut way = rtt / 2;
        if from != to && self.setup.loss > 0.0 {
            let mut timeout = (rtt * 2).max(10_000_000);
            for _ in 0..6 {
                if !self.rng.random_bool(self.setup.loss) {
                    break;
                }
                way += timeout;
                timeout *= 2;
            }
        }
        way
    }

    /// Signs that `peer` is at `home`.
    pub(super) fn presence(&mut self, peer: Peer, home: Peer, online: bool) -> Signed<Presence> {
        let wall = self.calendar.moment().wall;
        let child = &mut self.children[peer as usize];
        child.sequence = wall.0.max(child.sequence + 1);
        let sequence = UnixMillis(child.sequence);
        let reachable = child.reachable;
        let keyring: &dyn Keyring = &names::keyring(self.seed, peer);
        keyring.seal(&Presence {
            node: keyring.node(),
            sequence,
            since: sequence,
            expires: sequence.after(LIFETIME),
            addresses: vec![names::address(peer)],
            home: names::node(self.seed, home),
            reach: if reachable {
                Reach::Reachable
            } else {
                Reach::Behind(nearmesh_common::nat::Nat::default())
            },
            relays: false,
            online,
        })
    }

    pub(super) fn refresh(&mut self, peer: Peer) {
        let home = self.children[peer as usize].home;
        if home == NOBODY {
            self.children[peer as usize].refresh_at = 0;
            return;
        }
        self.children[peer as usize].refresh_at = self.calendar.now() + nanos(REFRESH);
        let presence = self.presence(peer, home, true);
        self.say(peer, home, ToHome::Refresh(presence));
    }

    /// A batch of a node's journal after `registered` changes, and where it ends.
    pub(super) fn changes(&self, peer: Peer, registered: u32) -> (u64, Vec<Change>) {
        let files = self.workload.files_of(Node(peer));
        let upto = files.len().min(registered as usize + MAX_BATCH);
        let entry = |(number, file): (usize, FileId)| {
            Change::Add(FileEntry {
                number: FileNumber(number as u32),
                name: self.workload.name(file).into(),
                size: self.workload.size(file),
                hash: self.workload.hash(file),
                kind: Kind::Audio,
                tags: None,
            })
        };
        let batch = files.enumerate().take(upto).skip(registered as usize);
        (upto as u64, batch.map(entry).collect())
    }

    pub(super) fn journal(&self, peer: Peer) -> JournalMark {
        JournalMark { epoch: 1 + u64::from(peer), revision: u64::from(self.children[peer as usize].files) }
    }
}
