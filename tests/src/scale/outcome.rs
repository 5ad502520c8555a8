//! What came of questions, kind by kind.

use serde::Serialize;

use super::figures::{Histogram, Summary};

/// What came of the questions of one kind.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Questions that ended, or were given up.
    pub asked: u64,
    /// Of those, the ones whose answer was known and had to be right.
    pub due: u64,
    /// Of those, the ones that were right.
    pub right: u64,
    /// Never answered.
    pub unanswered: u64,
    /// The asker lost its home meanwhile, or had none: not counted.
    pub excused: u64,
    /// Right but for the target having moved, or come or gone, within [`STALE`](super::STALE).
    pub stale: u64,
    /// Sought what is at a supernode that hides it.
    pub hidden: u64,
    /// Nanoseconds until the end.
    pub latency: Histogram,
    /// Nanoseconds until the first result.
    pub first: Histogram,
    /// The same as latency, in hundredths of the mean round trip between two nodes of the net.
    pub relative: Histogram,
    /// Results.
    pub results: Histogram,
    /// Query messages between supernodes.
    pub queries: Histogram,
    /// Requests to the directory.
    pub requests: Histogram,
    /// Messages between supernodes.
    pub messages: Histogram,
    /// Bytes between supernodes.
    pub bytes: Histogram,
    /// Supernodes that had results.
    pub answerers: Histogram,
    /// Waves of the asker's home.
    pub waves: Histogram,
    /// Results of the first wave.
    pub first_wave: Histogram,
    /// Query messages beyond one for each supernode that had results.
    pub overhead: Histogram,
    /// The first few that were wrong, in words.
    pub wrong: Vec<String>,
}

/// An [`Outcome`] in figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OutcomeFigures {
    /// See [`Outcome::asked`].
    pub asked: u64,
    /// See [`Outcome::due`].
    pub due: u64,
    /// Right ones among those due.
    pub recall: f64,
    /// See [`Outcome::unanswered`].
    pub unanswered: u64,
    /// See [`Outcome::excused`].
    pub excused: u64,
    /// See [`Outcome::stale`].
    pub stale: u64,
    /// See [`Outcome::hidden`].
    pub hidden: u64,
    /// Milliseconds until the end.
    pub latency_ms: Summary,
    /// Milliseconds until the first result.
    pub first_ms: Summary,
    /// Latency in mean round trips between two nodes of the net.
    pub round_trips: Summary,
    /// See [`Outcome::results`].
    pub results: Summary,
    /// See [`Outcome::queries`].
    pub queries: Summary,
    /// See [`Outcome::requests`].
    pub requests: Summary,
    /// See [`Outcome::messages`].
    pub messages: Summary,
    /// See [`Outcome::bytes`].
    pub bytes: Summary,
    /// See [`Outcome::answerers`].
    pub answerers: Summary,
    /// See [`Outcome::waves`].
    pub waves: Summary,
    /// See [`Outcome::first_wave`].
    pub first_wave: Summary,
    /// See [`Outcome::overhead`].
    pub overhead: Summary,
}

impl Outcome {
    /// As figures.
    pub fn figures(&self) -> OutcomeFigures {
        OutcomeFigures {
            asked: self.asked,
            due: self.due,
            recall: if self.due == 0 { 1.0 } else { self.right as f64 / self.due as f64 },
            unanswered: self.unanswered,
            excused: self.excused,
            stale: self.stale,
            hidden: self.hidden,
            latency_ms: self.latency.in_milliseconds(),
            first_ms: self.first.in_milliseconds(),
            round_trips: self.relative.summary(100.0),
            results: self.results.summary(1.0),
            queries: self.queries.summary(1.0),
            requests: self.requests.summary(1.0),
            messages: self.messages.summary(1.0),
            bytes: self.bytes.summary(1.0),
            answerers: self.answerers.summary(1.0),
            waves: self.waves.summary(1.0),
            first_wave: self.first_wave.summary(1.0),
            overhead: self.overhead.summary(1.0),
        }
    }

    /// One more wrong answer.
    pub(super) fn wrong(&mut self, what: impl FnOnce() -> String) {
        const SHOWN: usize = 20;
        if self.wrong.len() < SHOWN {
            self.wrong.push(what());
        }
    }
}
