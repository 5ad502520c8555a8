//! A follower's side: what a peer told of its own summary.

use nearmesh_common::wire::mesh::{SummaryEntry, SummaryVersion};
use roaring::RoaringBitmap;
use thiserror::Error;

use super::Probe;

/// Most entries that are kept of one peer: 5 million contents, their words and prefixes (the size goal of one index, doubled).
pub const MAX_VIEW_ENTRIES: u64 = 16_000_000;

/// A peer's summary, as far as it is known. Until it is whole, everything may match.
#[derive(Clone, Debug, Default)]
pub struct SummaryView {
    entries: RoaringBitmap,
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
            Some(_) => probe.all(|entry| self.entries.contains(*entry)),
            None => probe.all(|_| true),
        }
    }

    /// Which version is held; default where none is.
    pub fn version(&self) -> SummaryVersion {
        self.held.unwrap_or_default()
    }

    /// How many entries.
    pub fn len(&self) -> u64 {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes it takes, about.
    pub fn memory(&self) -> usize {
        bytes_of(&self.entries)
    }

    fn insert(&mut self, entries: &[SummaryEntry]) -> Result<(), ViewError> {
        self.entries.extend(entries);
        if self.entries.len() > MAX_VIEW_ENTRIES { self.refuse(ViewError::TooLarge) } else { Ok(()) }
    }

    fn refuse(&mut self, error: ViewError) -> Result<(), ViewError> {
        *self = Self::default();
        Err(error)
    }
}

/// Bytes of a bitmap, with the slack of its containers.
pub(super) fn bytes_of(bitmap: &RoaringBitmap) -> usize {
    /// A container's header in memory and the allocator's own.
    const CONTAINER_BYTES: u64 = 48;
    let parts = bitmap.statistics();
    let arrays = parts.n_bytes_array_containers + parts.n_bytes_array_containers / 3;
    (arrays + parts.n_bytes_bitset_containers + u64::from(parts.n_containers) * CONTAINER_BYTES) as usize
}
