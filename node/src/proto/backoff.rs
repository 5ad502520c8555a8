//! Waits before trying again: doubling, and spread at random, so that many nodes that failed together do not come back
//! together ("full jitter", AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The longest first wait (guess: a home router restarts slower, a blip is over by then).
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait of all (guess: what a person will wait for after plugging the cable in again).
const LONGEST: Duration = Duration::from_secs(60);

/// How often in a row something failed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure: between a quarter of the present limit and all of it.
    pub(super) fn next(&mut self, rng: &mut ChaCha8Rng) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.failures.min(6)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        jitter(rng, limit / 4, limit)
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A wait between `least` and `most`, each equally likely.
pub(super) fn jitter(rng: &mut ChaCha8Rng, least: Duration, most: Duration) -> Duration {
    rng.random_range(least..=most)
}
