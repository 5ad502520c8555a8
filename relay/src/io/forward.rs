//! The relay at work: runs of packets in and out of the one port, and the reservations that allow it.
//!
//! What one receive call brought for one end is sent on together: only the 8 bytes before each packet are written anew, and the runs
//! that the kernel's GRO made leave in one GSO send. Packets that cannot be sent at once are dropped, as any router would do.

mod bundle;
mod proved;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::relay::{ChannelId, Cookie, FromRelay, PROOF_REQUEST_LENGTH, RelayRequest},
};
use quinn::Connection;
use quinn_udp::{RecvMeta, Transmit};
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

pub(crate) use bundle::Bundle;
use bundle::Heading;
pub(crate) use proved::ProvedAddresses;

use crate::proto::forward::{
    Arrival, Decision, EndAddress, EndId, ForwardCounters, Forwarder, Input, Limits, Output, Standing,
};

/// Messages that wait to be written to one end. It gets a handful in its life; one that reads none of them is gone.
const OUTBOX: usize = 8;
/// How often the clock is looked at while there are reservations: a pair that used up its bytes ends sooner than planned.
const TICK: Duration = Duration::from_secs(1);

/// The relay of one port. Clones are the same.
#[derive(Clone, Debug)]
pub struct Forwarding(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    machine: Mutex<Forwarder>,
    outboxes: Mutex<BTreeMap<EndId, mpsc::Sender<FromRelay>>>,
    next_end: AtomicU64,
    changed: Notify,
    /// Streams that are being served: more than the machine has ends, because last words take their time.
    served: AtomicUsize,
    proved: ProvedAddresses,
}

/// A question that the socket should send.
pub(crate) type Question = (EndAddress, [u8; PROOF_REQUEST_LENGTH]);

/// Sends for the relay: now or never.
pub(crate) trait SendNow {
    /// As `UdpSocketState::try_send`.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()>;
    /// As `UdpSocketState::max_gso_segments`.
    fn max_segments(&self) -> usize;
}

impl Forwarding {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            machine: Mutex::new(Forwarder::new(rand::random(), Instant::now())),
            outboxes: Mutex::default(),
            next_end: AtomicU64::new(0),
            changed: Notify::new(),
            served: AtomicUsize::new(0),
            proved: ProvedAddresses::default(),
        }))
    }

    /// Relays within these limits from now on, or not at all. Pairs that are there keep what they were promised.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.input(Input::Limits(limits));
    }

    /// Tells all pairs to move elsewhere and takes no more; returns when all have left. Those that are still there after `time` are
    /// ended, and then only their last words are waited for, no longer than one second.
    pub async fn drain(&self, time: Duration) {
        self.input(Input::Drain(time));
        let empty = async {
            loop {
                let changed = self.0.changed.notified();
                if self.0.served.load(Relaxed) == 0 {
                    return;
                }
                changed.await;
            }
        };
        // The deadline itself is the machine's.
        let _ = timeout(time + TICK, empty).await;
    }

    /// What it has done, and holds.
    pub fn counters(&self) -> ForwardCounters {
        self.machine().counters()
    }

    /// Which addresses handshakes have proved.
    pub(crate) fn proved(&self) -> &ProvedAddresses {
        &self.0.proved
    }

    /// Sends on a run of packets, each of `stride` bytes and the last one perhaps shorter, all on one channel: by way of `bundle`, which
    /// has to [`leave`](Self::leave) soon.
    pub(crate) fn forward(
        &self,
        run: &mut [u8],
        (channel, meta): (ChannelId, &RecvMeta),
        now: Instant,
        (bundle, socket): (&mut Bundle, &impl SendNow),
    ) {
        let stride = meta.stride.clamp(1, run.len().max(1));
        let packets = run.len().div_ceil(stride) as u64;
        let bytes = run.len() as u64;
        let arrival = Arrival { channel, source: meta.addr, local: meta.dst_ip, packets, bytes };
        let (decision, questions) = {
            let mut machine = self.machine();
            let decision = machine.decide(&arrival, now);
            (decision, self.carry_out(&mut machine))
        };
        for (to, packet) in questions {
            let transmit = question(&packet, to);
            // Asked again with the next packet.
            let _ = socket.try_send(&transmit);
        }
        if let Decision::Forward { to, channel } = decision {
            for packet in run.chunks_mut(stride) {
                packet[..ChannelId::LENGTH].copy_from_slice(&channel.to_bytes());
            }
            self.put(run, stride, Heading { to, ecn: meta.ecn }, bundle, socket);
        }
    }

    /// Sends what was put together.
    pub(crate) fn leave(&self, bundle: &mut Bundle, socket: &impl SendNow) {
        if let Some(transmit) = bundle.transmit()
            && socket.try_send(&transmit).is_err()
        {
            self.machine().on_unsent(bundle.count(), transmit.contents.len() as u64);
        }
        bundle.clear();
    }

    fn put(&self, run: &[u8], stride: usize, heading: Heading, bundle: &mut Bundle, socket: &impl SendNow) {
        let mut left = run;
        while !left.is_empty() {
            // Asked each time: it falls to one when the network card refuses.
            let (now, later) = left.split_at(bundle.room(left, stride, heading, socket.max_segments()));
            if now.is_empty() {
                self.leave(bundle, socket);
            } else {
                bundle.add(now, stride, heading);
            }
            left = later;
        }
    }

    /// Takes in a request; what the relay says to it comes out of the channel. [`Self::on_gone`] has to follow.
    pub(crate) fn ask(
        &self,
        connection: &Connection,
        member: NodeId,
        request: RelayRequest,
    ) -> (EndId, mpsc::Receiver<FromRelay>) {
        self.ask_from(self.standing(connection), member, request)
    }

    /// The same for somebody at this address.
    pub(crate) fn ask_from(
        &self,
        from: Standing,
        member: NodeId,
        request: RelayRequest,
    ) -> (EndId, mpsc::Receiver<FromRelay>) {
        let end = EndId(self.0.next_end.fetch_add(1, Relaxed));
        let (sender, outbox) = mpsc::channel(OUTBOX);
        self.outboxes().insert(end, sender);
        self.0.served.fetch_add(1, Relaxed);
        self.input(Input::Asked { end, member, request, from });
        (end, outbox)
    }

    pub(crate) fn on_renew(&self, end: EndId) {
        self.input(Input::Renew(end));
    }

    pub(crate) fn on_proof(&self, end: EndId, cookie: Cookie, connection: &Connection) {
        let from = address_of(connection);
        let mut machine = self.machine();
        let moved = machine.counters().moved;
        machine.handle(Input::Proof { end, cookie, from }, Instant::now());
        if machine.counters().moved > moved {
            self.0.proved.insert(connection, from.remote);
        }
    }

    pub(crate) fn on_gone(&self, end: EndId) {
        self.outboxes().remove(&end);
        self.0.served.fetch_sub(1, Relaxed);
        self.input(Input::Gone(end));
    }

    /// Keeps time, as long as it is polled.
    pub(crate) async fn run(self) {
        loop {
            let changed = self.0.changed.notified();
            let due = self.machine().poll_timeout();
            match due {
                None => changed.await,
                Some(at) => {
                    let wait = at.saturating_duration_since(Instant::now()).min(TICK);
                    tokio::select! { () = changed => {}, () = sleep(wait) => {} }
                }
            }
            self.input(Input::Timeout);
        }
    }

    fn standing(&self, connection: &Connection) -> Standing {
        let from = address_of(connection);
        // Who was dialled is where it was dialled: only those who dial may change their address (RFC 9000, section 9).
        let proved = connection.side().is_client() || self.0.proved.contains(connection, from.remote);
        if proved { Standing::Proved(from) } else { Standing::Claimed(from) }
    }

    fn input(&self, input: Input) {
        let mut machine = self.machine();
        machine.handle(input, Instant::now());
        // Questions are only asked in answer to packets.
        let _: Vec<Question> = self.carry_out(&mut machine);
        drop(machine);
        self.0.changed.notify_waiters();
    }

    /// Says what is to be said. The questions are for the socket.
    fn carry_out(&self, machine: &mut Forwarder) -> Vec<Question> {
        let mut questions = Vec::new();
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Ask { to, packet } => questions.push((to, packet)),
                Output::Tell(end, message) => self.tell(end, message),
            }
        }
        questions
    }

    fn tell(&self, end: EndId, message: FromRelay) {
        let mut outboxes = self.outboxes();
        let last = matches!(message, FromRelay::Closed(_));
        // One that does not read loses its outbox, and with it its stream.
        let lost = outboxes.get(&end).is_some_and(|outbox| outbox.try_send(message).is_err());
        if last || lost {
            outboxes.remove(&end);
        }
    }

    fn machine(&self) -> MutexGuard<'_, Forwarder> {
        self.0.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outboxes(&self) -> MutexGuard<'_, BTreeMap<EndId, mpsc::Sender<FromRelay>>> {
        self.0.outboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address_of(connection: &Connection) -> EndAddress {
    EndAddress { remote: connection.remote_address(), local: connection.local_ip() }
}

fn question(packet: &[u8], to: EndAddress) -> Transmit<'_> {
    Transmit { destination: to.remote, ecn: None, contents: packet, segment_size: None, src_ip: to.local }
}
