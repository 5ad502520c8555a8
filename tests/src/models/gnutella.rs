//! Gnutella 0.4: every node knows its own files, and a query floods the links between all nodes to a depth of 7. A node drops what it
//! has had before. Hits go back the way the query came.

use std::time::Duration;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Model, Outcome, State, graph::Graph, wire};
use crate::workload::{Node, Question, Workload};

/// How far a query goes (specification 0.4; lecture notes).
pub const TTL: u32 = 7;
/// Links of a node on average: 39,994 links among 10,876 hosts, 4 August 2002 (the p2p-Gnutella04 snapshot). The lecture notes have 7.
pub const DEGREE: f64 = 7.35;

/// Nodes that a comparison may reach with all questions of one kind: a flood reaches nearly everybody, and takes time.
const PATIENCE: u32 = 40_000_000;
/// In [`Gnutella::from`]: nobody has it.
const NOBODY: u32 = u32::MAX;

/// All nodes and their links.
#[derive(Debug)]
pub struct Gnutella<'w> {
    workload: &'w Workload,
    graph: Graph,
    alive: Vec<bool>,
    /// From whom each node has had the flood.
    from: Vec<u32>,
}

impl Gnutella<'_> {
    fn living(&self) -> Vec<u32> {
        (0..self.workload.nodes()).filter(|node| self.alive[*node as usize]).collect()
    }

    /// Links between nodes.
    pub fn links(&self) -> usize {
        self.graph.links()
    }

    /// Floods from `origin`, level by level. How many nodes have it at each distance, and how many messages that took.
    pub fn flood(&mut self, origin: Node, ttl: u32) -> (Vec<u32>, u32) {
        self.from.fill(NOBODY);
        self.from[origin.0 as usize] = origin.0;
        let mut messages = 0;
        let mut reached = vec![1];
        let mut level = vec![origin.0];
        for hops in 1..=ttl {
            let mut next = Vec::new();
            for node in level {
                let mut living = 0;
                for neighbour in self.graph.neighbours(node) {
                    let to = *neighbour as usize;
                    if !self.alive[to] {
                        continue;
                    }
                    living += 1;
                    if self.from[to] == NOBODY {
                        self.from[to] = node;
                        next.push(*neighbour);
                    }
                }
                // Not back to where it came from.
                messages += if hops == 1 { living } else { living - 1 };
            }
            reached.push(next.len() as u32);
            level = next;
        }
        (reached, messages)
    }

    /// How many hops away a node had the flood, and when; none if it had not.
    fn reached(&self, node: Node) -> Option<(u32, Duration)> {
        let (mut hops, mut at, mut here) = (0, Duration::ZERO, node.0);
        loop {
            match self.from[here as usize] {
                NOBODY => return None,
                from if from == here => return Some((hops, at)),
                from => {
                    let [one, other] = [here, from].map(|node| self.workload.place(Node(node)));
                    at += one.rtt(other) / 2;
                    hops += 1;
                    here = from;
                }
            }
        }
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
            from: vec![NOBODY; nodes.len()],
        }
    }

    fn holders(&self) -> u32 {
        self.workload.nodes()
    }

    fn askers(&self, questions: u32) -> u32 {
        questions.min((PATIENCE / self.workload.nodes()).max(1))
    }

    fn search(&mut self, asker: Node, question: &Question, _rng: &mut ChaCha8Rng) -> Outcome {
        let mut outcome = Outcome::default();
        let (_, messages) = self.flood(asker, TTL);
        outcome.asks(messages, wire::gnutella::query(wire::text(question)));
        let Some(file) = question.asked.file() else { return outcome };
        let hit = wire::gnutella::hit(wire::name(self.workload, file));
        for holder in self.workload.holders_of(file) {
            if let Some((hops, at)) = self.reached(*holder) {
                outcome.found += 1;
                outcome.tells(hops, hit);
                outcome.result(at * 2, hops);
            }
        }
        outcome
    }

    /// The flood is the same for all of them.
    fn find_each(&mut self, asker: Node, questions: &[Question], _rng: &mut ChaCha8Rng) -> u32 {
        self.flood(asker, TTL);
        let files = questions.iter().filter_map(|question| question.asked.file());
        let found =
            |file| self.workload.holders_of(file).iter().any(|holder| self.reached(*holder).is_some());
        files.map(|file| u32::from(found(file))).sum()
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
