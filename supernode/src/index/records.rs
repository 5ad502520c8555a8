//! The files themselves: one record of 60 bytes each, found by their content.

use nearmesh_common::{
    ContentHash,
    wire::file::{FileNumber, Kind, MAX_NAME_BYTES},
};

use super::{
    arena::{Arena, MAX_SLOT_BYTES, Slot},
    buckets::{Buckets, END, Links},
    chunked::Chunked,
    terms::MAX_TAG_TEXT_BYTES,
};

/// What is known of a file, but for its texts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    hash: [u8; 32],
    /// Low half first: a `u64` would cost 4 bytes of padding.
    size: [u32; 2],
    /// The place of the child in `Children`.
    pub owner: u32,
    number: u32,
    text: Slot,
    shape: Shape,
    next: u32,
}

/// The name's length in 10 bits, the tag words' in 11, the kind in the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Shape(u32);

#[derive(Debug, Default)]
pub(super) struct Records {
    list: List,
    by_content: Buckets,
    /// The first unused place in `list`; each links to the next.
    free: Option<u32>,
}

#[derive(Debug, Default)]
struct List(Chunked<Record>);

/// What a record is made of.
pub(super) struct Parts<'a> {
    pub owner: u32,
    pub number: FileNumber,
    pub name: &'a str,
    pub tag_words: &'a str,
    pub size: u64,
    pub hash: ContentHash,
    pub kind: Kind,
}

impl Links for List {
    fn hash(&self, item: u32) -> u32 {
        low_bits(&self.0[item].hash)
    }

    fn next(&self, item: u32) -> u32 {
        self.0[item].next
    }

    fn set_next(&mut self, item: u32, next: u32) {
        self.0[item].next = next;
    }
}

impl Record {
    pub fn number(&self) -> FileNumber {
        FileNumber(self.number)
    }

    pub fn hash(&self) -> ContentHash {
        ContentHash(self.hash)
    }

    pub fn size(&self) -> u64 {
        u64::from(self.size[1]) << 32 | u64::from(self.size[0])
    }

    pub fn kind(&self) -> Kind {
        Kind::ALL.get((self.shape.0 >> 21) as usize).copied().unwrap_or(Kind::Other)
    }

    pub fn name<'a>(&self, arena: &'a Arena) -> &'a str {
        arena.text(self.text, self.shape.name_len())
    }

    /// Name and tag words.
    pub fn texts<'a>(&self, arena: &'a Arena) -> (&'a str, &'a str) {
        let all = arena.text(self.text, self.shape.name_len() + self.shape.tags_len());
        all.split_at_checked(self.shape.name_len()).unwrap_or_default()
    }
}

impl Records {
    /// Adds a record, and says whether it is the first of its content.
    pub fn add(&mut self, parts: &Parts<'_>, arena: &mut Arena) -> (u32, bool) {
        let first = self.with_content(&parts.hash).next().is_none();
        let record = Record {
            hash: parts.hash.0,
            size: [parts.size as u32, (parts.size >> 32) as u32],
            owner: parts.owner,
            number: parts.number.0,
            text: arena.store(&[parts.name.as_bytes(), parts.tag_words.as_bytes()]),
            shape: Shape::new(parts),
            next: END,
        };
        let at = match self.free {
            Some(at) => {
                self.free = Some(self.list.0[at].next).filter(|next| *next != END);
                self.list.0[at] = record;
                at
            }
            None => self.list.0.push(record),
        };
        self.by_content.insert(at, &mut self.list);
        (at, first)
    }

    /// Removes a record, and says whether it was the last of its content.
    pub fn remove(&mut self, at: u32, arena: &mut Arena) -> bool {
        let Record { hash, text, shape, .. } = self.list.0[at];
        self.by_content.remove(at, &mut self.list);
        arena.give(text, shape.name_len() + shape.tags_len());
        self.list.0[at].next = self.free.unwrap_or(END);
        self.free = Some(at);
        self.with_content(&ContentHash(hash)).next().is_none()
    }

    pub fn with_content(&self, hash: &ContentHash) -> impl Iterator<Item = u32> {
        let wanted = hash.0;
        self.by_content.chain(low_bits(&wanted), &self.list).filter(move |at| self.list.0[*at].hash == wanted)
    }

    pub fn get(&self, at: u32) -> &Record {
        &self.list.0[at]
    }

    pub fn memory(&self) -> usize {
        self.list.0.memory() + self.by_content.memory()
    }
}

impl Shape {
    fn new(parts: &Parts<'_>) -> Self {
        Self(parts.name.len() as u32 | (parts.tag_words.len() as u32) << 10 | (parts.kind as u32) << 21)
    }

    fn name_len(self) -> usize {
        (self.0 & 0x3ff) as usize
    }

    fn tags_len(self) -> usize {
        (self.0 >> 10 & 0x7ff) as usize
    }
}

/// Contents are hashes already: any of their bits will do.
fn low_bits(hash: &[u8; 32]) -> u32 {
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

const _: () = assert!(MAX_NAME_BYTES < 1 << 10 && MAX_TAG_TEXT_BYTES < 1 << 11);
const _: () = assert!(MAX_NAME_BYTES + MAX_TAG_TEXT_BYTES <= MAX_SLOT_BYTES);
const _: () = assert!(size_of::<Record>() == 60);
