//! How often something may happen: token buckets.

use std::time::{Duration, Instant};

/// A rate and how much of it may come at once.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// How long a token takes to come back.
    pub every: Duration,
    /// Tokens in a full bucket. At least 1.
    pub burst: u32,
}

impl Limit {
    /// So many tokens come back in a second (at least 1).
    pub const fn per_second(tokens: u32, burst: u32) -> Self {
        Self { every: Duration::from_nanos(1_000_000_000 / tokens as u64), burst }
    }
}

/// A token bucket, kept as the moment at which it will be full again (the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// When it is full again; none if nothing was ever taken.
    pub fn full_at(&self) -> Option<Instant> {
        self.full_at
    }

    /// Takes a token, if there is one. A bucket must always be asked with the same limit.
    pub fn take(&mut self, limit: Limit, now: Instant) -> bool {
        self.take_many(limit, 1, now)
    }

    /// Takes `count` tokens, if there are so many; else none.
    pub fn take_many(&mut self, limit: Limit, count: usize, now: Instant) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count > limit.burst.max(1) {
            return false;
        }
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + limit.every * count;
        let enough = full_at.duration_since(now) <= limit.every * limit.burst.max(1);
        if enough {
            self.full_at = Some(full_at);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit::per_second(10, 5);

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_burst_is_there_at_once_and_then_the_rate() {
        let (mut bucket, start) = (Bucket::default(), start());
        let taken = |bucket: &mut Bucket, now| (0..20).filter(|_| bucket.take(LIMIT, now)).count();
        assert_eq!(taken(&mut bucket, start), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(200)), 2);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 5, "never more than a burst");
    }

    #[test]
    fn several_are_taken_together_or_not_at_all() {
        let (mut bucket, start) = (Bucket::default(), start());
        assert!(!bucket.take_many(LIMIT, 6, start), "more than there ever are");
        assert!(bucket.take_many(LIMIT, 3, start));
        assert!(!bucket.take_many(LIMIT, 3, start));
        assert!(bucket.take_many(LIMIT, 2, start), "what was refused cost nothing");
        assert!(!bucket.take_many(LIMIT, usize::MAX, start));
    }
}
