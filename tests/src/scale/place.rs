//! Where peers are and how long their packets take.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::calendar::{Moment, nanos};
use crate::sim::REGION_ROUND_TRIPS;

/// Steps of [`Place::access`].
const ACCESS_STEP: Duration = Duration::from_micros(10);
/// The slowest access line of a node, one way, in steps: 20 ms (guess: a loaded DSL line).
const SLOWEST_ACCESS: u16 = 2000;
/// The slowest access line of a supernode, one way, in steps: 1.5 ms.
const SLOWEST_WELL_PLACED: u16 = 150;
/// The fastest, in steps.
const FASTEST_ACCESS: u16 = 30;
/// The round trip of a process to itself.
const OWN: Moment = 20_000;

/// Where a peer is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// In the table of round trips.
    pub region: u8,
    /// Its access line, one way, in steps of 10 us.
    pub access: u16,
}

impl Place {
    /// Some place; with a fast access line if it is `well_placed`.
    pub fn draw(well_placed: bool, rng: &mut ChaCha8Rng) -> Self {
        let slowest = if well_placed { SLOWEST_WELL_PLACED } else { SLOWEST_ACCESS };
        let region = rng.random_range(0..REGION_ROUND_TRIPS.len()) as u8;
        Self { region, access: rng.random_range(FASTEST_ACCESS..=slowest) }
    }

    /// The round trip between two different peers, without queues or loss.
    pub fn rtt(self, other: Self) -> Moment {
        let between = REGION_ROUND_TRIPS[usize::from(self.region)][usize::from(other.region)];
        let access = (u64::from(self.access) + u64::from(other.access)) * nanos(ACCESS_STEP);
        between * 1_000_000 + access * 2
    }

    /// The round trip of a process to itself.
    pub fn own_rtt() -> Moment {
        OWN
    }
}
