//! Finding a port that nobody can name: prediction, and the birthday method.
//!
//! A NAT with an address-dependent mapping (a *hard* one) gives the node behind it a new port for each peer. A peer that
//! takes packets only from where it has sent to must hit that port first.
//!
//! Where ports follow one another ([`predicted`]), it sends to the few that come next. Where they are random, the node behind the hard NAT
//! *spreads*: it opens [`SOCKETS`] sockets, and each sends to the peer's stable address, so that as many ports stand open for it.
//! The peer *searches*: it sends [`PROBES`] pings to random ports. Each hits with probability 256 / 64512, and
//! all 1024 miss with (1 - 1024 / 64512) ^ 256 = 1.7 %: one try finds a port in 98.3 % of all cases, in five seconds. The socket that
//! was hit is kept, the others are closed.
//!
//! Two hard NATs cannot find each other this way in any useful time; such a pair stays relayed.
//!
//! # What a peer can make us do with a false offer
//! One try sends at most 1024 packets of 57 bytes (85 with UDP and IPv4 headers), 200 or 400 a second, to one address or to the ports of
//! one; three tries in the first two and a half minutes, then one in five minutes. A try needs a relayed path by which the
//! peer has answered.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::nat::{Filtering, Mapping, Nat};
use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::route::{Route, SocketIndex};

/// Sockets that the hard side opens (the birthday method's usual number: a process may have 1024 by default).
pub(super) const SOCKETS: u16 = 256;
/// Ports that the other side tries; the probability above follows from it.
pub(super) const PROBES: usize = 1024;
/// Ports that NATs take (RFC 4787, REQ-3 and what Linux does): the first 1024 are left out.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=u16::MAX;
/// Ports that are predicted after the newest known one: a mapping for each candidate, each supernode and each relay, and some
/// of other programs (guess).
const PREDICTED: i32 = 32;
/// And before it, for NATs that begin again at the end of a small block (guess).
const PREDICTED_BEFORE: i32 = 16;
/// The searching side begins later, so that the ports stand open by then.
const HEAD_START: Duration = Duration::from_millis(700);
/// One batch of pings and the pause after it: 200 a second for the searching side...
const SEARCH_BATCH: usize = 4;
/// ...and 400 a second for the spreading side.
const SPREAD_BATCH: usize = 8;
/// See there.
const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// The spreading side sends from each socket again after this: some NATs forget within 3 s what was not answered.
const REFRESH: Duration = Duration::from_millis(2500);
/// So many times in all: as long as the other side searches.
const PASSES: usize = 4;
/// How long the sockets stay open in a try: until the last probe has come, from a peer that began a second later.
const TRY: Duration = Duration::from_millis(8500);
/// How long opening sockets may take.
const OPENING: Duration = Duration::from_secs(2);
/// When several sockets were hit, the peer may have taken another than we: all stay open so long.
const SETTLING: Duration = Duration::from_secs(2);
/// Pauses between the beginnings of tries; the last one is repeated.
const PAUSES: [Duration; 3] = [Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(300)];
/// TTL of the spreading packets in each try. The first try's reach the peer; in case its NAT is spoilt by packets that come too early, the
/// second's die behind our router, the third's behind a provider's NAT.
const TTLS: [Option<u8>; 3] = [None, Some(2), Some(3)];

/// Which part of the birthday method is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Open many ports towards this stable address.
    Spread(SocketAddr),
    /// Try ports of this address.
    Search(SocketAddr),
}

/// Our part, given both NATs and the peer's address as others see it; none where guessing is not needed or leads nowhere.
pub(super) fn part(own: &Nat, peer: &Nat, outside: Option<SocketAddr>) -> Option<Part> {
    match (is_hard(own), is_hard(peer)) {
        (true, false) if is_picky(peer) => outside.map(Part::Spread),
        (false, true) if is_picky(own) => outside.map(Part::Search),
        _ => None,
    }
}

/// The addresses from which a peer behind a NAT with consecutive ports will come, likeliest first.
pub(super) fn predicted(own: &Nat, peer: &Nat, outside: Option<SocketAddr>) -> Vec<SocketAddr> {
    let (Some(step), Some(newest)) = (peer.port_step.filter(|step| *step != 0), outside) else {
        return Vec::new();
    };
    if !is_hard(peer) || is_hard(own) || !is_picky(own) {
        return Vec::new();
    }
    let port = |count: i32| u16::try_from(i32::from(newest.port()) + count * i32::from(step)).ok();
    let counts = (1..=PREDICTED).chain((-PREDICTED_BEFORE..0).rev());
    let ports = counts.filter_map(port).filter(|port| PORTS.contains(port));
    ports.map(|port| SocketAddr::new(newest.ip(), port)).collect()
}

fn is_hard(nat: &Nat) -> bool {
    matches!(nat.mapping, Mapping::AddressDependent | Mapping::AddressAndPortDependent)
}

/// Takes packets only from ports that were sent to.
fn is_picky(nat: &Nat) -> bool {
    matches!(nat.filtering, Filtering::AddressAndPortDependent | Filtering::Unknown)
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Open so many sockets.
    Open(u16),
    /// Send a ping.
    Ping {
        /// By which way.
        route: Route,
        /// With this TTL.
        ttl: Option<u8>,
    },
    /// Close all opened sockets but this one.
    Keep(Option<SocketIndex>),
}

/// The birthday method, from one side.
#[derive(Debug, Default)]
pub(super) struct Guess {
    tries: usize,
    /// When another try may begin.
    not_before: Option<Instant>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Waiting for the sockets.
    Opening { way: Way, until: Instant },
    /// Sending from each of them: `sent` packets so far.
    Spreading { way: Way, sockets: Vec<SocketIndex>, sent: usize, began: Instant, next: Instant },
    /// Trying ports.
    Searching { ip: SocketAddr, tried: BTreeSet<u16>, next: Instant },
    /// A socket was hit.
    Settling { first: SocketIndex, until: Instant },
    /// One socket is left.
    Kept(SocketIndex),
}

/// Where the spreading side sends to, and how far.
#[derive(Clone, Copy, Debug)]
struct Way {
    to: SocketAddr,
    ttl: Option<u8>,
}

impl Guess {
    /// Whether a try may begin.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Idle) && self.not_before.is_none_or(|at| at <= now)
    }

    /// When a try may begin, if not now.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| matches!(self.stage, Stage::Idle))
    }

    /// Begins a try.
    pub(super) fn begin(&mut self, part: Part, now: Instant) -> Option<Act> {
        self.not_before = Some(now + PAUSES[self.tries.min(PAUSES.len() - 1)]);
        let ttl = TTLS[self.tries % TTLS.len()];
        self.tries += 1;
        match part {
            Part::Spread(to) => {
                self.stage = Stage::Opening { way: Way { to, ttl }, until: now + OPENING };
                Some(Act::Open(SOCKETS))
            }
            Part::Search(ip) => {
                self.stage = Stage::Searching { ip, tried: BTreeSet::new(), next: now + HEAD_START };
                None
            }
        }
    }

    /// Our own side has changed: tries may begin anew.
    pub(super) fn handle_changed(&mut self) {
        (self.tries, self.not_before) = (0, None);
    }

    /// The sockets are open. Those that nobody waits for any more are closed again.
    pub(super) fn on_sockets(&mut self, sockets: Vec<SocketIndex>, now: Instant) -> Option<Act> {
        match self.stage {
            Stage::Opening { way, .. } if !sockets.is_empty() => {
                let sockets = sockets.into_iter().take(usize::from(SOCKETS)).collect();
                self.stage = Stage::Spreading { way, sockets, sent: 0, began: now, next: now };
                None
            }
            Stage::Settling { .. } | Stage::Kept(_) | Stage::Spreading { .. } => None,
            _ => {
                self.stage = Stage::Idle;
                (!sockets.is_empty()).then_some(Act::Keep(None))
            }
        }
    }

    /// A direct route was proven: guessing ends. What was opened in vain is closed.
    pub(super) fn on_proven(&mut self, route: Route, now: Instant) -> Option<Act> {
        // What is found by guessing is the peer: the next loss begins with a first try.
        self.tries = 0;
        let socket = Some(route.socket()).filter(|socket| *socket != SocketIndex::MAIN);
        match (&self.stage, socket) {
            (Stage::Spreading { .. }, Some(first)) => {
                self.stage = Stage::Settling { first, until: now + SETTLING };
                None
            }
            (Stage::Spreading { .. }, None) => self.give_up(),
            (Stage::Searching { .. }, _) => {
                self.stage = Stage::Idle;
                None
            }
            _ => None,
        }
    }

    /// The route through the kept socket is gone.
    pub(super) fn on_lost(&mut self, socket: SocketIndex) -> Option<Act> {
        match self.stage {
            Stage::Kept(kept) if kept == socket => self.give_up(),
            _ => None,
        }
    }

    /// The socket that was kept.
    pub(super) fn kept(&self) -> Option<SocketIndex> {
        match self.stage {
            Stage::Kept(socket) => Some(socket),
            _ => None,
        }
    }

    /// Closes everything.
    pub(super) fn give_up(&mut self) -> Option<Act> {
        let had_sockets = !matches!(self.stage, Stage::Idle | Stage::Searching { .. });
        self.stage = Stage::Idle;
        had_sockets.then_some(Act::Keep(None))
    }

    /// What is to be done now. `in_use` is the socket that the peer's packets are sent from.
    pub(super) fn poll(&mut self, in_use: SocketIndex, rng: &mut ChaCha12Rng, now: Instant) -> Vec<Act> {
        match &mut self.stage {
            Stage::Opening { until, .. } if *until <= now => {
                self.stage = Stage::Idle;
                Vec::new()
            }
            Stage::Spreading { began, .. } if *began + TRY <= now => self.give_up().into_iter().collect(),
            Stage::Spreading { way, sockets, sent, next, began } if *next <= now => {
                let acts = spread(*way, sockets, *sent);
                *sent += acts.len();
                *next = next_spread(*began, sockets.len(), *sent, now);
                acts
            }
            Stage::Searching { tried, .. } if tried.len() >= PROBES => {
                self.stage = Stage::Idle;
                Vec::new()
            }
            Stage::Searching { ip, tried, next } if *next <= now => {
                *next = now + BATCH_PAUSE;
                search(*ip, tried, rng)
            }
            Stage::Settling { first, until } if *until <= now => {
                let socket = if in_use == SocketIndex::MAIN { *first } else { in_use };
                self.stage = Stage::Kept(socket);
                vec![Act::Keep(Some(socket))]
            }
            _ => Vec::new(),
        }
    }

    /// When to ask again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Idle | Stage::Kept(_) => None,
            Stage::Opening { until, .. } | Stage::Settling { until, .. } => Some(*until),
            Stage::Spreading { began, next, .. } => Some((*next).min(*began + TRY)),
            Stage::Searching { next, .. } => Some(*next),
        }
    }
}

fn spread(way: Way, sockets: &[SocketIndex], sent: usize) -> Vec<Act> {
    let pass_end = (sent / sockets.len() + 1) * sockets.len();
    let batch = sent..(sent + SPREAD_BATCH).min(pass_end);
    let route = |count: usize| Route::Direct { socket: sockets[count % sockets.len()], to: way.to };
    batch.map(|count| Act::Ping { route: route(count), ttl: way.ttl }).collect()
}

fn next_spread(began: Instant, sockets: usize, sent: usize, now: Instant) -> Instant {
    let passes = sent / sockets;
    if passes >= PASSES {
        began + TRY
    } else if sent.is_multiple_of(sockets) {
        (began + REFRESH * passes as u32).max(now + BATCH_PAUSE)
    } else {
        now + BATCH_PAUSE
    }
}

fn search(ip: SocketAddr, tried: &mut BTreeSet<u16>, rng: &mut ChaCha12Rng) -> Vec<Act> {
    let mut acts = Vec::new();
    while acts.len() < SEARCH_BATCH && tried.len() < PROBES {
        let port = rng.random_range(PORTS);
        if tried.insert(port) {
            let route = Route::direct(SocketAddr::new(ip.ip(), port));
            acts.push(Act::Ping { route, ttl: None });
        }
    }
    acts
}
