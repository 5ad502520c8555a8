//! Everything that is indexed: records, words and children, kept in step.

use nearmesh_common::{
    ContentHash,
    wire::file::{FileEntry, FileNumber, MAX_NAME_BYTES},
};

use super::{
    ChildId, Match,
    arena::Arena,
    children::Children,
    records::{Parts, Record, Records},
    terms::{indexed_words, tag_text},
    vocabulary::Vocabulary,
};

/// Most files in one supernode: what the memory goal of 160 bytes each makes of 3 GB (guess: four times the
/// size goal of 5 million).
pub const MAX_FILES: usize = 20_000_000;
/// Files of dropped children that each addition purges, so that the backlog shrinks while children come and go.
const PURGED_PER_ADD: usize = 2;

/// Hears which words and contents begin and cease to occur.
pub(super) trait Offers {
    fn word_came(&mut self, word: &str);
    fn word_went(&mut self, word: &str);
    fn content_came(&mut self, hash: &ContentHash);
    fn content_went(&mut self, hash: &ContentHash);
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub arena: Arena,
    pub records: Records,
    pub vocabulary: Vocabulary,
    pub children: Children,
}

impl Store {
    /// Whether there was room.
    pub fn add(&mut self, child: ChildId, entry: &FileEntry, offers: &mut impl Offers) -> bool {
        self.purge(PURGED_PER_ADD, offers);
        self.remove(child, entry.number, offers);
        if self.children.live() >= MAX_FILES || self.arena.is_full() {
            return false;
        }
        let owner = self.children.place_or_new(child);
        let position = match self.children.position(owner, entry.number, &self.records) {
            Ok(position) | Err(position) => position,
        };
        let name = &entry.name[..entry.name.floor_char_boundary(MAX_NAME_BYTES)];
        let tag_words = entry.tags.as_ref().map(tag_text).unwrap_or_default();
        let parts = Parts {
            owner,
            number: entry.number,
            name,
            tag_words: &tag_words,
            size: entry.size,
            hash: entry.hash,
            kind: entry.kind,
        };
        let (record, first) = self.records.add(&parts, &mut self.arena);
        if first {
            offers.content_came(&entry.hash);
        }
        indexed_words(name, &tag_words, |word| {
            if self.vocabulary.add(word, record, &mut self.arena) {
                offers.word_came(word);
            }
        });
        self.children.insert(owner, position, record);
        true
    }

    /// Whether it was there.
    pub fn remove(&mut self, child: ChildId, number: FileNumber, offers: &mut impl Offers) -> bool {
        let Some(place) = self.children.place(child) else { return false };
        let Ok(position) = self.children.position(place, number, &self.records) else { return false };
        let record = self.children.remove(place, position);
        self.forget(record, offers);
        true
    }

    /// How many there were, at most `most`.
    pub fn purge(&mut self, most: usize, offers: &mut impl Offers) -> usize {
        for purged in 0..most {
            let Some(record) = self.children.next_dropped() else { return purged };
            self.forget(record, offers);
        }
        most
    }

    /// A record, if its child's files are found now.
    pub fn found(&self, at: u32) -> Option<&Record> {
        Some(self.records.get(at)).filter(|record| self.children.is_found(record.owner))
    }

    pub fn describe(&self, at: u32, score: u16) -> Match {
        let record = self.records.get(at);
        Match {
            child: self.children.id(record.owner),
            number: record.number(),
            name: record.name(&self.arena).into(),
            size: record.size(),
            hash: record.hash(),
            kind: record.kind(),
            score,
        }
    }

    /// Bytes it takes, about. It looks at every word.
    pub fn memory(&self) -> usize {
        self.arena.memory() + self.records.memory() + self.vocabulary.memory() + self.children.memory()
    }

    fn forget(&mut self, at: u32, offers: &mut impl Offers) {
        let record = self.records.get(at);
        let hash = record.hash();
        let (name, tag_words) = record.texts(&self.arena);
        let (name, tag_words) = (name.to_owned(), tag_words.to_owned());
        indexed_words(&name, &tag_words, |word| {
            if self.vocabulary.remove(word, at, &mut self.arena) {
                offers.word_went(word);
            }
        });
        if self.records.remove(at, &mut self.arena) {
            offers.content_went(&hash);
        }
    }
}
