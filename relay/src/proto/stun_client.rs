//! The STUN client: how far is this address, and where do we come from as seen from there?
//!
//! A probe sends binding requests one after the other, the next as soon as the one before is answered, until it has
//! seen as many answers as it wants; an unanswered request is followed by another one after [`FIRST_WAIT`], then twice
//! that, and so on. Every request is a transaction of its own, also the repeated ones, so that no round trip is
//! ambiguous (Karn's problem), and a slow path is measured all the same. The smallest round trip counts: the others
//! have met a queue.
//!
//! Invariant: only the address that was asked is believed, and only if it knows the transaction id.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::Now;
use rand::{Rng, rngs::StdRng};
use stun_rs::{
    MessageClass, StunMessageBuilder, TransactionId,
    attributes::discovery::ResponsePort,
    attributes::stun::{Fingerprint, XorMappedAddress},
    methods::BINDING,
};

use super::stun_message;

/// How long an answer may take before another request is sent. RFC 8489's 500 ms would leave no second try within
/// [`DEADLINE`]; most paths on earth are below 150 ms.
pub const FIRST_WAIT: Duration = Duration::from_millis(150);
/// How long a probe takes at most: a node that joins waits for the slowest of its probes (guess).
pub const DEADLINE: Duration = Duration::from_secs(1);
/// Most requests of one probe, whatever happens (guess: all rounds and as many losses).
pub const MAX_REQUESTS: u32 = 6;

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A packet that looks like a STUN response came.
    Received {
        /// From whom.
        from: SocketAddr,
        /// All of it.
        packet: &'a [u8],
    },
    /// The time that `poll_timeout` gave has come.
    Timeout,
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Send {
        /// To whom.
        to: SocketAddr,
        /// What.
        packet: Vec<u8>,
    },
    /// The probe is over: what it saw, or `None` if nothing came back. Said once, and last.
    Done(Option<Measured>),
}

/// What a probe saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The smallest round trip.
    pub rtt: Duration,
    /// Our address as the other side saw it.
    pub observed: SocketAddr,
}

/// One probe of one address.
#[derive(Debug)]
pub struct StunProbe {
    to: SocketAddr,
    response_port: Option<u16>,
    answers_wanted: u32,
    rng: StdRng,
    requests: u32,
    waiting: BTreeMap<[u8; 12], Instant>,
    last_sent: Instant,
    best: Option<Measured>,
    wait: Duration,
    next_request: Instant,
    deadline: Option<Instant>,
    ignored: u64,
    outputs: VecDeque<Output>,
}

impl StunProbe {
    /// Begins to probe `to` until `rounds` answers came. Transaction ids come from `rng`.
    pub fn new(to: SocketAddr, rounds: u32, rng: StdRng, now: Now) -> Self {
        Self::begin((to, None), rounds, rng, now)
    }

    /// The same with one answer, which is to go to another port of ours: to the one that is `port` from outside.
    pub fn answered_at(port: u16, to: SocketAddr, rng: StdRng, now: Now) -> Self {
        Self::begin((to, Some(port)), 1, rng, now)
    }

    fn begin((to, response_port): (SocketAddr, Option<u16>), rounds: u32, rng: StdRng, now: Now) -> Self {
        let mut probe = Self {
            to,
            response_port,
            answers_wanted: rounds,
            rng,
            requests: 0,
            waiting: BTreeMap::new(),
            last_sent: now.instant,
            best: None,
            wait: FIRST_WAIT,
            next_request: now.instant,
            deadline: Some(now.instant + DEADLINE),
            ignored: 0,
            outputs: VecDeque::new(),
        };
        probe.send_request(now.instant);
        probe
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        let Some(deadline) = self.deadline else { return };
        match input {
            Input::Received { from, packet } => self.on_response(from, packet, now.instant),
            Input::Timeout if now.instant >= deadline => self.finish(),
            Input::Timeout if now.instant >= self.next_request => {
                self.wait *= 2;
                self.send_request(now.instant);
            }
            Input::Timeout => {}
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to say [`Input::Timeout`]; `None` when the probe is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline?;
        Some(if self.requests < MAX_REQUESTS { deadline.min(self.next_request) } else { deadline })
    }

    /// How many packets were not believed.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn on_response(&mut self, from: SocketAddr, packet: &[u8], now: Instant) {
        let Some((sent, observed)) = self.believe(from, packet) else {
            self.ignored += 1;
            return;
        };
        let rtt = now.saturating_duration_since(sent);
        if self.best.is_none_or(|best| rtt < best.rtt) {
            self.best = Some(Measured { rtt, observed });
        }
        self.answers_wanted = self.answers_wanted.saturating_sub(1);
        self.wait = FIRST_WAIT;
        if self.answers_wanted == 0 {
            self.finish();
        } else if sent == self.last_sent {
            // Older ones that are still unanswered are lost, or as good as.
            self.send_request(now);
        }
    }

    fn believe(&mut self, from: SocketAddr, packet: &[u8]) -> Option<(Instant, SocketAddr)> {
        if (from.ip(), from.port()) != (self.to.ip(), self.to.port()) {
            return None;
        }
        let message = stun_message::decode(packet).ok()?;
        if message.method() != BINDING {
            return None;
        }
        let id = message.transaction_id().as_bytes();
        match message.class() {
            MessageClass::SuccessResponse => {
                let observed =
                    *message.get::<XorMappedAddress>()?.as_xor_mapped_address().ok()?.socket_address();
                Some((self.waiting.remove(id)?, observed))
            }
            MessageClass::ErrorResponse => {
                self.waiting.remove(id);
                None
            }
            MessageClass::Request | MessageClass::Indication => None,
        }
    }

    fn send_request(&mut self, now: Instant) {
        self.next_request = now + self.wait;
        if self.requests >= MAX_REQUESTS {
            return;
        }
        let mut id = [0; 12];
        self.rng.fill_bytes(&mut id);
        let mut request = StunMessageBuilder::new(BINDING, MessageClass::Request)
            .with_transaction_id(TransactionId::from(id));
        if let Some(port) = self.response_port {
            request = request.with_attribute(ResponsePort::from(port));
        }
        let request = request.with_attribute(Fingerprint::default()).build();
        let packet = stun_message::encode(&request).expect("36 bytes are not too long");
        self.requests += 1;
        self.waiting.insert(id, now);
        self.last_sent = now;
        self.outputs.push_back(Output::Send { to: self.to, packet });
    }

    fn finish(&mut self) {
        self.deadline = None;
        self.outputs.push_back(Output::Done(self.best));
    }
}

#[cfg(test)]
#[path = "stun_client_tests.rs"]
mod tests;
