//! Token buckets: how often a peer may ask.

use std::time::{Duration, Instant};

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back in a second.
    pub per_second: u32,
    /// Tokens at most.
    pub burst: u32,
}

/// What one peer has left.
#[derive(Clone, Debug)]
pub struct Budget {
    rate: Rate,
    /// When the bucket was, or will be, empty of debt: it holds what came back since.
    empty_at: Option<Instant>,
}

impl Budget {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, empty_at: None }
    }

    /// Takes a token; says whether there was one.
    pub fn take(&mut self, now: Instant) -> bool {
        let token = Duration::from_secs(1) / self.rate.per_second;
        let full = token * self.rate.burst;
        let empty_at = self.empty_at.filter(|at| now.saturating_duration_since(*at) < full);
        let held = empty_at.map_or(full, |at| now.saturating_duration_since(at));
        if held < token {
            return false;
        }
        // A token is spent by moving the moment of emptiness forward.
        self.empty_at = Some(match empty_at {
            Some(at) => at + token,
            None => now.checked_sub(full - token).unwrap_or(now),
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut now = Instant::now() + Duration::from_secs(3600);
        let mut budget = Budget::new(Rate { per_second: 10, burst: 5 });
        assert_eq!((0..20).filter(|_| budget.take(now)).count(), 5);
        now += Duration::from_millis(300);
        assert_eq!((0..20).filter(|_| budget.take(now)).count(), 3);
        now += Duration::from_secs(60);
        assert_eq!((0..20).filter(|_| budget.take(now)).count(), 5, "no more than the burst is saved");
    }
}
