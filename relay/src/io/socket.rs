//! The one UDP port: what quinn sends and receives, with everything that is not QUIC taken out on the way.
//!
//! Packets are moved in batches (GSO, GRO; without them QUIC has a quarter of its speed) and quinn's own buffers are
//! received into, so a batch of QUIC alone is neither copied nor looked at beyond the first byte of each packet. STUN requests
//! are answered from within the receive call: it is cheap, bounded by the responder's limits, and needs no task.

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket as StdSocket},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Instant,
};

use nearmesh_common::wire::relay::{ChannelId, read_proof_request};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};
use tracing::{debug, info};

use super::{
    counters::{Count, Counters},
    forward::{Forwarding, SendNow},
    now,
    probe::Probes,
    reservation::Proofs,
};
use crate::proto::{
    demux::{self, Kind},
    stun::{Decision, Responder},
    stun_message,
};

/// Bytes of socket buffer that are asked for in each direction. With Linux's default of 212 kB a path of 40 ms carries
/// 67 Mbit/s instead of 212 (measured).
pub const SOCKET_BUFFER: usize = 4 << 20;

/// The port.
pub struct SharedSocket {
    io: UdpSocket,
    state: UdpSocketState,
    granted: Granted,
    responder: Mutex<Responder>,
    probes: Probes,
    forwarding: Forwarding,
    proofs: Proofs,
    stun_unsent: Count,
    reserved: Count,
    receive_errors: Count,
}

#[derive(Clone, Copy, Debug)]
struct Granted {
    receive: usize,
    send: usize,
}

impl SharedSocket {
    /// Binds exactly `listen`: an IPv6 address never means IPv4 too. Needs a tokio runtime.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        let socket = StdSocket::from(socket);
        let state = UdpSocketState::new((&socket).into())?;
        let granted = ask_for_buffers(&state, &socket);
        Ok(Self {
            io: UdpSocket::from_std(socket)?,
            state,
            granted,
            responder: Mutex::new(Responder::new(rand::random())),
            probes: Probes::default(),
            forwarding: Forwarding::new(),
            proofs: Proofs::default(),
            stun_unsent: Count::default(),
            reserved: Count::default(),
            receive_errors: Count::default(),
        })
    }

    /// Those who wait for answers to our own STUN requests.
    pub(crate) fn probes(&self) -> &Probes {
        &self.probes
    }

    /// What is forwarded here for others.
    pub(crate) fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }

    /// The reservations of ours whose relays may ask for proof of our address.
    pub(crate) fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Sends a packet of our own now or never.
    pub(crate) fn send_now(&self, packet: &[u8], to: SocketAddr) {
        self.send_from(packet, to, None);
    }

    /// What was counted here.
    pub(crate) fn counters(&self) -> Counters {
        Counters {
            stun: self.responder.lock().unwrap_or_else(PoisonError::into_inner).counters(),
            stun_unsent: self.stun_unsent.get(),
            stun_strays: self.probes.strays(),
            forward: self.forwarding.counters(),
            reserved: self.reserved.get(),
            receive_errors: self.receive_errors.get(),
            receive_buffer: self.granted.receive as u64,
            send_buffer: self.granted.send as u64,
            ..Counters::default()
        }
    }

    fn receive(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta))
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), transmit))
    }

    fn send_from(&self, packet: &[u8], to: SocketAddr, from: Option<std::net::IpAddr>) {
        let transmit =
            Transmit { destination: to, ecn: None, contents: packet, segment_size: None, src_ip: from };
        // Past tokio, which does not know yet that a fresh socket is writable.
        if let Err(error) = self.state.try_send((&self.io).into(), &transmit) {
            debug!(%to, %error, "a STUN packet was not sent");
            self.stun_unsent.up();
        }
    }

    fn take(&self, kind: Kind, packet: &mut [u8], meta: &RecvMeta, now: Instant) {
        match kind {
            Kind::Relayed(channel) => self.take_relayed(channel, packet, meta, now),
            Kind::Stun if stun_message::is_response(packet) => self.probes.deliver(meta.addr, packet),
            Kind::Stun => self.answer(packet, meta),
            Kind::Quic | Kind::Reserved => self.reserved.up(),
        }
    }

    /// A run of packets on one channel: a relay's question to us, or for us, or for others.
    fn take_relayed(&self, channel: ChannelId, run: &mut [u8], meta: &RecvMeta, now: Instant) {
        let asked = read_proof_request(run);
        if asked.is_some_and(|(channel, cookie)| self.proofs.deliver(channel, cookie)) {
            return;
        }
        if !self.take_for_ourselves(channel, run, meta) {
            self.forwarding.forward(run, (channel, meta), now, self);
        }
    }

    /// HOOK for packets that a relay sends to us: takes the run and says true if `channel` is one on which we are a client.
    fn take_for_ourselves(&self, _channel: ChannelId, _run: &mut [u8], _meta: &RecvMeta) -> bool {
        false
    }

    fn answer(&self, packet: &[u8], meta: &RecvMeta) {
        let decision =
            self.responder.lock().unwrap_or_else(PoisonError::into_inner).handle(packet, meta.addr, now());
        match decision {
            // From the address that was asked: a node may have several, and an answer from another one is not believed.
            Decision::Answer(bytes, to) => self.send_from(&bytes, to, meta.dst_ip),
            Decision::Ignore(reason) => debug!(from = %meta.addr, ?reason, "a STUN packet was ignored"),
        }
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritablePoller { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.send(transmit)
    }

    /// One receive call's worth. Entries whose packets were all taken out stay in place, empty: quinn skips them, and counts
    /// them as work done, so its limit on the time it spends receiving also holds in a flood of STUN.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.receive(bufs, meta) {
                Ok(count) => {
                    let now = Instant::now();
                    for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
                        let of = *meta;
                        meta.len = demux::keep_quic(&mut buf[..of.len], of.stride, |kind, packet| {
                            self.take(kind, packet, &of, now);
                        });
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    // An error here would end quinn's driver, and with it all connections. Others get their turn first.
                    debug!(%error, "receiving failed");
                    self.receive_errors.up();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Past tokio, whose idea of whether the socket takes packets is for those who wait.
impl SendNow for SharedSocket {
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state.try_send((&self.io).into(), transmit)
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSocket").field("io", &self.io).finish_non_exhaustive()
    }
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Lets one task wait until the socket takes packets again.
struct WritablePoller {
    socket: Arc<SharedSocket>,
    waiting: Option<Writable>,
}

impl UdpPoller for WritablePoller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, waiting } = &mut *self;
        let wait = waiting.get_or_insert_with(|| {
            let socket = socket.clone();
            Box::pin(async move { socket.io.writable().await })
        });
        let result = ready!(wait.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(result)
    }
}

impl fmt::Debug for WritablePoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritablePoller").finish_non_exhaustive()
    }
}

fn ask_for_buffers(state: &UdpSocketState, socket: &StdSocket) -> Granted {
    // Refused or cut down, a socket still works, only slower: the line below says so.
    let _ = state.set_recv_buffer_size(socket.into(), SOCKET_BUFFER);
    let _ = state.set_send_buffer_size(socket.into(), SOCKET_BUFFER);
    let granted = Granted {
        receive: usable(state.recv_buffer_size(socket.into())),
        send: usable(state.send_buffer_size(socket.into())),
    };
    if granted.receive.min(granted.send) < SOCKET_BUFFER {
        info!(
            asked = SOCKET_BUFFER,
            receive = granted.receive,
            send = granted.send,
            "the system grants smaller socket buffers than asked for; transfers over long distances would be faster with \
             net.core.rmem_max and net.core.wmem_max at {SOCKET_BUFFER}"
        );
    }
    granted
}

/// Linux reports twice what was asked for: the other half is its own bookkeeping (socket(7)).
fn usable(reported: io::Result<usize>) -> usize {
    let reported = reported.unwrap_or(0);
    if cfg!(target_os = "linux") { reported / 2 } else { reported }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
