//! The words that occur, each once, with their postings; found as a whole or by how they begin.

use std::collections::BTreeSet;

use super::{
    arena::{Arena, Slot},
    buckets::{Buckets, END, Links},
    chunked::Chunked,
    postings::Postings,
};

/// Bytes of a word by which the sorted set knows it.
const KEY_BYTES: usize = 8;

#[derive(Clone, Debug, Default)]
struct Word {
    text: Slot,
    hash: u32,
    next: u32,
    len: u8,
    postings: Postings,
}

#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    words: Words,
    buckets: Buckets,
    /// By their first bytes, so that those with a common prefix are neighbours.
    sorted: BTreeSet<(u64, u32)>,
    /// The first unused place in `words`; each links to the next.
    free: Option<u32>,
}

#[derive(Debug, Default)]
struct Words(Chunked<Word>);

impl Links for Words {
    fn hash(&self, item: u32) -> u32 {
        self.0[item].hash
    }

    fn next(&self, item: u32) -> u32 {
        self.0[item].next
    }

    fn set_next(&mut self, item: u32, next: u32) {
        self.0[item].next = next;
    }
}

impl Vocabulary {
    /// A word's postings, if it occurs.
    pub fn get(&self, word: &str, arena: &Arena) -> Option<&Postings> {
        self.find(word, arena).map(|at| &self.words.0[at].postings)
    }

    /// Notes that a record holds a word; whether it is the word's first.
    pub fn add(&mut self, word: &str, record: u32, arena: &mut Arena) -> bool {
        let known = self.find(word, arena);
        let at = known.unwrap_or_else(|| self.create(word, arena));
        self.words.0[at].postings.insert(record, arena);
        known.is_none()
    }

    /// Notes that a record holds a word no more; whether it was the word's last.
    pub fn remove(&mut self, word: &str, record: u32, arena: &mut Arena) -> bool {
        let Some(at) = self.find(word, arena) else { return false };
        let postings = &mut self.words.0[at].postings;
        postings.remove(record, arena);
        let gone = postings.len() == 0;
        if gone {
            self.forget(at, word, arena);
        }
        gone
    }

    /// The postings of the words that begin with a prefix, without the word that is the prefix, in the order of
    /// the words' first bytes.
    pub fn beginning_with<'a>(
        &'a self,
        prefix: &'a str,
        arena: &'a Arena,
    ) -> impl Iterator<Item = &'a Postings> {
        let first = key(prefix.as_bytes(), 0);
        let last = key(prefix.as_bytes(), u8::MAX);
        self.sorted.range((first, 0)..=(last, u32::MAX)).filter_map(move |(_, at)| {
            let word = &self.words.0[*at];
            let longer = usize::from(word.len) > prefix.len();
            let begins = prefix.len() <= KEY_BYTES || self.text(word, arena).starts_with(prefix);
            (longer && begins).then_some(&word.postings)
        })
    }

    /// Bytes outside of the arena, about. It looks at every word.
    pub fn memory(&self) -> usize {
        // Estimate: a B-tree entry of 16 bytes takes 24 with the slack of its nodes.
        self.sorted.len() * 24
            + self.buckets.memory()
            + self.words.0.memory()
            + self.words.0.iter().map(|word| word.postings.memory()).sum::<usize>()
    }

    fn text<'a>(&self, word: &Word, arena: &'a Arena) -> &'a str {
        arena.text(word.text, word.len.into())
    }

    fn find(&self, word: &str, arena: &Arena) -> Option<u32> {
        let hash = hash(word);
        self.buckets.chain(hash, &self.words).find(|at| {
            let found = &self.words.0[*at];
            found.hash == hash && arena.get(found.text, found.len.into()) == word.as_bytes()
        })
    }

    fn create(&mut self, word: &str, arena: &mut Arena) -> u32 {
        let text = arena.store(&[word.as_bytes()]);
        let (hash, len) = (hash(word), word.len() as u8);
        let new = Word { text, hash, next: END, len, postings: Postings::None };
        let at = match self.free {
            Some(at) => {
                self.free = Some(self.words.0[at].next).filter(|next| *next != END);
                self.words.0[at] = new;
                at
            }
            None => self.words.0.push(new),
        };
        self.buckets.insert(at, &mut self.words);
        self.sorted.insert((key(word.as_bytes(), 0), at));
        at
    }

    fn forget(&mut self, at: u32, word: &str, arena: &mut Arena) {
        self.sorted.remove(&(key(word.as_bytes(), 0), at));
        self.buckets.remove(at, &mut self.words);
        arena.give(self.words.0[at].text, word.len());
        self.words.0[at].next = self.free.unwrap_or(END);
        self.free = Some(at);
    }
}

/// A word's first bytes as a number, filled up with `fill`. No word holds a zero byte.
fn key(word: &[u8], fill: u8) -> u64 {
    let mut bytes = [fill; KEY_BYTES];
    let len = word.len().min(KEY_BYTES);
    bytes[..len].copy_from_slice(&word[..len]);
    u64::from_be_bytes(bytes)
}

/// FNV-1a with a finisher (both public domain).
fn hash(word: &str) -> u32 {
    let hash =
        word.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b) ^ (hash >> 13)
}

const _: () = assert!(size_of::<Word>() == 32);
const _: () = assert!(nearmesh_common::text::MAX_WORD_BYTES <= u8::MAX as usize);
