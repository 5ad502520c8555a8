//! Probes of other nodes: the machine of [`stun_client`](crate::proto::stun_client), driven over the one port.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nearmesh_common::{Now, dialable::is_dialable};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::{Semaphore, mpsc};

use super::{counters::Count, now};
use crate::proto::stun_client::{Input, MAX_REQUESTS, Measured, Output, StunProbe};

/// Answers that a probe wants: one may meet a queue, all three rarely do (guess).
pub const PROBE_ROUNDS: u32 = 3;
/// Most probes at a time; the next one waits for its turn (guess: several times a joining node's).
pub const MAX_PROBES: usize = 64;

/// What a probe of an address saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The smallest of the round trips.
    pub rtt: Duration,
    /// Our own address, as seen from there.
    pub observed: SocketAddr,
}

/// Who waits for answers.
#[derive(Debug)]
pub(crate) struct Probes {
    turns: Semaphore,
    waiting: Mutex<Waiting>,
    strays: Count,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    probes: BTreeMap<u64, (SocketAddr, mpsc::Sender<Response>)>,
}

/// A packet, stamped when it came: the task that waits for it may be late.
#[derive(Clone, Debug)]
struct Response {
    from: SocketAddr,
    packet: Vec<u8>,
    at: Now,
}

impl Probes {
    /// Hands a packet to those who asked its sender.
    pub(crate) fn deliver(&self, from: SocketAddr, packet: &[u8]) {
        let at = now();
        let mut expected = false;
        for (asked, probe) in self.waiting().probes.values() {
            if (asked.ip(), asked.port()) == (from.ip(), from.port()) {
                // A full queue holds more packets than the probe has asked for.
                expected |= probe.try_send(Response { from, packet: packet.to_vec(), at }).is_ok();
            }
        }
        if !expected {
            self.strays.up();
        }
    }

    pub(crate) fn strays(&self) -> u64 {
        self.strays.get()
    }

    fn register(&self, to: SocketAddr) -> (Registration<'_>, mpsc::Receiver<Response>) {
        let (sender, responses) = mpsc::channel(2 * MAX_REQUESTS as usize);
        let mut waiting = self.waiting();
        let id = waiting.next;
        waiting.next += 1;
        waiting.probes.insert(id, (to, sender));
        (Registration { probes: self, id }, responses)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self { turns: Semaphore::new(MAX_PROBES), waiting: Mutex::default(), strays: Count::default() }
    }
}

struct Registration<'a> {
    probes: &'a Probes,
    id: u64,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.probes.waiting().probes.remove(&self.id);
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    to: SocketAddr,
    rounds: u32,
    answered_at: Option<u16>,
}

impl Query {
    /// A few times, for the round trip.
    pub(crate) fn rounds(to: SocketAddr, rounds: u32) -> Self {
        Self { to, rounds, answered_at: None }
    }

    /// Once, for the address.
    pub(crate) fn once(to: SocketAddr) -> Self {
        Self { to, rounds: 1, answered_at: None }
    }

    /// Once, with an answer to another port of ours.
    pub(crate) fn answered_at(port: u16, to: SocketAddr) -> Self {
        Self { to, rounds: 1, answered_at: Some(port) }
    }

    /// Who is asked.
    pub(crate) fn to(&self) -> SocketAddr {
        self.to
    }

    fn machine(&self) -> StunProbe {
        let rng = StdRng::from_rng(&mut rand::rng());
        match self.answered_at {
            Some(port) => StunProbe::answered_at(port, self.to, rng, now()),
            None => StunProbe::new(self.to, self.rounds, rng, now()),
        }
    }
}

/// Asks by `send`, and waits for what comes to `probes`; `None` if nothing came back in time. Addresses are others' word: nobody is
/// asked where no single host can be.
pub(crate) async fn run(probes: &Probes, query: Query, send: impl Fn(&[u8], SocketAddr)) -> Option<Probe> {
    if !is_dialable(query.to) {
        return None;
    }
    let _turn = probes.turns.acquire().await.ok()?;
    let (_registration, mut responses) = probes.register(query.to);
    let mut machine = query.machine();
    loop {
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Send { to, packet } => send(&packet, to),
                Output::Done(measured) => return measured.map(Probe::from),
            }
        }
        let timeout = machine.poll_timeout()?;
        tokio::select! {
            biased;
            Some(Response { from, packet, at }) = responses.recv() => {
                machine.handle(Input::Received { from, packet: &packet }, at);
            }
            () = tokio::time::sleep_until(timeout.into()) => machine.handle(Input::Timeout, now()),
        }
    }
}

impl From<Measured> for Probe {
    fn from(measured: Measured) -> Self {
        Self { rtt: measured.rtt, observed: measured.observed }
    }
}
