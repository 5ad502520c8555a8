//! Paths between two nodes of which neither can simply be dialled: one `Session` machine at each side.
//!
//! `handle(input, now)` takes what happened, `poll_output()` gives what is to be done, `poll_timeout()` says when to call
//! `handle(Input::Timeout, now)` next. The owner of the machine carries its signals to the peer by way of the homes, opens and
//! closes relays, and sends the peer's QUIC packets by the one [`Route`] that the last [`Output::Use`] named.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod accepted;
mod addresses;
mod candidates;
mod checks;
mod choice;
mod exchange;
mod guess;
mod packet;
mod paths;
mod punch;
mod relays;
mod replay;
pub mod route;
mod rtt;
mod session;
pub mod virtual_addr;

use std::time::Duration;

use nearmesh_common::{
    NodeId,
    nat::Nat,
    wire::signal::{Candidate, End, ProbeKey, RelayOffer, SessionId, SignalBody},
};
pub use packet::{FIRST_BYTE, LENGTH, Tag};
pub use route::{Route, SocketIndex};
pub use session::Session;

/// What is known of a session when it begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its id, chosen at random by the caller.
    pub session: SessionId,
    /// Authenticates its probes, chosen at random by the caller.
    pub key: ProbeKey,
    /// For the caller: the peer's home as a relay, if its address is known already (from the peer's presence). It saves the
    /// way of a signal and back.
    pub peer_relay: Option<RelayOffer>,
}

/// This side, as it is now. All of it, again, whenever something of it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// This node's home: where the peer's signals are to go.
    pub home: NodeId,
    /// Where this node may be reached, best first, of several server-reflexive ones the newest first. What exceeds
    /// [`MAX_CANDIDATES`](nearmesh_common::wire::signal::MAX_CANDIDATES) is left out.
    pub candidates: Vec<Candidate>,
    /// What stands before it.
    pub nat: Nat,
    /// Reachable nodes that relay, with their measured round trips: the home first, then nearest first. The machine looks at
    /// the first [`MAX_OWN_RELAYS`].
    pub relays: Vec<RelayOffer>,
    /// How often something must be sent for the NAT to keep its mapping; [`KEEP_ALIVE`] where it was not measured.
    pub keep_alive: Duration,
}

/// Most relays that one side brings in; the other half of its offer is for measurements of the peer's.
pub const MAX_OWN_RELAYS: usize = 4;
/// How often something is sent while nothing is under way, unless the mapping's lifetime was measured. RFC 4787 (REQ-5) forbids NATs
/// lifetimes below 120 s, many have 30 s.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// This side has changed, or was measured again.
    Local(Local),
    /// The peer speaks, by way of the homes, in this session. Bounds were checked.
    Signal(SignalBody),
    /// A signal of ours did not reach the peer: it is not at the home that was believed, or the way there is broken.
    Undelivered,
    /// A path probe with this session's tag came by `route` (its bytes 1 to 8: the first of the session id).
    Probe {
        /// By which way: for a direct one, the socket it came to and the address it came from.
        route: Route,
        /// All of it, without the channel id.
        packet: Vec<u8>,
    },
    /// Both ends have their channel at this relay.
    RelayOpen {
        /// Which.
        relay: NodeId,
        /// The way through it.
        route: Route,
    },
    /// A relay that was to be opened, or was open, is not: refused, unreachable, broken, ended.
    RelayLost {
        /// Which.
        relay: NodeId,
    },
    /// A relay says that it will stop soon.
    RelayDraining {
        /// Which.
        relay: NodeId,
    },
    /// An [`Output::Measure`] is done.
    RelayMeasured {
        /// Which relay.
        relay: NodeId,
        /// The round trip to it; `None` if nothing came back.
        rtt: Option<Duration>,
    },
    /// QUIC packets of the peer came by this accepted route. To be said at most ten times a second for each route.
    Heard {
        /// Which.
        route: Route,
    },
    /// Whether bytes are under way between the two: then a path's death must be noticed at once.
    Busy(bool),
    /// The sockets that an [`Output::OpenSockets`] opened; fewer than asked for, or none, where it was not possible.
    Sockets(Vec<SocketIndex>),
    /// This machine's addresses or default route changed: nothing that was proven before is certain now.
    NetworkChanged,
    /// Nobody needs the session any more: the peer is told, everything is closed.
    End,
    /// The time that `poll_timeout` gave has come.
    Timeout,
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send to the peer by way of the homes. May be lost; the machine repeats what matters.
    Signal(SignalBody),
    /// Send a probe.
    Send {
        /// By which way.
        route: Route,
        /// What; the channel id is put before it by whoever knows relayed routes.
        packet: Vec<u8>,
        /// The IP header's TTL (hop limit), where it must not reach the peer.
        ttl: Option<u8>,
    },
    /// Ask this relay for a reservation with the peer, and say [`Input::RelayOpen`] or [`Input::RelayLost`].
    OpenRelay(RelayOffer),
    /// Give the reservation back. No [`Input::RelayLost`] needs to follow.
    CloseRelay(NodeId),
    /// An answer through this relay is overdue. A relay forwards between the addresses of its two connections, so
    /// send anything on the one to it: if our NAT has given us another address, it learns so.
    Nudge(NodeId),
    /// Measure the round trip to a relay that the peer named, and say [`Input::RelayMeasured`].
    Measure(RelayOffer),
    /// A direct path was lost: what this side believes of itself may be wrong. Ask supernodes again and say [`Input::Local`].
    Renew,
    /// Open so many UDP sockets with ports of their own, and say [`Input::Sockets`].
    OpenSockets(u16),
    /// Close all sockets that were opened for this session but this one.
    KeepSocket(Option<SocketIndex>),
    /// Packets that come by this route are the peer's.
    Accept {
        /// Which.
        route: Route,
        /// The peer answered there. Otherwise only a packet of its came from there, whose source it may have forged: such
        /// a route must not displace what another peer's session has.
        proven: bool,
    },
    /// They no longer are.
    Forget(Route),
    /// Send the peer's packets by this route from now on; nowhere, if there is none.
    Use(Option<Route>),
    /// Tell whoever is interested.
    Event(Event),
}

/// What a user may see happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another route is in use. Follows its [`Output::Use`].
    Path {
        /// What kind it is.
        kind: PathKind,
        /// Its round trip, if it was measured already.
        rtt: Option<Duration>,
        /// Why this one now.
        why: Why,
    },
    /// No route is left; looking for one goes on.
    NoPath,
    /// For a long time there was no route, nor did the peer say anything. Said once for each such time; looking goes on until the owner
    /// ends the session.
    Unreachable,
    /// The peer ended the session. Everything was closed; the machine does nothing any more.
    Ended(End),
}

/// What a path is, in the words that people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathKind {
    /// In the same local network.
    Lan,
    /// Straight over the internet.
    Direct,
    /// Through this node.
    Relayed(NodeId),
}

/// Why a route came into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There was none before.
    First,
    /// It is of a better kind, or clearly faster.
    Better,
    /// Nothing came back by the one before.
    Silent,
    /// The relay before is gone.
    RelayLost,
    /// The relay before will stop soon.
    RelayDraining,
}
