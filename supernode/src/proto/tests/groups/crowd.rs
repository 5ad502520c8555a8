//! Hundreds of supernodes in memory, each at a place of its own, under virtual time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UnixMillis, codec,
    wire::{LinkMessage, mesh::Mesh},
};

use crate::proto::{
    Config, Input, Output, Peer, Supernode,
    testing::{FakeKeyring, Revoked, address, node, start, user},
};

/// How long a death goes unnoticed, and a dial to somebody dead lasts.
const SILENCE: Duration = Duration::from_secs(4);
const DIAL: Duration = Duration::from_secs(5);

enum Event {
    Link(NodeId, NodeId),
    Down(NodeId, NodeId),
    DialFailed(NodeId, NodeId),
    Message(NodeId, NodeId, Box<Mesh>),
}

/// All of them.
pub(super) struct Crowd {
    pub(super) now: Now,
    pub(super) supernodes: BTreeMap<NodeId, Supernode>,
    /// Dials since it was set to 0.
    pub(super) dials: usize,
    /// Bytes sent since it was set to 0, if they are to be counted.
    pub(super) bytes: Option<usize>,
    /// Who does not do what it should: it answers nothing by itself.
    pub(super) puppets: BTreeSet<NodeId>,
    began: Now,
    revoked: Revoked,
    links: BTreeSet<(NodeId, NodeId)>,
    events: BTreeMap<(Instant, u64), Event>,
    timers: BTreeSet<(Instant, NodeId)>,
    timer_of: BTreeMap<NodeId, Instant>,
    numbers: u64,
    halves: bool,
}

pub(super) fn name(number: usize) -> String {
    format!("s{number}")
}

impl Crowd {
    pub(super) fn new() -> Self {
        let now = Now { instant: start(), wall: UnixMillis(1_700_000_000_000) };
        Self {
            now,
            supernodes: BTreeMap::new(),
            dials: 0,
            bytes: None,
            puppets: BTreeSet::new(),
            began: now,
            revoked: Revoked::default(),
            links: BTreeSet::new(),
            events: BTreeMap::new(),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            numbers: 0,
            halves: false,
        }
    }

    /// So many, who came one after the other, each knowing one who was there, and some minutes later.
    pub(super) fn of(count: usize) -> Self {
        let mut crowd = Self::new();
        for number in 0..count {
            crowd.start(number);
            crowd.run(Duration::from_millis(200));
        }
        crowd.run(Duration::from_secs(300));
        crowd
    }

    pub(super) fn keyring(&self, name: &str) -> FakeKeyring {
        FakeKeyring::new(name, self.revoked.clone())
    }

    /// One more, who knows one that came before it.
    pub(super) fn start(&mut self, number: usize) {
        self.start_knowing(number, &format!("s{}", number.saturating_sub(1) * 7 / 10));
    }

    /// One more, who knows this one.
    pub(super) fn start_knowing(&mut self, number: usize, knows: &str) {
        let name = name(number);
        let seed = *blake3::hash(name.as_bytes()).as_bytes();
        let keyring = std::sync::Arc::new(self.keyring(&name));
        let supernode = Supernode::new(Config::default(), keyring, address(&name).addresses, seed, self.now);
        self.supernodes.insert(node(&name), supernode);
        self.hand(node(&name), Input::Candidates(vec![address(knows)]));
    }

    /// They die in the same moment.
    pub(super) fn kill(&mut self, dead: &[NodeId]) {
        for dead in dead {
            self.supernodes.remove(dead);
            self.set_timer(*dead, None);
            let peers = self.links.range((*dead, NodeId([0; 32]))..=(*dead, NodeId([255; 32])));
            for (_, peer) in peers.cloned().collect::<Vec<_>>() {
                self.unlink(*dead, peer);
                self.post(SILENCE, Event::Down(peer, *dead));
            }
        }
    }

    /// The net falls apart into two halves, or is whole again.
    pub(super) fn part(&mut self, halves: bool) {
        self.halves = halves;
        if halves {
            let cut: Vec<_> = self.links.iter().filter(|(a, b)| !self.reaches(a, b)).copied().collect();
            for (a, b) in cut {
                self.unlink(a, b);
                self.post(SILENCE, Event::Down(a, b));
            }
        }
    }

    /// Which half somebody is in.
    pub(super) fn is_left(node: &NodeId) -> bool {
        node.0[20] < 128
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timer = self.timers.first().map(|(at, _)| *at);
            let Some(at) = event.into_iter().chain(timer).min().filter(|at| *at <= end) else { break };
            self.step_to(at.max(self.now.instant));
            if event.is_some_and(|event| event <= at) {
                if let Some((_, event)) = self.events.pop_first() {
                    self.deliver(event);
                }
            } else if let Some((_, node)) = self.timers.pop_first() {
                self.timer_of.remove(&node);
                self.hand(node, Input::Timeout);
            }
        }
        self.step_to(end);
    }

    pub(super) fn hand(&mut self, to: NodeId, input: Input) {
        let now = self.now;
        let Some(supernode) = self.supernodes.get_mut(&to) else { return };
        supernode.handle(input, now);
        while let Some(output) = self.supernodes.get_mut(&to).and_then(Supernode::poll_output) {
            self.obey(to, output);
        }
        let timer = self.supernodes.get(&to).and_then(Supernode::poll_timeout);
        self.set_timer(to, timer);
    }

    /// The way from one to another as the machines would pass something on, without both ends; `None` if there is none.
    pub(super) fn way(&self, from: &NodeId, to: &NodeId) -> Option<usize> {
        let mut at = *from;
        for hops in 0..3 {
            let (membership, world) = self.supernodes.get(&at)?.membership();
            let next = membership.route(to, world)?;
            if !self.links.contains(&(at, next)) {
                return None;
            }
            if next == *to {
                return Some(hops);
            }
            at = next;
        }
        None
    }

    /// How many have no way to how many others, among those that `which` picks.
    pub(super) fn lost_ways(&self, which: impl Fn(&NodeId, &NodeId) -> bool) -> usize {
        let mut lost = 0;
        for from in self.supernodes.keys() {
            for to in self.supernodes.keys().filter(|to| *to != from && which(from, to)) {
                if self.way(from, to).is_none() {
                    lost += 1;
                }
            }
        }
        lost
    }

    /// The same, at the best moment of the next second: that a link was closed arrives half a round trip later, and who does not know it yet has
    /// no way for as long.
    pub(super) fn lasting_lost_ways(&mut self, which: impl Fn(&NodeId, &NodeId) -> bool) -> usize {
        let mut least = self.lost_ways(&which);
        for _ in 0..5 {
            if least == 0 {
                break;
            }
            self.run(Duration::from_millis(200));
            least = least.min(self.lost_ways(&which));
        }
        least
    }

    /// What is missing of one whole net, divided by so many bits.
    pub(super) fn flaws(&self, bits: u8) -> Vec<String> {
        let mut flaws = Vec::new();
        let all: Vec<NodeId> = self.supernodes.keys().copied().collect();
        for (node, supernode) in &self.supernodes {
            let (membership, world) = supernode.membership();
            let groups = membership.groups();
            if groups.bits() != bits {
                flaws.push(format!("{node:?} sees {} bits", groups.bits()));
                continue;
            }
            let own = groups.of(&node.0);
            let of = |group| all.iter().filter(move |other| groups.of(&other.0) == group && *other != node);
            let mates: BTreeSet<NodeId> = membership.mates().collect();
            if !of(own).all(|other| mates.contains(other)) || mates.len() != of(own).count() {
                flaws.push(format!("{node:?} has {} of {} mates", mates.len(), of(own).count()));
            }
            for group in membership.other_groups() {
                let (has, wanted) = (membership.contacts(group, world).len(), of(group).count().min(2));
                if has < wanted {
                    flaws.push(format!("{node:?} has {has} of {wanted} contacts to {group:?}"));
                }
            }
            let estimate = supernode.estimate() as usize;
            if estimate.abs_diff(all.len()) * 10 > all.len() {
                flaws.push(format!("{node:?} believes in {estimate}"));
            }
        }
        flaws
    }

    /// Waits until nothing is missing any more; what still is, if time is over.
    pub(super) fn flaws_after(&mut self, bits: u8, within: Duration) -> Vec<String> {
        let end = self.now.instant + within;
        loop {
            let flaws = self.flaws(bits);
            if flaws.is_empty() || self.now.instant >= end {
                return flaws;
            }
            self.run(Duration::from_secs(2));
        }
    }

    /// How many links each has: the mean and the most.
    pub(super) fn degrees(&self) -> (usize, usize) {
        let of =
            |node: &NodeId| self.links.range((*node, NodeId([0; 32]))..=(*node, NodeId([255; 32]))).count();
        let most = self.supernodes.keys().map(of).max().unwrap_or_default();
        (self.links.len() / self.supernodes.len().max(1), most)
    }

    /// A round trip: they live on the edge of a disc, up to 200 ms across.
    fn rtt(a: &NodeId, b: &NodeId) -> Duration {
        let apart = a.0[21].wrapping_sub(b.0[21]);
        let apart = u64::from(apart.min(apart.wrapping_neg()));
        Duration::from_micros(2000 + apart * 1500)
    }

    fn reaches(&self, a: &NodeId, b: &NodeId) -> bool {
        !self.halves || Self::is_left(a) == Self::is_left(b)
    }

    fn step_to(&mut self, at: Instant) {
        self.now = self.began.after(at.saturating_duration_since(self.began.instant));
    }

    fn set_timer(&mut self, node: NodeId, at: Option<Instant>) {
        if let Some(before) = self.timer_of.remove(&node) {
            self.timers.remove(&(before, node));
        }
        if let Some(at) = at {
            self.timers.insert((at, node));
            self.timer_of.insert(node, at);
        }
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Link(a, b) if !self.supernodes.contains_key(&b) || !self.reaches(&a, &b) => {
                self.post(DIAL, Event::DialFailed(a, b));
            }
            Event::Link(a, b) => {
                let new = self.links.insert((a, b));
                self.links.insert((b, a));
                if new {
                    // A link that was here before may have ended without a word having arrived yet.
                    self.hand(a, Input::LinkDown { node: b });
                    self.hand(b, Input::LinkDown { node: a });
                    self.link_up(b, a);
                }
                self.link_up(a, b);
            }
            Event::Down(at, node) if self.links.contains(&(at, node)) => {}
            Event::Down(at, node) => self.hand(at, Input::LinkDown { node }),
            Event::DialFailed(at, node) => self.hand(at, Input::DialFailed { node }),
            Event::Message(from, to, message) if self.links.contains(&(from, to)) => {
                if !self.puppets.contains(&to) {
                    self.hand(to, Input::FromMesh { from, message: *message });
                }
            }
            Event::Message(..) => {}
        }
    }

    fn link_up(&mut self, at: NodeId, peer: NodeId) {
        let rtt = Self::rtt(&at, &peer);
        let up = Peer { node: peer, user: user("someone"), observed: ([127, 0, 0, 1], 9).into() };
        self.hand(at, Input::LinkUp { peer: up });
        self.hand(at, Input::Rtt { node: peer, rtt });
    }

    fn unlink(&mut self, a: NodeId, b: NodeId) {
        self.links.remove(&(a, b));
        self.links.remove(&(b, a));
    }

    fn post(&mut self, after: Duration, event: Event) {
        self.numbers += 1;
        self.events.insert((self.now.instant + after, self.numbers), event);
    }

    fn obey(&mut self, at: NodeId, output: Output) {
        match output {
            Output::Dial(address) => {
                self.dials += 1;
                let handshake = Self::rtt(&at, &address.node) * 3 / 2;
                self.post(handshake, Event::Link(at, address.node));
            }
            Output::Release(node) => {
                self.unlink(at, node);
                self.post(Self::rtt(&at, &node) / 2, Event::Down(node, at));
                self.hand(at, Input::LinkDown { node });
            }
            Output::Close { node, .. } => {
                self.unlink(at, node);
                self.post(Self::rtt(&at, &node) / 2, Event::Down(node, at));
            }
            Output::Send { to, message: LinkMessage::Mesh(message) } => {
                let message = LinkMessage::Mesh(message);
                assert!(message.within_bounds(), "{message:?}");
                self.bytes = self.bytes.map(|bytes| bytes + codec::encode(&message).len());
                let LinkMessage::Mesh(message) = message else { return };
                self.post(Self::rtt(&at, &to) / 2, Event::Message(at, to, Box::new(message)));
            }
            _ => {}
        }
    }
}
