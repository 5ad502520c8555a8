//! The owner's side: entries are counted, and changes noted for those who follow.

use std::collections::{BTreeMap, BTreeSet};

use nearmesh_common::{ContentHash, wire::mesh::SummaryEntry};

use super::{content_entry, entries::Entries, word_entries};

/// This supernode's summary.
///
/// It is told of each word and content when its first file comes and when its last file goes; several words may
/// share an entry (a prefix, or by chance), so entries are counted.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    present: Entries,
    /// How often beyond once; most entries have no place here.
    again: BTreeMap<SummaryEntry, u32>,
    added: BTreeSet<SummaryEntry>,
    removed: BTreeSet<SummaryEntry>,
}

/// What changed since followers were told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SummaryChanges {
    /// New entries, ascending.
    pub added: Vec<SummaryEntry>,
    /// Entries that are gone, ascending.
    pub removed: Vec<SummaryEntry>,
}

impl SummaryChanges {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

impl Summary {
    /// A word occurs that did not.
    pub fn add_word(&mut self, word: &str) {
        word_entries(word).for_each(|entry| self.add(entry));
    }

    /// A word occurs no more.
    pub fn remove_word(&mut self, word: &str) {
        word_entries(word).for_each(|entry| self.remove(entry));
    }

    /// A content is offered that was not.
    pub fn add_content(&mut self, hash: &ContentHash) {
        self.add(content_entry(hash));
    }

    /// A content is offered no more.
    pub fn remove_content(&mut self, hash: &ContentHash) {
        self.remove(content_entry(hash));
    }

    /// What changed since the last call, at most `most` entries: call again until it is empty. What came and
    /// went in between is not told.
    pub fn take_changes(&mut self, most: usize) -> SummaryChanges {
        let added = take(&mut self.added, most);
        let removed = take(&mut self.removed, most - added.len());
        SummaryChanges { added, removed }
    }

    /// All entries, ascending, changes that were not yet taken included.
    pub fn all(&self) -> impl Iterator<Item = SummaryEntry> {
        self.present.iter()
    }

    /// As [`Self::all`], but only those that are not below `first`: to tell the whole in parts.
    pub fn all_from(&self, first: SummaryEntry) -> impl Iterator<Item = SummaryEntry> {
        self.present.iter_from(first)
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.present.len() == 0
    }

    /// Bytes it takes, about.
    pub fn memory(&self) -> usize {
        /// Estimates, with the slack of a B-tree's nodes: 12 bytes for two u32, 8 for one.
        const COUNT_BYTES: usize = 12;
        const CHANGE_BYTES: usize = 8;
        self.present.memory()
            + self.again.len() * COUNT_BYTES
            + (self.added.len() + self.removed.len()) * CHANGE_BYTES
    }

    fn add(&mut self, entry: SummaryEntry) {
        if !self.present.insert(entry) {
            *self.again.entry(entry).or_default() += 1;
        } else if !self.removed.remove(&entry) {
            self.added.insert(entry);
        }
    }

    fn remove(&mut self, entry: SummaryEntry) {
        match self.again.get_mut(&entry) {
            Some(1) => drop(self.again.remove(&entry)),
            Some(count) => *count -= 1,
            None => {
                if self.present.remove(entry) && !self.added.remove(&entry) {
                    self.removed.insert(entry);
                }
            }
        }
    }
}

/// Takes the lowest `most` entries out.
fn take(set: &mut BTreeSet<SummaryEntry>, most: usize) -> Vec<SummaryEntry> {
    let rest = set.iter().nth(most).copied().map(|first| set.split_off(&first)).unwrap_or_default();
    std::mem::replace(set, rest).into_iter().collect()
}
