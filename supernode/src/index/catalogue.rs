//! The index and the summary of it, kept in step.

use std::collections::BTreeMap;

use nearmesh_common::{
    ContentHash, text,
    wire::{
        file::{FileEntry, FileNumber, Kind},
        query::{Filter, Query, Subject},
    },
};

use super::Terms;
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
    files: BTreeMap<(ChildId, FileNumber), FileEntry>,
    hidden: std::collections::BTreeSet<ChildId>,
    summary: Summary,
}

impl Catalogue {
    /// Adds a child's file, in place of the one that had its number.
    pub fn add(&mut self, child: ChildId, entry: &FileEntry) {
        self.remove(child, entry.number);
        text::words(&entry.name).for_each(|word| self.summary.add_word(&word));
        self.summary.add_content(&entry.hash);
        self.files.insert((child, entry.number), entry.clone());
    }

    /// Removes a child's file; whether it was there.
    pub fn remove(&mut self, child: ChildId, number: FileNumber) -> bool {
        let Some(entry) = self.files.remove(&(child, number)) else { return false };
        text::words(&entry.name).for_each(|word| self.summary.remove_word(&word));
        self.summary.remove_content(&entry.hash);
        true
    }

    /// Removes all of a child's files at once; their memory comes back by and by, in [`Self::purge`] and [`Self::add`].
    pub fn drop_child(&mut self, child: ChildId) {
        let numbers: Vec<FileNumber> = self
            .files
            .range((child, FileNumber(0))..=(child, FileNumber(u32::MAX)))
            .map(|((_, number), _)| *number)
            .collect();
        numbers.into_iter().for_each(|number| drop(self.remove(child, number)));
        self.hidden.remove(&child);
    }

    /// A child's link broke: its files are kept, in case it resumes, but not found.
    pub fn hide(&mut self, child: ChildId) {
        self.hidden.insert(child);
    }

    /// The child is back.
    pub fn unhide(&mut self, child: ChildId) {
        self.hidden.remove(&child);
    }

    /// Files that match, best first: at most `query.limit` contents, of each at most [`super::MAX_SOURCES`] files.
    pub fn search(&self, query: &Query) -> Vec<Match> {
        let filter: &Filter = &query.filter;
        let score = |entry: &FileEntry| match &query.subject {
            Subject::Words(text) => {
                let tags = entry.tags.clone().unwrap_or_default();
                Terms::parse(text)?.score(&entry.name, &[tags.title, tags.artist, tags.album].join(" "))
            }
            Subject::Content(hash) => (*hash == entry.hash).then_some(u16::MAX),
        };
        let mut found: Vec<Match> = (self.files.iter())
            .filter(|((child, _), entry)| {
                !self.hidden.contains(child) && filter.admits(entry.size, entry.kind)
            })
            .filter_map(|((child, _), entry)| {
                Some(Match {
                    child: *child,
                    number: entry.number,
                    name: entry.name.clone(),
                    size: entry.size,
                    hash: entry.hash,
                    kind: entry.kind,
                    score: score(entry)?,
                })
            })
            .collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.score));
        found.truncate(query.limit as usize);
        found
    }

    /// Gives back the memory of at most `most` files of dropped children; returns how many there were. To be called from time to time.
    pub fn purge(&mut self, _most: usize) -> usize {
        0
    }

    /// What other supernodes may know. It may still have what was dropped or hidden; it never lacks what is found.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What to tell those who follow the summary; see [`Summary::take_changes`].
    pub fn take_changes(&mut self, most: usize) -> SummaryChanges {
        self.summary.take_changes(most)
    }

    /// Files that are held, without those of dropped children.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
