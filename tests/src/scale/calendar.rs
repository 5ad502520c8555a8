//! What is due when, for very many events: a ring of short days, each put in order when it comes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use nearmesh_common::Now;

use crate::sim::schedule::{BEGINNING, Due};

/// A moment: nanoseconds since the beginning.
pub type Moment = u64;

/// A day is 2 to this power nanoseconds long: about a millisecond.
const DAY_BITS: u32 = 20;
/// Days in the ring, as a power of two: 137 s, longer than most waits.
const RING_BITS: u32 = 17;

/// Events by time; those of the same time in the order in which they were planned.
pub(super) struct Calendar<E> {
    today: BinaryHeap<Reverse<Due<Moment, E>>>,
    day: u64,
    ring: Vec<Vec<Due<Moment, E>>>,
    /// What lies beyond the ring, by turns of it.
    far: BTreeMap<u64, Vec<Due<Moment, E>>>,
    planned: u64,
    waiting: usize,
    base: Instant,
    now: Moment,
}

impl<E> Calendar<E> {
    /// The present is as good a beginning as any: only differences are ever seen.
    #[allow(clippy::disallowed_methods)]
    pub(super) fn new() -> Self {
        Self {
            today: BinaryHeap::new(),
            day: 0,
            ring: std::iter::repeat_with(Vec::new).take(1 << RING_BITS).collect(),
            far: BTreeMap::new(),
            planned: 0,
            waiting: 0,
            base: Instant::now(),
            now: 0,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// The present moment, as machines take it.
    pub(super) fn moment(&self) -> Now {
        let now = Duration::from_nanos(self.now);
        Now { instant: self.base + now, wall: BEGINNING.after(now) }
    }

    /// When `instant` is.
    pub(super) fn of(&self, instant: Instant) -> Moment {
        nanos(instant.saturating_duration_since(self.base))
    }

    /// Plans `event`, not before now.
    pub(super) fn at(&mut self, at: Moment, event: E) {
        self.planned += 1;
        self.waiting += 1;
        let at = at.max(self.now);
        let due = Due { at, order: self.planned, event };
        let day = at >> DAY_BITS;
        if day <= self.day {
            self.today.push(Reverse(due));
        } else if day - self.day < 1 << RING_BITS {
            self.ring[Self::place(day)].push(due);
        } else {
            self.far.entry(day >> RING_BITS).or_default().push(due);
        }
    }

    /// Takes the next event due by `end`, and moves time on to it; to `end` if there is none.
    pub(super) fn next(&mut self, end: Moment) -> Option<E> {
        loop {
            if let Some(Reverse(due)) = self.today.peek() {
                if due.at > end {
                    break;
                }
                let Reverse(due) = self.today.pop()?;
                self.now = due.at;
                self.waiting -= 1;
                return Some(due.event);
            }
            if self.day >= end >> DAY_BITS {
                break;
            }
            self.begin_day(self.day + 1);
        }
        self.now = self.now.max(end);
        None
    }

    /// Events that are planned.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    fn begin_day(&mut self, day: u64) {
        self.day = day;
        if day.trailing_zeros() >= RING_BITS
            && let Some(turn) = self.far.remove(&(day >> RING_BITS))
        {
            for due in turn {
                self.ring[Self::place(due.at >> DAY_BITS)].push(due);
            }
        }
        let due = std::mem::take(&mut self.ring[Self::place(day)]);
        self.today = due.into_iter().map(Reverse).collect::<Vec<_>>().into();
    }

    fn place(day: u64) -> usize {
        (day & ((1 << RING_BITS) - 1)) as usize
    }
}

/// As a moment's distance.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn everything_comes_in_the_order_of_its_time_however_far_away() {
        let mut calendar = Calendar::new();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let far = nanos(Duration::from_secs(1000));
        let mut expected: Vec<_> = (0..3000u32).map(|number| (rng.random_range(0..far), number)).collect();
        for (at, number) in &expected {
            calendar.at(*at, *number);
        }
        expected.sort_unstable();
        let mut got = Vec::new();
        for step in 1..=10 {
            while let Some(number) = calendar.next(far / 10 * step) {
                got.push((calendar.now(), number));
                if number % 10 == 0 {
                    calendar.at(calendar.now() + far * 2, 1_000_000);
                }
            }
        }
        assert_eq!(got, expected);
        assert_eq!(calendar.len(), 300);
    }
}
