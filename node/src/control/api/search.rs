//! Searching.

use nearmesh_common::{
    ContentHash, NodeId, UserAddress,
    wire::{file::Kind, query::DEFAULT_RESULTS},
};
use serde::{Deserialize, Serialize};

use super::AsText;

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// All of these words; the last one also as the beginning of a word.
    pub words: String,
    /// How many results are enough.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// Bytes, at least.
    #[serde(default)]
    pub min_size: Option<u64>,
    /// Bytes, at most.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// Of this sort.
    #[serde(default)]
    pub kind: Option<Kind>,
}

/// A content that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchResult {
    /// What `get` takes, until the next search. Counts from 1.
    pub number: u32,
    /// Its best-matching name. From the network: may hold any character.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What `get` takes, always.
    pub hash: AsText<ContentHash>,
    /// What sort of file it is.
    pub kind: Kind,
    /// Who has it.
    pub sources: Vec<Source>,
}

/// A node that has a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its user.
    pub user: UserAddress,
    /// The node.
    pub node_id: AsText<NodeId>,
}

/// What a search yields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchEvent {
    /// A result. One with the number of an earlier one replaces it: more sources are known.
    Result(SearchResult),
    /// That was all.
    Done(Searched),
}

/// How a search went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// Supernodes that were asked.
    pub asked: u32,
    /// Of those, the ones that answered in time.
    pub answered: u32,
    /// Whether it ended because enough was found; there may be more.
    pub limit_reached: bool,
}

fn default_limit() -> u32 {
    DEFAULT_RESULTS
}
