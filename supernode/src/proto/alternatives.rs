//! Where else a node may go.
//!
//! Those with more room are named more often, and each node hears of others: so that not all run to the same, and one that claims room
//! without end is one of several.

use nearmesh_common::{
    signed::{Signed, Verified},
    supernode_record::SupernodeRecord,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::door::{Elsewhere, STRETCH};

/// How many are named (guess: a node measures 16 at a time and needs one; at 900 bytes each, 7 kB).
pub(super) const NAMED: usize = 8;
/// Among how many members they are looked for, while enough of those have room (guess: it is done for each of a crowd).
pub(super) const DRAWN_FROM: usize = 64;
/// Room beyond that much counts no more (the usual capacity).
const MOST_ROOM: u32 = 100;

/// Where there is a place, by the others' own word.
pub(super) fn elsewhere<'a>(others: impl Iterator<Item = &'a Verified<SupernodeRecord>>) -> Elsewhere {
    let mut best = Elsewhere::None;
    for other in others.map(|other| &other.content) {
        if other.has_room() {
            return Elsewhere::Room;
        }
        if places(other, STRETCH) > 0 {
            best = Elsewhere::Stretched;
        }
    }
    best
}

/// Some of the others that have room, the emptiest first; where none has some that may stretch, and at last any.
pub(super) fn alternatives<'a>(
    others: impl Iterator<Item = &'a Verified<SupernodeRecord>>,
    rng: &mut ChaCha8Rng,
) -> Vec<Signed<SupernodeRecord>> {
    let others: Vec<_> = others.filter(|other| other.content.serving).collect();
    for times in [1, STRETCH] {
        let roomy = others.iter().map(|other| (places(&other.content, times), *other));
        let roomy: Vec<_> = roomy.filter(|(places, _)| *places > 0).collect();
        if !roomy.is_empty() {
            return drawn(roomy, rng);
        }
    }
    drawn(others.into_iter().map(|other| (1, other)).collect(), rng)
}

/// Drawn by lot, with that many lots each (Efraimidis and Spirakis, 2006).
fn drawn(from: Vec<(u32, &Verified<SupernodeRecord>)>, rng: &mut ChaCha8Rng) -> Vec<Signed<SupernodeRecord>> {
    let lot = |places: u32, rng: &mut ChaCha8Rng| -> f64 {
        -rng.random_range(f64::EPSILON..1.0).ln() / f64::from(places.min(MOST_ROOM))
    };
    let mut drawn: Vec<_> = from.into_iter().map(|(places, other)| (lot(places, rng), other)).collect();
    drawn.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    drawn.truncate(NAMED);
    drawn.sort_by_key(|(_, other)| fullness(&other.content));
    drawn.into_iter().map(|(_, other)| other.signed.clone()).collect()
}

/// Places that are left if it takes `times` its capacity.
fn places(record: &SupernodeRecord, times: u32) -> u32 {
    if !record.serving {
        return 0;
    }
    record.capacity.saturating_mul(times).saturating_sub(record.children)
}

/// In percent.
fn fullness(record: &SupernodeRecord) -> u64 {
    u64::from(record.children).saturating_mul(100) / u64::from(record.capacity.max(1))
}
