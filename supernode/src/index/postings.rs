//! In which records a word occurs: ascending numbers, in three shapes by their count.
//!
//! One stands in the word itself; a few are 4 bytes each in one slot of the arena; many are blocks of 2 bytes
//! each. A block holds numbers of one range of 65,536, as offsets from its base. Insertion and removal move one
//! slot or block at most, at any place, so a record's number can be used again at once.

use super::arena::{Arena, MAX_SLOT_BYTES, Slot};

/// Most that stand in one slot; beyond, ranges are dense enough for blocks (at 5 million records 13 a block: 3
/// bytes each).
const MAX_FEW: usize = MAX_SLOT_BYTES / 4;
/// Most in a block: moving half of its 2 KiB takes as long as finding it.
pub(super) const MAX_BLOCK: usize = 1024;
/// What a block's numbers are out of: as many as 2 bytes can tell apart.
pub(super) const RANGE: u32 = 1 << 16;

/// The records that hold a word.
#[derive(Clone, Debug, Default)]
pub(super) enum Postings {
    #[default]
    None,
    One(u32),
    Few(Run),
    Many(Box<Blocks>),
}

/// A slot with `len` numbers and room for more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub slot: Slot,
    pub len: u16,
    room: u16,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    pub len: u32,
    pub list: Vec<Block>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub base: u32,
    pub run: Run,
}

impl Postings {
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(run) => run.len.into(),
            Self::Many(blocks) => blocks.len as usize,
        }
    }

    /// Bytes outside of the arena.
    pub fn memory(&self) -> usize {
        match self {
            Self::Many(blocks) => size_of::<Blocks>() + blocks.list.capacity() * size_of::<Block>(),
            _ => 0,
        }
    }

    /// Inserts a number, unless it is there.
    pub fn insert(&mut self, record: u32, arena: &mut Arena) {
        match self {
            Self::None => *self = Self::One(record),
            Self::One(other) if *other == record => {}
            Self::One(other) => {
                let other = *other;
                let mut run = Run::new::<4>(2, arena);
                run.insert::<4>(other, arena);
                run.insert::<4>(record, arena);
                *self = Self::Few(run);
            }
            Self::Few(run) if usize::from(run.len) < MAX_FEW => run.insert::<4>(record, arena),
            Self::Few(run) => {
                let mut blocks = Blocks::default();
                for at in 0..run.len.into() {
                    blocks.insert(run.get::<4>(at, arena), arena);
                }
                run.free::<4>(arena);
                blocks.insert(record, arena);
                *self = Self::Many(Box::new(blocks));
            }
            Self::Many(blocks) => blocks.insert(record, arena),
        }
    }

    /// Removes a number, if it is there.
    pub fn remove(&mut self, record: u32, arena: &mut Arena) {
        match self {
            Self::One(other) if *other == record => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Few(run) => {
                run.remove::<4>(record, arena);
                if run.len == 0 {
                    run.free::<4>(arena);
                    *self = Self::None;
                }
            }
            Self::Many(blocks) => {
                blocks.remove(record, arena);
                if blocks.len == 0 {
                    *self = Self::None;
                }
            }
        }
    }
}

impl Blocks {
    fn insert(&mut self, record: u32, arena: &mut Arena) {
        let after = match self.list.last() {
            Some(last) if last.base <= record => self.list.len(),
            _ => self.list.partition_point(|block| block.base <= record),
        };
        let covering = after.checked_sub(1).filter(|at| self.list[*at].base / RANGE == record / RANGE);
        let Some(at) = covering else {
            return self.begin(after, record / RANGE * RANGE, record, arena);
        };
        let block = &mut self.list[at];
        let offset = record - block.base;
        if usize::from(block.run.len) < MAX_BLOCK {
            let before = block.run.len;
            block.run.insert::<2>(offset, arena);
            self.len += u32::from(block.run.len - before);
        } else if block.run.get::<2>(MAX_BLOCK - 1, arena) < offset {
            self.begin(after, record, record, arena);
        } else {
            self.split(at, arena);
            self.insert(record, arena);
        }
    }

    fn begin(&mut self, at: usize, base: u32, record: u32, arena: &mut Arena) {
        let mut run = Run::new::<2>(2, arena);
        run.insert::<2>(record - base, arena);
        self.list.insert(at, Block { base, run });
        self.len += 1;
    }

    /// The upper half of a block becomes one of its own.
    fn split(&mut self, at: usize, arena: &mut Arena) {
        let block = &mut self.list[at];
        let middle = usize::from(block.run.len) / 2;
        let base = block.base + block.run.get::<2>(middle, arena);
        let mut upper = Run::new::<2>(block.run.len - middle as u16, arena);
        for from in middle..block.run.len.into() {
            upper.insert::<2>(block.base + block.run.get::<2>(from, arena) - base, arena);
        }
        block.run.len = middle as u16;
        self.list.insert(at + 1, Block { base, run: upper });
    }

    fn remove(&mut self, record: u32, arena: &mut Arena) {
        let Some(at) = self.list.partition_point(|block| block.base <= record).checked_sub(1) else { return };
        let block = &mut self.list[at];
        let before = block.run.len;
        block.run.remove::<2>(record - block.base, arena);
        self.len -= u32::from(before - block.run.len);
        if block.run.len == 0 {
            block.run.free::<2>(arena);
            self.list.remove(at);
        }
    }
}

impl Block {
    /// Its last number.
    pub fn last(&self, arena: &Arena) -> u32 {
        self.base + self.run.get::<2>(usize::from(self.run.len) - 1, arena)
    }
}

/// `SIZE` is the bytes of one number: 4, or 2 in a block.
impl Run {
    fn new<const SIZE: usize>(room: u16, arena: &mut Arena) -> Self {
        Self { slot: arena.take(usize::from(room) * SIZE), len: 0, room }
    }

    fn free<const SIZE: usize>(self, arena: &mut Arena) {
        arena.give(self.slot, usize::from(self.room) * SIZE);
    }

    pub fn bytes<'a, const SIZE: usize>(&self, arena: &'a Arena) -> &'a [u8] {
        arena.get(self.slot, usize::from(self.len) * SIZE)
    }

    fn get<const SIZE: usize>(&self, at: usize, arena: &Arena) -> u32 {
        number::<SIZE>(self.bytes::<SIZE>(arena), at)
    }

    fn insert<const SIZE: usize>(&mut self, value: u32, arena: &mut Arena) {
        let bytes = self.bytes::<SIZE>(arena);
        let at = match self.len.checked_sub(1).map(|last| number::<SIZE>(bytes, last.into())) {
            Some(last) if last == value => return,
            Some(last) if last > value => lower_bound::<SIZE>(bytes, 0, value),
            _ => self.len.into(),
        };
        if at < self.len.into() && number::<SIZE>(bytes, at) == value {
            return;
        }
        if self.len == self.room {
            self.resize::<SIZE>(roomier(self.room), arena);
        }
        let end = usize::from(self.len) * SIZE;
        let bytes = arena.get_mut(self.slot, end + SIZE);
        bytes.copy_within(at * SIZE..end, (at + 1) * SIZE);
        bytes[at * SIZE..(at + 1) * SIZE].copy_from_slice(&value.to_le_bytes()[..SIZE]);
        self.len += 1;
    }

    fn remove<const SIZE: usize>(&mut self, value: u32, arena: &mut Arena) {
        let bytes = self.bytes::<SIZE>(arena);
        let at = lower_bound::<SIZE>(bytes, 0, value);
        if at == self.len.into() || number::<SIZE>(bytes, at) != value {
            return;
        }
        let end = usize::from(self.len) * SIZE;
        arena.get_mut(self.slot, end).copy_within((at + 1) * SIZE..end, at * SIZE);
        self.len -= 1;
        if self.len >= 4 && self.len < self.room / 2 {
            self.resize::<SIZE>(self.len + self.len / 4, arena);
        }
    }

    fn resize<const SIZE: usize>(&mut self, room: u16, arena: &mut Arena) {
        let mut moved = Self::new::<SIZE>(room, arena);
        let bytes = usize::from(self.len) * SIZE;
        arena.copy(self.slot, moved.slot, bytes);
        moved.len = self.len;
        self.free::<SIZE>(arena);
        *self = moved;
    }
}

/// A quarter more: what is wasted is an eighth on average.
fn roomier(room: u16) -> u16 {
    let wanted = room + (room / 4).max(if room < 4 { 1 } else { 2 });
    wanted.min(MAX_FEW as u16)
}

/// The number at a position.
#[inline]
pub(super) fn number<const SIZE: usize>(bytes: &[u8], at: usize) -> u32 {
    match &bytes[at * SIZE..(at + 1) * SIZE] {
        [a, b] => u16::from_le_bytes([*a, *b]).into(),
        [a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

/// The first position, `from` or beyond, whose number is at least `value`: galloping, for it is often near. Where it
/// is very near, counting a few without a branch is faster than finding it.
#[inline]
pub(super) fn lower_bound<const SIZE: usize>(bytes: &[u8], from: usize, value: u32) -> usize {
    const NEAR: usize = 8;
    let len = bytes.len() / SIZE;
    let (mut low, mut step) = (from, NEAR);
    while low + step <= len && number::<SIZE>(bytes, low + step - 1) < value {
        low += step;
        step *= 2;
    }
    let mut size = step.min(len - low);
    while size > NEAR {
        let half = size / 2;
        low += half * usize::from(number::<SIZE>(bytes, low + half - 1) < value);
        size -= half;
    }
    let near = bytes[low * SIZE..(low + size) * SIZE].chunks_exact(SIZE);
    low + near.map(|chunk| usize::from(number::<SIZE>(chunk, 0) < value)).sum::<usize>()
}

const _: () =
    assert!(MAX_BLOCK * 2 <= MAX_SLOT_BYTES && MAX_BLOCK <= MAX_FEW && MAX_FEW * 5 / 4 <= u16::MAX as usize);
