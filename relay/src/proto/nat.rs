//! What a node finds out about its own reachability: how its NAT maps (RFC 4787, section 4), whom it lets in (section 5), whether
//! it can be reached through it from within (section 6), and for how long it remembers.
//!
//! [`Discovery`] decides what to test and what follows; whoever drives it sends packets and brings answers. What is tested:
//!
//! - *Mapping*: supernodes say by STUN as whom they see us, the node's own port and a fresh socket; two that differ tell a symmetric NAT
//!   (`mapping`, `fresh`).
//! - *Filtering*: a supernode sends us a packet from another port, or has another supernode send one, to which we
//!   have never sent; what comes in was let in (`filtering`).
//! - *Witnesses*: a node that is reachable asks another supernode for a dial-back too (`witnesses`).
//! - *Hairpinning*: a fresh socket sends to our own address outside (`hairpin`).
//! - *Lifetime*: sockets that fall silent are called after a while (`lifetime`), in the background, for two minutes.
//!
//! The first three are one round (`run`) of a few seconds. A round begins when the node has a home, when its addresses change, when a
//! supernode sees it at another address than before, and from time to time; until it has ended the verdict before holds,
//! except after a change of the node's own addresses.
//!
//! Invariants: what did not arrive counts as filtered only if somebody says that it was sent, more than once. A packet from an
//! address that we have sent to lately proves nothing about strangers. A token that was not given out proves nothing at all.

mod discovery;
mod filtering;
mod fresh;
mod hairpin;
mod lifetime;
mod mapping;
mod run;
#[cfg(test)]
mod tests;
mod verdict;
mod witnesses;

use std::{fmt, net::SocketAddr};

use nearmesh_common::{
    NodeId,
    wire::home::{DialBack, DialBackAnswer},
};

pub use discovery::Discovery;
pub use filtering::{CONTACT_MEMORY, Contacts};
pub use lifetime::SILENCES;
pub use verdict::{Report, Verdict, keep_alive};
pub use witnesses::ENOUGH as ENOUGH_WITNESSES;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// These may be asked now, nearest first.
    Observers(Vec<Observer>),
    /// The node's own addresses, now.
    Host(Vec<SocketAddr>),
    /// The address that a router gave on request, now.
    Mapped(Option<SocketAddr>),
    /// An [`Output::Probe`] was answered, or not.
    Probed {
        /// Which.
        id: ProbeId,
        /// As whom the other side saw us.
        observed: Option<SocketAddr>,
    },
    /// What became of an [`Output::Ask`].
    Answered {
        /// Who says it.
        of: NodeId,
        /// What it says.
        answer: DialBackAnswer,
    },
    /// A packet with a token came at the node's own port.
    DialBack {
        /// What it carries.
        token: Token,
        /// Whether we have sent to that address lately (see [`Contacts`]).
        contact: bool,
    },
    /// Somebody to whom we had not sent lately opened a connection to us and proved to be a member.
    Stranger {
        /// From where.
        from: SocketAddr,
    },
    /// A path broke: perhaps this node is seen at another address now.
    Doubt,
    /// The time that `poll_timeout` gave has come.
    Timeout,
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask by STUN as whom we are seen, and answer with [`Input::Probed`] in any case.
    Probe {
        /// Of this question.
        id: ProbeId,
        /// From which socket.
        socket: Socket,
        /// Whom.
        to: SocketAddr,
        /// If the answer is wanted elsewhere: at which socket it will come, and the port that this socket has outside.
        answer_at: Option<(Socket, u16)>,
    },
    /// Ask this node for a dial-back, on the link to it.
    Ask {
        /// Whom.
        of: NodeId,
        /// For what.
        request: DialBack,
    },
    /// Send a packet with a token, as a dial-back is.
    Send {
        /// From which socket.
        socket: Socket,
        /// To where.
        to: SocketAddr,
        /// What it carries.
        token: Token,
    },
    /// Close these sockets, if they are open. They may be opened anew later.
    Close(Vec<Socket>),
    /// More, or something else, is known.
    Report(Report),
}

/// One of the sockets that are used. They are opened when they are used first, on the same interface as the node's own port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// The node's own port.
    Main,
    /// One that is there for these tests only.
    Extra(u8),
}

/// Somebody who says as whom it sees us: a supernode at one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observer {
    /// Which.
    pub node: NodeId,
    /// Where; of a linked one, where its link goes.
    pub address: SocketAddr,
    /// Whether there is a link to it, from the node's own port: it can be asked for dial-backs.
    pub linked: bool,
}

/// A question's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// What a dial-back packet carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub [u8; 16]);

/// First byte of a packet that carries a token.
const DIAL_BACK: u8 = 0xa0;

impl Token {
    /// The token of a packet that came, if it is one that carries a token.
    pub fn read(packet: &[u8]) -> Option<Self> {
        match packet {
            [DIAL_BACK, token @ ..] => token.try_into().ok().map(Self),
            _ => None,
        }
    }

    /// The packet that carries it.
    pub fn packet(&self) -> [u8; 17] {
        let mut packet = [DIAL_BACK; 17];
        packet[1..].copy_from_slice(&self.0);
        packet
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}
