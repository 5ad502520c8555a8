//! A QUIC port behind a TURN server (RFC 8656), which forwards between channel data on one leg and plain UDP on the other.
//!
//! As much of TURN as the comparison takes: one allocation without credentials, one channel, and batches of packets moved as the
//! product moves its own. What does not come back within a second is not asked for again: it is loopback.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdSocket},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use nearmesh_common::identity::Membership;
use nearmesh_relay::io::{
    socket::SOCKET_BUFFER,
    transport,
    writable::{Writable, WritablePoller},
};
use quinn::{
    AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, TokioRuntime, UdpPoller,
    crypto::rustls::QuicClientConfig,
    udp::{RecvMeta, Transmit, UdpSocketState},
};
use tests::relay_client::transport_config;
use tokio::{io::Interest, net::UdpSocket, time::timeout};

/// RFC 8489, section 5, and RFC 8656, sections 17 and 18.
const MAGIC: u32 = 0x2112_a442;
const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
const SUCCESS: u16 = 0x0100;
const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const REQUESTED_TRANSPORT: u16 = 0x0019;
/// UDP, as IP numbers it.
const UDP: u32 = 17 << 24;
const CHANNEL: u16 = 0x4000;
/// Channel number and length (RFC 8656, section 12.4).
const HEADER: usize = 4;
/// Packets of 1,456 bytes in one send of 64 KiB.
const MAX_SEGMENTS: usize = 44;
const PATIENCE: Duration = Duration::from_secs(1);

/// A port whose packets to `peer` go by way of `server`.
pub async fn port(server: SocketAddr, peer: SocketAddr, membership: &Membership) -> Endpoint {
    let socket = StdSocket::bind("127.0.0.1:0").expect("a socket");
    let state = UdpSocketState::new((&socket).into()).expect("a socket for QUIC");
    let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
    let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
    let io = UdpSocket::from_std(socket).expect("a socket for tokio");
    let mut number = [0; 4];
    number[..2].copy_from_slice(&CHANNEL.to_be_bytes());
    ask(&io, server, ALLOCATE, &[(REQUESTED_TRANSPORT, &UDP.to_be_bytes())]).await;
    let channel = [(CHANNEL_NUMBER, &number[..]), (XOR_PEER_ADDRESS, &xored(peer))];
    ask(&io, server, CHANNEL_BIND, &channel).await;
    let turned = Turned { io, state, server, peer, scratch: Mutex::default() };
    let runtime = Arc::new(TokioRuntime);
    let mut endpoint =
        Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, Arc::new(turned), runtime)
            .expect("an endpoint");
    let tls = membership.client_config().expect("a member's TLS");
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a configuration")));
    client.transport_config(transport_config(transport::PATH_MAX_MTU));
    endpoint.set_default_client_config(client);
    endpoint
}

/// One request, and the check that it was granted.
async fn ask(io: &UdpSocket, server: SocketAddr, method: u16, attributes: &[(u16, &[u8])]) {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
    }
    let mut request = method.to_be_bytes().to_vec();
    request.extend_from_slice(&(body.len() as u16).to_be_bytes());
    request.extend_from_slice(&MAGIC.to_be_bytes());
    request.extend_from_slice(&rand::random::<[u8; 12]>());
    request.extend_from_slice(&body);
    io.send_to(&request, server).await.expect("it is sent");
    let mut answer = [0; 1500];
    let (length, _) =
        timeout(PATIENCE, io.recv_from(&mut answer)).await.expect("it answers").expect("an answer");
    assert_eq!(answer[4..20], request[4..20], "an answer to this question");
    let granted = answer[..2] == (method | SUCCESS).to_be_bytes();
    assert!(granted, "the server refused method {method}: {:02x?}", &answer[..length]);
}

/// An IPv4 address as TURN writes it (RFC 8489, section 14.2).
fn xored(address: SocketAddr) -> [u8; 8] {
    let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not of IPv4") };
    let mut value = [0, 1, 0, 0, 0, 0, 0, 0];
    value[2..4].copy_from_slice(&(address.port() ^ (MAGIC >> 16) as u16).to_be_bytes());
    value[4..].copy_from_slice(&(Ipv4Addr::to_bits(ip) ^ MAGIC).to_be_bytes());
    value
}

/// The socket.
struct Turned {
    io: UdpSocket,
    state: UdpSocketState,
    server: SocketAddr,
    peer: SocketAddr,
    scratch: Mutex<Vec<u8>>,
}

impl AsyncUdpSocket for Turned {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        WritablePoller::of(self)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        assert_eq!(transmit.destination, self.peer);
        let mut framed = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        framed.clear();
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        for packet in transmit.contents.chunks(segment) {
            framed.extend_from_slice(&CHANNEL.to_be_bytes());
            framed.extend_from_slice(&(packet.len() as u16).to_be_bytes());
            framed.extend_from_slice(packet);
        }
        let framed = Transmit {
            destination: self.server,
            ecn: transmit.ecn,
            contents: &framed,
            segment_size: transmit.segment_size.map(|size| size + HEADER),
            src_ip: None,
        };
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), &framed))
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
                        unframe(buf, meta, self.peer);
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

fn unframe(batch: &mut [u8], meta: &mut RecvMeta, peer: SocketAddr) {
    let stride = meta.stride.max(HEADER + 1);
    let (mut kept, mut start) = (0, 0);
    while start + HEADER < meta.len {
        let end = (start + stride).min(meta.len);
        batch.copy_within(start + HEADER..end, kept);
        kept += end - start - HEADER;
        start = end;
    }
    (meta.len, meta.stride, meta.addr, meta.dst_ip) = (kept, stride - HEADER, peer, None);
}

impl fmt::Debug for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turned").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Writable for Turned {
    async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }
}
