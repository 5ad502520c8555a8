//! Where peers are, and how long packets take between them: regions a real distance apart, and an access line for each
//! peer.

use std::time::Duration;

/// Round trips between regions in milliseconds (the public inter-region tables of the large clouds, rounded):
/// western Europe, eastern and western North America, eastern Asia, South America.
const BETWEEN: [[u64; REGIONS]; REGIONS] = [
    [8, 80, 140, 220, 190],
    [80, 8, 65, 170, 115],
    [140, 65, 8, 110, 170],
    [220, 170, 110, 8, 270],
    [190, 115, 170, 270, 8],
];
/// Regions in the table. A peer is in each of them equally likely (guess).
pub const REGIONS: usize = 5;
/// The slowest access line, one way, in microseconds (guess: a loaded DSL line).
const SLOWEST_ACCESS: u32 = 20_000;
/// The fastest, where supernodes are.
const FASTEST_ACCESS: u32 = 300;
/// Least of the round trips between two peers, on the fastest lines.
pub const LEAST_RTT: Duration = Duration::from_micros(nearest_regions() * 1000 + 4 * FASTEST_ACCESS as u64);
/// The slowest access line of a well-placed peer, as a multiple of the fastest (guess).
const WELL_PLACED: u32 = 5;

const fn nearest_regions() -> u64 {
    let (mut least, mut pair) = (u64::MAX, 0);
    while pair < REGIONS * REGIONS {
        let between = BETWEEN[pair / REGIONS][pair % REGIONS];
        least = if between < least { between } else { least };
        pair += 1;
    }
    least
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    region: u8,
    /// One way, in microseconds.
    access: u32,
}

impl Place {
    /// A place on an ordinary line, from 64 random bits.
    pub fn at_home(bits: u64) -> Self {
        Self::with_access(bits, SLOWEST_ACCESS)
    }

    /// A place in a data centre or on a very good line, from 64 random bits.
    pub fn well_placed(bits: u64) -> Self {
        Self::with_access(bits, FASTEST_ACCESS * WELL_PLACED)
    }

    fn with_access(bits: u64, slowest: u32) -> Self {
        let span = u64::from(slowest - FASTEST_ACCESS) + 1;
        let access = FASTEST_ACCESS + ((bits >> 8) % span) as u32;
        Self { region: ((bits & 0xff) as usize % REGIONS) as u8, access }
    }

    /// Its region, below [`REGIONS`].
    pub fn region(self) -> usize {
        usize::from(self.region)
    }

    /// The round trip between two peers, without queues or loss.
    pub fn rtt(self, other: Self) -> Duration {
        let between = BETWEEN[self.region()][other.region()];
        Duration::from_millis(between) + Duration::from_micros(u64::from(self.access + other.access) * 2)
    }
}
