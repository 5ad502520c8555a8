//! The node's side of the overlay as one machine: finding a home, staying registered there, asking questions.
//!
//! `handle(input, now)` takes what happened, `poll_output()` gives what is to be done, `poll_timeout()` says when
//! to call `handle(Input::Timeout, now)` next. [`Client`] owns one sub-protocol per file and routes between
//! them; they never call each other.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod backoff;
pub mod bootstrap;
mod client;
mod home;
mod host_cache;
mod presence;
pub mod promotion;
pub mod push;
mod questions;
mod registration;
mod relays;
#[cfg(test)]
mod tests;

pub use client::{Client, Config};
pub use home::{COMPARED, LIST_EVERY, OWN_AFTER, ROUNDS, ROUNDS_AT_HOME, SENT_ON, SURVEY_EVERY, TURNED_AWAY};
pub use presence::Reached;

use std::{net::SocketAddr, time::Duration};

use nearmesh_common::{
    NodeId, UnixMillis, UserName,
    pace::Pace,
    supernode_record::SupernodeRecord,
    wire::{
        NodeAddress,
        file::{Change, JournalMark},
        home::{Decline, DirectoryEntry, Neighbourhood, RequestId, ToChild, ToHome},
        query::{Hit, Query, SearchSummary},
        signal::{RelayOffer, Signal},
    },
};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link that this machine asked for is open (to itself too, while this node is a supernode).
    LinkUp {
        /// To whom.
        node: NodeId,
    },
    /// A link is gone.
    LinkDown {
        /// To whom.
        node: NodeId,
    },
    /// An [`Output::Dial`] led nowhere.
    DialFailed {
        /// To whom.
        node: NodeId,
    },
    /// A supernode speaks. Bounds were checked.
    Received {
        /// Who.
        from: NodeId,
        /// What.
        message: ToChild,
    },
    /// An [`Output::Probe`] was answered, or not.
    Probed {
        /// Which supernode.
        node: NodeId,
        /// Smallest of the round trips; `None` if nothing came back.
        rtt: Option<Duration>,
    },
    /// An [`Output::ProbeRelay`] was answered, or not.
    RelayProbed {
        /// Which relay.
        node: NodeId,
        /// The address that answered first, and the smallest of its round trips; `None` if nothing came back.
        answer: Option<(SocketAddr, Duration)>,
    },
    /// How this node is reached has changed.
    Reached(Reached),
    /// Supernodes learnt elsewhere: ticket, enrolment, the host cache on disk.
    Candidates(Vec<Candidate>),
    /// The journal of shared files moved on.
    Journal(JournalMark),
    /// What [`Output::ReadJournal`] asked for.
    Changes {
        /// The mark that was asked for.
        after: JournalMark,
        /// Where the journal stands after these.
        upto: u64,
        /// At most the wire's batch.
        changes: Vec<Change>,
    },
    /// The user asks.
    Ask {
        /// Chosen by the caller, unique while the machine lives.
        id: RequestId,
        /// What.
        question: Question,
    },
    /// The user has had enough of this one.
    Cancel(RequestId),
    /// Say something to another node. Without a home it is lost: who waits for an answer repeats it.
    Signal {
        /// The other node's home.
        home: NodeId,
        /// What; `from` is this node.
        signal: Box<Signal>,
    },
    /// This node is now a supernode (its own home), or no longer.
    Serving(bool),
    /// A newer revocation list was adopted: tell the home.
    CrlAdopted(Box<[u8]>),
    /// Leave politely.
    Leave,
    /// The time that `poll_timeout` gave has come.
    Timeout,
}

/// What a user wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which files match?
    Search(Query),
    /// Where is this user?
    Lookup(UserName),
}

impl Candidate {
    /// A supernode of which only the address is known.
    pub fn new(address: NodeAddress) -> Self {
        Self { address, rtt: None, heard: None, load: None }
    }
}

/// A supernode that may be alive, from the host cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub address: NodeAddress,
    /// Last measured round trip.
    pub rtt: Option<Duration>,
    /// When it last signed a record that reached us.
    pub heard: Option<UnixMillis>,
    /// What that record said of its load.
    pub load: Option<Load>,
}

/// How many children a supernode has and takes, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// How many it has.
    pub children: u32,
    /// How many it takes.
    pub capacity: u32,
}

impl Load {
    /// What its record says.
    pub fn of(record: &SupernodeRecord) -> Self {
        Self { children: record.children, capacity: record.capacity }
    }
}

/// Something is to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a link, at [`Pace::Calm`]. A link to the node's own id leads to its own supernode.
    Dial(NodeAddress),
    /// Close a link that this machine asked for.
    Close(NodeId),
    /// Send on a link.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: ToHome,
    },
    /// Measure the round trip to a supernode: where there is a link to it, that knows; else with STUN binding requests.
    Probe {
        /// To whom.
        to: NodeAddress,
        /// How many answers are wanted.
        rounds: u32,
    },
    /// The end of a link must be noticed so soon. Until something is said of it: at [`Pace::Calm`].
    Pace {
        /// To whom.
        node: NodeId,
        /// How soon.
        pace: Pace,
    },
    /// The same for a relay, of which it matters which address answers.
    ProbeRelay(NodeAddress),
    /// Read the journal and answer with [`Input::Changes`].
    ReadJournal {
        /// Changes after this.
        after: JournalMark,
        /// At most so many.
        limit: usize,
    },
    /// Tell whoever is interested.
    Event(Event),
    /// A supernode showed a revocation list: check it, adopt it if it is newer, then say [`Input::CrlAdopted`].
    OfferedCrl(Box<[u8]>),
}

/// What a user may see happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The home changed.
    Home(Option<Home>),
    /// The standby changed.
    Standby(Option<NodeId>),
    /// All known supernodes changed; worth keeping on disk.
    HostCache(Vec<Candidate>),
    /// The relays near to this node, nearest first, at most [`MAX_RELAYS`](nearmesh_common::wire::signal::MAX_RELAYS).
    Relays(Vec<RelayOffer>),
    /// The home says how full it and the supernodes around it are.
    Neighbourhood(Neighbourhood),
    /// The home holds our journal up to here.
    Registered(JournalMark),
    /// Results, verified as far as they can be.
    Hits {
        /// Of which question.
        id: RequestId,
        /// Some of them.
        hits: Vec<Hit>,
    },
    /// A search ended.
    SearchDone {
        /// Which.
        id: RequestId,
        /// How it went.
        summary: SearchSummary,
    },
    /// Where a user is, each entry verified; empty if nobody has that name.
    Found {
        /// Which question.
        id: RequestId,
        /// The user's nodes, as their signed presences say.
        nodes: Vec<DirectoryEntry>,
    },
    /// Another node says something, by the home's word: it may be anybody.
    Signal {
        /// The home by which an answer goes.
        home: NodeId,
        /// What; `to` is this node.
        signal: Box<Signal>,
    },
    /// A question was not answered.
    Failed {
        /// Which.
        id: RequestId,
        /// Why.
        reason: Failure,
    },
}

/// Where this node is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The supernode.
    pub address: NodeAddress,
    /// Measured round trip.
    pub rtt: Option<Duration>,
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The home declined.
    Declined(Decline),
    /// No home was found, or it answered too late.
    NoAnswer,
}
