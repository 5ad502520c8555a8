//! The one UDP port: what quinn sends and receives, with everything that is not QUIC taken out on the way.
//!
//! Packets are moved in batches and quinn's own buffers are received into, so a batch of QUIC alone is neither copied nor looked at
//! beyond the first byte of each packet. STUN requests are answered from within the receive call: it is cheap, bounded by the
//! responder's limits, and needs no task. Packets to and from peers whose path changes are given the addresses that are meant
//! (module `paths`).

mod routes;

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use nearmesh_common::wire::relay::{ChannelId, read_proof_request};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit};
use tokio::net::UdpSocket;
use tracing::debug;

pub use super::port::SOCKET_BUFFER;
use super::{
    counters::{Count, Counters},
    dial_back::DialBacks,
    forward::{Bundle, Forwarding, SendNow},
    now,
    paths::Paths,
    port::{Granted, Port},
    probe::Probes,
    reservation::Proofs,
    writable::WritablePoller,
};
use crate::proto::{
    demux::Kind,
    path::{route::SocketIndex, virtual_addr::VirtualAddr},
    stun::{Decision, Responder},
    stun_message,
};

/// The port.
pub struct SharedSocket {
    main: Port,
    local: SocketAddr,
    granted: Granted,
    responder: Mutex<Responder>,
    probes: Probes,
    dial_backs: DialBacks,
    forwarding: Forwarding,
    /// Empty between receive calls; its buffer is kept.
    bundle: Mutex<Bundle>,
    proofs: Proofs,
    paths: Arc<Paths>,
    /// Which socket is asked first for packets, where there are several.
    turn: AtomicUsize,
    /// A further socket that took no more packets.
    full: Mutex<Option<Arc<UdpSocket>>>,
    stun_unsent: Count,
    reserved: Count,
    receive_errors: Count,
}

impl SharedSocket {
    /// Binds exactly `listen`: an IPv6 address never means IPv4 too. Needs a tokio runtime.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let (main, granted) = Port::bind(listen)?;
        let local = main.io().local_addr()?;
        Ok(Self {
            main,
            local,
            granted,
            responder: Mutex::new(Responder::new(rand::random())),
            probes: Probes::default(),
            dial_backs: DialBacks::default(),
            forwarding: Forwarding::new(),
            bundle: Mutex::default(),
            proofs: Proofs::default(),
            paths: Arc::new(Paths::new(local)),
            turn: AtomicUsize::default(),
            full: Mutex::default(),
            stun_unsent: Count::default(),
            reserved: Count::default(),
            receive_errors: Count::default(),
        })
    }

    /// Those who wait for answers to our own STUN requests.
    pub(crate) fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Tokens that came, and whom we have sent to.
    pub(crate) fn dial_backs(&self) -> &DialBacks {
        &self.dial_backs
    }

    /// Where the port is bound.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// What the responder has to say to a packet that came elsewhere, and to whom.
    pub(crate) fn stun_answer(&self, packet: &[u8], from: SocketAddr) -> Option<(Vec<u8>, SocketAddr)> {
        let decision =
            self.responder.lock().unwrap_or_else(PoisonError::into_inner).handle(packet, from, now());
        match decision {
            Decision::Answer(bytes, to) => Some((bytes, to)),
            Decision::Ignore(reason) => {
                debug!(%from, ?reason, "a STUN packet was ignored");
                None
            }
        }
    }

    /// What is forwarded here for others.
    pub(crate) fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }

    /// The reservations of ours whose relays may ask for proof of our address.
    pub(crate) fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Peers whose path changes.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Sends a packet of our own now or never.
    pub(crate) fn send_now(&self, packet: &[u8], to: SocketAddr) {
        self.send_from(packet, to, None);
    }

    /// What was counted here.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = Counters {
            stun: self.responder.lock().unwrap_or_else(PoisonError::into_inner).counters(),
            stun_unsent: self.stun_unsent.get(),
            stun_strays: self.probes.strays(),
            forward: self.forwarding.counters(),
            reserved: self.reserved.get(),
            receive_errors: self.receive_errors.get(),
            receive_buffer: self.granted.receive as u64,
            send_buffer: self.granted.send as u64,
            ..Counters::default()
        };
        self.paths.fill(&mut counters);
        counters
    }

    fn send_from(&self, packet: &[u8], to: SocketAddr, from: Option<std::net::IpAddr>) {
        let transmit =
            Transmit { destination: to, ecn: None, contents: packet, segment_size: None, src_ip: from };
        if let Err(error) = self.main.send_now(&transmit) {
            debug!(%to, %error, "a STUN packet was not sent");
            self.stun_unsent.up();
        }
    }

    /// Packets that are neither QUIC nor about routes.
    fn take(&self, socket: SocketIndex, kind: Kind, packet: &[u8], meta: &RecvMeta) {
        match kind {
            Kind::Stun if stun_message::is_response(packet) => self.probes.deliver(meta.addr, packet),
            Kind::Stun if socket == SocketIndex::MAIN => self.answer(packet, meta),
            Kind::Relayed(_) if self.is_proof_request(packet) => {}
            Kind::DialBack if self.dial_backs.deliver(meta.addr, packet) => {}
            _ => self.reserved.up(),
        }
    }

    /// A run of packets on a channel that is not ours: to be forwarded, or a relay asks for proof before we know the channel.
    fn pass_on(&self, channel: ChannelId, run: &mut [u8], meta: &RecvMeta, bundle: &mut Bundle) {
        if !self.is_proof_request(run) {
            self.forwarding.forward(run, (channel, meta), Instant::now(), (bundle, self));
        }
    }

    /// Whether a relay of ours asks us something, which is then on its way to the reservation.
    fn is_proof_request(&self, packet: &[u8]) -> bool {
        let asked = read_proof_request(packet);
        asked.is_some_and(|(channel, cookie)| self.proofs.deliver(channel, cookie))
    }

    fn answer(&self, packet: &[u8], meta: &RecvMeta) {
        if let Some((answer, to)) = self.stun_answer(packet, meta.addr) {
            // From the address that was asked: a node may have several, and an answer from another one is not believed.
            self.send_from(&answer, to, meta.dst_ip);
        }
    }

    fn poll_ports(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.paths.extras.kept_count() == 0 {
            return self.poll_port(SocketIndex::MAIN, &self.main, cx, bufs, meta);
        }
        let kept = self.paths.extras.kept();
        let turn = self.turn.fetch_add(1, Relaxed);
        for i in 0..=kept.len() {
            let polled = match turn.wrapping_add(i) % (kept.len() + 1) {
                0 => self.poll_port(SocketIndex::MAIN, &self.main, cx, bufs, meta),
                n => self.poll_port(kept[n - 1].0, &kept[n - 1].1, cx, bufs, meta),
            };
            if polled.is_ready() {
                return polled;
            }
        }
        Poll::Pending
    }

    /// One receive call's worth. Entries whose packets were all taken out stay in place, empty: quinn skips them, and counts
    /// them as work done, so its limit on the time it spends receiving also holds in a flood of STUN.
    fn poll_port(
        &self,
        socket: SocketIndex,
        port: &Port,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        match ready!(port.poll_receive(cx, bufs, metas)) {
            Ok(count) => {
                let mut bundle = self.bundle.lock().unwrap_or_else(PoisonError::into_inner);
                for (buf, meta) in bufs.iter_mut().zip(metas).take(count) {
                    let of = *meta;
                    let take = |kind: Kind, packet: &[u8]| self.take(socket, kind, packet, &of);
                    let pass_on = |channel, run: &mut [u8]| self.pass_on(channel, run, &of, &mut bundle);
                    self.paths.sort(socket, buf, meta, take, pass_on);
                }
                self.forwarding.leave(&mut bundle, self);
                Poll::Ready(Ok(count))
            }
            Err(error) => {
                // An error here would end quinn's driver, and with it all connections. Others get their turn first.
                debug!(%error, "receiving failed");
                self.receive_errors.up();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        WritablePoller::of(self)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if VirtualAddr::is_virtual(transmit.destination) {
            self.send_by_route(transmit)
        } else {
            self.main.send(transmit)
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (stash, extras) = (&self.paths.stash, &self.paths.extras);
        loop {
            let waiting = stash.take(bufs, meta);
            if waiting > 0 {
                return Poll::Ready(Ok(waiting));
            }
            let changes = extras.changes();
            if let Poll::Ready(received) = self.poll_ports(cx, bufs, meta) {
                return Poll::Ready(received);
            }
            stash.register(cx.waker());
            if stash.is_empty() && extras.changes() == changes {
                return Poll::Pending;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.main.io().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.main.state().max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.main.state().gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.main.state().may_fragment()
    }
}

/// Past tokio, whose idea of whether the socket takes packets is for those who wait.
impl SendNow for SharedSocket {
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.main.send_now(transmit)
    }

    fn max_segments(&self) -> usize {
        self.main.state().max_gso_segments()
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSocket").field("local", &self.local).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
