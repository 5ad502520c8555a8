//! Sending by the route in use, and from more sockets than one.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError},
};

use nearmesh_common::wire::relay::ChannelId;
use quinn_udp::Transmit;
use tokio::net::UdpSocket;
use tracing::debug;

use super::{
    super::{paths::peer::Peer, port::Port, writable::Writable},
    SharedSocket,
};
use crate::proto::{
    framing,
    path::{
        route::{Route, SocketIndex},
        virtual_addr::VirtualAddr,
    },
};

impl SharedSocket {
    /// A batch of QUIC packets to a virtual address. Without a route they vanish, as on a broken link.
    pub(super) fn send_by_route(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let peer = self.paths.peer(transmit.destination);
        let Some((peer, route)) = peer.and_then(|peer| peer.route().map(|route| (peer, route))) else {
            self.paths.counts.unrouted.up();
            return Ok(());
        };
        peer.on_sent(transmit.contents.len());
        // The address that a route leaves from is the system's choice: it may be another than for the last one.
        let transmit = Transmit { destination: route.next_hop(), src_ip: None, ..transmit.clone() };
        match route {
            Route::Direct { socket: SocketIndex::MAIN, .. } => self.main.send(&transmit),
            Route::Direct { socket, .. } => self.send_extra(socket, &transmit),
            Route::Relayed { channel, .. } => self.send_framed(&peer, &transmit, channel),
        }
    }

    fn send_extra(&self, socket: SocketIndex, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(port) = self.paths.extras.port(socket) else {
            self.paths.counts.unrouted.up();
            return Ok(());
        };
        let packet = transmit.segment_size.unwrap_or(transmit.contents.len());
        let sent = send_in_pieces(&port, transmit, packet);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            *self.full.lock().unwrap_or_else(PoisonError::into_inner) = Some(port.io().clone());
        }
        sent
    }

    fn send_framed(&self, peer: &Peer, transmit: &Transmit<'_>, channel: ChannelId) -> io::Result<()> {
        let mut framed = peer.framed.lock().unwrap_or_else(PoisonError::into_inner);
        let packet = transmit.segment_size.unwrap_or(transmit.contents.len());
        framing::frame(transmit.contents, packet, channel, &mut framed);
        let packet = packet + ChannelId::LENGTH;
        let segment_size = transmit.segment_size.map(|_| packet);
        send_in_pieces(&self.main, &Transmit { contents: &framed, segment_size, ..transmit.clone() }, packet)
    }

    /// Sends a packet of our own by `route`, now or never.
    pub(crate) fn send_control(&self, route: Route, packet: &[u8], hops: Option<u8>) {
        let sent = match route {
            Route::Direct { socket: SocketIndex::MAIN, to } => {
                // What the NAT lets in from there afterwards says nothing about strangers.
                self.dial_backs.note_sought(to);
                self.send_main(packet, to, hops)
            }
            Route::Direct { socket, to } => self.paths.extras.send_now(socket, packet, to, hops),
            Route::Relayed { relay, channel } => {
                let mut framed = Vec::with_capacity(ChannelId::LENGTH + packet.len());
                framing::frame(packet, packet.len(), channel, &mut framed);
                self.send_main(&framed, relay, None)
            }
        };
        if let Err(error) = sent {
            debug!(%route, %error, "a packet about a route was not sent");
            self.paths.counts.unsent.up();
        }
    }

    fn send_main(&self, packet: &[u8], to: SocketAddr, hops: Option<u8>) -> io::Result<()> {
        let transmit =
            Transmit { destination: to, ecn: None, contents: packet, segment_size: None, src_ip: None };
        match hops {
            None => self.main.send_now(&transmit),
            Some(hops) => self.main.send_hops(&transmit, hops),
        }
    }

    /// Opens sockets at the address of the port, or at any if it has none of its own.
    pub(crate) fn open_extras(&self, owner: VirtualAddr, count: usize) -> Vec<SocketIndex> {
        let listen = SocketAddr::new(self.local.ip(), 0);
        self.paths.extras.open(&Arc::downgrade(&self.paths), owner, listen, count)
    }

    /// Closes all sockets of `owner` but one, and receives batches from that.
    pub(crate) fn keep_extra(&self, owner: VirtualAddr, keep: Option<SocketIndex>) {
        if self.paths.extras.keep(owner, keep) {
            self.paths.stash.wake();
        }
    }

    /// Receives batches from `socket` from now on.
    pub(crate) fn keep_polling(&self, owner: VirtualAddr, socket: SocketIndex) {
        if self.paths.extras.promote(owner, socket) {
            self.paths.stash.wake();
        }
    }
}

impl Writable for SharedSocket {
    /// Until the port takes packets again, and a further socket that did not.
    async fn writable(&self) -> io::Result<()> {
        self.main.io().writable().await?;
        let full: Option<Arc<UdpSocket>> = self.full.lock().unwrap_or_else(PoisonError::into_inner).take();
        match full {
            Some(socket) => socket.writable().await,
            None => Ok(()),
        }
    }
}

/// One send call for each as many packets as the system takes at a time: nearly always all of them.
fn send_in_pieces(port: &Port, transmit: &Transmit<'_>, packet: usize) -> io::Result<()> {
    let piece = packet * framing::packets_per_send(packet, port.state().max_gso_segments());
    if transmit.contents.len() <= piece {
        return port.send(transmit);
    }
    for contents in transmit.contents.chunks(piece) {
        let segment_size = (contents.len() > packet).then_some(packet);
        port.send(&Transmit { contents, segment_size, ..transmit.clone() })?;
    }
    Ok(())
}
