//! Which packets of a receive batch are for whom.

use std::{net::SocketAddr, sync::atomic::Ordering::SeqCst};

use nearmesh_common::wire::relay::{ChannelId, read_proof_request};
use quinn_udp::RecvMeta;

use super::{
    Accepted, Channel, Paths, Table, host,
    peer::{PathNews, Peer},
};
use crate::proto::{
    demux::{self, Kind},
    path::{Route, SocketIndex, Tag, virtual_addr::VirtualAddr},
    sort::{self, Sorted, Verdict},
};

impl Paths {
    /// Gives each packet of a receive batch to whom it belongs; what is left in `buf` and `meta` is for quinn. `take` gets
    /// what is neither QUIC nor about routes; `pass_on` gets relayed packets that are not ours, in runs of one channel.
    pub(crate) fn sort(
        &self,
        socket: SocketIndex,
        buf: &mut [u8],
        meta: &mut RecvMeta,
        take: impl FnMut(Kind, &[u8]),
        pass_on: impl FnMut(ChannelId, &mut [u8]),
    ) {
        let batch = &mut buf[..meta.len];
        if VirtualAddr::is_virtual(meta.addr) {
            self.counts.forged.up();
            meta.len = 0;
        } else if demux::is_quic_alone(batch, meta.stride) {
            if self.in_use.load(SeqCst)
                && let Some(accepted) = self.read().direct.get(&(socket, host(meta.addr)))
            {
                accepted.on_received(socket, meta.addr, batch.len());
                as_from(accepted.peer.addr.addr(), meta);
            }
        } else {
            let sorted = self.sort_mixed(socket, batch, meta, take, pass_on);
            self.put_sorted(sorted, meta);
        }
    }

    fn sort_mixed(
        &self,
        socket: SocketIndex,
        batch: &mut [u8],
        meta: &RecvMeta,
        mut take: impl FnMut(Kind, &[u8]),
        pass_on: impl FnMut(ChannelId, &mut [u8]),
    ) -> Sorted<SocketAddr> {
        let table = self.read();
        let plain = table.direct.get(&(socket, host(meta.addr)));
        let mut last_channel: Option<(ChannelId, Option<&Channel>)> = None;
        let judge = |packet: &[u8]| match demux::kind(packet) {
            Kind::Quic => {
                if let Some(accepted) = plain {
                    accepted.on_received(socket, meta.addr, packet.len());
                }
                let source = plain.map_or(meta.addr, |accepted| accepted.peer.addr.addr());
                Verdict::Keep { source, skip: 0 }
            }
            Kind::Relayed(id) => {
                let channel = match last_channel {
                    Some((known, channel)) if known == id => channel,
                    _ => table.channels.get(&(host(meta.addr), id)),
                };
                last_channel = Some((id, channel));
                match channel {
                    Some(_) if read_proof_request(packet).is_some() => {
                        take(Kind::Relayed(id), packet);
                        Verdict::Drop
                    }
                    Some(channel) => self.on_ours(channel, id, packet, meta),
                    None => Verdict::PassOn(id),
                }
            }
            Kind::PathProbe => {
                self.on_probe(&table, Route::Direct { socket, to: meta.addr }, packet);
                Verdict::Drop
            }
            other => {
                take(other, packet);
                Verdict::Drop
            }
        };
        sort::sort(batch, meta.stride, judge, pass_on)
    }

    /// A packet on one of our own channels.
    fn on_ours(
        &self,
        channel: &Channel,
        id: ChannelId,
        packet: &[u8],
        meta: &RecvMeta,
    ) -> Verdict<SocketAddr, ChannelId> {
        let payload = &packet[ChannelId::LENGTH..];
        let route = Route::Relayed { relay: meta.addr, channel: id };
        match demux::kind(payload) {
            Kind::Quic if channel.accepted => {
                channel.peer.on_received(route, &channel.heard, payload.len());
                Verdict::Keep { source: channel.peer.addr.addr(), skip: ChannelId::LENGTH }
            }
            Kind::PathProbe if Tag::in_packet(payload) == Some(channel.peer.tag) => {
                Self::deliver(&channel.peer, route, payload);
                Verdict::Drop
            }
            _ => {
                self.counts.strays.up();
                Verdict::Drop
            }
        }
    }

    fn on_probe(&self, table: &Table, route: Route, probe: &[u8]) {
        match Tag::in_packet(probe).and_then(|tag| table.tags.get(&tag)) {
            Some(peer) => Self::deliver(peer, route, probe),
            None => self.counts.strays.up(),
        }
    }

    fn deliver(peer: &Peer, route: Route, probe: &[u8]) {
        peer.say(PathNews::Probe { route, packet: probe.to_vec() });
    }

    fn put_sorted(&self, sorted: Sorted<SocketAddr>, meta: &mut RecvMeta) {
        let of = *meta;
        for group in sorted.others {
            let mut meta = RecvMeta { stride: group.stride, ..of };
            as_from(group.source, &mut meta);
            if !self.stash.put(meta, group.packets) {
                self.counts.strays.up();
            }
        }
        meta.len = 0;
        if let Some(first) = sorted.first {
            (meta.len, meta.stride) = (first.packets, first.stride);
            as_from(first.source, meta);
        }
    }

    /// A packet came to a socket that is not received from in batches.
    pub(crate) fn on_guessed(&self, socket: SocketIndex, from: SocketAddr, packet: &[u8]) {
        let mut packet = packet.to_vec();
        let mut meta =
            RecvMeta { addr: from, len: packet.len(), stride: packet.len(), ..RecvMeta::default() };
        let stray = |_: Kind, _: &[u8]| self.counts.strays.up();
        self.sort(socket, &mut packet, &mut meta, stray, |_, _| self.counts.strays.up());
        if meta.len == 0 {
            return;
        }
        // The peer may use a route before we know that it is the one to keep.
        if VirtualAddr::is_virtual(meta.addr) && self.stash.put(meta, packet) {
            self.stash.wake();
        } else {
            self.counts.strays.up();
        }
    }
}

/// Lets packets look as if they came from `source`. At which of our addresses they came in is known for real sources only: a
/// virtual one may be reached by another interface next time.
fn as_from(source: SocketAddr, meta: &mut RecvMeta) {
    meta.addr = source;
    if VirtualAddr::is_virtual(source) {
        meta.dst_ip = None;
    }
}

impl Accepted {
    fn on_received(&self, socket: SocketIndex, from: SocketAddr, bytes: usize) {
        self.peer.on_received(Route::Direct { socket, to: from }, &self.heard, bytes);
    }
}
