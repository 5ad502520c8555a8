//! Between supernodes.
//!
//! Whoever opens the link says `Hello`; the other answers with its own `Hello`. From then on each keeps the other's view
//! up to date: membership records as they change, its summary as changes, presences to the holders that
//! placement names.
//!
//! What is for a group to which the sender does not belong goes to a *contact*, a member of that group, and carries a number of hops: how
//! many more times it may be passed on. Answers go back the way the question came, each hop under a number of its own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    home::{DirectoryEntry, MAX_CRL_BYTES, MAX_NODES_PER_USER, MAX_SUPERNODE_LIST},
    query::{Hit, MAX_HITS_PER_MESSAGE, Query},
    signal::Signal,
};
use crate::{
    NodeId, UnixMillis, UserName,
    presence::Presence,
    signed::{Renewal, Signed},
    supernode_record::{MAX_GROUP_BITS, SupernodeRecord},
};

/// Most entries in one summary message: 4 bytes each, a quarter of the largest frame.
pub const MAX_SUMMARY_ENTRIES: usize = 64 * 1024;
/// Most presences in one store message: at 1 KiB each, a quarter of the largest frame.
pub const MAX_STORED: usize = 256;
/// Largest hop count: a contact, and one more where the two see the net divided differently (Gnutella's TTL was 7).
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

/// A part of the net: the supernodes whose ids begin with these bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// How many leading bits, at most [`MAX_GROUP_BITS`].
    pub bits: u8,
    /// Which.
    pub number: u16,
}

/// Whose children a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The asked supernode's own.
    Own,
    /// Those of every supernode of this part of the net.
    Part {
        /// Which.
        part: Part,
        /// How many more times it may be passed on, 1..=[`MAX_HOPS`].
        hops: u8,
    },
    /// Those of this supernode, a member of the asked one's group.
    Home(NodeId),
}

/// How far a query went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Supernodes that were asked, the answering one included.
    pub asked: u32,
    /// Of those, the ones that answered in time.
    pub answered: u32,
}

/// Most contents in one offer.
pub const MAX_OFFERED: usize = 4096;
/// Most homes that are named for one content (guess: more than a download takes sources from).
pub const MAX_SOURCE_HOMES: usize = 32;

/// A presence for the holders of its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Where it belongs: its signer must be a node of this user.
    pub user: UserName,
    /// What the node said last.
    pub presence: Signed<Presence>,
    /// False if its home said that it is gone: one holder tells another.
    pub here: bool,
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
    /// My own record in place of the one in my `Hello`.
    Renewed(Renewal<SupernodeRecord>),
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
    /// Search.
    Query {
        /// To tell answers apart: one link never sees a number twice. The answer comes on the same link.
        number: u64,
        /// What.
        query: Query,
        /// Where.
        scope: Scope,
        /// Milliseconds after which an answer is of no use.
        deadline_ms: u32,
    },
    /// What was found.
    Answer {
        /// Of which query.
        number: u64,
        /// At most [`MAX_HITS_PER_MESSAGE`], best first.
        hits: Vec<Hit>,
        /// Comes with the last message for this query.
        done: Option<Counts>,
    },
    /// Stop working on this query of mine.
    Cancel(u64),
    /// Hold these presences, at most [`MAX_STORED`], or pass them on to those who are to. Answered by `Here` at once.
    Store {
        /// Comes back in the answer.
        number: u32,
        /// The presences.
        presences: Vec<Stored>,
        /// How many more times they may be passed on; 0: hold them yourself.
        hops: u8,
    },
    /// Are you there? Answered by `Here`.
    Ping {
        /// Comes back in the answer.
        number: u32,
        /// Several did not answer me lately: look whether those that you know do.
        alarm: bool,
    },
    /// I am, and what came with this number has come.
    Here(u32),
    /// A node is no longer at its home.
    Gone {
        /// The node.
        node: NodeId,
        /// Its user.
        user: UserName,
        /// Where it was.
        home: NodeId,
        /// Its last presence there; a later one still counts.
        sequence: UnixMillis,
        /// How many more times it may be passed on.
        hops: u8,
    },
    /// Where is this user?
    Find {
        /// To tell answers apart, unique on this link.
        number: u64,
        /// Who.
        user: UserName,
        /// How many more times it may be passed on; 0: say what you hold yourself.
        hops: u8,
    },
    /// What is known, at most [`MAX_NODES_PER_USER`].
    Held {
        /// Of which `Find`.
        number: u64,
        /// The entries.
        nodes: Vec<DirectoryEntry>,
    },
    /// This home's children have these contents (each by the first eight bytes of its hash, at most [`MAX_OFFERED`]): hold that for a while, or
    /// pass it on to those who are to.
    Offer {
        /// The home.
        home: NodeId,
        /// The contents.
        contents: Vec<u64>,
        /// How many more times it may be passed on; 0: hold it yourself.
        hops: u8,
    },
    /// Which homes have this content?
    FindSources {
        /// To tell answers apart, unique on this link.
        number: u64,
        /// The first eight bytes of its hash.
        content: u64,
        /// How many more times it may be passed on; 0: say what you hold yourself.
        hops: u8,
    },
    /// These homes said that they have it, at most [`MAX_SOURCE_HOMES`].
    Sources {
        /// Of which `FindSources`.
        number: u64,
        /// The homes.
        homes: Vec<NodeId>,
    },
    /// From a child of one home to a child of another.
    Signal {
        /// The home by which it came, and to which an answer goes.
        from: NodeId,
        /// The home of the node that it is for.
        to: NodeId,
        /// How many more times it may be passed on.
        hops: u8,
        /// The message.
        signal: Box<Signal>,
    },
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
            Self::Query { query, scope, .. } => query.within_bounds() && scope.within_bounds(),
            Self::Answer { hits, .. } => {
                hits.len() <= MAX_HITS_PER_MESSAGE && hits.iter().all(Hit::within_bounds)
            }
            Self::Store { presences, hops, .. } => presences.len() <= MAX_STORED && *hops <= MAX_HOPS,
            Self::Gone { hops, .. } | Self::Find { hops, .. } | Self::FindSources { hops, .. } => {
                *hops <= MAX_HOPS
            }
            Self::Offer { contents, hops, .. } => contents.len() <= MAX_OFFERED && *hops <= MAX_HOPS,
            Self::Sources { homes, .. } => homes.len() <= MAX_SOURCE_HOMES,
            Self::Held { nodes, .. } => nodes.len() <= MAX_NODES_PER_USER,
            Self::Signal { signal, hops, .. } => signal.within_bounds() && *hops <= MAX_HOPS,
            Self::Crl(der) => der.len() <= MAX_CRL_BYTES,
            _ => true,
        }
    }
}

impl Scope {
    fn within_bounds(&self) -> bool {
        match self {
            Self::Own | Self::Home(_) => true,
            Self::Part { part, hops } => {
                part.bits <= MAX_GROUP_BITS
                    && u32::from(part.number) < 1 << part.bits
                    && (1..=MAX_HOPS).contains(hops)
            }
        }
    }
}
