//! The index and the summary of it, kept in step.

use nearmesh_common::{
    ContentHash,
    wire::{
        file::{FileEntry, FileNumber, Kind},
        query::{MAX_RESULTS, Query, Subject},
    },
};

use super::{
    Terms, search,
    store::{Offers, Store},
};
use crate::summary::{Summary, SummaryChanges};

/// A child, by the number that its supernode gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildId(pub u32);

/// A file of a child that matches a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Whose.
    pub child: ChildId,
    /// Which of its files.
    pub number: FileNumber,
    /// The name under which it is shared.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub hash: ContentHash,
    /// What sort of file it is.
    pub kind: Kind,
    /// How well it matches; see [`Terms::score`]. `u16::MAX` where the content was asked for.
    pub score: u16,
}

/// What a supernode's children share, and what others may know of it.
#[derive(Debug, Default)]
pub struct Catalogue {
    store: Store,
    summary: Summary,
}

impl Offers for Summary {
    fn word_came(&mut self, word: &str) {
        self.add_word(word);
    }

    fn word_went(&mut self, word: &str) {
        self.remove_word(word);
    }

    fn content_came(&mut self, hash: &ContentHash) {
        self.add_content(hash);
    }

    fn content_went(&mut self, hash: &ContentHash) {
        self.remove_content(hash);
    }
}

impl Catalogue {
    /// Adds a child's file, in place of the one that had its number. Whether there was room, which ends at
    /// [`super::MAX_FILES`].
    pub fn add(&mut self, child: ChildId, entry: &FileEntry) -> bool {
        self.store.add(child, entry, &mut self.summary)
    }

    /// Removes a child's file; whether it was there.
    pub fn remove(&mut self, child: ChildId, number: FileNumber) -> bool {
        self.store.remove(child, number, &mut self.summary)
    }

    /// Removes all of a child's files at once. Their memory and their place in the summary come back by and by, in
    /// [`Self::purge`] and [`Self::add`].
    pub fn drop_child(&mut self, child: ChildId) {
        self.store.children.drop_child(child);
    }

    /// A child's link broke: its files are kept, in case it resumes, but not found until it is unhidden or dropped.
    pub fn hide(&mut self, child: ChildId) {
        self.store.children.hide(child);
    }

    /// The child is back.
    pub fn unhide(&mut self, child: ChildId) {
        self.store.children.unhide(child);
    }

    /// Files that match, best first. By words: at most `query.limit` contents, of each at most
    /// [`super::MAX_SOURCES`] files, one after another. By content: at most `query.limit` files.
    pub fn search(&self, query: &Query) -> Vec<Match> {
        let limit = query.limit.min(MAX_RESULTS) as usize;
        match &query.subject {
            Subject::Content(hash) => search::by_content(&self.store, hash, &query.filter, limit),
            Subject::Words(text) => Terms::parse(text)
                .map(|terms| search::by_words(&self.store, &terms, &query.filter, limit))
                .unwrap_or_default(),
        }
    }

    /// Whether a file of this content may be held.
    pub fn has(&self, hash: &ContentHash) -> bool {
        self.store.records.with_content(hash).next().is_some()
    }

    /// Clears away at most `most` files of dropped children, at about 15 us each (measured at 5 million); returns how many there were.
    /// To be called from time to time, until it returns less than `most`.
    pub fn purge(&mut self, most: usize) -> usize {
        self.store.purge(most, &mut self.summary)
    }

    /// What other supernodes may know. It may still have what was dropped or hidden; it never lacks what is found.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What to tell those who follow the summary; see [`Summary::take_changes`].
    pub fn take_changes(&mut self, most: usize) -> SummaryChanges {
        self.summary.take_changes(most)
    }

    /// Files that are held, hidden ones included, those of dropped children not.
    pub fn len(&self) -> usize {
        self.store.children.live()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it takes with its summary, about. It looks at every word: for a status page, not for every
    /// message.
    pub fn memory(&self) -> usize {
        self.store.memory() + self.summary.memory()
    }
}
