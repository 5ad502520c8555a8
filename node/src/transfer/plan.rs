//! Which bytes to ask for next: ranges as plain values, no stream and no file.
//!
//! Ranges on the wire begin at a chunk group and end at one, or at the end of the content.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;

use nearmesh_common::wire::stream::{ByteRange, MAX_RANGES};

use crate::content::CHUNK_GROUP_BYTES;

/// Largest piece that one stream is asked for at a time, in bytes: long against a round trip (0.16 s at 100 MB/s),
/// short against a download.
pub const MAX_PIECE_BYTES: u64 = 16 << 20;
/// Smallest, but for what is left over, in bytes (guess: one write block).
pub const MIN_PIECE_BYTES: u64 = 1 << 20;
/// Content of at most so many bytes is fetched as one piece, in one round trip.
pub const ONE_PIECE_BYTES: u64 = 1 << 20;

/// A set of bytes: ascending ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<ByteRange>);

impl Ranges {
    /// Adds a range, which may overlap what is there.
    pub fn insert(&mut self, range: ByteRange) {
        if range.start >= range.end {
            return;
        }
        let from = self.0.partition_point(|r| r.end < range.start);
        let upto = self.0.partition_point(|r| r.start <= range.end);
        let joined = self.0[from..upto]
            .iter()
            .fold(range, |sum, r| ByteRange { start: sum.start.min(r.start), end: sum.end.max(r.end) });
        self.0.splice(from..upto, [joined]);
    }

    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|r| r.end - r.start).sum()
    }

    /// What of `0..size` is not in the set, ascending.
    pub fn missing(&self, size: u64) -> Vec<ByteRange> {
        let mut holes = Vec::new();
        let mut start = 0;
        for range in &self.0 {
            holes.push(ByteRange { start, end: range.start.min(size) });
            start = range.end;
        }
        holes.push(ByteRange { start, end: size });
        holes.retain(|hole| hole.start < hole.end);
        holes
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.0
    }
}

/// The piece that proves the size of a content: the one with its last byte. All of it, if it is small.
pub fn last_piece(size: u64) -> ByteRange {
    let start = if size <= ONE_PIECE_BYTES { 0 } else { (size - 1) / CHUNK_GROUP_BYTES * CHUNK_GROUP_BYTES };
    ByteRange { start, end: size }
}

/// Cuts what is missing into pieces, in order, so that each of `streams` gets several.
pub fn cut(missing: &[ByteRange], streams: usize) -> VecDeque<ByteRange> {
    let bytes: u64 = missing.iter().map(|range| range.end - range.start).sum();
    let share = bytes / (4 * streams.max(1) as u64);
    let length = share.next_power_of_two().clamp(MIN_PIECE_BYTES, MAX_PIECE_BYTES);
    let mut pieces = VecDeque::new();
    for range in missing {
        let mut start = range.start;
        while start < range.end {
            // On multiples of the length, so that a piece is a whole subtree and its proof is short.
            let end = ((start / length + 1) * length).min(range.end);
            pieces.push_back(ByteRange { start, end });
            start = end;
        }
    }
    pieces
}

/// What of `wanted` is also in `available`, both ascending.
pub fn intersection(wanted: &[ByteRange], available: &[ByteRange]) -> Vec<ByteRange> {
    let both = wanted.iter().flat_map(|w| {
        available.iter().map(|a| ByteRange { start: w.start.max(a.start), end: w.end.min(a.end) })
    });
    both.filter(|range| range.start < range.end).collect()
}

/// Whether ranges from the network keep the wire's rules for content of this size: few, ascending, apart, on chunk groups.
pub fn are_well_formed(ranges: &[ByteRange], size: u64) -> bool {
    let on_groups = |range: &ByteRange| {
        range.start.is_multiple_of(CHUNK_GROUP_BYTES)
            && (range.end.is_multiple_of(CHUNK_GROUP_BYTES) || range.end == size)
            && range.start < range.end
    };
    ranges.len() <= MAX_RANGES
        && ranges.iter().all(on_groups)
        && ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    #[test]
    fn pieces_are_whole_subtrees_and_cover_what_is_missing() {
        let pieces = cut(&[range(16 << 10, (40 << 20) + 5)], 1);
        assert_eq!(pieces[0], range(16 << 10, 16 << 20), "up to the next boundary");
        assert_eq!(pieces[1], range(16 << 20, 32 << 20));
        assert_eq!(pieces[2], range(32 << 20, (40 << 20) + 5));
    }

    #[test]
    fn the_last_piece_is_one_chunk_group_of_a_big_content_and_all_of_a_small_one() {
        assert_eq!(last_piece(5), range(0, 5));
        assert_eq!(last_piece(32 << 20), range((32 << 20) - 16384, 32 << 20));
        assert_eq!(last_piece((32 << 20) + 1), range(32 << 20, (32 << 20) + 1));
    }

    #[test]
    fn ranges_off_the_chunk_groups_are_not_well_formed() {
        let size = 100_000;
        assert!(are_well_formed(&[range(0, 16384), range(16384, 32768), range(98304, size)], size));
        for wrong in [range(1, 16384), range(0, 20_000), range(16384, 16384), range(32768, 16384)] {
            assert!(!are_well_formed(&[wrong], size), "{wrong:?}");
        }
        assert!(!are_well_formed(&[range(16384, 32768), range(0, 16384)], size));
        assert!(!are_well_formed(&[range(0, 32768), range(16384, 49152)], size));
        let many: Vec<_> = (0..65).map(|i| range(i * 16384, (i + 1) * 16384)).collect();
        assert!(!are_well_formed(&many, 1 << 40));
    }

    proptest! {
        #[test]
        fn a_set_and_what_is_missing_from_it_make_the_whole(
            parts in proptest::collection::vec((0u64..200, 0u64..50), 0..20), streams in 1usize..8,
        ) {
            let (unit, size) = (CHUNK_GROUP_BYTES * 7, 220 * CHUNK_GROUP_BYTES * 7 + 3);
            let mut set = Ranges::default();
            let mut model = [false; 220];
            for (start, length) in parts {
                let end = (start + length).min(220);
                set.insert(range(start * unit, end * unit));
                model[start as usize..end.max(start) as usize].fill(true);
            }
            let in_model = model.iter().filter(|byte| **byte).count() as u64 * unit;
            prop_assert_eq!(set.bytes(), in_model);
            prop_assert!(set.as_slice().windows(2).all(|w| w[0].end < w[1].start));
            let pieces = cut(&set.missing(size), streams);
            for piece in &pieces {
                prop_assert!(are_well_formed(&[*piece], size));
                prop_assert!(piece.end - piece.start <= MAX_PIECE_BYTES);
                prop_assert!(intersection(&[*piece], set.as_slice()).is_empty());
                set.insert(*piece);
            }
            prop_assert_eq!(set.as_slice(), &[range(0, size)]);
        }
    }
}
