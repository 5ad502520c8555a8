//! The journal of shared files: what a home must be told so that it knows what this node shares.
//!
//! Each change of the shared files is a *step* with the next revision. Only the last step of a file number is kept: an
//! addition while the file is shared, a tombstone once it is gone. A home says how far it has come ([`JournalMark`]) and is given the
//! later steps in ascending order; it may stop anywhere and resume from the mark of its last batch, at any later time.
//! Tombstones would pile up for ever, so when there are too many a new *epoch* begins without them: a home that is still in an older epoch
//! forgets what it has and is given all live files.
//!
//! Invariant: within an epoch no number names two files, because a number stays in the journal until the epoch ends.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::{collections::BTreeMap, ops::Bound};

use nearmesh_common::wire::file::{Change, FileEntry, FileNumber, JournalMark};

/// Most tombstones before a new epoch begins (guess: at 60 bytes each under 1 MiB; a folder of this many files can come and go once).
pub const MAX_TOMBSTONES: usize = 16 * 1024;

/// What is next for a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What the home must hold before this batch. Its own mark, or revision 0 of this journal's epoch if its mark was of another one.
    pub after: JournalMark,
    /// The revision that the home has reached with this batch.
    pub upto: u64,
    /// Ascending by revision.
    pub changes: Vec<Change>,
}

/// The journal. It knows the files by their numbers only; their entries are kept elsewhere.
#[derive(Clone, Debug)]
pub struct Journal {
    mark: JournalMark,
    next: u32,
    latest: BTreeMap<FileNumber, Step>,
    by_revision: BTreeMap<u64, FileNumber>,
    tombstones: usize,
}

/// The last thing that happened to a file number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    revision: u64,
    live: bool,
}

impl Journal {
    /// An empty journal. `epoch` is drawn at random, so that it is not that of a journal that was lost.
    pub fn new(epoch: u64) -> Self {
        Self::restore(JournalMark { epoch, revision: 0 }, [], [])
    }

    /// The journal as it was: its mark, and number and revision of each live file and of each tombstone.
    pub fn restore(
        mark: JournalMark,
        live: impl IntoIterator<Item = (FileNumber, u64)>,
        gone: impl IntoIterator<Item = (FileNumber, u64)>,
    ) -> Self {
        let mut journal =
            Self { mark, next: 0, latest: BTreeMap::new(), by_revision: BTreeMap::new(), tombstones: 0 };
        for (number, revision) in live {
            journal.put(number, Step { revision, live: true });
        }
        for (number, revision) in gone {
            journal.put(number, Step { revision, live: false });
        }
        journal.next = journal.latest.last_key_value().map_or(0, |(last, _)| last.0.wrapping_add(1));
        journal
    }

    /// Where the journal stands.
    pub fn mark(&self) -> JournalMark {
        self.mark
    }

    /// A number for a new file; it is taken once [`Journal::add`] is called with it.
    pub fn free_number(&mut self) -> FileNumber {
        while self.latest.contains_key(&FileNumber(self.next)) {
            self.next = self.next.wrapping_add(1);
        }
        FileNumber(self.next)
    }

    /// A file is shared, or its entry replaced. Returns the revision of this change.
    pub fn add(&mut self, number: FileNumber) -> u64 {
        self.step(number, true)
    }

    /// A file is no longer shared. Returns the revision of this change; `None` if there is no such file.
    pub fn remove(&mut self, number: FileNumber) -> Option<u64> {
        self.latest.get(&number).filter(|step| step.live)?;
        Some(self.step(number, false))
    }

    /// Whether it is time for [`Journal::begin_epoch`].
    pub fn is_overfull(&self) -> bool {
        self.tombstones > MAX_TOMBSTONES
    }

    /// Forgets the tombstones. Whoever holds an older epoch will be told everything anew.
    pub fn begin_epoch(&mut self) {
        self.mark.epoch = self.mark.epoch.wrapping_add(1);
        self.latest.retain(|_, step| step.live);
        self.by_revision.retain(|_, number| self.latest.contains_key(number));
        self.tombstones = 0;
    }

    /// Whether a home holds more of this epoch than there is: then this journal was set back (a restored backup), and what
    /// the home holds cannot be told apart from what it should.
    pub fn is_behind(&self, home: JournalMark) -> bool {
        home.epoch == self.mark.epoch && home.revision > self.mark.revision
    }

    /// The steps after `home`, at most `limit`. `entry` tells what a live number stands for.
    pub fn changes_after(
        &self,
        home: JournalMark,
        limit: usize,
        mut entry: impl FnMut(FileNumber) -> Option<FileEntry>,
    ) -> Batch {
        let revision = if home.epoch == self.mark.epoch { home.revision } else { 0 };
        let after = JournalMark { epoch: self.mark.epoch, revision };
        let mut later = self.by_revision.range((Bound::Excluded(revision), Bound::Unbounded));
        let mut upto = revision;
        let mut changes = Vec::new();
        for (&revision, &number) in later.by_ref().take(limit) {
            upto = revision;
            let live = self.latest.get(&number).is_some_and(|step| step.live);
            let added = if live { entry(number).map(Change::Add) } else { None };
            // A first registration needs no word of what it never held.
            if added.is_some() || after.revision > 0 {
                changes.push(added.unwrap_or(Change::Remove(number)));
            }
        }
        if later.next().is_none() {
            upto = self.mark.revision.max(upto);
        }
        Batch { after, upto, changes }
    }

    fn step(&mut self, number: FileNumber, live: bool) -> u64 {
        self.mark.revision += 1;
        self.put(number, Step { revision: self.mark.revision, live });
        self.mark.revision
    }

    fn put(&mut self, number: FileNumber, step: Step) {
        if let Some(before) = self.latest.insert(number, step) {
            self.by_revision.remove(&before.revision);
            self.tombstones -= usize::from(!before.live);
        }
        self.by_revision.insert(step.revision, number);
        self.tombstones += usize::from(!step.live);
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
