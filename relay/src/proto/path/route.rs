//! The ways that a packet may take to one peer.

use std::{fmt, net::SocketAddr};

use nearmesh_common::wire::relay::ChannelId;

/// From which of this node's sockets, and to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// Straight to the peer.
    Direct {
        /// The socket; all but [`SocketIndex::MAIN`] are there for guessing a symmetric NAT's port.
        socket: SocketIndex,
        /// The peer's address.
        to: SocketAddr,
    },
    /// Through a relay, from the main socket.
    Relayed {
        /// The relay's address.
        relay: SocketAddr,
        /// What stands before each packet, both ways.
        channel: ChannelId,
    },
}

/// One of this node's UDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketIndex(pub u16);

impl SocketIndex {
    /// The one port.
    pub const MAIN: Self = Self(0);
}

impl Route {
    /// From the one port to there.
    pub fn direct(to: SocketAddr) -> Self {
        Self::Direct { socket: SocketIndex::MAIN, to }
    }

    /// Whether it leads straight to the peer.
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Direct { .. })
    }

    /// The socket that packets leave by.
    pub fn socket(&self) -> SocketIndex {
        match self {
            Self::Direct { socket, .. } => *socket,
            Self::Relayed { .. } => SocketIndex::MAIN,
        }
    }

    /// Where the next host on the way is.
    pub fn next_hop(&self) -> SocketAddr {
        match self {
            Self::Direct { to, .. } => *to,
            Self::Relayed { relay, .. } => *relay,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { to, .. } => write!(f, "direct to {to}"),
            Self::Relayed { relay, .. } => write!(f, "relayed by {relay}"),
        }
    }
}
