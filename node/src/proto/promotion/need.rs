//! How many supernodes more, or fewer, a home and its surroundings want.

use std::time::Duration;

use nearmesh_common::wire::home::{MIN_SUPERNODES, Neighbourhood, TARGET_PERCENT, TOO_FULL_PERCENT};

/// How full supernodes should be: that part of their capacity.
pub const TARGET: f64 = TARGET_PERCENT as f64 / 100.0;
/// Fuller than this there are too few.
const TOO_FULL: f64 = TOO_FULL_PERCENT as f64 / 100.0;
/// Emptier than this, one supernode fewer, there are too many (guess: as much below).
const TOO_EMPTY: f64 = 0.55;
/// A child more or less is no news (guess: half of what makes the difference between enough and too few).
const CLEARLY: f64 = 0.97;
/// One supernode more in so many is clearly more (guess: as clear as [`CLEARLY`]).
const MORE_BY: u32 = 32;
/// The capacity of a supernode of which nothing is known.
const USUAL: f64 = 100.0;
/// A home that is as full as that for so long, although others are not, sheds in vain: somebody claims room that is not there (guess:
/// shedding takes half a minute, and twice the capacity leaves little time).
const STUCK: [(f64, Duration); 2] = [(1.25, Duration::from_secs(60)), (2.0, Duration::from_secs(8))];
/// Where uptime and the length of rounds have come down to their least: everybody is full.
const RUSH: f64 = 1.0;

/// How long a node must have been up, in a calm, in a rush, and when it is twice as pressing (gtk-gnutella asks an hour; guess: ten minutes
/// outlive most short sessions, and in a rush everybody is new).
const UPTIME: [Duration; 3] = [Duration::from_secs(600), Duration::from_secs(4), Duration::from_secs(2)];
/// How long a round is on average (guess: three times as long as news of a new supernode takes, 2 s, in a rush; beyond that the few that
/// are too many are soon filled).
const ROUND: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(6), Duration::from_secs(2)];

/// More supernodes are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Need {
    /// How many of the home's own candidates should become supernodes.
    wanted: f64,
    /// How many candidates there are.
    candidates: u32,
    /// From 0 (calm) by 1 (rush) to 2.
    urgency: f64,
}

impl Need {
    /// The chance of one candidate in one round.
    pub(super) fn chance(&self, boost: f64) -> f64 {
        (self.wanted * boost / f64::from(self.candidates.max(1))).clamp(0.0, 1.0)
    }

    /// The average length of a round.
    pub(super) fn round(&self) -> Duration {
        between(ROUND, self.urgency)
    }

    /// How long a node must have been up.
    pub(super) fn uptime(&self) -> Duration {
        between(UPTIME, self.urgency)
    }

    /// Whether everybody is full, or nobody is left.
    pub(super) fn is_rush(&self) -> bool {
        self.urgency >= 1.0
    }
}

/// What is wanted of the children of this home. `stuck`: whether the home has been far too full for long.
pub(super) fn need(around: &Neighbourhood, stuck: bool) -> Option<Need> {
    let full = fullness(around);
    let supernodes = f64::from(around.supernodes);
    let mut missing = if full > TOO_FULL { ideal(around) - supernodes } else { 0.0 };
    let mut urgency = (full - TOO_FULL) / (RUSH - TOO_FULL);
    let least = MIN_SUPERNODES.min(around.all_children);
    if around.supernodes < least {
        missing = missing.max(f64::from(least - around.supernodes));
        // One fewer than wanted can wait; none at all cannot.
        urgency = urgency.max(1.0 - supernodes / f64::from(MIN_SUPERNODES - 1));
    }
    let share = f64::from(around.children) / f64::from(around.all_children.max(1));
    let mut wanted = missing * share.min(1.0);
    let alone = f64::from(around.children) / (TARGET * f64::from(around.capacity.max(1))) - 1.0;
    if stuck && alone > wanted {
        wanted = alone;
        urgency = urgency.max(((alone + 1.0) * TARGET - TOO_FULL) / (RUSH - TOO_FULL));
    }
    let need = Need { wanted, candidates: around.candidates, urgency: urgency.clamp(0.0, 2.0) };
    (wanted > 0.0).then_some(need)
}

/// How long the home may be as full as it is until others' room is believed no more; `None` if it is not far too full.
pub(super) fn patience(around: &Neighbourhood) -> Option<Duration> {
    let full = f64::from(around.children) / f64::from(around.capacity.max(1));
    let [(little, long), (much, short)] = STUCK;
    match around.capacity {
        0 => None,
        _ if full > much => Some(short),
        _ => (full > little).then_some(long),
    }
}

/// The part of those that are not among the fuller ones that should stop being supernodes, if this one is among them.
pub(super) fn surplus(around: &Neighbourhood) -> Option<f64> {
    if around.supernodes <= MIN_SUPERNODES {
        return None;
    }
    let left = around.all_capacity.saturating_sub(around.capacity);
    let after = f64::from(around.all_children) / f64::from(left.max(1));
    let own = f64::from(around.children) / f64::from(around.capacity.max(1));
    let supernodes = f64::from(around.supernodes);
    let many = (supernodes - ideal(around)) / supernodes;
    (after < TOO_EMPTY && own * CLEARLY <= fullness(around) && many > 0.0).then_some(many)
}

/// Whether somebody came to help: there are clearly more supernodes, whose number is an estimate in a large net, or they are clearly less full.
pub(super) fn is_relief(before: &Neighbourhood, now: &Neighbourhood) -> bool {
    now.supernodes > before.supernodes + before.supernodes / MORE_BY
        || fullness(now) < fullness(before) * CLEARLY
}

/// How full the supernodes are on average.
pub(super) fn fullness(around: &Neighbourhood) -> f64 {
    f64::from(around.all_children) / f64::from(around.all_capacity.max(1))
}

/// How many supernodes of the usual capacity would be as full as they should.
fn ideal(around: &Neighbourhood) -> f64 {
    let usual = match around.supernodes {
        0 => USUAL,
        supernodes => f64::from(around.all_capacity.max(1)) / f64::from(supernodes),
    };
    f64::from(around.all_children) / (TARGET * usual)
}

/// Geometrically between the values for 0, 1 and 2.
fn between([calm, rush, most]: [Duration; 3], urgency: f64) -> Duration {
    let step = |from: Duration, to: Duration, part: f64| {
        from.mul_f64((to.as_secs_f64() / from.as_secs_f64()).powf(part.clamp(0.0, 1.0)))
    };
    if urgency < 1.0 { step(calm, rush, urgency) } else { step(rush, most, urgency - 1.0) }
}
