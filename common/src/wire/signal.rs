//! What two nodes say to each other through their homes, before or beside a connection of their own.
//!
//! A reachable node that wants one behind a NAT says [`SignalBody::Push`]: the other dials out. Two nodes of which neither is
//! reachable hold a *session*: the caller says `Call` with its [`Offer`], the other `Answer`s with its own; both then send path
//! probes and open the relays that both know. Either says `Update` when its addresses, its relays or its measurements change.
//!
//! The homes carry these messages and can read them. The key in them only keeps strangers from
//! answering path probes; what is said over the paths is protected end to end by QUIC.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{NodeId, nat::Nat};

/// Most candidates of one side (RFC 8445 caps check lists at 100 pairs: ten on each side).
pub const MAX_CANDIDATES: usize = 10;
/// Most relays that one side names.
pub const MAX_RELAYS: usize = 8;
/// Most relays that a session holds on purpose: the one in use, and one kept ready.
pub const MAX_CHOSEN_RELAYS: usize = 2;
/// Most addresses of one relay, and of a node that asks to be dialled.
pub const MAX_SIGNAL_ADDRESSES: usize = 4;

/// One attempt of two nodes to reach each other, and the paths that come of it. Chosen at random by the caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

/// A message from one node to another, by way of their homes. Each home checks the end that is its own child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Who says it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// In which session.
    pub session: SessionId,
    /// What.
    pub body: SignalBody,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignalBody {
    /// I am reachable: dial me at one of these, at most [`MAX_SIGNAL_ADDRESSES`].
    Push(Vec<SocketAddr>),
    /// Let us find paths to each other. Repeated until something comes back.
    Call {
        /// Authenticates the path probes of this session.
        key: ProbeKey,
        /// The caller's home, for the way back.
        home: NodeId,
        /// The caller's side.
        offer: Offer,
    },
    /// Here is my side.
    Answer(Offer),
    /// My side has changed.
    Update(Offer),
    /// Heard: offer number so-and-so of yours.
    Heard(u32),
    /// I end the session, or want none.
    End(End),
}

/// What authenticates the path probes of one session.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeKey(pub [u8; 32]);

/// One side of a session, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Counts this side's offers: a later one replaces an earlier one.
    pub number: u32,
    /// Where this side may be reached, at most [`MAX_CANDIDATES`]; of several server-reflexive ones the newest first.
    pub candidates: Vec<Candidate>,
    /// What stands before it.
    pub nat: Nat,
    /// Counts the rounds of punching that this side began. One more than before says: it has primed, and waits for the
    /// other side's pings.
    pub round: u32,
    /// Relays that this side can use, its home first if that relays, then nearest first; last those of the other side that
    /// it has measured. At most [`MAX_RELAYS`].
    pub relays: Vec<RelayOffer>,
    /// From the caller: which relays both sides are to open now, best first, at most [`MAX_CHOSEN_RELAYS`]. The other side
    /// says nothing here.
    pub chosen: Vec<NodeId>,
}

/// An address at which a node may be reached (RFC 8445, section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// How it was learnt.
    pub kind: CandidateKind,
    /// The address.
    pub address: SocketAddr,
}

/// How an address was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CandidateKind {
    /// It is an interface's own.
    Host,
    /// A router was asked for it (UPnP IGD, NAT-PMP, PCP).
    Mapped,
    /// A supernode saw it.
    ServerReflexive,
    /// The peer itself saw it.
    PeerReflexive,
}

/// A relay, as one side sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOffer {
    /// Which node.
    pub node: NodeId,
    /// Where, best first, at most [`MAX_SIGNAL_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// This side's measured round trip to it, in microseconds; none if it was not measured yet.
    pub rtt_us: Option<u32>,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Nobody needs it any more.
    Done,
    /// The other side has too many sessions.
    TooMany,
    /// The node that it was for is not a child of that home.
    NotHere,
}

impl Signal {
    pub(super) fn within_bounds(&self) -> bool {
        match &self.body {
            SignalBody::Push(addresses) => addresses.len() <= MAX_SIGNAL_ADDRESSES,
            SignalBody::Call { offer, .. } | SignalBody::Answer(offer) | SignalBody::Update(offer) => {
                offer.within_bounds()
            }
            SignalBody::Heard(_) | SignalBody::End(_) => true,
        }
    }
}

impl Offer {
    fn within_bounds(&self) -> bool {
        self.candidates.len() <= MAX_CANDIDATES
            && self.relays.len() <= MAX_RELAYS
            && self.chosen.len() <= MAX_CHOSEN_RELAYS
            && self.relays.iter().all(|relay| relay.addresses.len() <= MAX_SIGNAL_ADDRESSES)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeKey(..)")
    }
}
