//! What simulated people do: they come and go, search, and look one another up.

use std::time::Duration;

use nearmesh::proto::{Input, Question};
use nearmesh_common::wire::{
    home::RequestId,
    query::{DEFAULT_RESULTS, Filter, MAX_RESULTS, Query, Subject},
};
use rand::RngExt;

use super::{Event, ProcessId, Sim};

/// The exponent of session lengths, a Pareto distribution: most are short, a few very long (Saroiu, Gummadi and
/// Gribble, 2002, found heavy tails; the number is a guess that gives them).
const SESSION_SHAPE: f64 = 1.2;
/// One in this many goes without a word.
const ABRUPT: u32 = 2;

/// How much goes on.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Between two questions, on average.
    pub between_questions: Duration,
    /// The shortest session.
    pub shortest_session: Duration,
    /// The longest absence.
    pub longest_absence: Duration,
}

impl Sim {
    /// People begin to ask, and ordinary nodes to come and go.
    pub fn begin(&mut self, workload: Workload) {
        self.workload = Some(workload);
        self.schedule.at(self.now(), Event::Ask);
        for process in self.setup.supernodes..self.processes.len() {
            let at = self.now() + self.session(workload);
            self.schedule.at(at, Event::Churn { process });
        }
    }

    /// People stop; what is under way goes on.
    pub fn calm(&mut self) {
        self.workload = None;
    }

    /// Asks a question as `asker`.
    pub fn ask(&mut self, asker: ProcessId, question: Question) {
        self.asked += 1;
        let id = RequestId(self.asked);
        let mut oracle = std::mem::take(&mut self.oracle);
        oracle.on_ask(asker, id, question.clone(), &self.view());
        self.oracle = oracle;
        self.tell_client(asker, Input::Ask { id, question });
    }

    /// Asks for a file that `owner` shares, the way someone would who remembers part of its name.
    pub fn search_for_file_of(&mut self, asker: ProcessId, owner: ProcessId) {
        let files = &self.processes[owner].library.files;
        let file = &files[self.rng.random_range(0..files.len())];
        let mut words: Vec<_> = file.words.iter().cloned().collect();
        let kept = self.rng.random_range(1..=words.len());
        while words.len() > kept {
            words.remove(self.rng.random_range(0..words.len()));
        }
        let limit = if self.rng.random_bool(0.5) { MAX_RESULTS } else { DEFAULT_RESULTS };
        let subject = if self.rng.random_bool(0.1) {
            Subject::Content(file.hash)
        } else {
            Subject::Words(words.join(" ").into())
        };
        self.ask(asker, Question::Search(Query { subject, filter: Filter::default(), limit }));
    }

    /// Asks where the user of `target` is.
    pub fn look_up(&mut self, asker: ProcessId, target: ProcessId) {
        let user = self.processes[target].user.clone();
        self.ask(asker, Question::Lookup(user));
    }

    pub(super) fn ask_something(&mut self) {
        let Some(workload) = self.workload else { return };
        let running = self.running();
        let asker = running[self.rng.random_range(0..running.len())];
        let other = self.rng.random_range(0..self.processes.len());
        if self.rng.random_bool(0.5) {
            self.search_for_file_of(asker, other);
        } else {
            self.look_up(asker, other);
        }
        let wait = self.network.moment(workload.between_questions * 2);
        self.schedule.at(self.now() + wait, Event::Ask);
    }

    /// The process ends its session, or its absence.
    pub(super) fn churn(&mut self, process: ProcessId) {
        let Some(workload) = self.workload else { return };
        let wait = if self.processes[process].running.is_none() {
            self.start(process);
            self.session(workload)
        } else {
            if self.rng.random_ratio(1, ABRUPT) {
                self.kill(process);
            } else {
                self.leave(process);
            }
            self.network.moment(workload.longest_absence)
        };
        self.schedule.at(self.now() + wait, Event::Churn { process });
    }

    fn session(&mut self, workload: Workload) -> Duration {
        let draw: f64 = self.rng.random_range(0.001..1.0);
        workload.shortest_session.mul_f64(draw.powf(-1.0 / SESSION_SHAPE))
    }
}
