//! Gnutella 0.6: leaves hang on ultrapeers, which query for them, link by link, until there is enough ("dynamic querying", Fisk 2003).
//!
//! A leaf gives its question to all of its ultrapeers. Each first asks its own leaves, then three links to depth 2, then one link after another to
//! a depth that follows from the results so far, waiting 2.4 s for each hop. Queries spread as floods do, except that the last hop is only
//! taken where the query routing table of the one asked has all the words. Results from beyond the first hop come by UDP: a notice, a request, the
//! hits. Leaves whose own table is a false positive are left out.

use std::{collections::BTreeSet, time::Duration};

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{
    Model, Outcome, State,
    graph::Graph,
    net::{Choice, Marks, Net},
    routing_table::{self, RoutingTables},
    wire,
};
use crate::workload::{FileId, Node, Question, Workload};

/// Links of an ultrapeer with others (LimeWire: `NUM_CONNECTIONS` 32; the draft recommends 30 or more).
pub const DEGREE: u32 = 32;
/// Ultrapeers of a leaf (LimeWire; gtk-gnutella has at most 4).
const HOMES: usize = 3;
/// Leaves of an ultrapeer in LimeWire (`MAX_LEAVES`). gtk-gnutella takes 300, which is what a hundred nodes to a supernode come to.
const LIMEWIRE_LEAVES: u32 = 30;
/// Results that an ultrapeer looks for on behalf of a leaf (gtk-gnutella, `dq.c`; 150 for itself).
const WANTED: u32 = 50;
/// The deepest query (LimeWire's soft maximum, `X-Max-TTL` 3).
const MAX_TTL: u32 = 3;
/// Links of the probe, and its depth (the draft, section 2.5.1).
const PROBE: (usize, u32) = (3, 2);
/// Waited after the probe (the draft, section 2.5.2.3: a minimum of 7200 ms).
const PROBE_WAIT: Duration = Duration::from_millis(7200);
/// Waited for each hop of a query down one link (the draft, section 2.5.2.3).
const HOP_WAIT: Duration = Duration::from_millis(2400);
/// A query ends when so many ultrapeers may have had it (the draft, section 2.4).
const MAX_HORIZON: u64 = 200_000;

/// Ultrapeers that a query down one link reaches where nothing is reached twice: the draft's section 2.5.2.2.
pub fn horizon(degree: u32, ttl: u32) -> u64 {
    (0..ttl).map(|hop| u64::from(degree - 1).pow(hop)).sum()
}

/// The depth of the next query: the least that reaches as many ultrapeers on each link left as the results so far call for (section 2.5.2.1).
pub fn next_ttl(found: u32, reached: u64, links_left: u64) -> u32 {
    if found == 0 {
        return MAX_TTL;
    }
    let to_reach = u64::from(WANTED - found.min(WANTED)) * reached / u64::from(found);
    let on_each = to_reach / links_left.max(1);
    (1..MAX_TTL).find(|ttl| horizon(DEGREE, *ttl) >= on_each).unwrap_or(MAX_TTL)
}

/// Ultrapeers, their links, their leaves, their tables.
#[derive(Debug)]
pub struct Ultrapeers<'w> {
    name: &'static str,
    net: Net<'w>,
    graph: Graph,
    tables: RoutingTables,
    marks: Marks,
}

/// The query of one ultrapeer on behalf of the leaf.
struct Walk {
    ultrapeer: u32,
    links: Vec<u32>,
    found: u32,
    reached: u64,
    /// When it goes on.
    at: Duration,
}

/// One question on its way.
struct Asking<'q> {
    question: &'q Question,
    asker: Node,
    index: Vec<(u32, Node)>,
    holders: BTreeSet<Node>,
    name: u64,
    outcome: Outcome,
}

impl<'w> Ultrapeers<'w> {
    /// As many ultrapeers as LimeWire's settings make of so many nodes: ten times as many as KaZaA would have.
    pub fn limewire(workload: &'w Workload, rng: &mut ChaCha8Rng) -> Self {
        let ultrapeers = (workload.nodes() * HOMES as u32).div_ceil(LIMEWIRE_LEAVES);
        let limewire = Self::build(workload, ultrapeers, rng);
        Self { name: "Ultrapeers, 30 leaves each (dynamic querying)", ..limewire }
    }

    /// Ultrapeers that a query reaches, sent down all links of one ultrapeer to this depth without regard to tables.
    pub fn flooded(&mut self, from: u32, ttl: u32) -> u32 {
        self.marks.clear();
        self.marks.mark(from);
        let mut level = vec![from];
        let mut reached = 0;
        for _ in 0..ttl {
            let linked = level.iter().flat_map(|peer| self.graph.neighbours(*peer));
            let next: Vec<u32> = linked.copied().filter(|peer| self.marks.mark(*peer)).collect();
            reached += next.len() as u32;
            level = next;
        }
        reached
    }

    fn fill_tables(&mut self) {
        self.tables.clear();
        let workload = self.net.workload;
        for file in (0..workload.files()).map(FileId) {
            let words = workload.word_numbers(file);
            for (home, _) in self.net.index(Some(file)) {
                for word in &words {
                    self.tables.add(home, *word);
                }
            }
        }
    }

    /// An ultrapeer has the question: its own leaves answer. How many new results that gave.
    fn ask_leaves(&self, asking: &mut Asking<'_>, origin: u32, at_peer: u32, at: Duration, hops: u32) -> u32 {
        let workload = self.net.workload;
        let [place, origin_place] = [at_peer, origin].map(|peer| self.net.place(peer));
        let back = origin_place.rtt(workload.place(asking.asker)) / 2;
        let mut new = 0;
        for (_, leaf) in Net::answers(&asking.index, at_peer) {
            if !asking.holders.insert(*leaf) {
                continue;
            }
            new += 1;
            let outcome = &mut asking.outcome;
            outcome.asks(1, wire::gnutella::query(wire::text(asking.question)));
            let hit = wire::gnutella::hit(asking.name);
            let answered = at + place.rtt(workload.place(*leaf));
            let way = place.rtt(origin_place);
            // From the leaf, to the asking ultrapeer, to the asker.
            let (relayed, way) = match hops {
                0 => (2, Duration::ZERO),
                1 => (3, way / 2),
                _ => {
                    outcome.tells(2, wire::gnutella::OUT_OF_BAND);
                    (3, way * 3 / 2)
                }
            };
            outcome.tells(relayed, hit);
            outcome.found += 1;
            outcome.result(answered + way + back, hops + 2);
        }
        new
    }

    /// Sends the question down one link. How many new results that gave.
    fn send(&mut self, asking: &mut Asking<'_>, origin: u32, link: u32, ttl: u32, at: Duration) -> u32 {
        let bytes = wire::gnutella::query(wire::text(asking.question));
        let last_hop = |ttl: u32, tables: &RoutingTables, peer: u32, question: &Question| {
            ttl > 1 || tables.may_have(peer, &question.numbers)
        };
        if !last_hop(ttl, &self.tables, link, asking.question) {
            return 0;
        }
        asking.outcome.asks(1, bytes);
        if !self.marks.mark(link) {
            return 0;
        }
        let at = at + self.net.place(origin).rtt(self.net.place(link)) / 2;
        let mut new = self.ask_leaves(asking, origin, link, at, 1);
        let mut level = vec![(link, origin, at)];
        for hops in 2..=ttl {
            let left = ttl + 1 - hops;
            let mut next = Vec::new();
            for (peer, from, at) in level {
                let place = self.net.place(peer);
                for to in self.graph.neighbours(peer).iter().copied() {
                    if to == from || !self.net.lives(to) || !last_hop(left, &self.tables, to, asking.question)
                    {
                        continue;
                    }
                    asking.outcome.asks(1, bytes);
                    if self.marks.mark(to) {
                        let at = at + place.rtt(self.net.place(to)) / 2;
                        new += self.ask_leaves(asking, origin, to, at, hops);
                        next.push((to, peer, at));
                    }
                }
            }
            level = next;
        }
        new
    }

    /// One step of an ultrapeer's query. False when it has ended.
    fn step(&mut self, asking: &mut Asking<'_>, walk: &mut Walk) -> bool {
        if walk.found >= WANTED || walk.links.is_empty() || walk.reached >= MAX_HORIZON {
            return false;
        }
        let probing = walk.reached == 0;
        let (links, ttl) =
            if probing { PROBE } else { (1, next_ttl(walk.found, walk.reached, walk.links.len() as u64)) };
        for link in walk.links.split_off(walk.links.len().saturating_sub(links)) {
            walk.found += self.send(asking, walk.ultrapeer, link, ttl, walk.at);
            walk.reached += horizon(DEGREE, ttl);
        }
        walk.at += if probing { PROBE_WAIT } else { HOP_WAIT * ttl };
        true
    }
}

impl<'w> Model<'w> for Ultrapeers<'w> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn build(workload: &'w Workload, peers: u32, rng: &mut ChaCha8Rng) -> Self {
        let net = Net::new(workload, peers, HOMES, Choice::Random, rng);
        let degree = f64::from(DEGREE.min(peers.saturating_sub(1)));
        let graph = Graph::random(peers, &net.living(), degree, rng);
        let name = "Ultrapeers, 300 leaves each (dynamic querying)";
        let mut ultrapeers =
            Self { name, net, graph, tables: RoutingTables::new(peers), marks: Marks::new(peers) };
        ultrapeers.fill_tables();
        ultrapeers
    }

    fn holders(&self) -> u32 {
        self.net.holders()
    }

    fn search(&mut self, asker: Node, question: &Question, rng: &mut ChaCha8Rng) -> Outcome {
        self.marks.clear();
        let file = question.asked.file();
        let mut asking = Asking {
            question,
            asker,
            index: self.net.index(file),
            holders: BTreeSet::new(),
            name: file.map_or(0, |file| wire::name(self.net.workload, file)),
            outcome: Outcome::default(),
        };
        let own = self.net.workload.place(asker);
        let mut walks = Vec::new();
        for ultrapeer in self.net.homes_of(asker).collect::<Vec<_>>() {
            let at = own.rtt(self.net.place(ultrapeer)) / 2;
            asking.outcome.asks(1, wire::gnutella::query(wire::text(question)));
            self.marks.mark(ultrapeer);
            let found = self.ask_leaves(&mut asking, ultrapeer, ultrapeer, at, 0);
            let linked = self.graph.neighbours(ultrapeer).iter().copied();
            let mut links: Vec<u32> = linked.filter(|peer| self.net.lives(*peer)).collect();
            links.shuffle(rng);
            walks.push(Walk { ultrapeer, links, found, reached: 0, at });
        }
        while let Some(number) = (0..walks.len()).min_by_key(|number| walks[*number].at) {
            if !self.step(&mut asking, &mut walks[number]) {
                let walk = walks.swap_remove(number);
                asking.outcome.ended = asking.outcome.ended.max(walk.at);
            }
        }
        asking.outcome
    }

    fn lookup(&mut self, _asker: Node, _user: Node, _rng: &mut ChaCha8Rng) -> Option<Outcome> {
        None
    }

    /// The tables of its leaves and of those that it is linked with, as bits.
    fn state(&self) -> State {
        let loads = self.net.loads();
        let table = f64::from(routing_table::BYTES);
        let of =
            |peer: u32| f64::from(loads[peer as usize][0] + self.graph.neighbours(peer).len() as u32) * table;
        State::of(self.net.living().into_iter().map(of))
    }

    fn kill(&mut self, part: f64, rng: &mut ChaCha8Rng) {
        self.net.kill(part, rng);
    }

    fn repair(&mut self, rng: &mut ChaCha8Rng) {
        self.net.attach(rng);
        let living = self.net.living();
        let degree = f64::from(DEGREE.min(living.len() as u32 - 1));
        self.graph = Graph::random(self.net.holders(), &living, degree, rng);
        self.fill_tables();
    }
}
