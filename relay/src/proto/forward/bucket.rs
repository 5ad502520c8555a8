//! How many bytes a second: token buckets that may be overdrawn by one batch, and who shares.

use std::time::{Duration, Instant};

/// What may come at once: so much of a second's bytes (guess: the queue of a home router).
const BURST: Duration = Duration::from_millis(100);
/// Pairs that were busy within so long share the relay's rate.
const WINDOW: Duration = Duration::from_secs(1);

/// A token bucket, kept as the moment at which it will be full again. It gives as long as it is not empty, whatever the size of the
/// batch, so that a low rate does not stop large batches for good; the debt is at most one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes `bytes` at `rate` bytes a second, if there are any.
    pub(super) fn take(&mut self, bytes: u64, rate: u64, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        if full_at.duration_since(now) > BURST {
            return false;
        }
        let nanoseconds = bytes.saturating_mul(1_000_000_000) / rate.max(1);
        self.full_at = full_at.checked_add(Duration::from_nanos(nanoseconds)).or(Some(full_at));
        true
    }
}

/// How many pairs are busy at the same time.
#[derive(Debug)]
pub(super) struct Activity {
    window: Window,
    began: Instant,
    busy: u32,
    busy_before: u32,
}

/// In which window a pair was busy last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window(u64);

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self { window: Window(1), began: now, busy: 0, busy_before: 0 }
    }

    /// A pair that was busy last in window `last` is busy now: how many are, itself included.
    pub(super) fn note(&mut self, last: &mut Window, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.began);
        if age >= WINDOW {
            self.busy_before = if age < 2 * WINDOW { self.busy } else { 0 };
            self.busy = 0;
            self.began = now;
            self.window.0 += 1;
        }
        if *last != self.window {
            *last = self.window;
            self.busy += 1;
        }
        self.busy.max(self.busy_before)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::start, *};

    #[test]
    fn a_bucket_gives_its_rate_over_time_whatever_the_size_of_the_batches() {
        for batch in [1_000u64, 60_000] {
            let (start, mut bucket, mut given) = (start().instant, Bucket::default(), 0);
            for tick in 0..100_000 {
                let now = start + Duration::from_micros(100) * tick;
                given += if bucket.take(batch, 1_000_000, now) { batch } else { 0 };
            }
            // Ten seconds, a burst, and a batch of debt.
            assert!((10_000_000..=10_100_000 + batch).contains(&given), "{given} in batches of {batch}");
        }
    }

    #[test]
    fn a_full_bucket_holds_no_more_than_a_burst() {
        let (start, mut bucket) = (start().instant, Bucket::default());
        let later = start + Duration::from_secs(3600);
        assert!(bucket.take(1, 1_000_000, start));
        let given = (0..1_000).filter(|_| bucket.take(1_000, 1_000_000, later)).count();
        assert_eq!(given, 101, "100 ms at 1 MB/s, and one more");
    }

    #[test]
    fn pairs_count_as_busy_in_the_second_that_they_were_and_in_the_next() {
        let start = start().instant;
        let mut activity = Activity::new(start);
        let mut pairs = [Window::default(); 3];
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(activity.note(&mut pairs[0], at(0)), 1);
        assert_eq!(activity.note(&mut pairs[0], at(10)), 1, "the same again");
        assert_eq!(activity.note(&mut pairs[1], at(20)), 2);
        assert_eq!(activity.note(&mut pairs[2], at(1_500)), 2, "the two of the second before");
        assert_eq!(activity.note(&mut pairs[2], at(2_600)), 1);
        assert_eq!(activity.note(&mut pairs[0], at(9_000)), 1);
    }
}
