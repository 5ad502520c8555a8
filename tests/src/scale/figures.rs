//! Distributions, in little memory.

use std::time::Duration;

use serde::Serialize;

use super::calendar::Moment;

/// Steps between two powers of two: a figure is at most 3 % off.
const STEPS: u32 = 32;

/// How often values of each size came, in buckets whose width grows with the value.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    most: u64,
}

/// What one usually wants to know of a [`Histogram`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them are below.
    pub p50: f64,
    /// 99 of a hundred are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Histogram {
    /// One more value.
    pub fn note(&mut self, value: u64) {
        let at = bucket(value);
        if self.buckets.len() <= at {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.most = self.most.max(value);
    }

    /// How many values came.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.most
    }

    /// The value below which this part of all lies.
    pub fn quantile(&self, part: f64) -> u64 {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return upper(at).min(self.most);
            }
        }
        self.most
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// In units of `unit`.
    pub fn summary(&self, unit: f64) -> Summary {
        Summary {
            count: self.count,
            mean: self.mean() / unit,
            p50: self.quantile(0.5) as f64 / unit,
            p99: self.quantile(0.99) as f64 / unit,
            max: self.most as f64 / unit,
        }
    }

    /// Of a histogram of nanoseconds, in milliseconds.
    pub fn in_milliseconds(&self) -> Summary {
        self.summary(1e6)
    }
}

/// Waits for a home: when each ended, by second, and how long they took.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// All of them, in nanoseconds.
    pub all: Histogram,
}

impl Waits {
    pub(super) fn note(&mut self, _ended: Moment, waited: Moment) {
        self.all.note(waited);
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.all.max())
    }
}

fn bucket(value: u64) -> usize {
    if value < u64::from(STEPS) {
        return value as usize;
    }
    let power = value.ilog2();
    let step = (value >> (power - STEPS.ilog2())) - u64::from(STEPS);
    ((power - STEPS.ilog2() + 1) * STEPS) as usize + step as usize
}

fn upper(at: usize) -> u64 {
    let at = at as u64;
    let steps = u64::from(STEPS);
    if at < steps {
        return at;
    }
    let shift = at / steps - 1;
    ((steps + at % steps + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_three_percent_off() {
        let mut histogram = Histogram::default();
        (1..=100_000u64).for_each(|value| histogram.note(value * 1000));
        for (part, exact) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0), (1.0, 100_000_000.0)] {
            let error = histogram.quantile(part) as f64 / exact - 1.0;
            assert!((0.0..0.033).contains(&error), "{part}: {error}");
        }
        assert_eq!(histogram.max(), 100_000_000);
    }
}
