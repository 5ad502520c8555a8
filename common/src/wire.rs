//! The wire format: everything one node says to another inside QUIC.
//!
//! # How a conversation is built
//! Two members hold one connection, whoever opened it, with ALPN [`ALPN`]; its number is the version of everything below. Who opened
//! it closes it, and not while the other needs it ([`Open::Keep`]). A newcomer without a certificate speaks [`ENROL_ALPN`] to the authority, and nothing else.
//!
//! A connection carries streams. The opener's first frame is an [`Open`], which says what the stream is for:
//! - [`Open::Link`]: the one long-lived stream between a node and its home, or between two supernodes. Both
//!   sides send [`LinkMessage`] frames until the link ends. The protocol machines speak only here.
//! - [`Open::Relay`]: a reservation at a relay, for as long as the stream lives (see [`relay`]).
//! - [`Open::Ranges`], [`Open::Offer`], [`Open::Keep`], [`Open::Ping`], [`Open::Invite`]: one question each.
//!
//! Nodes that cannot dial each other speak through their homes first (see [`signal`]).
//!
//! Each frame has a limit (see [`crate::frame`]); each list and text in it has one too, named beside its type and
//! checked by [`LinkMessage::within_bounds`].

pub mod enrol;
pub mod file;
pub mod home;
pub mod mesh;
pub mod query;
pub mod relay;
pub mod signal;
pub mod stream;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use stream::Open;

use crate::{NodeId, pace::Pace};

/// Between members. The number changes whenever any message in this module does.
pub const ALPN: &[u8] = b"nearmesh/8";
/// Between a newcomer and the authority.
pub const ENROL_ALPN: &[u8] = b"nearmesh-enrol/1";

/// What one needs to dial a node: the key to expect, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Which node must answer.
    pub node: NodeId,
    /// Where to try, best first.
    pub addresses: Vec<SocketAddr>,
}

/// One frame of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkMessage {
    /// From a node to the supernode that is, or may become, its home.
    ToHome(home::ToHome),
    /// From a supernode to a node that is, or may become, its child.
    ToChild(home::ToChild),
    /// Between supernodes.
    Mesh(mesh::Mesh),
    /// I live, and you hear from me this often: take [`Pace::silence`] for my end. Both sides' transport keeps the link alive
    /// at [`Pace::Slow`] without it; a link is as quick as the quicker of its ends wants it.
    Pulse(Pace),
}

impl LinkMessage {
    /// Whether every list and text keeps its bound. A peer that sends one beyond loses its connection.
    pub fn within_bounds(&self) -> bool {
        match self {
            Self::ToHome(message) => message.within_bounds(),
            Self::ToChild(message) => message.within_bounds(),
            Self::Mesh(message) => message.within_bounds(),
            Self::Pulse(_) => true,
        }
    }
}
