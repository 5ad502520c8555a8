//! Draws without state: a number that follows from a seed, an id and what it is for.

use rand::{Rng, RngExt};

/// What a hashed draw is for. Different purposes are independent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Word(u32),
    WordCount,
    Nat,
    Place,
    Size,
}

/// 64 bits that follow from `seed`, `id` and `purpose` (SplitMix64, twice).
pub(super) fn bits(seed: u64, id: u32, purpose: Purpose) -> u64 {
    let purpose = match purpose {
        Purpose::Word(number) => 0x100 + u64::from(number),
        Purpose::WordCount => 1,
        Purpose::Nat => 2,
        Purpose::Place => 3,
        Purpose::Size => 4,
    };
    mix(mix(seed ^ (purpose << 32)).wrapping_add(u64::from(id)))
}

/// A number in `0.0..1.0`.
pub(super) fn unit(seed: u64, id: u32, purpose: Purpose) -> f64 {
    to_unit(bits(seed, id, purpose))
}

/// The upper 53 bits as a number in `0.0..1.0`.
fn to_unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// One step of SplitMix64 from `seed`, and its mixing (Steele, Lea and Flood, 2014).
pub(crate) fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A rank in `0..most` by Zipf's law with exponent 1, from a uniform draw: log-uniform ranks have it.
pub(super) fn zipf(unit: f64, most: u32) -> u32 {
    let rank = (unit * f64::from(most).ln_1p()).exp() - 1.0;
    (rank as u32).min(most.saturating_sub(1))
}

/// A Zipf rank in `0..most`.
pub(super) fn zipf_rank(rng: &mut impl Rng, most: u32) -> u32 {
    zipf(rng.random(), most)
}
