//! Which packets belong to which peer: the table behind virtual addresses.
//!
//! QUIC sees a peer by its [`VirtualAddr`] alone. What it sends there goes by the route in use; what comes by an accepted route
//! is given that address as its source. Everything else about routes is decided elsewhere, by whoever holds the [`PeerPath`].
//!
//! Invariant: no packet gets a virtual source that did not come by a route which was accepted for it, and none that claims such a
//! source itself comes through.
//!
//! [`PeerPath`]: super::peer_path::PeerPath

pub(crate) mod extra;
pub mod peer;
pub(crate) mod plain;
pub(crate) mod stash;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use nearmesh_common::{
    NodeId,
    wire::relay::{ChannelId, read_proof_request},
};
use quinn_udp::RecvMeta;
use thiserror::Error;
use tokio::sync::mpsc;

use self::{
    extra::Extras,
    peer::{LastHeard, PathNews, Peer},
    plain::Plain,
    stash::Stash,
};
use super::counters::{Count, Counters};
use crate::proto::{
    demux::{self, Kind},
    path::{
        Route, SocketIndex, Tag,
        virtual_addr::{Version, VirtualAddr},
    },
    sort::{self, Sorted, Verdict},
};

/// Most peers with changing routes at a time (guess: as many as a busy node talks to, not a scan of the net).
pub const MAX_PEERS: usize = 1024;
/// Most accepted routes and channels of one peer: those that ten candidates on each side make, and some relays (guess).
pub const MAX_ROUTES: usize = 128;

/// Why a peer cannot be given a virtual address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PeerPathError {
    /// There are [`MAX_PEERS`] already.
    #[error("too many peers are reached by changing paths already")]
    TooMany,
    /// Two sessions never have the same tag, but for an accident or an attack.
    #[error("there is a session with the same first bytes already")]
    TagInUse,
}

/// The table, and the packets and sockets that belong to it.
#[derive(Debug)]
pub(crate) struct Paths {
    version: Version,
    /// Whether there is anything in the table: what keeps it out of the way of ordinary packets.
    in_use: AtomicBool,
    table: RwLock<Table>,
    pub(crate) stash: Stash,
    pub(crate) extras: Extras,
    pub(crate) plain: Plain,
    pub(crate) counts: PathCounts,
}

/// What was counted about routes.
#[derive(Debug, Default)]
pub(crate) struct PathCounts {
    pub(crate) unrouted: Count,
    pub(crate) unsent: Count,
    forged: Count,
    strays: Count,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    peers: HashMap<SocketAddr, Arc<Peer>>,
    tags: HashMap<Tag, Arc<Peer>>,
    direct: HashMap<(SocketIndex, Host), Accepted>,
    channels: HashMap<(Host, ChannelId), Channel>,
}

/// An address without what only one machine knows about it (the scope and flow of IPv6).
type Host = (IpAddr, u16);

#[derive(Debug)]
struct Accepted {
    peer: Arc<Peer>,
    proven: bool,
    heard: LastHeard,
}

#[derive(Debug)]
struct Channel {
    peer: Arc<Peer>,
    /// Whether QUIC packets on it are believed; probes are, in any case.
    accepted: bool,
    heard: LastHeard,
}

fn host(addr: SocketAddr) -> Host {
    (addr.ip(), addr.port())
}

impl Paths {
    pub(crate) fn new(local: SocketAddr) -> Self {
        Self {
            version: Version::of(local),
            in_use: AtomicBool::default(),
            table: RwLock::default(),
            stash: Stash::default(),
            extras: Extras::default(),
            plain: Plain::default(),
            counts: PathCounts::default(),
        }
    }

    /// A new peer with an address of its own.
    pub(crate) fn add(
        &self,
        node: NodeId,
        tag: Tag,
    ) -> Result<(Arc<Peer>, mpsc::Receiver<PathNews>), PeerPathError> {
        let mut table = self.write();
        if table.peers.len() >= MAX_PEERS {
            return Err(PeerPathError::TooMany);
        }
        if table.tags.contains_key(&tag) {
            return Err(PeerPathError::TagInUse);
        }
        let addr = table.unused(self.version);
        let (peer, news) = Peer::new(node, tag, addr);
        let peer = Arc::new(peer);
        table.peers.insert(addr.addr(), peer.clone());
        table.tags.insert(tag, peer.clone());
        self.in_use.store(true, SeqCst);
        Ok((peer, news))
    }

    /// Forgets the peer and all its routes and sockets.
    pub(crate) fn remove(&self, peer: &Peer) {
        self.extras.keep(peer.addr, None);
        let mut table = self.write();
        table.peers.remove(&peer.addr.addr());
        table.tags.remove(&peer.tag);
        table.direct.retain(|_, accepted| accepted.peer.addr != peer.addr);
        table.channels.retain(|_, channel| channel.peer.addr != peer.addr);
        self.in_use.store(!table.peers.is_empty(), SeqCst);
        drop(table);
        peer.release();
    }

    /// Whose virtual address `addr` is.
    pub(crate) fn peer(&self, addr: SocketAddr) -> Option<Arc<Peer>> {
        self.read().peers.get(&addr).cloned()
    }

    /// Believes path probes on a channel, but no QUIC packets yet.
    pub(crate) fn listen(&self, peer: &Arc<Peer>, relay: SocketAddr, channel: ChannelId) {
        let mut table = self.write();
        if table.routes_of(peer) < MAX_ROUTES {
            let new = || Channel { peer: peer.clone(), accepted: false, heard: LastHeard::default() };
            table.channels.entry((host(relay), channel)).or_insert_with(new);
        }
    }

    /// Believes QUIC packets that come by `route` to be the peer's. What another peer has, it only loses to a route that
    /// is proven.
    pub(crate) fn accept(&self, peer: &Arc<Peer>, route: Route, proven: bool) {
        if let Route::Relayed { relay, channel } = route {
            self.listen(peer, relay, channel);
        }
        let mut table = self.write();
        match route {
            Route::Direct { socket, to } => {
                let key = (socket, host(to));
                let room = table.routes_of(peer) < MAX_ROUTES;
                match table.direct.get_mut(&key) {
                    Some(known) if known.peer.addr == peer.addr => known.proven |= proven,
                    Some(_) if !proven => {}
                    _ if room => {
                        let accepted = Accepted { peer: peer.clone(), proven, heard: LastHeard::default() };
                        table.direct.insert(key, accepted);
                    }
                    _ => {}
                }
            }
            Route::Relayed { relay, channel } => {
                if let Some(known) = table.channel_of(peer, relay, channel) {
                    known.accepted = true;
                }
            }
        }
    }

    /// Believes no QUIC packets any more that come by `route`.
    pub(crate) fn forget(&self, peer: &Peer, route: Route) {
        let mut table = self.write();
        match route {
            Route::Direct { socket, to } => {
                let key = (socket, host(to));
                if table.direct.get(&key).is_some_and(|accepted| accepted.peer.addr == peer.addr) {
                    table.direct.remove(&key);
                }
            }
            Route::Relayed { relay, channel } => {
                if let Some(known) = table.channel_of(peer, relay, channel) {
                    known.accepted = false;
                }
            }
        }
    }

    /// Knows nothing of a channel any more.
    pub(crate) fn close_channel(&self, peer: &Peer, relay: SocketAddr, channel: ChannelId) {
        let mut table = self.write();
        if table.channel_of(peer, relay, channel).is_some() {
            table.channels.remove(&(host(relay), channel));
        }
    }

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

    pub(crate) fn fill(&self, counters: &mut Counters) {
        counters.unrouted = self.counts.unrouted.get();
        counters.unsent = self.counts.unsent.get();
        counters.forged = self.counts.forged.get();
        counters.strays = self.counts.strays.get();
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
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

impl Table {
    fn unused(&mut self, version: Version) -> VirtualAddr {
        loop {
            let addr = VirtualAddr::number(self.next, version);
            self.next = self.next.wrapping_add(1);
            if !self.peers.contains_key(&addr.addr()) {
                return addr;
            }
        }
    }

    fn channel_of(&mut self, peer: &Peer, relay: SocketAddr, channel: ChannelId) -> Option<&mut Channel> {
        let known = self.channels.get_mut(&(host(relay), channel))?;
        (known.peer.addr == peer.addr).then_some(known)
    }

    fn routes_of(&self, peer: &Peer) -> usize {
        let direct = self.direct.values().filter(|accepted| accepted.peer.addr == peer.addr).count();
        direct + self.channels.values().filter(|channel| channel.peer.addr == peer.addr).count()
    }
}
