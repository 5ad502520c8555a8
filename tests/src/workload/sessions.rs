//! How long peers stay.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::parameters::{LEFT_WITHIN_4_HOURS, STAYED_24_HOURS};

/// The longest session (guess: a month), so that averages exist.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// The exponent of sessions of a given average (guess: heavy-tailed, and its average is its scale).
const SHAPE: f64 = 2.0;

/// A distribution of session times with a heavy tail: Lomax, that is Pareto from 0 on, so that the expected rest of a
/// session grows with its age (Bustamante and Qiao 2003).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sessions {
    scale: Duration,
    shape: f64,
}

impl Sessions {
    /// Gnutella's: 40 % of peers leave within 4 hours and 25 % stay for more than 24 (Ripeanu, Foster and Iamnitchi
    /// 2002). The two figures fix the two parameters.
    pub fn measured() -> Self {
        let stayed_4_hours = 1.0 - LEFT_WITHIN_4_HOURS;
        let wanted = STAYED_24_HOURS.ln() / stayed_4_hours.ln();
        let ratio = |scale: f64| (24.0 / scale).ln_1p() / (4.0 / scale).ln_1p();
        // The ratio grows with the scale, from 1 to 6: bisection.
        let (mut low, mut high) = (1e-3, 1e3);
        for _ in 0..100 {
            let middle = (low + high) / 2.0;
            if ratio(middle) < wanted { low = middle } else { high = middle }
        }
        let shape = -stayed_4_hours.ln() / (4.0 / low).ln_1p();
        Self { scale: Duration::from_secs_f64(low * 3600.0), shape }
    }

    /// Sessions of the given average.
    pub fn of_mean(mean: Duration) -> Self {
        Self { scale: mean.mul_f64(SHAPE - 1.0), shape: SHAPE }
    }

    /// A session.
    pub fn draw(&self, rng: &mut impl Rng) -> Duration {
        let uniform: f64 = 1.0 - rng.random::<f64>();
        let scales = uniform.powf(-1.0 / self.shape) - 1.0;
        Duration::from_secs_f64((self.scale.as_secs_f64() * scales).min(LONGEST.as_secs_f64()))
    }

    /// The part of sessions longer than `time`, up to a month.
    pub fn survival(&self, time: Duration) -> f64 {
        (1.0 + time.as_secs_f64() / self.scale.as_secs_f64()).powf(-self.shape)
    }
}

/// How long an ordinary node stays, as in Gnutella.
pub fn session(rng: &mut impl Rng) -> Duration {
    Sessions::measured().draw(rng)
}
