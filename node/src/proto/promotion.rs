//! Whether this node should be a supernode.
//!
//! A home tells those of its children that strangers can reach how full it and the supernodes around it are
//! ([`Neighbourhood`]). From that each child works out how many more supernodes would bring them to [`TARGET`], and which part of
//! those should come from among its home's children (`need`). If that is more than none it draws lots, once in a
//! round of random length: of all candidates of all homes together just so many are expected to win. Who wins and is
//! fit for it (`fitness`) promotes itself. As long as nobody helps, chances double from round to round:
//! the candidates may be fewer than the home believes. The greater the shortage, the shorter the rounds, and the
//! shorter the time that a node must have been up: in a flash crowd seconds.
//!
//! A supernode demotes itself in the same way when there are clearly too many and it is not one of the fuller ones, and
//! also when it is no longer fit and others are there to take over. Between two switches of the role there are waits that double
//! (`waits`). The last [`MIN_SUPERNODES`](nearmesh_common::wire::home::MIN_SUPERNODES) stay, whatever their load; a smaller net wants as many as that, so that each node has
//! a standby.
//!
//! A node that had a home and finds none for long becomes a supernode itself, as one of the few left that can.
//!
//! Invariants: nobody serves who is not fit, unless its user says so; what one supernode claims of itself moves the need by no
//! more than twice the usual capacity would.

mod fitness;
mod need;
mod serving;
mod waits;
mod why;

#[cfg(test)]
mod population;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nearmesh_common::{Now, wire::home::Neighbourhood};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use fitness::{Facts, Reached, Unfit};
pub use need::TARGET;
pub use waits::Waits;
pub use why::Why;

use serving::{SPARE_AFTER, Spare, UNFIT_AFTER};

use super::backoff::jitter;
use crate::config::Promote;

/// How long children may take to leave a supernode that has stepped down (guess: ten reminders).
pub const DRAIN: Duration = Duration::from_secs(30);

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// What this machine can give, whenever that changed.
    Facts(Facts),
    /// How loaded the home is, by its word; while this node serves by that of its own supernode.
    Neighbourhood(Neighbourhood),
    /// Whether there is a home now.
    Home(bool),
    /// This node is now a supernode, or no longer.
    Serving(bool),
    /// What an [`Output::Measure`] gave: bytes a second to the home. `None` if it could not be measured.
    Measured(Option<u64>),
    /// The time that `poll_timeout` gave has come.
    Timeout,
}

/// Something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Become a supernode, then say [`Input::Serving`].
    Promote,
    /// Step down, politely, then say [`Input::Serving`].
    Demote,
    /// Measure how fast bytes go to the home, and answer with [`Input::Measured`] within [`MEASURE_WAIT`].
    Measure,
    /// Write this down, for the next start.
    Keep(Waits),
}

/// What is known when the machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the user wants.
    pub promote: Promote,
    /// What [`Output::Keep`] gave last.
    pub waits: Waits,
}

/// How long a measurement may take.
pub const MEASURE_WAIT: Duration = Duration::from_secs(5);
/// How long a measurement counts (guess: lines differ by the time of the day).
const MEASURED_FOR: Duration = Duration::from_secs(3600);
/// The first chance of an orphan in a round, before it doubles (guess: some ten who can serve lost the same home).
const ORPHAN_CHANCE: f64 = 0.1;
/// How long a node must have been without a home before it becomes one (guess: a home that restarts, or a cable that is
/// plugged in again, comes first), and how long its rounds are from then on.
const ORPHAN_AFTER: Duration = Duration::from_secs(60);
/// How much chances grow at most while nobody helps.
const MAX_BOOST: f64 = 64.0;
/// Decides whether this node should be a supernode.
#[derive(Debug)]
pub struct Promotion {
    promote: Promote,
    started: Instant,
    rng: ChaCha8Rng,
    waits: Waits,
    facts: Facts,
    bandwidth: Option<(Instant, Option<u64>)>,
    around: Option<Neighbourhood>,
    /// The home is far too full.
    stuck: Option<Stuck>,
    /// Since when there is no home, if there was one before.
    orphan_since: Option<Instant>,
    had_home: bool,
    stage: Stage,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// An ordinary node; nothing to decide.
    Calm,
    /// More are wanted: the lot is drawn at `at`.
    Round { at: Instant, length: Duration, boost: f64, before: Option<Neighbourhood> },
    /// The lot fell; first the line is measured.
    Measuring { until: Instant },
    /// The role was asked to change.
    Switching,
    /// A supernode.
    Serving { spare: Option<Spare>, unfit_since: Option<Instant> },
}

/// The home is far too full.
#[derive(Clone, Copy, Debug)]
struct Stuck {
    since: Instant,
    /// When others' room is believed no more.
    at: Instant,
    over: bool,
}

impl Promotion {
    /// A node that is ordinary at first and came up at `now`. The same seed and inputs give the same outputs.
    pub fn new(config: Config, seed: u64, now: Now) -> Self {
        Self {
            promote: config.promote,
            started: now.instant,
            rng: ChaCha8Rng::seed_from_u64(seed),
            waits: config.waits.kept(now.wall),
            facts: Facts::default(),
            bandwidth: None,
            around: None,
            stuck: None,
            orphan_since: None,
            had_home: false,
            stage: Stage::Calm,
            outputs: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to say [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Calm => self.stuck_at(),
            Stage::Switching => None,
            Stage::Round { at, .. } => Some(self.stuck_at().map_or(at, |stuck| stuck.min(at))),
            Stage::Measuring { until } => Some(until),
            Stage::Serving { spare, unfit_since } => {
                let unfit = unfit_since.map(|since| since + UNFIT_AFTER);
                spare.map(|spare| spare.at).into_iter().chain(unfit).min()
            }
        }
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Facts(facts) => self.handle_facts(facts),
            Input::Neighbourhood(around) => self.handle_neighbourhood(around, now),
            Input::Home(has_one) => self.handle_home(has_one, now),
            Input::Serving(serving) => self.handle_serving(serving, now),
            Input::Measured(rate) => return self.handle_measured(rate, now),
            Input::Timeout => return self.handle_timeout(now),
        }
        self.look(now);
    }

    /// Without a home there is nobody to ask about strangers: what was known last counts.
    fn handle_facts(&mut self, facts: Facts) {
        let last = self.facts.reached;
        self.facts = facts;
        if self.orphan_since.is_some() && facts.reached == Reached::Unknown {
            self.facts.reached = last;
        }
    }

    fn handle_neighbourhood(&mut self, around: Neighbourhood, now: Now) {
        let before = self.around.replace(around);
        // Where it gets better, somebody has room after all.
        let better = before.is_some_and(|before| around.children < before.children);
        let since = self.stuck.filter(|_| !better).map_or(now.instant, |stuck| stuck.since);
        self.stuck = need::patience(&around).map(|patience| {
            let at = since + patience;
            Stuck { since, at, over: at <= now.instant }
        });
    }

    /// Another home has its own view, and says so if it matters.
    fn handle_home(&mut self, has_one: bool, now: Now) {
        if matches!(self.stage, Stage::Serving { .. }) {
            return;
        }
        self.around = None;
        self.stuck = None;
        self.orphan_since = (!has_one && self.had_home).then_some(self.orphan_since.unwrap_or(now.instant));
        self.had_home |= has_one;
    }

    fn handle_serving(&mut self, serving: bool, now: Now) {
        let unchanged = match self.stage {
            Stage::Switching => false,
            Stage::Serving { .. } => serving,
            _ => !serving,
        };
        if unchanged {
            return;
        }
        self.stage = if serving { Stage::Serving { spare: None, unfit_since: None } } else { Stage::Calm };
        self.orphan_since = None;
        self.around = None;
        self.stuck = None;
        if self.promote == Promote::Auto {
            self.waits.switched(now.wall);
            self.outputs.push_back(Output::Keep(self.waits));
        }
    }

    fn handle_measured(&mut self, rate: Option<u64>, now: Now) {
        self.bandwidth = Some((now.instant, rate));
        if matches!(self.stage, Stage::Measuring { .. }) {
            self.stage = Stage::Calm;
            if self.is_called(now) {
                return self.switch(Output::Promote);
            }
            self.look(now);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.stuck_at().is_some_and(|at| at <= now.instant) {
            self.stuck = self.stuck.map(|stuck| Stuck { over: true, ..stuck });
            self.look(now);
        }
        match self.stage {
            Stage::Round { at, boost, before, .. } if at <= now.instant => self.draw(boost, before, now),
            Stage::Measuring { until } if until <= now.instant => self.handle_measured(None, now),
            Stage::Serving { spare, unfit_since } => self.consider_demotion(spare, unfit_since, now),
            _ => self.look(now),
        }
    }

    /// Whether there is anything to decide from now on.
    fn look(&mut self, now: Now) {
        match self.stage {
            Stage::Calm if self.promote == Promote::Auto => {
                if let Some(length) = self.round_length() {
                    self.begin_round(length, 1.0, now);
                }
            }
            Stage::Round { at, length, boost, before } => match self.round_length() {
                None => self.stage = Stage::Calm,
                // It has become pressing.
                Some(pressing) if pressing < length / 2 => {
                    let at = at.min(now.instant + jitter(&mut self.rng, Duration::ZERO, pressing));
                    self.stage = Stage::Round { at, length: pressing, boost, before };
                }
                Some(_) => {}
            },
            Stage::Serving { spare, unfit_since } => {
                let spare = match self.is_spare() {
                    true => spare.or_else(|| Some(self.spare_round(SPARE_AFTER, now))),
                    false => None,
                };
                let unfit = self.lasting_objection().is_some();
                let unfit_since = unfit.then_some(unfit_since.unwrap_or(now.instant));
                self.stage = Stage::Serving { spare, unfit_since };
            }
            Stage::Calm | Stage::Measuring { .. } | Stage::Switching => {}
        }
    }

    /// How long a round would be, if there is a reason for one.
    fn round_length(&self) -> Option<Duration> {
        if self.orphan_since.is_some() {
            return Some(ORPHAN_AFTER);
        }
        self.need().map(|need| need.round())
    }

    fn begin_round(&mut self, length: Duration, boost: f64, now: Now) {
        let at = now.instant + jitter(&mut self.rng, length / 2, length * 3 / 2);
        self.stage = Stage::Round { at, length, boost, before: self.around };
    }

    /// The lot is drawn.
    fn draw(&mut self, boost: f64, before: Option<Neighbourhood>, now: Now) {
        let chance = match self.need() {
            Some(need) => need.chance(boost),
            None if self.orphan_since.is_some() => ORPHAN_CHANCE * boost,
            None => 0.0,
        };
        let falls = self.rng.random_bool(chance.clamp(0.0, 1.0));
        if falls && self.is_called(now) {
            return self.take_up(now);
        }
        self.stage = Stage::Calm;
        let relieved = before.zip(self.around).is_some_and(|(before, now)| need::is_relief(&before, &now));
        // Who cannot serve learns nothing from it that nobody does.
        let boost = if relieved || !self.is_called(now) { 1.0 } else { (boost * 2.0).min(MAX_BOOST) };
        if let Some(next) = self.round_length() {
            self.begin_round(next, boost, now);
        }
    }

    /// This node it is; in a rush without measuring first.
    fn take_up(&mut self, now: Now) {
        let fresh = |(at, _): &(Instant, _)| *at + MEASURED_FOR > now.instant;
        let pressing = self.need().is_none_or(|need| need.is_rush());
        if pressing || self.bandwidth.as_ref().is_some_and(fresh) {
            return self.switch(Output::Promote);
        }
        self.stage = Stage::Measuring { until: now.instant + MEASURE_WAIT };
        self.outputs.push_back(Output::Measure);
    }

    fn switch(&mut self, output: Output) {
        self.stage = Stage::Switching;
        self.outputs.push_back(output);
    }

    /// Whether this node may and should serve now.
    fn is_called(&self, now: Now) -> bool {
        let need = self.need();
        let orphan = self.orphan_since.is_some_and(|since| since + ORPHAN_AFTER <= now.instant);
        let waited = self.waits.left(now.wall).is_zero() || need.is_none_or(|need| need.is_rush());
        (need.is_some() || orphan) && waited && self.objection(need, now).is_none()
    }

    fn need(&self) -> Option<need::Need> {
        need::need(self.around.as_ref()?, self.stuck.is_some_and(|stuck| stuck.over))
    }

    /// When the home will have been too full for too long.
    fn stuck_at(&self) -> Option<Instant> {
        let stuck = self.stuck.filter(|stuck| !stuck.over && self.promote == Promote::Auto);
        stuck.map(|stuck| stuck.at)
    }

    fn objection(&self, need: Option<need::Need>, now: Now) -> Option<Unfit> {
        let demand = fitness::Demand {
            uptime: need.map_or(ORPHAN_AFTER, |need| need.uptime()),
            two_witnesses: self.around.is_some_and(|around| around.supernodes > 1),
        };
        let bandwidth = self.bandwidth.and_then(|(_, rate)| rate);
        let uptime = now.instant.saturating_duration_since(self.started);
        fitness::objection(&self.facts, bandwidth, uptime, demand)
    }
}
