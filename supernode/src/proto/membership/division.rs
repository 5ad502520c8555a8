//! Into how many groups the net is divided.
//!
//! One group up to [`FULL_MESH`] supernodes; beyond, the power of two nearest to the root of their number N. Each supernode decides by its own
//! estimate of N, which all make from the same exact counts, so that they decide alike and at nearly the same time. Where the estimate
//! leaves the choice, a supernode goes with most of those it is linked to.
//!
//! While they do not all see the same, nothing is lost: a link is kept as long as either end needs it.

use std::time::{Duration, Instant};

use nearmesh_common::supernode_record::MAX_GROUP_BITS;

use super::super::placement::Groups;

/// Most supernodes in one full mesh (design, section 6).
pub(super) const FULL_MESH: u32 = 64;
/// Fewest that are divided: below it is one group again (guess: a quarter less, so that the coming and going of a few changes nothing).
pub(super) const DIVIDED: u32 = 48;
/// The least number of bits that more than [`FULL_MESH`] are divided by: the root of 64.
const LEAST_BITS: u8 = 3;
/// How far beyond a border N must be until the number of groups changes, in percent of the border (guess: more than estimates differ).
const ABOVE: u64 = 115;
const BELOW: u64 = 80;
/// For how long it must be there (guess: longer than a restart, and than one supernode's news takes).
const HOLD: Duration = Duration::from_secs(8);
/// For how long the former groups count after a change (guess: several times what everybody needs to follow and to find new contacts).
pub(super) const TRANSITION: Duration = Duration::from_secs(120);

/// How the net is divided, as we see it.
#[derive(Debug)]
pub(super) struct Division {
    groups: Groups,
    former: Option<(Groups, Instant)>,
    wish: Option<(Groups, Instant)>,
}

impl Division {
    pub(super) fn new() -> Self {
        Self { groups: Groups::ONE, former: None, wish: None }
    }

    pub(super) fn groups(&self) -> Groups {
        self.groups
    }

    pub(super) fn former(&self) -> Option<Groups> {
        self.former.map(|(groups, _)| groups)
    }

    /// When the former groups count no more.
    pub(super) fn transition_ends(&self) -> Option<Instant> {
        self.former.map(|(_, until)| until)
    }

    /// When it changed, while the former groups count.
    pub(super) fn changed_at(&self) -> Option<Instant> {
        self.former.map(|(_, until)| until - TRANSITION)
    }

    /// Ends the transition, if it is over; whether it did.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        self.former.take_if(|(_, until)| *until <= now).is_some()
    }

    /// Into what it should be divided now that there are about `number`, and most of those we know see it divided as `majority`.
    pub(super) fn next(&mut self, number: u32, majority: Option<u8>, now: Instant) -> Option<Groups> {
        let present = self.groups.bits();
        let follow = majority.filter(|bits| *bits != present && fits(*bits, number));
        if let Some(bits) = follow {
            return Some(Groups::new(bits));
        }
        if fits(present, number) {
            self.wish = None;
            return None;
        }
        let ideal = Groups::new(ideal(number));
        let since = match self.wish {
            Some((wish, since)) if wish == ideal => since,
            _ => now,
        };
        self.wish = Some((ideal, since));
        (now.saturating_duration_since(since) >= HOLD).then_some(ideal)
    }

    /// It is divided so from now on. Whoever just came has no former groups.
    pub(super) fn change(&mut self, groups: Groups, newcomer: bool, now: Instant) {
        self.former = (!newcomer).then_some((self.groups, now + TRANSITION));
        self.groups = groups;
        self.wish = None;
    }
}

/// Whether a net is ever divided by so many bits.
pub(super) fn is_possible(bits: u8) -> bool {
    bits == 0 || (LEAST_BITS..=MAX_GROUP_BITS).contains(&bits)
}

/// The number of bits for `number` supernodes.
fn ideal(number: u32) -> u8 {
    if number <= FULL_MESH {
        return 0;
    }
    (LEAST_BITS..MAX_GROUP_BITS).find(|bits| number <= most(*bits)).unwrap_or(MAX_GROUP_BITS)
}

/// Whether `number` supernodes may stay divided by so many bits.
fn fits(bits: u8, number: u32) -> bool {
    let percent = |border: u32, percent: u64| u64::from(border) * percent / 100;
    let number = u64::from(number);
    let enough = match bits {
        0 => true,
        LEAST_BITS => number >= u64::from(DIVIDED),
        _ => number >= percent(most(bits - 1), BELOW),
    };
    let few_enough = match bits {
        0 => number <= u64::from(FULL_MESH),
        MAX_GROUP_BITS => true,
        _ => number <= percent(most(bits), ABOVE),
    };
    is_possible(bits) && enough && few_enough
}

/// The border to one bit more: where the root is as near to 2^bits as to 2^(bits + 1), by the logarithm.
fn most(bits: u8) -> u32 {
    1 << (2 * bits + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::start;

    #[test]
    fn a_full_mesh_up_to_64_and_then_the_power_of_two_nearest_to_the_root() {
        let bits = |number: u32| ideal(number);
        assert_eq!([1, 64, 65, 128, 129, 256, 1024, 10_000, 65_536].map(bits), [0, 0, 3, 3, 4, 4, 5, 7, 8]);
        for number in 65..100_000u32 {
            let root = f64::from(number).sqrt().log2().min(f64::from(MAX_GROUP_BITS));
            assert!((f64::from(ideal(number)) - root).abs() < 0.500_001, "{number}");
            assert!(fits(ideal(number), number), "{number}");
        }
    }

    #[test]
    fn a_number_that_swings_around_a_border_changes_nothing() {
        let mut division = Division::new();
        let mut now = start();
        let mut changes = 0;
        for round in 0..200 {
            let number = if round % 20 < 10 { 60 } else { 70 };
            if let Some(groups) = division.next(number, None, now) {
                division.change(groups, false, now);
                changes += 1;
            }
            now += Duration::from_secs(5);
        }
        assert_eq!((changes, division.groups().bits()), (1, 3));
    }

    #[test]
    fn whoever_may_stay_goes_with_most_of_the_others() {
        let mut division = Division::new();
        assert_eq!(division.next(60, Some(3), start()), Some(Groups::new(3)), "either would do");
        assert_eq!(division.next(30, Some(3), start()), None, "not so few");
        assert_eq!(division.next(30, Some(1), start()), None, "nobody is divided so");
    }
}
