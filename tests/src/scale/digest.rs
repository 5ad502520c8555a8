//! What identifies a run: everything that was delivered, when and between whom.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::{calendar::Moment, names::Peer};

/// A running hash. Two runs of one seed have the same at the same moment.
#[derive(Clone, Default)]
pub struct Digest(FxHasher);

impl Digest {
    pub(super) fn note(&mut self, at: Moment, from: Peer, to: Peer, kind: &'static str) {
        (at, from, to).hash(&mut self.0);
        kind.hash(&mut self.0);
    }

    /// So far.
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}
