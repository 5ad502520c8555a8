//! The supernode as one machine.
//!
//! `handle(input, now)` takes what happened, `poll_output()` gives what is to be done, `poll_timeout()` says when
//! to call `handle(Input::Timeout, now)` next.
//!
//! [`Supernode`] owns one module for each sub-protocol; they never call each other:
//! - `children`: who is registered here; `directory`: where users are, `lookups` of it, [`placement`] in it;
//! - `membership`: the other supernodes; `summaries`: what they and we offer;
//! - `search`: our children's searches, in [`waves`]; `answers`: other supernodes' queries.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod answers;
mod budget;
mod children;
mod directory;
mod lookups;
mod membership;
mod outbox;
pub mod placement;
mod search;
mod summaries;
mod supernode;
pub mod waves;

pub use supernode::{Config, Counters, Supernode};

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
    /// Stop being a supernode: tell everybody, hand children their alternatives.
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
    /// Open a link to a supernode.
    Dial(NodeAddress),
    /// Close the link.
    Close {
        /// Whose.
        node: NodeId,
        /// Why, for the log and the peer.
        reason: CloseReason,
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
