//! Between supernodes.
//!
//! Whoever opens the link says `Hello`; the other answers with its own `Hello`. From then on each keeps the other's view
//! up to date: membership records as they change, its summary as changes, presences to the holders that
//! placement names. Queries are asked by the asker's home alone and answered once.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    home::{DirectoryEntry, MAX_CRL_BYTES, MAX_NODES_PER_USER, MAX_SUPERNODE_LIST},
    query::{Hit, MAX_HITS_PER_MESSAGE, Query},
    signal::Signal,
};
use crate::{
    NodeId, UserName,
    presence::Presence,
    signed::Signed,
    supernode_record::{MAX_GROUP_BITS, SupernodeRecord},
};

/// Most entries in one summary message: 4 bytes each, a quarter of the largest frame.
pub const MAX_SUMMARY_ENTRIES: usize = 64 * 1024;
/// Most presences in one store message: at 1 KiB each, a quarter of the largest frame.
pub const MAX_STORED: usize = 256;
/// Largest hop count that is forwarded; the full mesh needs 1, groups need 2 (Gnutella's TTL was 7).
pub const MAX_HOPS: u8 = 2;

/// Most supernodes that are called known in one question: five times the largest group that is meant to be.
pub const MAX_ASKED_KNOWN: usize = 1024;

/// A short name of a supernode, a different one for each `salt`, so that nobody can always be taken for another.
pub fn short_name(node: &NodeId, salt: u64) -> u32 {
    let word = u64::from_le_bytes(std::array::from_fn(|index| node.0[index + 24]));
    (mix(word ^ salt) >> 32) as u32
}

/// What a supernode adds (by exclusive or) to a [`Mesh::Digest`].
pub fn digest_of(node: &NodeId) -> u64 {
    mix(u64::from_le_bytes(std::array::from_fn(|index| node.0[index + 16])))
}

/// Mixes the bits of a word (the finalizer of `SplitMix64`; Steele, Lea and Flood, 2014).
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A query's number in the whole net: the asking supernode and its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryId {
    /// The supernode that runs the search.
    pub origin: NodeId,
    /// Its counter.
    pub number: u64,
}

/// A version of a supernode's summary. A new epoch begins when the supernode starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SummaryVersion {
    /// Which life of the supernode.
    pub epoch: u64,
    /// How many changes were announced in it.
    pub number: u64,
}

/// One word, word prefix or content in a summary, hashed to 32 bits (see `supernode::summary`).
pub type SummaryEntry = u32;

/// From a supernode to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mesh {
    /// The first message each way.
    Hello {
        /// Who I am.
        record: Signed<SupernodeRecord>,
        /// What I still hold of your summary.
        summary: SummaryVersion,
    },
    /// Records that may be news to you, at most [`MAX_SUPERNODE_LIST`].
    Members(Vec<Signed<SupernodeRecord>>),
    /// Which supernodes of this group do you know? Answered by `Members`.
    AskMembers {
        /// Into how many groups I see the net divided, as a number of leading bits; at most [`MAX_GROUP_BITS`].
        bits: u8,
        /// The group: the leading bits of its members' ids.
        group: u16,
        /// Most records that are wanted; a random choice of those there are, if there are more.
        most: u8,
        /// Chosen anew for each question.
        salt: u64,
        /// Those that I know alive already, each as [`short_name`] calls it; at most [`MAX_ASKED_KNOWN`].
        known: Vec<u32>,
    },
    /// My group as I see it, to a member of it.
    Digest {
        /// Into how many groups I see the net divided.
        bits: u8,
        /// The members that I have links to and myself, mixed: equal for whoever sees the same.
        members: u64,
    },
    /// Whether I need this link, as one of my group or as a contact to yours. Until I say so I do.
    Uses(bool),
    /// A part of my whole summary: forget what you had, if this is the first part.
    SummaryPart {
        /// The version the parts add up to.
        version: SummaryVersion,
        /// Whether it is the first.
        first: bool,
        /// Whether it is the last: only then the version is held.
        last: bool,
        /// Entries, ascending.
        entries: Vec<SummaryEntry>,
    },
    /// My summary changed.
    SummaryChange {
        /// From this version; if you do not hold it, say `SummaryLost`.
        from: SummaryVersion,
        /// To `from.number + 1`; entries that are new.
        added: Vec<SummaryEntry>,
        /// Entries that are gone.
        removed: Vec<SummaryEntry>,
    },
    /// I could not apply a change: send me the whole.
    SummaryLost,
    /// Search your children.
    Query {
        /// Answered once.
        id: QueryId,
        /// What.
        query: Query,
        /// How many more times it may be forwarded.
        hops: u8,
        /// Milliseconds after which an answer is of no use.
        deadline_ms: u32,
    },
    /// What my children have.
    Answer {
        /// Of which query.
        id: QueryId,
        /// At most [`MAX_HITS_PER_MESSAGE`], best first.
        hits: Vec<Hit>,
        /// Whether more messages follow for this query.
        more: bool,
    },
    /// Stop working on this one.
    Cancel(QueryId),
    /// Hold these presences, at most [`MAX_STORED`].
    Store(Vec<Signed<Presence>>),
    /// A node of yours to hold is no longer at its home.
    Gone {
        /// The node.
        node: NodeId,
        /// Its user.
        user: UserName,
    },
    /// Who holds what on this user?
    Find {
        /// To tell answers apart, unique on this link.
        number: u64,
        /// Who.
        user: UserName,
    },
    /// What I hold, at most [`MAX_NODES_PER_USER`].
    Held {
        /// Of which `Find`.
        number: u64,
        /// The entries.
        nodes: Vec<DirectoryEntry>,
    },
    /// For a child of yours, from a child of mine.
    Signal(Box<Signal>),
    /// Send the packet of this [`DialBack`](super::home::DialBack) to a child of mine.
    DialBack {
        /// Where its link comes from, as I see it.
        to: SocketAddr,
        /// Comes back in the packet.
        token: [u8; 16],
    },
    /// The newest revocation list.
    Crl(Box<[u8]>),
}

impl Mesh {
    pub(super) fn within_bounds(&self) -> bool {
        match self {
            Self::Members(records) => records.len() <= MAX_SUPERNODE_LIST,
            Self::AskMembers { bits, group, known, .. } => {
                *bits <= MAX_GROUP_BITS && group >> bits == 0 && known.len() <= MAX_ASKED_KNOWN
            }
            Self::Digest { bits, .. } => *bits <= MAX_GROUP_BITS,
            Self::SummaryPart { entries, .. } => entries.len() <= MAX_SUMMARY_ENTRIES,
            Self::SummaryChange { added, removed, .. } => added.len() + removed.len() <= MAX_SUMMARY_ENTRIES,
            Self::Query { query, hops, .. } => query.within_bounds() && *hops <= MAX_HOPS,
            Self::Answer { hits, .. } => {
                hits.len() <= MAX_HITS_PER_MESSAGE && hits.iter().all(Hit::within_bounds)
            }
            Self::Store(presences) => presences.len() <= MAX_STORED,
            Self::Held { nodes, .. } => nodes.len() <= MAX_NODES_PER_USER,
            Self::Signal(signal) => signal.within_bounds(),
            Self::Crl(der) => der.len() <= MAX_CRL_BYTES,
            _ => true,
        }
    }
}
