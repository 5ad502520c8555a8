//! What is asked and what is answered, the same on every leg: node to home, home to other supernodes.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::file::{Kind, MAX_NAME_BYTES};
use crate::{ContentHash, NodeId, UserName, nat::Reach, presence::MAX_ADDRESSES};

/// Most words in a query; the index drops the rest of a longer one (guess: nobody types more).
pub const MAX_QUERY_WORDS: usize = 16;
/// Longest query text, in bytes. A query beyond either bound is refused, not shortened: a user should know.
pub const MAX_QUERY_BYTES: usize = 512;
/// Most results one query may ask for (KaZaA: 200; LimeWire's ceiling: 150; guess: ten times the default of 50).
pub const MAX_RESULTS: u32 = 500;
/// What a query asks for when nobody says (KaZaA's own 0x32).
pub const DEFAULT_RESULTS: u32 = 50;
/// Most hits in one message: at 400 bytes each below half of the largest frame.
pub const MAX_HITS_PER_MESSAGE: usize = 500;

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// What must match.
    pub subject: Subject,
    /// What else must hold.
    pub filter: Filter,
    /// How many different contents are enough, 1..=[`MAX_RESULTS`].
    pub limit: u32,
}

/// What must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// All the words of this text, the last one also as a prefix; split as [`crate::text`] splits names.
    Words(Box<str>),
    /// This very content: who has it?
    Content(ContentHash),
}

/// Conditions on a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Bytes, at least.
    pub min_size: Option<u64>,
    /// Bytes, at most.
    pub max_size: Option<u64>,
    /// Of this sort.
    pub kind: Option<Kind>,
}

/// One file of one node that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The name under which that node shares it.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// What `get` takes.
    pub hash: ContentHash,
    /// What sort of file it is.
    pub kind: Kind,
    /// How well it matches; higher is better. Comparable between supernodes.
    pub score: u16,
    /// Who has it.
    pub source: Source,
}

/// A node that has a file, and how to reach it. The node id is what is dialled, so a wrong address costs only time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its user.
    pub user: UserName,
    /// The node.
    pub node: NodeId,
    /// Where to reach it, best first.
    pub addresses: Box<[SocketAddr]>,
    /// Its home: through it one asks a node that cannot be dialled.
    pub home: NodeId,
    /// Whether and how it can be reached.
    pub reach: Reach,
}

/// How a search went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchSummary {
    /// Supernodes that were asked, the home included.
    pub asked: u32,
    /// Of those, the ones that answered before the deadline.
    pub answered: u32,
    /// Whether it ended because enough was found; there may be more.
    pub limit_reached: bool,
}

impl Filter {
    /// Whether a file of this size and kind passes.
    pub fn admits(&self, size: u64, kind: Kind) -> bool {
        self.min_size.is_none_or(|min| size >= min)
            && self.max_size.is_none_or(|max| size <= max)
            && self.kind.is_none_or(|wanted| wanted == kind)
    }
}

impl Query {
    pub(super) fn within_bounds(&self) -> bool {
        let subject_fits = match &self.subject {
            Subject::Words(text) => text.len() <= MAX_QUERY_BYTES,
            Subject::Content(_) => true,
        };
        subject_fits && (1..=MAX_RESULTS).contains(&self.limit)
    }
}

impl Hit {
    pub(super) fn within_bounds(&self) -> bool {
        self.name.len() <= MAX_NAME_BYTES && self.source.addresses.len() <= MAX_ADDRESSES
    }
}
