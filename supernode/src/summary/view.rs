//! A follower's side: what a peer told of its own summary.

use nearmesh_common::wire::mesh::{SummaryEntry, SummaryVersion};
use thiserror::Error;

use super::{Probe, entries::Entries};

/// Most entries that are kept of one peer: 5 million contents, their words and prefixes (the size goal of one
/// index, doubled).
pub const MAX_VIEW_ENTRIES: usize = 16_000_000;

/// A peer's summary, as far as it is known. Until it is whole, everything may match.
#[derive(Clone, Debug, Default)]
pub struct SummaryView {
    entries: Entries,
    held: Option<SummaryVersion>,
    coming: bool,
}

/// Why a part or a change was not applied. The view then holds no version, and the peer is to send the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ViewError {
    /// It builds on something that is not held.
    #[error("it does not follow from what is held")]
    OutOfStep,
    /// It has, or would have, more entries than a summary may.
    #[error("it has more than {MAX_VIEW_ENTRIES} entries")]
    TooLarge,
}

impl SummaryView {
    /// A part of the whole; after the last one `version` is held.
    pub fn apply_part(
        &mut self,
        version: SummaryVersion,
        (first, last): (bool, bool),
        entries: &[SummaryEntry],
    ) -> Result<(), ViewError> {
        if first {
            *self = Self { coming: true, ..Self::default() };
        }
        if !self.coming {
            return self.refuse(ViewError::OutOfStep);
        }
        self.insert(entries)?;
        if last {
            self.coming = false;
            self.held = Some(version);
        }
        Ok(())
    }

    /// A change from the version that is held to the next.
    pub fn apply_change(
        &mut self,
        from: SummaryVersion,
        added: &[SummaryEntry],
        removed: &[SummaryEntry],
    ) -> Result<(), ViewError> {
        if self.held != Some(from) {
            return self.refuse(ViewError::OutOfStep);
        }
        for entry in removed {
            self.entries.remove(*entry);
        }
        self.insert(added)?;
        self.held = Some(SummaryVersion { number: from.number.wrapping_add(1), ..from });
        Ok(())
    }

    /// Whether the peer's children may have something that matches. `false` is certain.
    pub fn may_match(&self, probe: &Probe) -> bool {
        match self.held {
            Some(_) => probe.all(|entry| self.entries.contains(entry)),
            None => probe.all(|_| true),
        }
    }

    /// Whether this very entry is held.
    pub fn has(&self, entry: SummaryEntry) -> bool {
        self.entries.contains(entry)
    }

    /// Which version is held; default where none is.
    pub fn version(&self) -> SummaryVersion {
        self.held.unwrap_or_default()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Bytes it takes, about.
    pub fn memory(&self) -> usize {
        self.entries.memory()
    }

    fn insert(&mut self, entries: &[SummaryEntry]) -> Result<(), ViewError> {
        for entry in entries {
            self.entries.insert(*entry);
            if self.entries.len() > MAX_VIEW_ENTRIES {
                return self.refuse(ViewError::TooLarge);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, error: ViewError) -> Result<(), ViewError> {
        *self = Self::default();
        Err(error)
    }
}
