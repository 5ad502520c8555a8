//! Sockets beside the node's own port, to ask from without the port's NAT being opened to whom is asked.

use std::{io, net::SocketAddr, sync::Arc};

use socket2::SockRef;
use tokio::{net::UdpSocket, task::AbortHandle};
use tracing::debug;

use super::{
    port::bind_plain,
    probe::{Probe, Probes, Query, run},
};
use crate::proto::{nat::Token, stun_message};

/// Errors in a row after which a socket is no longer read (guess).
const MAX_ERRORS: u32 = 16;

/// A socket that speaks STUN, as a client, and nothing else. Clones are the same socket; it is closed with the last one.
#[derive(Clone, Debug)]
pub struct Aside(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    io: Arc<UdpSocket>,
    probes: Arc<Probes>,
    reader: AbortHandle,
}

impl Aside {
    /// Opens one at `listen`, whose port is 0. Needs a tokio runtime.
    pub(crate) fn open(listen: SocketAddr) -> io::Result<Self> {
        let io = Arc::new(bind_plain(listen)?);
        let probes = Arc::new(Probes::default());
        let reader = tokio::spawn(read(io.clone(), probes.clone())).abort_handle();
        Ok(Self(Arc::new(Inner { io, probes, reader })))
    }

    /// As [`Endpoint::probe`](super::endpoint::Endpoint::probe), from here, with so many answers if none is lost.
    pub async fn probe(&self, to: SocketAddr, rounds: u32) -> Option<Probe> {
        run(&self.0.probes, Query::rounds(to, rounds), |packet, to| self.send(packet, to)).await
    }

    /// Asks `to` once.
    pub async fn observe(&self, to: SocketAddr) -> Option<Probe> {
        run(&self.0.probes, Query::once(to), |packet, to| self.send(packet, to)).await
    }

    /// Asks `to` from here for an answer that comes to `other`, whose port is `port` from outside (RFC 5780, RESPONSE-PORT).
    pub async fn observe_at(&self, other: &Aside, port: u16, to: SocketAddr) -> Option<Probe> {
        let query = Query::answered_at(port, to);
        run(&other.0.probes, query, |packet, to| self.send(packet, to)).await
    }

    /// Sends a token.
    pub fn send_token(&self, to: SocketAddr, token: Token) {
        self.send(&token.packet(), to);
    }

    fn send(&self, packet: &[u8], to: SocketAddr) {
        // Past tokio, which takes a new socket for full until it has asked the system.
        if let Err(error) = SockRef::from(&*self.0.io).send_to(packet, &to.into()) {
            debug!(%to, %error, "a packet was not sent from beside the port");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(io: Arc<UdpSocket>, probes: Arc<Probes>) {
    let mut packet = [0; stun_message::MAX_MESSAGE_BYTES];
    let mut errors = 0;
    while errors < MAX_ERRORS {
        match io.recv_from(&mut packet).await {
            Ok((length, from)) => {
                errors = 0;
                if stun_message::is_response(&packet[..length]) {
                    probes.deliver(from, &packet[..length]);
                }
            }
            // A port that is closed answers with ICMP, which comes out here.
            Err(_) => errors += 1,
        }
    }
}
