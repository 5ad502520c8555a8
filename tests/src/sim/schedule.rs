//! Virtual time: what is due when, in one order for every run.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use nearmesh_common::{Now, UnixMillis};

/// The wall clock when a simulation begins.
pub(crate) const BEGINNING: UnixMillis = UnixMillis(1_800_000_000_000);

/// Events by time; those of the same time in the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Schedule<E> {
    heap: BinaryHeap<Reverse<Due<Duration, E>>>,
    planned: u64,
    base: Instant,
    now: Duration,
}

/// An event and when it is due; of those of the same time the one that was planned first comes first.
#[derive(Debug)]
pub(crate) struct Due<T, E> {
    pub(crate) at: T,
    pub(crate) order: u64,
    pub(crate) event: E,
}

impl<E> Schedule<E> {
    /// The present is as good a beginning as any: only differences are ever seen.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0, base: Instant::now(), now: Duration::ZERO }
    }

    /// Time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// The present moment, as machines take it.
    pub(crate) fn moment(&self) -> Now {
        Now { instant: self.base + self.now, wall: BEGINNING.after(self.now) }
    }

    /// When `instant` is, since the beginning.
    pub(crate) fn offset(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    /// Plans `event`, not before now.
    pub(crate) fn at(&mut self, at: Duration, event: E) {
        self.planned += 1;
        self.heap.push(Reverse(Due { at: at.max(self.now), order: self.planned, event }));
    }

    /// Takes the next event due by `end`, and moves time on to it; to `end` if there is none.
    pub(crate) fn next(&mut self, end: Duration) -> Option<E> {
        if self.heap.peek().is_none_or(|Reverse(due)| due.at > end) {
            self.now = end;
            return None;
        }
        let Reverse(due) = self.heap.pop()?;
        self.now = due.at;
        Some(due.event)
    }
}

impl<T: Ord, E> PartialEq for Due<T, E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord, E> Eq for Due<T, E> {}

impl<T: Ord, E> PartialOrd for Due<T, E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord, E> Ord for Due<T, E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.at, self.order).cmp(&(&other.at, other.order))
    }
}
