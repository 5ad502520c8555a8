//! What two long postings have in common, block against block.
//!
//! A block of the shorter is laid out as bits, one for each number of its range; the numbers of the other's blocks
//! that meet it are looked up there. That is two or three nanoseconds a number, and there is nothing to predict,
//! where seeking one in the other takes ten times as long: so it pays unless one is much shorter.

use super::{
    arena::Arena,
    cursor::passed_blocks,
    postings::{Block, Blocks, MAX_BLOCK, RANGE},
};

/// How many times as long the other may be (measured: at 32, both ways take as long).
const MAX_RATIO: u32 = 32;

/// Whether merging is likely to be faster than seeking.
pub(super) fn is_worth_it(shorter: &Blocks, longer: &Blocks) -> bool {
    longer.len / MAX_RATIO <= shorter.len
}

/// Visits what both have in common, ascending, until `visit` says stop or `steps`, one for each number of the shorter,
/// are used up; returns what is left of them.
pub(super) fn merge(
    shorter: &Blocks,
    longer: &Blocks,
    arena: &Arena,
    mut steps: usize,
    mut visit: impl FnMut(u32) -> bool,
) -> usize {
    let mut bits = Bits::default();
    let mut common = [0; MAX_BLOCK];
    let mut others = &longer.list[..];
    for block in &shorter.list {
        steps = steps.saturating_sub(block.run.len.into());
        if steps == 0 {
            return 0;
        }
        others = &others[passed_blocks(others, block.base)..];
        bits.set(block, arena);
        let range = block.base / RANGE;
        let last = block.last(arena);
        for other in others.iter().take_while(|other| other.base <= last) {
            if other.base / RANGE < range {
                continue;
            }
            let found = bits.common(other, arena, &mut common);
            if !common[..found].iter().all(|number| visit(range * RANGE + u32::from(*number))) {
                return steps;
            }
        }
        bits.clear(block, arena);
    }
    steps
}

/// Numbers of one range.
struct Bits([u64; RANGE as usize / 64]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; RANGE as usize / 64])
    }
}

impl Bits {
    fn set(&mut self, block: &Block, arena: &Arena) {
        for number in numbers(block, arena) {
            self.0[usize::from(number / 64)] |= 1 << (number % 64);
        }
    }

    fn clear(&mut self, block: &Block, arena: &Arena) {
        for number in numbers(block, arena) {
            self.0[usize::from(number / 64)] = 0;
        }
    }

    /// Collects the block's numbers that are here; returns how many. Without a branch: each is written, and
    /// overwritten by the next unless it is here.
    fn common(&self, block: &Block, arena: &Arena, common: &mut [u16; MAX_BLOCK]) -> usize {
        let mut found = 0;
        for number in numbers(block, arena) {
            common[found % MAX_BLOCK] = number;
            found += (self.0[usize::from(number / 64)] >> (number % 64) & 1) as usize;
        }
        found
    }
}

/// A block's numbers, as they are in its range.
fn numbers(block: &Block, arena: &Arena) -> impl Iterator<Item = u16> {
    let base = (block.base % RANGE) as u16;
    let bytes = block.run.bytes::<2>(arena).as_chunks().0;
    bytes.iter().map(move |offset| base.wrapping_add(u16::from_le_bytes(*offset)))
}
