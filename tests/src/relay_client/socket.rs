//! The socket beneath: frames what goes to the peer, unframes what comes from it, in whole batches.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket as StdSocket},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use nearmesh_common::wire::relay::{ChannelId, read_proof_request};
use nearmesh_relay::io::{
    reservation::Proofs,
    socket::SOCKET_BUFFER,
    writable::{Writable, WritablePoller},
};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit, UdpSocketState},
};
use tokio::{io::Interest, net::UdpSocket, sync::mpsc};

use super::Stray;

const ID: usize = ChannelId::LENGTH;
/// Strays that are kept; a test that wants more reads them.
const STRAYS: usize = 1024;
/// Segments of a framed GSO send, each of up to 1,460 bytes, in 64 KiB.
const MAX_SEGMENTS: usize = 44;

/// One port.
pub(super) struct Framing {
    io: UdpSocket,
    state: UdpSocketState,
    proofs: Proofs,
    strays: mpsc::Sender<Stray>,
    routes: Mutex<Vec<Route>>,
    forged: Mutex<Option<(StdSocket, UdpSocketState)>>,
    scratch: Mutex<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Route {
    virtual_address: SocketAddr,
    relay: SocketAddr,
    channel: ChannelId,
}

impl Framing {
    pub(super) fn bind() -> (Self, mpsc::Receiver<Stray>) {
        let socket = StdSocket::bind("127.0.0.1:0").expect("a socket");
        let state = UdpSocketState::new((&socket).into()).expect("a socket for QUIC");
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
        let (strays, receiver) = mpsc::channel(STRAYS);
        let framing = Self {
            io: UdpSocket::from_std(socket).expect("a socket for tokio"),
            state,
            proofs: Proofs::default(),
            strays,
            routes: Mutex::default(),
            forged: Mutex::default(),
            scratch: Mutex::default(),
        };
        (framing, receiver)
    }

    pub(super) fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    pub(super) fn route(&self, relay: SocketAddr, channel: ChannelId) -> SocketAddr {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u8::try_from(routes.len() + 1).expect("a few routes");
        let virtual_address = SocketAddr::from(([240, 0, 0, number], 1));
        routes.push(Route { virtual_address, relay, channel });
        virtual_address
    }

    pub(super) fn forge_source(&self, from: Option<StdSocket>) {
        let forged = from.map(|socket| {
            let state = UdpSocketState::new((&socket).into()).expect("a socket for QUIC");
            (socket, state)
        });
        *self.forged.lock().unwrap_or_else(PoisonError::into_inner) = forged;
    }

    pub(super) async fn send_raw(&self, to: SocketAddr, packet: &[u8]) {
        self.io.send_to(packet, to).await.expect("it is sent");
    }

    fn find(&self, wanted: impl Fn(&Route) -> bool) -> Option<Route> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().copied().find(|route| wanted(route))
    }

    fn transmit(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if let Some((socket, state)) = &*self.forged.lock().unwrap_or_else(PoisonError::into_inner) {
            return state.send(socket.into(), transmit);
        }
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), transmit))
    }

    fn send_framed(&self, transmit: &Transmit<'_>, route: &Route) -> io::Result<()> {
        let mut framed = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        framed.clear();
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        for packet in transmit.contents.chunks(segment) {
            framed.extend_from_slice(&route.channel.to_bytes());
            framed.extend_from_slice(packet);
        }
        self.transmit(&Transmit {
            destination: route.relay,
            ecn: transmit.ecn,
            contents: &framed,
            segment_size: transmit.segment_size.map(|size| size + ID),
            src_ip: None,
        })
    }

    /// Leaves in `batch` what is for quinn.
    fn take(&self, batch: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let all = &batch[..meta.len];
        let of_others = |packet: &[u8]| ChannelId::of(packet).is_some();
        if !all.chunks(stride).any(of_others) {
            return;
        }
        let channel = ChannelId::of(all);
        let route = channel.and_then(|channel| self.find(|route| route.channel == channel));
        let mixed = all.chunks(stride).any(|packet| ChannelId::of(packet) != channel);
        match route.filter(|route| !mixed && route.relay == meta.addr && meta.len > PROOF) {
            Some(route) => unframe(batch, meta, &route),
            None => self.sort(batch, meta),
        }
    }

    fn sort(&self, batch: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let (mut kept, mut start) = (0, 0);
        while start < meta.len {
            let end = (start + stride).min(meta.len);
            let packet = &batch[start..end];
            if let Some((channel, cookie)) = read_proof_request(packet) {
                self.proofs.deliver(channel, cookie);
            } else if ChannelId::of(packet).is_some() {
                let _ = self.strays.try_send((meta.addr, packet.to_vec()));
            } else {
                batch.copy_within(start..end, kept);
                kept += end - start;
            }
            start = end;
        }
        meta.len = kept;
    }
}

/// Bytes of a question for proof; a QUIC packet on a channel is longer.
const PROOF: usize = nearmesh_common::wire::relay::PROOF_REQUEST_LENGTH;

fn unframe(batch: &mut [u8], meta: &mut RecvMeta, route: &Route) {
    let stride = meta.stride.max(1);
    let (mut kept, mut start) = (0, 0);
    while start < meta.len {
        let end = (start + stride).min(meta.len);
        batch.copy_within(start + ID..end, kept);
        kept += end - start - ID;
        start = end;
    }
    (meta.len, meta.stride, meta.addr) = (kept, stride - ID, route.virtual_address);
}

impl AsyncUdpSocket for Framing {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        WritablePoller::of(self)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.find(|route| route.virtual_address == transmit.destination) {
            Some(route) => self.send_framed(transmit, &route),
            None => self.transmit(transmit),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta)) {
                Ok(count) => {
                    for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
                        self.take(buf, meta);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments().min(MAX_SEGMENTS)
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

impl fmt::Debug for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framing").field("io", &self.io).finish_non_exhaustive()
    }
}

impl Writable for Framing {
    async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }
}
