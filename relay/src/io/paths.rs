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
mod sorting;
pub(crate) mod stash;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use nearmesh_common::{NodeId, wire::relay::ChannelId};
use thiserror::Error;
use tokio::sync::mpsc;

use self::{
    extra::Extras,
    peer::{LastHeard, PathNews, Peer},
    plain::Plain,
    stash::Stash,
};
use super::counters::{Count, Counters};
use crate::proto::path::{
    Route, SocketIndex, Tag,
    virtual_addr::{Version, VirtualAddr},
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
