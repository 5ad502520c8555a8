//! What other supernodes may know of this one's offers: enough never to ask in vain where nothing can be, and
//! never to miss.
//!
//! A summary is a set of 32-bit numbers: the hash of each word that occurs, of its first 3 and first 5
//! characters, and of each content. A query whose words are not all in the set finds nothing there. Characters,
//! not bytes, are counted, in the words as [`nearmesh_common::text`] splits them. At 5 million entries one
//! question in 860 is asked in vain for a word that nobody has.
//!
//! # Invariant
//! No false negatives: whatever matches by [`crate::index::Terms`] passes [`SummaryView::may_match`], once the
//! owner's changes are applied.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod entries;
mod owner;
#[cfg(test)]
mod tests;
mod view;

use nearmesh_common::{
    ContentHash,
    wire::{mesh::SummaryEntry, query::Subject},
};

pub use owner::{Summary, SummaryChanges};
pub use view::{SummaryView, ViewError};

use crate::index::Terms;

/// Lengths of the prefixes that are told, in characters (guess: shorter ones exclude next to nothing).
const PREFIX_CHARS: [usize; 2] = [3, 5];

/// What must be in a summary for a query to be worth asking there. Made once for a query, used on every summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe(Option<Vec<SummaryEntry>>);

impl Probe {
    /// For this subject.
    pub fn new(subject: &Subject) -> Self {
        match subject {
            Subject::Content(hash) => Self(Some(vec![content_entry(hash)])),
            Subject::Words(text) => Self(Terms::parse(text).map(|terms| {
                let whole = terms.whole().iter().map(|word| entry(Tag::Word, word.as_bytes()));
                let longest = PREFIX_CHARS.into_iter().rev().find_map(|chars| prefix(terms.last(), chars));
                whole.chain(longest.map(|prefix| entry(Tag::Prefix, prefix.as_bytes()))).collect()
            })),
        }
    }

    /// Whether every entry that it needs passes `has`. A query without words matches nowhere.
    fn all(&self, mut has: impl FnMut(SummaryEntry) -> bool) -> bool {
        self.0.as_ref().is_some_and(|needed| needed.iter().all(|entry| has(*entry)))
    }
}

#[derive(Clone, Copy)]
enum Tag {
    Word = 1,
    Prefix = 2,
    Content = 3,
}

/// The entries of a word: itself and its prefixes.
fn word_entries(word: &str) -> impl Iterator<Item = SummaryEntry> {
    let prefixes = PREFIX_CHARS.into_iter().filter_map(|chars| prefix(word, chars));
    std::iter::once(entry(Tag::Word, word.as_bytes()))
        .chain(prefixes.map(|prefix| entry(Tag::Prefix, prefix.as_bytes())))
}

fn content_entry(hash: &ContentHash) -> SummaryEntry {
    entry(Tag::Content, &hash.0)
}

/// The first `chars` characters of a word that has so many.
fn prefix(word: &str, chars: usize) -> Option<&str> {
    let mut ends = word.char_indices().map(|(at, char)| at + char.len_utf8());
    ends.nth(chars - 1).map(|end| &word[..end])
}

/// FNV-1a with a finisher (both public domain). Not keyed: a forged collision costs its maker's peers one
/// question in vain.
fn entry(tag: Tag, bytes: &[u8]) -> SummaryEntry {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let start = (OFFSET ^ tag as u64).wrapping_mul(PRIME);
    let hash = bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 32) as SummaryEntry
}
