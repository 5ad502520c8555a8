//! The round trip of a route: smoothed for timeouts (RFC 6298), smallest of the last minute for comparisons.
//!
//! A route is compared by its smallest round trip because the others have met a queue, often one of our own making.
//! Whoever's round trips flap is judged by the better ones, so that comparisons do not flap with them.

use std::time::{Duration, Instant};

/// How long a part of the window is. Four of them: a route that became slower is known as such after a minute (guess).
const PART: Duration = Duration::from_secs(15);
const PARTS: usize = 4;
/// Gain of the smoothed round trip and of its variation (RFC 6298, section 2).
const SMOOTHING: u32 = 8;
const VARIATION: u32 = 4;

/// Measurements of one route.
#[derive(Clone, Debug, Default)]
pub(super) struct Rtt {
    smoothed: Duration,
    variation: Duration,
    samples: u32,
    /// The smallest of each part of the last minute, the present one first.
    least: [Option<Duration>; PARTS],
    part_began: Option<Instant>,
}

impl Rtt {
    /// One more.
    pub(super) fn add(&mut self, sample: Duration, now: Instant) {
        if self.samples == 0 {
            (self.smoothed, self.variation) = (sample, sample / 2);
        } else {
            let off = self.smoothed.abs_diff(sample);
            self.variation = (self.variation * (VARIATION - 1) + off) / VARIATION;
            self.smoothed = (self.smoothed * (SMOOTHING - 1) + sample) / SMOOTHING;
        }
        self.samples = self.samples.saturating_add(1);
        self.turn(now);
        self.least[0] = Some(self.least[0].map_or(sample, |least| least.min(sample)));
    }

    /// Smoothed, if there was any.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        (self.samples > 0).then_some(self.smoothed)
    }

    /// The smallest of the last minute with measurements.
    pub(super) fn least(&self) -> Option<Duration> {
        self.least.iter().flatten().min().copied()
    }

    /// How many there were.
    pub(super) fn samples(&self) -> u32 {
        self.samples
    }

    /// When an answer is late: nearly all of them came sooner (RFC 6298). `None` without measurements.
    pub(super) fn late(&self) -> Option<Duration> {
        (self.samples > 0).then(|| self.smoothed + self.variation * 4)
    }

    fn turn(&mut self, now: Instant) {
        let began = *self.part_began.get_or_insert(now);
        let parts = now.saturating_duration_since(began).as_secs() / PART.as_secs();
        if parts == 0 {
            return;
        }
        for _ in 0..parts.min(PARTS as u64) {
            self.least.rotate_right(1);
            self.least[0] = None;
        }
        self.part_began = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::start, *};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_smallest_of_a_minute_counts_and_is_then_forgotten() {
        let (mut rtt, start) = (Rtt::default(), start().instant);
        rtt.add(20 * MS, start);
        for second in 1..45 {
            rtt.add(80 * MS, start + Duration::from_secs(second));
        }
        assert_eq!(rtt.least(), Some(20 * MS));
        for second in 45..76 {
            rtt.add(80 * MS, start + Duration::from_secs(second));
        }
        assert_eq!(rtt.least(), Some(80 * MS));
        assert!(rtt.smoothed() > Some(79 * MS) && rtt.late() < Some(90 * MS), "{rtt:?}");
    }
}
