//! A UDP socket that moves packets in batches (GSO, GRO; without them QUIC has a quarter of its speed).

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket as StdSocket},
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll, ready},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};
use tracing::info;

/// Bytes of socket buffer that are asked for in each direction. With Linux's default of 212 kB a path of 40 ms carries
/// 67 Mbit/s instead of 212 (measured).
pub const SOCKET_BUFFER: usize = 4 << 20;

/// The socket.
#[derive(Debug)]
pub(crate) struct Port {
    io: Arc<UdpSocket>,
    state: UdpSocketState,
    /// Held for writing while packets leave with fewer hops than usual: that is a property of the socket, not of a packet.
    hops: RwLock<()>,
}

/// Bytes of buffer that the system granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) receive: usize,
    pub(crate) send: usize,
}

impl Port {
    /// Binds exactly `listen`: an IPv6 address never means IPv4 too. Needs a tokio runtime.
    pub(crate) fn bind(listen: SocketAddr) -> io::Result<(Self, Granted)> {
        Self::with(Arc::new(bind_plain(listen)?))
    }

    /// The same with a socket that is there already.
    pub(crate) fn with(io: Arc<UdpSocket>) -> io::Result<(Self, Granted)> {
        let state = UdpSocketState::new((&*io).into())?;
        let granted = ask_for_buffers(&state, &io);
        Ok((Self { io, state, hops: RwLock::default() }, granted))
    }

    pub(crate) fn io(&self) -> &Arc<UdpSocket> {
        &self.io
    }

    pub(crate) fn state(&self) -> &UdpSocketState {
        &self.state
    }

    /// Sends, or says that the socket is full and when it no longer is.
    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let _usual = self.hops.read().unwrap_or_else(PoisonError::into_inner);
        self.io.try_io(Interest::WRITABLE, || self.state.send((&*self.io).into(), transmit))
    }

    /// Sends now or never: past tokio, which does not know yet that a fresh socket is writable.
    pub(crate) fn send_now(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let _usual = self.hops.read().unwrap_or_else(PoisonError::into_inner);
        self.state.try_send((&*self.io).into(), transmit)
    }

    /// Sends now or never a packet that dies after `hops` routers; no other packet leaves the socket meanwhile.
    pub(crate) fn send_hops(&self, transmit: &Transmit<'_>, hops: u8) -> io::Result<()> {
        let _unusual = self.hops.write().unwrap_or_else(PoisonError::into_inner);
        with_hops(&self.io, transmit.destination, hops, || self.state.try_send((&*self.io).into(), transmit))
    }

    /// One receive call's worth, or a promise to wake the caller.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let receive = || self.state.recv((&*self.io).into(), bufs, meta);
            match self.io.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

/// A nonblocking socket without anything special.
pub(crate) fn bind_plain(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    UdpSocket::from_std(StdSocket::from(socket))
}

/// Runs `send` with another number of hops (the TTL of IPv4).
pub(crate) fn with_hops(
    io: &UdpSocket,
    to: SocketAddr,
    hops: u8,
    send: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let socket = SockRef::from(io);
    if to.is_ipv4() {
        let usual = socket.ttl_v4()?;
        socket.set_ttl_v4(hops.into())?;
        let sent = send();
        socket.set_ttl_v4(usual).and(sent)
    } else {
        let usual = socket.unicast_hops_v6()?;
        socket.set_unicast_hops_v6(hops.into())?;
        let sent = send();
        socket.set_unicast_hops_v6(usual).and(sent)
    }
}

fn ask_for_buffers(state: &UdpSocketState, socket: &UdpSocket) -> Granted {
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
pub(crate) fn usable(reported: io::Result<usize>) -> usize {
    let reported = reported.unwrap_or(0);
    if cfg!(target_os = "linux") { reported / 2 } else { reported }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_packet_with_few_hops_leaves_and_the_next_one_has_the_usual_number_again() {
        for (here, hops) in [("127.0.0.1:0", 2), ("[::1]:0", 1)] {
            let here: SocketAddr = here.parse().expect("an address");
            let (Ok((alice, _)), Ok(bob)) = (Port::bind(here), StdSocket::bind(here)) else {
                eprintln!("skipped: there is no {here} on this machine");
                continue;
            };
            bob.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            let to = bob.local_addr().expect("an address");
            let socket = SockRef::from(&**alice.io());
            let usual =
                || if to.is_ipv4() { socket.ttl_v4() } else { socket.unicast_hops_v6() }.expect("hops");
            let before = usual();
            let transmit =
                Transmit { destination: to, ecn: None, contents: b"hello", segment_size: None, src_ip: None };
            alice.send_hops(&transmit, hops).expect("it is sent");
            assert_eq!(usual(), before);
            let mut packet = [0; 10];
            assert_eq!(bob.recv(&mut packet).expect("a packet"), 5, "the loopback has no routers");
        }
    }

    #[test]
    fn hops_are_set_only_while_the_packet_is_sent() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let _inside = runtime.enter();
        let to: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        let io = bind_plain("127.0.0.1:0".parse().expect("an address")).expect("a socket");
        let usual = SockRef::from(&io).ttl_v4().expect("hops");
        let sent = with_hops(&io, to, 3, || {
            assert_eq!(SockRef::from(&io).ttl_v4().expect("hops"), 3);
            Err(io::ErrorKind::WouldBlock.into())
        });
        assert_eq!(sent.expect_err("it was not sent").kind(), io::ErrorKind::WouldBlock);
        assert_eq!(SockRef::from(&io).ttl_v4().expect("hops"), usual);
    }
}
