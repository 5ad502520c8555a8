//! The supernode as one machine.
//!
//! `handle(input, now)` takes what happened, `poll_output()` gives what is to be done, `poll_timeout()` says when
//! to call `handle(Input::Timeout, now)` next.
//!
//! [`Supernode`] owns one sub-protocol per file and routes between them; they never call each other. To its children it is
//! a home: `door` says who may come in, `children` admits them, `registration` keeps their files, `shedding` hands on those that are too many,
//! `neighbourhood` tells them how full everybody is. To other supernodes it is a member of the near-mesh:
//! `membership` knows who serves, keeps a link to each of its group and to some of every other (`placement` says which group is whose), and `summaries` tells its own group what is worth asking here.
//! A child's search (`search`, planned by `waves`) goes to the members whose summary has its words, and to a contact in each other group (`reach`), which
//! runs the same machine over its own; `answers` sees that each query is answered once. Where users are
//! is kept by three members for each name: `publishing` tells them of our children, `directory` holds what
//! others tell us and hands it on when the group changes (`handover`), `lookup` asks; what is told is confirmed (`receipts`), and who is silent is noticed (`rollcall`); where contents are is a hint that is held in the same way (`offers`). `signals` carries what two nodes say to each other before they are connected, `relays` names those who could
//! forward for them. Who wants to know whether strangers reach it is sent a packet (`dial_back`).
//!
//! # Invariants
//! - Nothing signed is believed, kept or passed on before it was verified.
//! - A member counts from its `Hello` on a live link until that link ends; no rumour adds or removes one.
//! - A peer's input costs at most what its budget (`budget`) and the named bound of each table allow.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod alternatives;
mod answers;
mod batches;
mod budget;
mod children;
mod dial_back;
mod directory;
mod door;
mod handover;
mod links;
mod lookup;
mod machine;
mod membership;
mod neighbourhood;
mod offers;
mod pacing;
mod placement;
mod publishing;
mod reach;
mod receipts;
mod registration;
mod relays;
mod rollcall;
mod schedule;
mod search;
mod shedding;
mod signals;
mod summaries;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod waves;
mod world;

pub use machine::{Config, DEFAULT_CAPACITY, Supernode};
pub use neighbourhood::neighbourhood;
pub use world::Counters;

use std::{net::SocketAddr, time::Duration};

use nearmesh_common::{
    NodeId, UserName,
    wire::{LinkMessage, NodeAddress, home::ToHome, mesh::Mesh},
};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link to a member is open. Links are unique for each pair of nodes, whoever opened them. The node's own client side
    /// is a peer like any other, with this node's own id: a supernode is its own home.
    LinkUp {
        /// Who, as its certificate says.
        peer: Peer,
    },
    /// The link is gone: closed, or silent for longer than the transport allows.
    LinkDown {
        /// Whose.
        node: NodeId,
    },
    /// The link's other end is at another address now.
    Moved {
        /// Whose.
        node: NodeId,
        /// Where its packets come from.
        observed: SocketAddr,
    },
    /// A [`Output::Dial`] led nowhere.
    DialFailed {
        /// Whose.
        node: NodeId,
    },
    /// A child, or a node that would like to be one, speaks. Bounds were checked.
    FromChild {
        /// Who.
        from: NodeId,
        /// What.
        message: ToHome,
    },
    /// A supernode speaks. Bounds were checked.
    FromMesh {
        /// Who.
        from: NodeId,
        /// What.
        message: Mesh,
    },
    /// The transport measured a link's round trip.
    Rtt {
        /// Whose.
        node: NodeId,
        /// Smoothed.
        rtt: Duration,
    },
    /// Where this node is reached has changed.
    Addresses(Vec<SocketAddr>),
    /// Supernodes learnt elsewhere: ticket, host cache.
    Candidates(Vec<NodeAddress>),
    /// The keyring adopted a newer revocation list: spread it, drop the records it revokes.
    CrlAdopted(Box<[u8]>),
    /// What became of an [`Output::SendDialBack`] that a peer of this node had asked for.
    DialBackSent {
        /// Who had asked.
        asker: NodeId,
        /// With which token.
        token: [u8; 16],
        /// From which port it was sent; none if it was not.
        port: Option<u16>,
    },
    /// Stop being a supernode soon: hand the children their alternatives, and tell everybody once they have gone, or a few seconds later.
    Drain,
    /// Stop being a supernode now: tell everybody, hand children their alternatives.
    StepDown,
    /// The time that `poll_timeout` gave has come.
    Timeout,
}

/// A member at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its node.
    pub node: NodeId,
    /// Its user.
    pub user: UserName,
    /// Where its packets come from.
    pub observed: SocketAddr,
}

/// Something is to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send on the link.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: LinkMessage,
    },
    /// Open a link to a supernode. If there is one already, say [`Input::LinkUp`] all the same.
    Dial(NodeAddress),
    /// Near-mesh and children need this link no more: close it and say [`Input::LinkDown`], or keep it for this process's own node and say nothing. As long as
    /// it is there, both ends count it as before.
    Release(NodeId),
    /// Close the link. The machine has forgotten it already; [`Input::LinkDown`] may follow or not.
    Close {
        /// Whose.
        node: NodeId,
        /// Why, for the log and the peer.
        reason: CloseReason,
    },
    /// Send a packet with this token from a port that is used for nothing else.
    SendDialBack {
        /// To where the asker's link comes from; another supernode's word for it, if that one asks.
        to: SocketAddr,
        /// What it carries.
        token: [u8; 16],
        /// To be named in [`Input::DialBackSent`]; none, if nobody waits for it.
        asker: Option<NodeId>,
    },
    /// A peer showed a revocation list: check it, adopt it if it is newer, then say [`Input::CrlAdopted`].
    OfferedCrl(Box<[u8]>),
}

/// Why a link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer broke the protocol.
    Misbehaved,
    /// Its certificate was revoked.
    Revoked,
    /// The link serves nothing any more.
    Unneeded,
}
