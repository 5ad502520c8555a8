//! Bytes in slots of 4-byte cells: names, words and postings, without the allocator's overhead for each.
//!
//! A slot that is freed serves the next of its size, or is split for a smaller one when it is large enough to leave
//! something useful. What was needed once will be needed again, and is not given back to the system.

const CELL: usize = 4;
/// Cells in a piece of memory: 256 KiB.
const CHUNK_CELLS: usize = 1 << 16;
/// Cells that the last piece has at least: 8 KiB are the files of a few children. It doubles from there.
const LEAST_CELLS: usize = 1 << 11;
/// Longest slot, in bytes: the longest name with its tags, and the longest short list of postings.
pub(super) const MAX_SLOT_BYTES: usize = 4096;
const CLASSES: usize = MAX_SLOT_BYTES / CELL + 1;
/// A remainder below this is not worth splitting for, in cells (guess: the shortest names).
const LEAST_REMAINDER: usize = 6;
/// Most pieces: 12 GiB, of the 16 that 32 bits of cells could address.
const MAX_CHUNKS: usize = 48 * 1024;
const NONE: u32 = u32::MAX;

/// Where some bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot(u32);

#[derive(Debug)]
pub(super) struct Arena {
    /// All of the same size but the last, which grows to it.
    chunks: Vec<Vec<u8>>,
    /// Cells used of the last chunk.
    used: usize,
    /// The first free slot of each size; each holds the next.
    free: Box<[u32]>,
    /// A bit for each size that has a free slot.
    has_free: [u64; CLASSES.div_ceil(64)],
}

impl Default for Arena {
    fn default() -> Self {
        let free = vec![NONE; CLASSES].into_boxed_slice();
        Self { chunks: Vec::new(), used: CHUNK_CELLS, free, has_free: [0; CLASSES.div_ceil(64)] }
    }
}

impl Arena {
    /// Whether no more should be stored.
    pub fn is_full(&self) -> bool {
        self.chunks.len() >= MAX_CHUNKS
    }

    pub fn memory(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }

    /// A slot of `bytes`, of any content, at most [`MAX_SLOT_BYTES`].
    pub fn take(&mut self, bytes: usize) -> Slot {
        let cells = cells(bytes);
        if let Some(slot) = self.pop(cells) {
            return slot;
        }
        if let Some(larger) = self.next_free(cells + LEAST_REMAINDER)
            && let Some(Slot(start)) = self.pop(larger)
        {
            self.push(Slot(start + cells as u32), larger - cells);
            return Slot(start);
        }
        self.extend(cells)
    }

    /// Gives a slot back that was taken with as many bytes.
    pub fn give(&mut self, slot: Slot, bytes: usize) {
        self.push(slot, cells(bytes));
    }

    /// Stores a text.
    pub fn store(&mut self, parts: &[&[u8]]) -> Slot {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let slot = self.take(bytes);
        let mut room = self.get_mut(slot, bytes);
        for part in parts {
            let (here, after) = room.split_at_mut(part.len());
            here.copy_from_slice(part);
            room = after;
        }
        slot
    }

    pub fn get(&self, slot: Slot, bytes: usize) -> &[u8] {
        let Place { chunk, at } = Place::of(slot);
        &self.chunks[chunk][at..at + bytes]
    }

    pub fn get_mut(&mut self, slot: Slot, bytes: usize) -> &mut [u8] {
        let Place { chunk, at } = Place::of(slot);
        &mut self.chunks[chunk][at..at + bytes]
    }

    /// Copies the first bytes of a slot to another.
    pub fn copy(&mut self, from: Slot, to: Slot, bytes: usize) {
        let (from, to) = (Place::of(from), Place::of(to));
        if from.chunk == to.chunk {
            self.chunks[from.chunk].copy_within(from.at..from.at + bytes, to.at);
        } else if let Ok([source, target]) = self.chunks.get_disjoint_mut([from.chunk, to.chunk]) {
            target[to.at..to.at + bytes].copy_from_slice(&source[from.at..from.at + bytes]);
        }
    }

    /// What is stored as text is text.
    pub fn text(&self, slot: Slot, bytes: usize) -> &str {
        std::str::from_utf8(self.get(slot, bytes)).unwrap_or_default()
    }

    fn extend(&mut self, cells: usize) -> Slot {
        if self.used + cells > CHUNK_CELLS {
            let rest = CHUNK_CELLS - self.used;
            if rest > 0 {
                self.push(self.end(), rest);
            }
            self.chunks.push(Vec::new());
            self.used = 0;
        }
        let slot = self.end();
        self.used += cells;
        let room = self.used.next_power_of_two().clamp(LEAST_CELLS, CHUNK_CELLS) * CELL;
        if let Some(last) = self.chunks.last_mut().filter(|last| last.len() < room) {
            last.reserve_exact(room - last.len());
            last.resize(room, 0);
        }
        slot
    }

    /// The first unused cell of the last chunk.
    fn end(&self) -> Slot {
        Slot(((self.chunks.len() - 1) * CHUNK_CELLS + self.used) as u32)
    }

    fn push(&mut self, slot: Slot, cells: usize) {
        let next = self.free[cells].to_le_bytes();
        self.get_mut(slot, CELL).copy_from_slice(&next);
        self.free[cells] = slot.0;
        self.has_free[cells / 64] |= 1 << (cells % 64);
    }

    fn pop(&mut self, cells: usize) -> Option<Slot> {
        let first = self.free[cells];
        if first == NONE {
            return None;
        }
        let next = self.get(Slot(first), CELL).try_into().map_or(NONE, u32::from_le_bytes);
        self.free[cells] = next;
        if next == NONE {
            self.has_free[cells / 64] &= !(1 << (cells % 64));
        }
        Some(Slot(first))
    }

    /// The smallest size of at least `cells` that has a free slot.
    fn next_free(&self, cells: usize) -> Option<usize> {
        (cells / 64..self.has_free.len()).find_map(|at| {
            let skipped = if at == cells / 64 { cells % 64 } else { 0 };
            let bits = self.has_free[at] >> skipped << skipped;
            (bits != 0).then(|| at * 64 + bits.trailing_zeros() as usize)
        })
    }
}

/// Which piece, and where in it, in bytes.
struct Place {
    chunk: usize,
    at: usize,
}

impl Place {
    fn of(Slot(start): Slot) -> Self {
        Self { chunk: start as usize / CHUNK_CELLS, at: start as usize % CHUNK_CELLS * CELL }
    }
}

/// Even nothing takes a cell: a free slot must hold the next.
fn cells(bytes: usize) -> usize {
    bytes.div_ceil(CELL).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_is_used_again() {
        let mut arena = Arena::default();
        for round in 0..1000 {
            let kept: Vec<(Slot, String)> = (0..500usize)
                .map(|at| "name ".repeat(at % 40 + round % 7))
                .map(|text| (arena.store(&[text.as_bytes()]), text))
                .collect();
            for (slot, text) in kept {
                assert_eq!(arena.text(slot, text.len()), text);
                arena.give(slot, text.len());
            }
        }
        assert!(arena.memory() <= CHUNK_CELLS * CELL);
    }

    #[test]
    fn a_few_names_take_little_and_growing_moves_none() {
        let mut arena = Arena::default();
        let name = |at: usize| format!("{at} {}", "name ".repeat(at % 400));
        let mut kept: Vec<Slot> = (0..20).map(|at| arena.store(&[name(at).as_bytes()])).collect();
        assert_eq!(arena.memory(), LEAST_CELLS * CELL);
        kept.extend((20..1000).map(|at| arena.store(&[name(at).as_bytes()])));
        assert!(arena.chunks.len() > 2, "across the ends of pieces");
        assert!(kept.iter().enumerate().all(|(at, slot)| arena.text(*slot, name(at).len()) == name(at)));
    }
}
