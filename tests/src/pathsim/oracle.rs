//! What must be true in every run.
//!
//! The oracle sees the packets: it knows which of them arrived, by which way, and what is possible between two places. It asks the
//! machines nothing but what they say they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nearmesh_relay::proto::path::{PathKind, Route};

use super::{
    CALL_AT,
    kinds::{Expected, expected},
    scenario::{BOTH, Disturbance, Scenario, Who},
};

/// Longest pause in what arrives while nothing goes wrong, or a relay dies or drains; also when a box forgets its flows. The product's
/// promise.
pub const LONGEST_STALL: Duration = Duration::from_secs(2);
/// When the address changes: so long may pass until the machine notices, besides.
const NOTICING: Duration = Duration::from_secs(1);
/// From the first call until something arrives, in any scenario: a few signals are lost.
pub const CONNECTED_WITHIN: Duration = Duration::from_secs(15);
/// From the first call until a direct path, where none needs guessing and the lines are fair: the product's promise.
pub const DIRECT_WITHIN: Duration = Duration::from_secs(3);
/// By bad lines: before the first disturbance.
const DIRECT_AT_LAST: Duration = Duration::from_secs(20);
/// The relay in use must not have more than so many times the smallest sum of round trips: a better one must have less than two thirds
/// of it, and the better of the two that are held less than three quarters.
const FURTHEST_RELAY: (u32, u32) = (2, 1);
/// Most packets of a side in any second: 200 unproven pings, 400 for spreading, 50 pongs, and those by routes that work.
const MOST_IN_A_SECOND: u64 = 700;
/// A pause shorter than this is not looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What must not be.
    pub violations: Vec<String>,
    /// When something first arrived at each side.
    pub first_data: [Option<Duration>; 2],
    /// When both first used a direct path.
    pub first_direct: Option<Duration>,
    /// The longest pause of those that must be short.
    pub longest_short_stall: Duration,
    /// Pauses in what arrives: at whom, from when, how long.
    pub stalls: Vec<(Who, Duration, Duration)>,
    last_data: [Option<Duration>; 2],
    /// Direct routes by which a packet reached the peer, and by which one came.
    reached: BTreeSet<(Who, Route)>,
    came: BTreeSet<(Who, Route)>,
    sent: BTreeMap<(Who, u64), u64>,
    /// Packets that came by a route that was not accepted.
    pub refused: u64,
    /// Packets sent in all.
    pub packets: u64,
}

impl Oracle {
    /// Something is wrong.
    pub fn complain(&mut self, now: Duration, what: String) {
        self.violations.push(format!("{:.3} s: {what}", now.as_secs_f64()));
    }

    /// A packet leaves.
    pub(super) fn on_sent(&mut self, who: Who, now: Duration) {
        self.packets += 1;
        let count = self.sent.entry((who, now.as_secs())).or_default();
        *count += 1;
        if *count == MOST_IN_A_SECOND {
            self.complain(now, format!("{who:?} sends more than {MOST_IN_A_SECOND} probes in a second"));
        }
    }

    /// Most that a side sent in a second.
    pub fn most_in_a_second(&self) -> u64 {
        self.sent.values().max().copied().unwrap_or_default()
    }

    /// Probes of a side between two moments.
    pub fn sent_between(&self, who: Who, from: Duration, to: Duration) -> u64 {
        self.sent.range((who, from.as_secs())..(who, to.as_secs())).map(|(_, count)| count).sum()
    }

    /// A packet that `who` sent by `route` reached the peer.
    pub(super) fn on_reached(&mut self, who: Who, route: Route) {
        self.reached.insert((who, route));
    }

    /// A packet of the peer came to `who` by `route`.
    pub(super) fn on_came(&mut self, who: Who, route: Route) {
        if self.reached.contains(&(who, route)) {
            self.came.insert((who, route));
        }
    }

    /// A side uses another route: packets have gone there and come back by it.
    pub(super) fn on_use(&mut self, who: Who, route: Route, relay_open: bool, now: Duration) {
        let valid = if route.is_direct() { self.came.contains(&(who, route)) } else { relay_open };
        if !valid {
            self.complain(now, format!("{who:?} uses {route}, which was never proven"));
        }
    }

    /// Bytes arrive.
    pub(super) fn on_data(&mut self, who: Who, now: Duration) {
        let at = who.index();
        self.first_data[at].get_or_insert(now);
        if let Some(last) = self.last_data[at].replace(now)
            && now - last > PAUSE
        {
            self.stalls.push((who, last, now - last));
        }
    }

    /// Nothing is sent from now on, or something again: pauses are not counted across.
    pub(super) fn on_idle(&mut self, idle: bool, now: Duration) {
        self.last_data = if idle { [None; 2] } else { self.first_data.map(|first| first.map(|_| now)) };
    }

    /// The run is over.
    pub(super) fn judge(&mut self, scenario: &Scenario, ending: &Ending, now: Duration) {
        if ending.expected == Expected::Nothing {
            if !ending.told_unreachable && scenario.disturbances.is_empty() {
                self.complain(now, "nobody was told that the peer is unreachable".into());
            }
            return;
        }
        for who in BOTH {
            self.judge_connected(who, scenario, now);
            let kind = ending.kinds[who.index()];
            let fine = match ending.expected {
                Expected::Lan => kind == Some(PathKind::Lan),
                Expected::Direct => matches!(kind, Some(PathKind::Lan | PathKind::Direct)),
                Expected::Relayed => matches!(kind, Some(PathKind::Relayed(_))),
                Expected::Guessed | Expected::GuessedLate => kind.is_some(),
                Expected::Nothing => true,
            };
            if !fine {
                let expected = ending.expected;
                self.complain(now, format!("{who:?} should be {expected:?} and is {kind:?}"));
            }
        }
        self.judge_first_direct(scenario, now);
        self.judge_relay(scenario, ending, now);
        self.judge_stalls(scenario);
    }

    fn judge_first_direct(&mut self, scenario: &Scenario, now: Duration) {
        let [alice, bob] = scenario.kinds;
        let limit = if scenario.is_fair() { DIRECT_WITHIN } else { DIRECT_AT_LAST };
        let in_time = self.first_direct.is_some_and(|first| first <= CALL_AT + limit);
        if expected(alice, bob, scenario.together).needs_no_guessing() && !in_time {
            let first = self.first_direct;
            self.complain(now, format!("first direct at {first:?}, {limit:?} after the call is allowed"));
        }
    }

    fn judge_relay(&mut self, scenario: &Scenario, ending: &Ending, now: Duration) {
        if let Some((used, best)) = ending.relay_sums
            // Round trips are known as well as the lines allow.
            && used * FURTHEST_RELAY.1 > (best + scenario.lines.jitter) * FURTHEST_RELAY.0
        {
            self.complain(now, format!("the relay in use is {used:?} away, another one {best:?}"));
        }
    }

    fn judge_connected(&mut self, who: Who, scenario: &Scenario, now: Duration) {
        match self.first_data[who.index()] {
            Some(first) if first <= CONNECTED_WITHIN => {}
            // Whoever was carried there later was blocked at first.
            _ if expected(scenario.kinds[0], scenario.kinds[1], scenario.together) == Expected::Nothing => {}
            first => self.complain(now, format!("nothing came to {who:?} until {first:?}")),
        }
        if self.last_data[who.index()].is_none_or(|last| last + LONGEST_STALL < now) {
            let last = self.last_data[who.index()];
            self.complain(now, format!("nothing comes to {who:?} any more since {last:?}"));
        }
    }

    fn judge_stalls(&mut self, scenario: &Scenario) {
        for (who, from, time) in std::mem::take(&mut self.stalls) {
            let allowed = scenario.disturbances.iter().map(|(at, what)| {
                let over = *at + what.lasts() + LONGEST_STALL;
                if from <= over && *at <= from + time { allowance(*what) } else { LONGEST_STALL }
            });
            let allowed = allowed.max().unwrap_or(LONGEST_STALL);
            if allowed == LONGEST_STALL {
                self.longest_short_stall = self.longest_short_stall.max(time);
            }
            if time > allowed {
                self.complain(from, format!("nothing came to {who:?} for {time:?}, {allowed:?} is allowed"));
            }
            self.stalls.push((who, from, time));
        }
    }

    /// The longest pause that overlaps with what happened at `at`.
    pub fn stall_at(&self, at: Duration) -> Duration {
        let overlapping =
            self.stalls.iter().filter(|(_, from, time)| *from <= at + LONGEST_STALL && at <= *from + *time);
        overlapping.map(|(_, _, time)| *time).max().unwrap_or_default()
    }
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// What is possible between the places where both are at last.
    pub(super) expected: Expected,
    /// The paths in use.
    pub(super) kinds: [Option<PathKind>; 2],
    /// Both round trips of the relay that alice uses, and of the best one.
    pub(super) relay_sums: Option<(Duration, Duration)>,
    /// An event said so.
    pub(super) told_unreachable: bool,
}

fn allowance(what: Disturbance) -> Duration {
    match what {
        Disturbance::RelayDies
        | Disturbance::RelayDrains
        | Disturbance::Flush(_)
        | Disturbance::NoSignals(_)
        | Disturbance::Idle(_) => LONGEST_STALL,
        Disturbance::NewAddress(_) | Disturbance::Move(..) => LONGEST_STALL + NOTICING,
        Disturbance::Outage(time) => time + LONGEST_STALL + NOTICING,
    }
}
