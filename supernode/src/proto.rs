//! The supernode as one machine.
//!
//! `handle(input, now)` takes what happened, `poll_output()` gives what is to be done, `poll_timeout()` says when
//! to call `handle(Input::Timeout, now)` next.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

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
/// x
pub struct Supernode;
/// x
pub struct Config { /** x */ pub capacity: u32 }
#[allow(missing_docs, unused_variables)]
impl Supernode {
    pub fn new(config: Config, keyring: std::sync::Arc<dyn nearmesh_common::signed::Keyring>, addresses: Vec<SocketAddr>, seed: [u8; 32], now: nearmesh_common::Now) -> Self { unimplemented!() }
    pub fn handle(&mut self, input: Input, now: nearmesh_common::Now) { }
    pub fn poll_output(&mut self) -> Option<Output> { None }
    pub fn poll_timeout(&self) -> Option<std::time::Instant> { None }
    pub fn children(&self) -> usize { 0 }
    pub fn members(&self) -> impl Iterator<Item = &nearmesh_common::supernode_record::SupernodeRecord> { [].into_iter() }
}
