//! Between a node and its home supernode (or its standby).
//!
//! The node opens the link and says `Attach`. The home answers `Attached` with how much of the node's journal it
//! already holds, `Redirect` when it is full, or `Refused`. An attached node publishes the changes that the home lacks,
//! in order, and asks what its user asks. A standby is a link on which nothing but `Standby` was said: it is kept open so that
//! `Attach` takes one round trip when the home dies.

use serde::{Deserialize, Serialize};

use super::{
    NodeAddress,
    file::{Change, JournalMark, MAX_BATCH},
    query::{Hit, MAX_HITS_PER_MESSAGE, Query, SearchSummary},
    signal::{MAX_SIGNAL_ADDRESSES, Signal},
};
use crate::{
    NodeId, UserName, pace::Pace, presence::Presence, signed::Signed, supernode_record::SupernodeRecord,
};

/// Most supernodes in one list (Skype's host cache and FastTrack's list: 200).
pub const MAX_SUPERNODE_LIST: usize = 200;
/// Most nodes of one user in an answer (guess: a person's machines).
pub const MAX_NODES_PER_USER: usize = 32;
/// Most relays in one list (guess: several times the three candidates of a pair).
pub const MAX_RELAY_LIST: usize = 16;
/// The longest wait that a home may ask for (guess: nobody waits more than 10 s for a home).
pub const MAX_LATER_MILLIS: u32 = 5_000;
/// Largest revocation list, in bytes: about 10,000 revoked certificates.
pub const MAX_CRL_BYTES: usize = 512 * 1024;

/// A question's number, chosen by the asker, unique on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// From a node to its home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHome {
    /// Take me as a child. `journal` is where the node's journal stands.
    Attach {
        /// Says that this supernode is the node's home.
        presence: Signed<Presence>,
        /// The node's own mark.
        journal: JournalMark,
    },
    /// I may need you later.
    Standby,
    /// My presence, signed anew.
    Refresh(Signed<Presence>),
    /// I leave (to another home, or for good: the presence says which).
    Detach(Signed<Presence>),
    /// The changes after revision `after`, in order.
    Publish {
        /// What the home holds already.
        after: JournalMark,
        /// Where the journal stands after these changes. Steps in between may be missing: a file that was added and
        /// removed since needs none.
        upto: u64,
        /// At most [`MAX_BATCH`].
        changes: Vec<Change>,
    },
    /// Search, streaming `Hits` and ending with `SearchDone`.
    Search {
        /// To tell answers apart.
        id: RequestId,
        /// What.
        query: Query,
    },
    /// No more results for this one, please.
    Cancel(RequestId),
    /// Where is this user?
    Lookup {
        /// To tell answers apart.
        id: RequestId,
        /// Who.
        user: UserName,
    },
    /// Which supernodes do you know?
    ListSupernodes,
    /// Bring this to a node whose home is `home`.
    Signal {
        /// The home of the node that it is for.
        home: NodeId,
        /// The message; `from` is this child.
        signal: Box<Signal>,
    },
    /// Which nodes near you relay?
    ListRelays,
    /// Have somebody send a packet to the address from which this link comes (see [`DialBack`]).
    DialBack(DialBack),
    /// A revocation list newer than the one you showed.
    Crl(Box<[u8]>),
}

/// A request for one UDP packet to the asker, sent by somebody to whom its NAT is not open.
///
/// The packet goes to the address from which the asker's link comes and nowhere else: nobody can have one sent to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialBack {
    /// Comes back in the packet, so that it is known.
    pub token: [u8; 16],
    /// Who is to send it.
    pub by: DialBackBy,
}

/// Who sends the packet of a [`DialBack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialBackBy {
    /// The asked supernode, from a port that the asker has not sent to: passes if filtering is address-dependent or open.
    OtherPort,
    /// Another supernode on another address, from a port that the asker has not sent to: passes if filtering is endpoint-independent,
    /// unless the asker has sent to that supernode too.
    OtherNode {
        /// Not this one: the asker has sent to it.
        not: Option<NodeId>,
    },
}

/// What became of a [`DialBack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialBackAnswer {
    /// Of which.
    pub token: [u8; 16],
    /// What.
    pub outcome: DialBackOutcome,
}

/// Whether a packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialBackOutcome {
    /// By the asked supernode, from this port, which answers STUN binding requests for a few seconds.
    SentFrom(u16),
    /// Another supernode was asked to.
    PassedOn,
    /// By nobody: it could not be sent, no other supernode is there, or too many were asked for.
    Nobody,
}

/// From a supernode to its child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToChild {
    /// You are my child; `journal` is what I hold of yours (revision 0 if nothing, or of another epoch).
    Attached {
        /// What the home holds.
        journal: JournalMark,
        /// The home's own record, with its load.
        home: Signed<SupernodeRecord>,
    },
    /// I am full: try these, best first.
    Redirect(Vec<Signed<SupernodeRecord>>),
    /// I keep a place warm for you.
    StandbyKept,
    /// Not taken, and why.
    Refused(Refusal),
    /// I hold your journal up to here.
    Published(JournalMark),
    /// Results of a search; no content is repeated for the same source.
    Hits {
        /// Which search.
        id: RequestId,
        /// At most [`MAX_HITS_PER_MESSAGE`].
        hits: Vec<Hit>,
    },
    /// A search has ended.
    SearchDone {
        /// Which.
        id: RequestId,
        /// How it went.
        summary: SearchSummary,
    },
    /// Where a user is; empty if nobody has that name.
    Found {
        /// Which question.
        id: RequestId,
        /// The user's nodes, at most [`MAX_NODES_PER_USER`]. The asker verifies each.
        nodes: Vec<DirectoryEntry>,
    },
    /// Supernodes I know, myself included, at most [`MAX_SUPERNODE_LIST`].
    Supernodes(Vec<Signed<SupernodeRecord>>),
    /// From another node.
    Signal {
        /// The home by which it came, and by which an answer goes.
        home: NodeId,
        /// The message; `to` is this child.
        signal: Box<Signal>,
    },
    /// What became of a dial-back that was asked for.
    DialBack(DialBackAnswer),
    /// Nodes that may relay, nearest to me first, at most [`MAX_RELAY_LIST`], each with at most [`MAX_SIGNAL_ADDRESSES`].
    Relays(Vec<NodeAddress>),
    /// The newest revocation list.
    Crl(Box<[u8]>),
    /// A question was over its bounds or rate.
    Declined {
        /// Which.
        id: RequestId,
        /// Why.
        reason: Decline,
    },
    /// To a child that strangers can reach: how loaded we are here. Said when that has changed clearly and room is, or was, short.
    Neighbourhood(Neighbourhood),
    /// Too many come at once, and nobody has room: ask again after so many milliseconds, at most [`MAX_LATER_MILLIS`].
    Later {
        /// From now; chosen for this one node.
        millis: u32,
    },
    /// To a child: I have few children, or many again; keep your link to me so. Who is not told has a home with many.
    Pace(Pace),
}

/// How full supernodes should be, in percent of their capacity (guess: a third of all supernodes may die at once, and the others hold their
/// children).
pub const TARGET_PERCENT: u32 = 65;
/// Fuller than this there are too few (guess: a little above the target, so that nobody switches for nothing).
pub const TOO_FULL_PERCENT: u32 = 70;
/// Supernodes that a net has whatever its load, if so many nodes can serve: a home, a standby, and one more to lose.
pub const MIN_SUPERNODES: u32 = 3;

/// How loaded a home is, and the whole net as far as the home can tell: what a child needs to judge whether the net is short of supernodes.
///
/// A supernode that claims to have more than twice the home's own capacity counts as if it had that, equally full; so a few that lie
/// about their capacity change little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbourhood {
    /// The home's own children.
    pub children: u32,
    /// How many it would like to have at most. 0 if it is about to leave.
    pub capacity: u32,
    /// The children of all supernodes, the home's own included.
    pub all_children: u32,
    /// How many these would like to have at most.
    pub all_capacity: u32,
    /// About how many supernodes that are.
    pub supernodes: u32,
    /// How many of the home's children strangers can reach: those that might serve.
    pub candidates: u32,
}

/// What a directory holder says of one node of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// What the node said last, verifiable.
    pub presence: Signed<Presence>,
    /// The holder's opinion: false once the node's home reported it gone, or its home died.
    pub online: bool,
}

/// Why a node is not taken as a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The presence was not signed by the node, expired, replayed, or names another home.
    Presence,
    /// This node is not (or no longer) a supernode.
    NotASupernode,
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decline {
    /// A query without a word that can be searched for.
    NoWords,
    /// Too many words or too long a text.
    TooLong,
    /// Too many questions at once.
    TooMany,
    /// The asker is not attached here.
    NotAttached,
    /// This supernode steps down, and sees the net no more: ask again where you go.
    Leaving,
}

impl ToHome {
    pub(super) fn within_bounds(&self) -> bool {
        match self {
            Self::Publish { changes, .. } => {
                changes.len() <= MAX_BATCH && changes.iter().all(Change::within_bounds)
            }
            Self::Search { query, .. } => query.within_bounds(),
            Self::Signal { signal, .. } => signal.within_bounds(),
            Self::Crl(der) => der.len() <= MAX_CRL_BYTES,
            _ => true,
        }
    }
}

impl ToChild {
    pub(super) fn within_bounds(&self) -> bool {
        match self {
            Self::Redirect(list) | Self::Supernodes(list) => list.len() <= MAX_SUPERNODE_LIST,
            Self::Hits { hits, .. } => {
                hits.len() <= MAX_HITS_PER_MESSAGE && hits.iter().all(Hit::within_bounds)
            }
            Self::Found { nodes, .. } => nodes.len() <= MAX_NODES_PER_USER,
            Self::Signal { signal, .. } => signal.within_bounds(),
            Self::Relays(list) => {
                let addresses = |relay: &NodeAddress| relay.addresses.len() <= MAX_SIGNAL_ADDRESSES;
                list.len() <= MAX_RELAY_LIST && list.iter().all(addresses)
            }
            Self::Crl(der) => der.len() <= MAX_CRL_BYTES,
            _ => true,
        }
    }
}
