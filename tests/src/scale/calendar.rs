//! What is due when, for very many events: a ring of short days, each put in order when it comes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut},
    time::{Duration, Instant},
};

use nearmesh_common::Now;

use crate::sim::schedule::{BEGINNING, Due};

/// A moment: nanoseconds since the beginning.
pub type Moment = u64;

/// A day is 2 to this power nanoseconds long: about four milliseconds.
const DAY_BITS: u32 = 22;
/// How long a day is.
pub(super) const DAY: Moment = 1 << DAY_BITS;
/// Days in the ring, as a power of two: 137 s, longer than most waits.
const RING_BITS: u32 = 15;

/// Events by time; those of the same time in the order in which they were planned.
pub(super) struct Calendar<E> {
    /// What was planned for today before it began, the last first.
    today: Vec<Due<Moment, E>>,
    /// What was planned for it since.
    added: BinaryHeap<Reverse<Due<Moment, E>>>,
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
            today: Vec::new(),
            added: BinaryHeap::new(),
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
        self.moment_of(self.now)
    }

    /// Any other.
    pub(super) fn moment_of(&self, at: Moment) -> Now {
        let at = Duration::from_nanos(at);
        Now { instant: self.base + at, wall: BEGINNING.after(at) }
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
            self.added.push(Reverse(due));
        } else if day - self.day < 1 << RING_BITS {
            self.ring[Self::place(day)].push(due);
        } else {
            self.far.entry(day >> RING_BITS).or_default().push(due);
        }
    }

    /// Takes the next of today's events due by `end`, and moves time on to it.
    pub(super) fn next(&mut self, end: Moment) -> Option<E> {
        let added = match (self.today.last(), self.added.peek()) {
            (Some(planned), Some(Reverse(added))) => added < planned,
            (planned, _) => planned.is_none(),
        };
        let due = if added {
            let due = self.added.peek_mut().filter(|next| next.0.at <= end).map(PeekMut::pop);
            due.map(|Reverse(due)| due)
        } else {
            self.today.pop_if(|due| due.at <= end)
        }?;
        self.now = due.at;
        self.waiting -= 1;
        Some(due.event)
    }

    /// When nothing is left of today: goes on to the next day with an event. Says whether there is one by `end`; else time moves on to that.
    pub(super) fn turn(&mut self, end: Moment) -> bool {
        while self.day < end >> DAY_BITS {
            self.begin_day(self.day + 1);
            if !self.today.is_empty() {
                return true;
            }
        }
        self.now = self.now.max(end);
        false
    }

    /// What is left of today, the last first; to be given back before anything else happens.
    pub(super) fn take_today(&mut self) -> Vec<Due<Moment, E>> {
        if !self.added.is_empty() {
            self.today.extend(self.added.drain().map(|Reverse(due)| due));
            self.today.sort_unstable_by(|one, other| other.cmp(one));
        }
        std::mem::take(&mut self.today)
    }

    pub(super) fn give_back(&mut self, today: Vec<Due<Moment, E>>) {
        self.today = today;
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
        self.today = std::mem::take(&mut self.ring[Self::place(day)]);
        self.today.sort_unstable_by(|one, other| other.cmp(one));
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
            let end = far / 10 * step;
            loop {
                while let Some(number) = calendar.next(end) {
                    got.push((calendar.now(), number));
                    if number % 10 == 0 {
                        calendar.at(calendar.now() + far * 2, 1_000_000);
                    }
                }
                if !calendar.turn(end) {
                    break;
                }
            }
        }
        assert_eq!(got, expected);
        assert_eq!(calendar.len(), 300);
    }
}
