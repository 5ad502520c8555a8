//! The files of this supernode's children, found by word and by content.
//!
//! [`Catalogue`] is all that others touch. Inside, a file is a record of fixed size; its name, its tags' words,
//! the vocabulary and the postings live in one arena. Records and words are found by hash tables that grow by a
//! bucket at a time, so nothing ever pauses to double. A child that goes takes its files out of sight at once,
//! by its own state; they are cleared away later, a few at a time.
//!
//! # Invariants
//! - What is found is a file of a child that is here, and holds every word of the query ([`Terms`] says what
//!   that means).
//! - No call does unbounded work: a query's steps, records read and results are bounded, whatever its words.
//! - Nothing depends on an order that differs between runs.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod arena;
mod buckets;
mod catalogue;
mod children;
mod chunked;
mod cursor;
mod merge;
mod postings;
mod records;
mod search;
mod store;
mod terms;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use catalogue::{Catalogue, ChildId, Match};
pub use store::MAX_FILES;
pub use terms::{MAX_NAME_WORDS, MAX_TAG_WORDS, Terms};

/// Most files of the same content in one answer (guess: more sources than a download would use at first).
pub const MAX_SOURCES: usize = 20;
