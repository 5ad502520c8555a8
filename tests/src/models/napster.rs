//! Napster: a central index on several servers. A user is logged in at one of them and searches the users of that one.
//!
//! The open specification speaks of "the current one server situation" and of what would have to change "if the servers are ever linked" (drscholl,
//! "napster messages", April 2000, at message 205). The official client was handed a server by the metaserver and could not choose it.

use rand_chacha::ChaCha8Rng;

use super::{
    Model, Outcome, State,
    net::{Choice, Net},
    wire,
};
use crate::workload::{Node, Question, Workload};

/// Users of a server: 2.2 million a day on 122 servers in 2001 (lecture notes).
const USERS: u32 = 18_000;
/// A server returns no more, whatever is asked for (drscholl, message 200).
const MOST_RESULTS: usize = 100;

/// Servers and their users.
#[derive(Debug)]
pub struct Napster<'w> {
    net: Net<'w>,
}

impl<'w> Model<'w> for Napster<'w> {
    fn name(&self) -> &'static str {
        "Napster (unlinked servers)"
    }

    /// Servers follow from the number of users; `peers` does not matter.
    fn build(workload: &'w Workload, _peers: u32, rng: &mut ChaCha8Rng) -> Self {
        let servers = workload.nodes().div_ceil(USERS);
        Self { net: Net::new(workload, servers, 1, Choice::Random, rng) }
    }

    fn holders(&self) -> u32 {
        self.net.holders()
    }

    fn askers(&self, questions: u32) -> u32 {
        questions * 50
    }

    fn search(&mut self, asker: Node, question: &Question, _rng: &mut ChaCha8Rng) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(server) = self.net.homes_of(asker).next() else { return outcome };
        let index = self.net.index(question.asked.file());
        let results = Net::answers(&index, server).len().min(MOST_RESULTS) as u32;
        outcome.asks(1, wire::napster::search(wire::text(question)));
        let name = question.asked.file().map_or(0, |file| wire::name(self.net.workload, file));
        outcome.tells(results, wire::napster::result(name));
        outcome.tells(1, wire::napster::END);
        outcome.found = results;
        outcome.ended = self.net.workload.place(asker).rtt(self.net.place(server));
        if results > 0 {
            outcome.result(outcome.ended, 1);
        }
        outcome
    }

    fn lookup(&mut self, asker: Node, user: Node, _rng: &mut ChaCha8Rng) -> Option<Outcome> {
        let mut outcome = Outcome::default();
        let Some(server) = self.net.homes_of(asker).next() else { return Some(outcome) };
        let [question, answer] = wire::napster::WHO_IS;
        outcome.asks(1, question);
        outcome.tells(1, answer);
        outcome.ended = self.net.workload.place(asker).rtt(self.net.place(server));
        if self.net.homes_of(user).any(|home| home == server) {
            outcome.found = 1;
            outcome.result(outcome.ended, 1);
        }
        Some(outcome)
    }

    fn state(&self) -> State {
        let loads = self.net.loads();
        let entry = wire::napster::entry(wire::NAME) as f64;
        let living = self.net.living();
        State::of(living.into_iter().map(|server| f64::from(loads[server as usize][1]) * entry))
    }

    fn kill(&mut self, part: f64, rng: &mut ChaCha8Rng) {
        self.net.kill(part, rng);
    }

    fn repair(&mut self, rng: &mut ChaCha8Rng) {
        self.net.attach(rng);
    }
}
