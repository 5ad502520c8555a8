//! Thousands of machines that decide together, in a simple model of everything else: homes with loads, news that take time, nodes that
//! look for a place.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::{Duration, Instant},
};

use nearmesh_common::{Now, wire::home::Neighbourhood};
use nearmesh_supernode::proto::neighbourhood;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{Config, Facts, Input, Output, Promotion, Reached, Waits};
use crate::{config::Promote, proto::tests::the_beginning};

pub(super) const CAPACITY: u32 = 100;
/// Places while nobody else has room.
const HARD: usize = 300;
/// Attachments that a home takes in a second.
const RATE: f64 = 100.0;
/// One message between two nodes.
const HOP: Duration = Duration::from_millis(60);
/// How long it takes to find out whether strangers come in.
const VERDICT: Duration = Duration::from_secs(3);
/// A supernode that does not answer is given up after that.
const SILENCE: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Join(usize),
    Try { node: usize, home: usize },
    Seek(usize),
    Verdict(usize),
    Timer(usize),
    Look(usize),
    Leave(usize),
}

struct Node {
    machine: Promotion,
    reachable: bool,
    home: Option<usize>,
    homeless_since: Option<Instant>,
    /// Who did not answer.
    avoids: BTreeSet<usize>,
    /// The earliest timer that is under way.
    timer: Option<Instant>,
}

#[derive(Debug)]
struct Home {
    children: BTreeSet<usize>,
    since: Instant,
    advertised: u32,
    signed_at: Instant,
    told: Neighbourhood,
    /// The state of the net when it was looked at last.
    seen: u64,
    admitted: (Instant, f64),
}

pub(super) struct Net {
    pub(super) now: Now,
    rng: ChaCha8Rng,
    nodes: Vec<Node>,
    homes: BTreeMap<usize, Home>,
    /// Claim room without end, and answer nobody.
    liars: BTreeMap<usize, u32>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    count: u64,
    /// Counts what changes any home's load.
    version: u64,
    /// How often a role changed, and when last.
    pub(super) switches: u64,
    pub(super) longest_wait: Duration,
}

impl Net {
    /// A net whose first supernode is node 0.
    pub(super) fn new(seed: u64) -> Self {
        let now = the_beginning();
        let mut net = Self {
            now,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            homes: BTreeMap::new(),
            liars: BTreeMap::new(),
            events: BinaryHeap::new(),
            count: 0,
            version: 1,
            switches: 0,
            longest_wait: Duration::ZERO,
        };
        net.join(1, Duration::ZERO, 1.0);
        net.run(Duration::from_millis(1));
        net.serve(0);
        net.switches = 0;
        net
    }

    /// So many nodes come in the time `over`; `reachable` of them, as a part of 1, can serve.
    pub(super) fn join(&mut self, count: usize, over: Duration, reachable: f64) {
        for _ in 0..count {
            let at = self.now.instant + over.mul_f64(self.rng.random());
            let node = self.nodes.len();
            let config = Config { promote: Promote::Auto, waits: Waits::default() };
            let machine = Promotion::new(config, self.rng.random(), self.now);
            let reachable = self.rng.random_bool(reachable);
            let avoids = BTreeSet::new();
            let node_of = Node { machine, reachable, home: None, homeless_since: None, avoids, timer: None };
            self.nodes.push(node_of);
            self.at(at, Event::Join(node));
        }
    }

    /// Somebody who claims to have room and no children.
    pub(super) fn lie(&mut self, capacity: u32) {
        self.liars.insert(1_000_000 + self.liars.len(), capacity);
    }

    /// This supernode leaves politely, and so does its node.
    pub(super) fn leave(&mut self, node: usize) {
        self.push(Duration::ZERO, Event::Leave(node));
    }

    pub(super) fn supernodes(&self) -> Vec<usize> {
        self.homes.keys().copied().collect()
    }

    pub(super) fn homeless(&self) -> usize {
        self.nodes.iter().filter(|node| node.homeless_since.is_some()).count()
    }

    pub(super) fn fullest(&self) -> usize {
        self.homes.values().map(|home| home.children.len()).max().unwrap_or(0)
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while self.events.peek().is_some_and(|next| next.0.0 <= end) {
            let Some(Reverse((at, _, event))) = self.events.pop() else { return };
            self.now = self.now.after(at - self.now.instant);
            self.on_event(event);
        }
        self.now = self.now.after(end - self.now.instant);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    fn push(&mut self, wait: Duration, event: Event) {
        self.at(self.now.instant + wait, event);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Join(node) => {
                // Its uptime begins now.
                let config = Config { promote: Promote::Auto, waits: Waits::default() };
                self.nodes[node].machine = Promotion::new(config, self.rng.random(), self.now);
                self.nodes[node].homeless_since = Some(self.now.instant);
                self.push(HOP * 4, Event::Seek(node));
            }
            Event::Seek(node) => self.seek(node),
            Event::Try { node, home } => self.attach(node, home),
            Event::Verdict(node) => {
                let reached = if self.nodes[node].reachable { Reached::ByTwo } else { Reached::No };
                self.tell(node, Input::Facts(Facts { reached, ..Facts::default() }));
            }
            Event::Timer(node) => {
                self.nodes[node].timer = None;
                let due = self.nodes[node].machine.poll_timeout();
                if due.is_some_and(|due| due <= self.now.instant) {
                    self.tell(node, Input::Timeout);
                } else {
                    self.set_timer(node);
                }
            }
            Event::Look(node) => self.look(node),
            Event::Leave(node) => {
                self.step_down(node);
                if let Some(home) = self.nodes[node].home.take() {
                    self.homes.get_mut(&home).map(|home| home.children.remove(&node));
                }
                self.nodes[node].homeless_since = None;
            }
        }
    }

    /// The node has lost its way and asks for a list of supernodes.
    fn seek(&mut self, node: usize) {
        if self.nodes[node].homeless_since.is_none() || self.homes.contains_key(&node) {
            return;
        }
        match self.choose(node, None) {
            Some(home) => self.push(HOP * 2, Event::Try { node, home }),
            None => self.push(Duration::from_secs(1), Event::Seek(node)),
        }
    }

    /// One of those that are heard of to have room, the nearest: it might be any.
    fn choose(&mut self, node: usize, except: Option<usize>) -> Option<usize> {
        let heard = |home: &Home| home.since + HOP * 5 <= self.now.instant;
        let known = self.homes.iter().filter(|(id, home)| Some(**id) != except && heard(home));
        let roomy = known.clone().filter(|(_, home)| home.advertised < CAPACITY).map(|(id, _)| *id);
        let avoids = &self.nodes[node].avoids;
        let mut ids: Vec<_> = roomy
            .chain(self.liars.keys().copied())
            .filter(|id| *id != node && !avoids.contains(id))
            .collect();
        if ids.is_empty() && except.is_none() {
            ids = self.homes.keys().copied().filter(|id| *id != node).collect();
        }
        ids.choose(&mut self.rng).copied()
    }

    fn attach(&mut self, node: usize, to: usize) {
        let moves = self.nodes[node].home.is_some();
        if self.homes.contains_key(&node) || (!moves && self.nodes[node].homeless_since.is_none()) {
            return;
        }
        if let Some(node) = self.nodes.get_mut(node).filter(|_| self.liars.contains_key(&to)) {
            node.avoids.insert(to);
        }
        if !self.homes.contains_key(&to) {
            return self.push(SILENCE, Event::Seek(node));
        }
        let roomy = |home: &Home| home.advertised < CAPACITY;
        let elsewhere = self.homes.iter().any(|(id, home)| *id != to && roomy(home))
            || self.liars.keys().any(|liar| !self.nodes[node].avoids.contains(liar));
        let stretched = |home: &Home| home.advertised as usize >= HARD;
        let less_full = self.homes.iter().any(|(id, home)| *id != to && !stretched(home));
        let now = self.now.instant;
        let home = self.homes.get_mut(&to).unwrap();
        let passed = now.saturating_duration_since(home.admitted.0).as_secs_f64();
        let tokens = (home.admitted.1 + passed * RATE).min(2.0 * RATE);
        home.admitted = (now, tokens);
        let full = home.children.len();
        let has_place = full < CAPACITY as usize || (!elsewhere && full < HARD);
        if has_place && tokens >= 1.0 {
            home.admitted.1 -= 1.0;
            return self.take(node, to);
        }
        if moves {
            return;
        }
        let wait = Duration::from_millis(self.rng.random_range(300..3000));
        match self.choose(node, Some(to)) {
            Some(home) if elsewhere => self.push(HOP * 2, Event::Try { node, home }),
            _ if !less_full && self.rng.random_bool(0.15) => self.take(node, to),
            _ => self.push(wait, Event::Seek(node)),
        }
    }

    fn take(&mut self, node: usize, to: usize) {
        if let Some(old) = self.nodes[node].home.replace(to) {
            self.homes.get_mut(&old).map(|home| home.children.remove(&node));
        } else {
            self.push(VERDICT, Event::Verdict(node));
        }
        if let Some(since) = self.nodes[node].homeless_since.take() {
            self.longest_wait = self.longest_wait.max(self.now.instant - since);
        }
        self.homes.get_mut(&to).unwrap().children.insert(node);
        self.version += 1;
        self.advertise(to);
        self.tell(node, Input::Home(true));
        if self.nodes[node].reachable {
            let around = self.homes[&to].told;
            self.tell(node, Input::Neighbourhood(around));
        }
    }

    fn advertise(&mut self, home: usize) {
        let now = self.now.instant;
        let home = self.homes.get_mut(&home).unwrap();
        let children = home.children.len() as u32 + 1;
        let clear = home.advertised.abs_diff(children) >= CAPACITY / 20;
        if clear && home.signed_at + Duration::from_secs(2) <= now {
            (home.advertised, home.signed_at) = (children, now);
            self.version += 1;
        }
    }

    /// What a supernode does every two seconds: it signs its load, tells it, and sheds what is too much.
    fn look(&mut self, id: usize) {
        if !self.homes.contains_key(&id) {
            return;
        }
        self.advertise(id);
        let home = self.homes.get_mut(&id).unwrap();
        if std::mem::replace(&mut home.seen, self.version) == self.version {
            return self.push(Duration::from_secs(2), Event::Look(id));
        }
        let home = &self.homes[&id];
        let candidates: Vec<_> =
            home.children.iter().copied().filter(|child| self.nodes[*child].reachable).collect();
        let liars = self.liars.values().map(|capacity| (0, *capacity));
        let others = self.homes.iter().filter(|(other, _)| **other != id);
        let others = others.map(|(_, home)| (home.advertised, CAPACITY)).chain(liars);
        let own = (home.children.len() as u32 + 1, CAPACITY);
        let around = neighbourhood(own, candidates.len() as u32, others);
        if around != home.told {
            self.homes.get_mut(&id).unwrap().told = around;
            self.tell(id, Input::Neighbourhood(around));
            for child in candidates {
                self.tell(child, Input::Neighbourhood(around));
            }
        }
        self.shed(id);
        let calm = around.supernodes >= 3 && around.all_children * 100 < around.all_capacity * 65;
        let wait = if calm { 6 } else { 2 };
        self.push(Duration::from_secs(wait), Event::Look(id));
    }

    fn shed(&mut self, id: usize) {
        let Some(home) = self.homes.get(&id) else { return };
        let excess = home.children.len().saturating_sub(CAPACITY as usize);
        let children: Vec<_> = home.children.iter().copied().collect();
        for _ in 0..excess.div_ceil(10) {
            let child = *children.choose(&mut self.rng).unwrap();
            if let Some(home) = self.choose(child, Some(id)) {
                self.push(HOP * 3, Event::Try { node: child, home });
            }
        }
    }

    fn tell(&mut self, node: usize, input: Input) {
        self.nodes[node].machine.handle(input, self.now);
        while let Some(output) = self.nodes[node].machine.poll_output() {
            match output {
                Output::Promote => self.serve(node),
                Output::Demote => {
                    self.step_down(node);
                    self.nodes[node].homeless_since = Some(self.now.instant);
                    self.push(HOP, Event::Seek(node));
                }
                Output::Measure => {
                    self.nodes[node].machine.handle(Input::Measured(Some(1_000_000)), self.now);
                }
                Output::Keep(_) => self.switches += 1,
            }
        }
        self.set_timer(node);
    }

    fn set_timer(&mut self, node: usize) {
        let due = self.nodes[node].machine.poll_timeout();
        if let Some(due) = due.filter(|due| self.nodes[node].timer.is_none_or(|timer| *due < timer)) {
            self.nodes[node].timer = Some(due);
            self.at(due.max(self.now.instant), Event::Timer(node));
        }
    }

    fn serve(&mut self, node: usize) {
        if let Some(old) = self.nodes[node].home.take() {
            self.homes.get_mut(&old).map(|home| home.children.remove(&node));
        }
        self.nodes[node].homeless_since = None;
        let now = self.now.instant;
        let home = Home {
            children: BTreeSet::new(),
            since: now,
            advertised: 1,
            signed_at: now,
            told: Neighbourhood::default(),
            seen: 0,
            admitted: (now, 2.0 * RATE),
        };
        self.homes.insert(node, home);
        self.version += 1;
        self.tell(node, Input::Serving(true));
        self.push(HOP, Event::Look(node));
    }

    fn step_down(&mut self, node: usize) {
        let Some(home) = self.homes.remove(&node) else { return };
        self.version += 1;
        self.tell(node, Input::Serving(false));
        for child in home.children {
            self.nodes[child].home = None;
            self.nodes[child].homeless_since = Some(self.now.instant);
            self.push(HOP, Event::Seek(child));
        }
    }
}
