//! The systems that Nearmesh descends from, as small models under the same workload and on the same round trips.
//!
//! | model | what it does |
//! | --- | --- |
//! | [`napster`] | asks one central server, which knows its own users alone |
//! | [`gnutella`] | floods to depth 7 among all nodes, each knowing its own files |
//! | [`ultrapeers`] | leaves and ultrapeers, query routing tables at the last hop, dynamic querying |
//! | [`kazaa`] | asks the own supernode, then 6 to 10 others |
//! | [`chord`] | a ring of the supernodes with fingers and successor lists; one key per word, user and file |
//!
//! They are graphs, not packets: a search walks the overlay, adds up the messages and bytes that the specification gives
//! (payloads; the headers of TCP, UDP and IP are left out everywhere), and takes as long as the round trips and waits on its way. Nobody
//! computes, queues or loses anything, so figures are the best case of each system.
//!
//! An *index holder* is whoever answers for files: a server, a supernode, an ultrapeer, in Gnutella 0.4 every node. [`Model::kill`]
//! takes holders away at once: nobody has noticed, and who hung on a dead one alone gets no answer. [`Model::repair`] is the system when it has
//! settled again. Files of nodes that live count as existing, whether or not somebody indexes them.

pub mod chord;
pub mod compare;
pub mod comparison;
pub mod gnutella;
mod graph;
pub mod kazaa;
pub mod napster;
pub mod nearmesh;
mod net;
mod routing_table;
pub mod ultrapeers;
pub mod wire;

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::workload::{Node, Question, Workload};

/// Results that a person wants to see: a page. KaZaA's client asked for 50 (giFT-FastTrack, PROTOCOL), as Nearmesh's does.
pub const PAGE: usize = 50;

/// What became of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Different holders that were found.
    pub found: u32,
    /// Messages that carried the question on its way.
    pub queries: u32,
    /// All messages, answers too.
    pub messages: u32,
    /// Bytes of all messages.
    pub bytes: u64,
    /// When the first result reached the asker, if one did.
    pub latency: Option<Duration>,
    /// How many steps from the asker to whoever gave the first result.
    pub hops: u32,
    /// When the system gave up or had enough.
    pub ended: Duration,
}

impl Outcome {
    /// A result arrived at `at`, from `hops` steps away.
    fn result(&mut self, at: Duration, hops: u32) {
        if self.latency.is_none_or(|first| at < first) {
            self.latency = Some(at);
            self.hops = hops;
        }
        self.ended = self.ended.max(at);
    }

    /// So many messages of so many bytes each carried the question.
    fn asks(&mut self, messages: u32, bytes: u64) {
        self.queries += messages;
        self.tells(messages, bytes);
    }

    /// So many other messages of so many bytes each.
    fn tells(&mut self, messages: u32, bytes: u64) {
        self.messages += messages;
        self.bytes += u64::from(messages) * bytes;
    }
}

/// What an index holder keeps for others, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// On average.
    pub mean: f64,
    /// The one with the most.
    pub most: f64,
}

impl State {
    fn of(bytes: impl Iterator<Item = f64>) -> Self {
        let (mut sum, mut count, mut most) = (0.0, 0_u32, 0.0_f64);
        for bytes in bytes {
            sum += bytes;
            count += 1;
            most = most.max(bytes);
        }
        Self { mean: sum / f64::from(count.max(1)), most }
    }
}

/// A system.
pub trait Model<'w> {
    /// Its name, with what must be known of the setting.
    fn name(&self) -> &'static str;

    /// The system at rest: everybody attached, everything published. `peers` supernodes, if it has such.
    fn build(workload: &'w Workload, peers: u32, rng: &mut ChaCha8Rng) -> Self
    where
        Self: Sized;

    /// How many hold an index.
    fn holders(&self) -> u32;

    /// Somebody asks for a file by words.
    fn search(&mut self, asker: Node, question: &Question, rng: &mut ChaCha8Rng) -> Outcome;

    /// Somebody looks a user up; none if the system knows no users.
    fn lookup(&mut self, asker: Node, user: Node, rng: &mut ChaCha8Rng) -> Option<Outcome>;

    /// What an index holder keeps.
    fn state(&self) -> State;

    /// This part of all index holders ends at once.
    fn kill(&mut self, part: f64, rng: &mut ChaCha8Rng);

    /// The survivors have found one another again.
    fn repair(&mut self, rng: &mut ChaCha8Rng);

    /// How many askers it is worth asking as, when the scenario wants `questions`: more where a question is cheap to simulate,
    /// because rare things are seen only in many tries.
    fn askers(&self, questions: u32) -> u32 {
        questions
    }

    /// How many of these questions, each asked for itself by the same asker, find something.
    fn find_each(&mut self, asker: Node, questions: &[Question], rng: &mut ChaCha8Rng) -> u32 {
        questions.iter().map(|question| u32::from(self.search(asker, question, rng).found > 0)).sum()
    }

    /// Whether a node lives: it asks, and its files exist.
    fn lives(&self, _node: Node) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
