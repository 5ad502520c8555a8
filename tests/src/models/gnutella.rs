//! Gnutella 0.4: every node knows its own files, and a query floods the links between all nodes to a depth of 7. A node drops what it
//! has had before. Hits go back the way the query came.

use std::time::Duration;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Model, Outcome, State, graph::Graph, net::Marks, wire};
use crate::workload::{Node, Question, Workload};

/// How far a query goes (specification 0.4; lecture notes).
pub const TTL: u32 = 7;
/// Links of a node on average: 39,994 links among 10,876 hosts, 4 August 2002 (the p2p-Gnutella04 snapshot). The lecture notes have 7.
pub const DEGREE: f64 = 7.35;

/// All nodes and their links.
#[derive(Debug)]
pub struct Gnutella<'w> {
    workload: &'w Workload,
    graph: Graph,
    alive: Vec<bool>,
    marks: Marks,
}

impl Gnutella<'_> {
    fn living(&self) -> Vec<u32> {
        (0..self.workload.nodes()).filter(|node| self.alive[*node as usize]).collect()
    }

    /// Links between nodes.
    pub fn links(&self) -> usize {
        self.graph.links()
    }

    /// Floods from `from`, level by level; tells of each who has it: which, how many hops away, and when. How many messages that took.
    pub fn flood(&mut self, from: Node, ttl: u32, mut reached: impl FnMut(Node, u32, Duration)) -> u32 {
        self.marks.clear();
        self.marks.mark(from.0);
        let mut messages = 0;
        let mut level = vec![(from.0, Duration::ZERO)];
        for hops in 1..=ttl {
            let mut next = Vec::new();
            for (node, at) in level {
                let place = self.workload.place(Node(node));
                let neighbours = self.graph.neighbours(node);
                let mut living = 0;
                for neighbour in neighbours.iter().copied().filter(|to| self.alive[*to as usize]) {
                    living += 1;
                    if self.marks.mark(neighbour) {
                        let at = at + place.rtt(self.workload.place(Node(neighbour))) / 2;
                        reached(Node(neighbour), hops, at);
                        next.push((neighbour, at));
                    }
                }
                // Not back to where it came from.
                messages += if hops == 1 { living } else { living - 1 };
            }
            level = next;
        }
        messages
    }
}

impl<'w> Model<'w> for Gnutella<'w> {
    fn name(&self) -> &'static str {
        "Gnutella 0.4 (flooding, TTL 7)"
    }

    /// All nodes are peers; `peers` does not matter.
    fn build(workload: &'w Workload, _peers: u32, rng: &mut ChaCha8Rng) -> Self {
        let nodes: Vec<u32> = (0..workload.nodes()).collect();
        Self {
            workload,
            graph: Graph::random(workload.nodes(), &nodes, DEGREE, rng),
            alive: vec![true; nodes.len()],
            marks: Marks::new(workload.nodes()),
        }
    }

    fn holders(&self) -> u32 {
        self.workload.nodes()
    }

    fn search(&mut self, asker: Node, question: &Question, _rng: &mut ChaCha8Rng) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.lives(asker) {
            return outcome;
        }
        let file = question.asked.file();
        let holders = file.map_or(&[][..], |file| self.workload.holders_of(file));
        let name = file.map_or(0, |file| wire::name(self.workload, file));
        let mut last = Duration::ZERO;
        let queries = self.flood(asker, TTL, |node, hops, at| {
            last = last.max(at * 2);
            if holders.binary_search(&node).is_ok() {
                outcome.found += 1;
                outcome.tells(hops, wire::gnutella::hit(name));
                outcome.result(at * 2, hops);
            }
        });
        outcome.asks(queries, wire::gnutella::query(wire::text(question)));
        outcome.ended = last;
        outcome
    }

    fn lookup(&mut self, _asker: Node, _user: Node, _rng: &mut ChaCha8Rng) -> Option<Outcome> {
        None
    }

    fn state(&self) -> State {
        let entry = wire::gnutella::entry(wire::NAME) as f64;
        State::of(
            self.living().into_iter().map(|node| self.workload.files_of(Node(node)).len() as f64 * entry),
        )
    }

    fn kill(&mut self, part: f64, rng: &mut ChaCha8Rng) {
        let mut living = self.living();
        living.shuffle(rng);
        let dying = (living.len() as f64 * part).round() as usize;
        for node in living.into_iter().take(dying) {
            self.alive[node as usize] = false;
        }
    }

    fn repair(&mut self, rng: &mut ChaCha8Rng) {
        self.graph = Graph::random(self.workload.nodes(), &self.living(), DEGREE, rng);
    }

    fn lives(&self, node: Node) -> bool {
        self.alive[node.0 as usize]
    }
}
