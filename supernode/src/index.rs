//! The files of this supernode's children, found by word and by content.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod catalogue;
mod terms;

pub use catalogue::{Catalogue, ChildId, Match};
pub use terms::{MAX_NAME_WORDS, MAX_TAG_WORDS, Terms};

/// Most files of the same content in one answer (guess: more sources than a download would use at first).
pub const MAX_SOURCES: usize = 20;
