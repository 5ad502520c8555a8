//! The relay: who may have packets forwarded, to whom, and how much.
//!
//! Both ends of a pair ask for a *reservation*, each on a stream of its own QUIC connection and each naming the other and the
//! same session. The first one waits; when the second comes, each end gets a random channel id, and from then on
//! [`Forwarder::decide`] says of every packet that begins with one of them where it goes and under which id. Nothing is
//! read beyond those 8 bytes.
//!
//! A pair lives for a while and for so many bytes, both renewed when one of its ends asks. It ends when either end goes, when nothing
//! was forwarded for long, or when it was not renewed in time. A relay that is about to stop says so first, so that its pairs
//! can move elsewhere.
//!
//! Packets go only between *proved* addresses: where the end's owner is known to receive. The handshake of its connection proves one.
//! A packet on a known channel from another address, after a NAT has changed its mind, makes the relay send a cookie there; when
//! the owner repeats it on its stream, speaking from that address, the end has moved. QUIC's own idea of the
//! peer's address is not enough: it follows a forged source at once and finds out only later.
//!
//! Invariants: a packet is forwarded only if it carries a channel of a live pair and comes from the proved address of that channel's
//! end; it goes only to the proved address of the other end; for each packet received at most one is sent, and never a longer
//! one; whatever is asked and sent, the tables stay within [`Limits`].

mod bucket;
mod counters;
mod deciding;
mod desk;
pub mod limits;
mod pair;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::{
        relay::{ChannelId, Cookie, FromRelay, PROOF_REQUEST_LENGTH, RelayRequest},
        signal::SessionId,
    },
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

pub use counters::{Dropped, ForwardCounters};
pub use deciding::{Arrival, Decision, DropReason};
pub use limits::Limits;

use bucket::{Activity, Bucket};
use pair::{Pair, PairId, Side};

/// One end's reservation: the stream on which it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndId(pub u64);

/// Where an end is, and from which of our addresses it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndAddress {
    /// Its address.
    pub remote: SocketAddr,
    /// Ours, where we have several.
    pub local: Option<IpAddr>,
}

/// What an end's connection says of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its owner is known to receive there.
    Proved(EndAddress),
    /// Packets come from there.
    Claimed(EndAddress),
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A member asks for a reservation.
    Asked {
        /// Which, from now on.
        end: EndId,
        /// Who, as its certificate says.
        member: NodeId,
        /// For what.
        request: RelayRequest,
        /// From where.
        from: Standing,
    },
    /// It still needs it.
    Renew(EndId),
    /// It repeats a cookie, speaking from this address.
    Proof {
        /// Which.
        end: EndId,
        /// What it received.
        cookie: Cookie,
        /// Where its connection is now.
        from: EndAddress,
    },
    /// Its stream or its connection has ended.
    Gone(EndId),
    /// Relay within these limits from now on, or not at all. Pairs that are there keep what they were promised.
    Limits(Option<Limits>),
    /// Stop after this time.
    Drain(Duration),
    /// The time of [`Forwarder::poll_timeout`] has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this on the end's stream; after [`FromRelay::Closed`] the stream ends and the end is forgotten.
    Tell(EndId, FromRelay),
    /// Send this packet, which asks for proof of an address.
    Ask {
        /// To there.
        to: EndAddress,
        /// This.
        packet: [u8; PROOF_REQUEST_LENGTH],
    },
}

/// The relay.
#[derive(Debug)]
pub struct Forwarder {
    limits: Option<Limits>,
    rng: ChaCha20Rng,
    ends: BTreeMap<EndId, End>,
    asked: BTreeMap<Asked, EndId>,
    members: BTreeMap<NodeId, usize>,
    waiting: usize,
    pairs: BTreeMap<PairId, Pair>,
    channels: BTreeMap<ChannelId, (PairId, Side)>,
    next_pair: u64,
    total: Bucket,
    activity: Activity,
    timers: BTreeSet<(Instant, Due)>,
    stops_at: Option<Instant>,
    outputs: VecDeque<Output>,
    counters: ForwardCounters,
}

/// Who asked for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    session: SessionId,
    member: NodeId,
    peer: NodeId,
}

#[derive(Debug)]
struct End {
    asked: Asked,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Waiting { from: Standing, until: Instant },
    Paired(PairId, Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Waiting(EndId),
    Pair(PairId),
    Stop,
}

impl Forwarder {
    /// One that does not relay yet. `seed` must be a secret: channel ids and cookies come from it.
    pub fn new(seed: [u8; 32], now: Instant) -> Self {
        Self {
            limits: None,
            rng: ChaCha20Rng::from_seed(seed),
            ends: BTreeMap::new(),
            asked: BTreeMap::new(),
            members: BTreeMap::new(),
            waiting: 0,
            pairs: BTreeMap::new(),
            channels: BTreeMap::new(),
            next_pair: 0,
            total: Bucket::default(),
            activity: Activity::new(now),
            timers: BTreeSet::new(),
            stops_at: None,
            outputs: VecDeque::new(),
            counters: ForwardCounters::default(),
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Asked { end, member, request, from } => {
                let asked = Asked { session: request.session, member, peer: request.peer };
                self.on_asked(end, asked, from, now);
            }
            Input::Renew(end) => self.on_renew(end, now),
            Input::Proof { end, cookie, from } => self.on_proof(end, cookie, from, now),
            Input::Gone(end) => self.on_gone(end),
            Input::Limits(limits) => self.limits = limits,
            Input::Drain(time) => self.handle_drain(time, now),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What it has done, and holds.
    pub fn counters(&self) -> ForwardCounters {
        ForwardCounters { sessions: self.pairs.len() as u64, waiting: self.waiting as u64, ..self.counters }
    }

    fn tell(&mut self, end: EndId, message: FromRelay) {
        self.outputs.push_back(Output::Tell(end, message));
    }
}
