//! Connections to other members: one QUIC connection serves everything two nodes have to say to each other, whoever opened it.
//!
//! Whoever needs a peer holds a [`Lease`]; as long as one lives, further askers share its connection. A connection belongs to
//! the node that opened it: that node alone closes it, a while after nobody needs it any more. Streams that the
//! peer opens on it need it too. So does the peer itself, where it holds a lease on a connection that is not its own: it says so with
//! [`Open::Keep`], and has the lease when that is answered. Thus no connection is closed under
//! anybody who uses it: who comes too late to keep one hears it at once, and opens another.

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use nearmesh_common::{
    NodeId,
    frame::{MAX_OPEN_FRAME, read_frame, write_frame},
    wire::{Open, stream::Kept},
};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, OwnedMutexGuard},
    time::timeout,
};
use tracing::debug;

/// How long a connection that nobody needs stays open, so that who pings and then fetches finds it there (guess: a person types).
const LINGER: Duration = Duration::from_secs(15);
/// How long the peer may take to answer `Keep` (guess: a busy machine on the other side of the earth).
const KEEP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a peer may keep a connection of ours without asking anew (guess: a transfer's pause, not for ever).
const KEEP_LIFE: Duration = Duration::from_secs(3600);

/// Why a connection is closed, as the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// Nothing more to say.
    Done = 0,
    /// The peer broke the protocol.
    Misbehaved = 1,
    /// The peer's certificate was revoked.
    Revoked = 2,
    /// Another connection took this one's place.
    Replaced = 3,
    /// This node is going down.
    Leaving = 4,
    /// This peer has too many connections open.
    TooMany = 5,
    /// Nothing was heard of the peer.
    Silent = 6,
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        VarInt::from_u32(code as u32)
    }
}

/// A share in a connection.
#[derive(Debug)]
pub struct Lease(Arc<Held>);

#[derive(Debug)]
struct Held {
    connection: Connection,
    hold: Hold,
    /// How many leases there are; what lingers has none.
    leases: AtomicUsize,
}

/// What keeps a connection open.
#[derive(Debug)]
enum Hold {
    /// It is ours.
    Own,
    /// It is the peer's, which knows that we need it until this stream ends.
    Kept { _keep: SendStream },
}

impl Lease {
    fn new(held: Arc<Held>) -> Self {
        held.leases.fetch_add(1, Ordering::Relaxed);
        Self(held)
    }

    /// The connection. Do not keep it longer than the lease.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// For those who need the connection only while somebody else does.
    pub fn downgrade(&self) -> WeakLease {
        WeakLease(Arc::downgrade(&self.0))
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let last = self.0.leases.fetch_sub(1, Ordering::Relaxed) == 1;
        if last && let Ok(runtime) = Handle::try_current() {
            let held = Arc::clone(&self.0);
            runtime.spawn(async move {
                let connection = held.connection.clone();
                let _ = timeout(LINGER, connection.closed()).await;
                drop(held);
            });
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if matches!(self.hold, Hold::Own) {
            self.connection.close(CloseCode::Done.into(), b"done");
        }
    }
}

/// A connection, as long as it is open.
#[derive(Clone, Debug)]
pub struct WeakLease(Weak<Held>);

impl WeakLease {
    /// A share in it, unless it is being closed.
    pub fn upgrade(&self) -> Option<Lease> {
        self.0.upgrade().map(Lease::new)
    }

    /// The connection, to look at: that keeps it open no longer.
    fn peek(&self) -> Option<Connection> {
        self.0.upgrade().map(|held| held.connection.clone())
    }
}

/// All connections to members, by peer.
#[derive(Debug, Default)]
pub struct Connections {
    /// Mostly one for each peer; two where both ways led to it, or where one that failed is still in somebody's hands. The newest last.
    leased: DashMap<NodeId, Vec<WeakLease>>,
    /// Those that the peer opened, the newest last; bounded by whoever accepts them.
    accepted: DashMap<NodeId, Vec<Connection>>,
    arrived: Notify,
    /// Who is being connected to.
    turns: DashMap<NodeId, Arc<Mutex<()>>>,
}

/// The right to connect to a peer. Others who want to wait, and find what came of it.
pub struct Turn<'a> {
    connections: &'a Connections,
    peer: NodeId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        self.connections.turns.remove_if(&self.peer, |_, turn| Arc::strong_count(turn) == 1);
    }
}

impl Connections {
    /// Waits until nobody else is connecting to `peer`.
    pub async fn turn(&self, peer: NodeId) -> Turn<'_> {
        let lock = Arc::clone(&self.turns.entry(peer).or_default());
        // There before it is waited for: who gives up leaves nothing behind.
        let mut turn = Turn { connections: self, peer, guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    /// A share in a connection to `peer` that is leased already, or has just been.
    pub fn leased(&self, peer: NodeId) -> Option<Lease> {
        let leases = self.leased.get(&peer)?.clone();
        let mut newest_first = leases.iter().rev().filter_map(WeakLease::upgrade);
        newest_first.find(|lease| lease.connection().close_reason().is_none())
    }

    /// A lease on a connection that `peer` opened, if there is one and the peer still has it.
    pub async fn keep(&self, peer: NodeId) -> Option<Lease> {
        let newest = {
            let connections = self.accepted.get(&peer)?;
            connections.iter().rev().find(|connection| connection.close_reason().is_none())?.clone()
        };
        match timeout(KEEP_TIMEOUT, ask_to_keep(&newest)).await {
            Ok(Some(keep)) => Some(self.lease(peer, newest, Hold::Kept { _keep: keep })),
            _ => {
                debug!(peer = %peer.short(), "its own connection is not there any more");
                None
            }
        }
    }

    /// Takes over a connection to `peer` that this node opened.
    pub fn adopt(&self, peer: NodeId, connection: Connection) -> Lease {
        self.lease(peer, connection, Hold::Own)
    }

    /// A connection that `peer` opened, until [`Connections::accepted_ended`].
    pub fn accepted(&self, peer: NodeId, connection: Connection) {
        self.accepted.entry(peer).or_default().push(connection);
        self.arrived.notify_waiters();
    }

    /// Such a connection is closed.
    pub fn accepted_ended(&self, peer: NodeId, ended: &Connection) {
        if let Some(mut connections) = self.accepted.get_mut(&peer) {
            connections.retain(|connection| connection.stable_id() != ended.stable_id());
        }
        self.accepted.remove_if(&peer, |_, connections| connections.is_empty());
    }

    /// A lease on a connection that `peer` opens from now on, or has opened a moment ago.
    pub async fn arrival(&self, peer: NodeId) -> Lease {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(lease) = self.keep(peer).await {
                return lease;
            }
            arrived.await;
        }
    }

    /// A connection to `peer` that is open, whoever opened it.
    pub fn open(&self, peer: NodeId) -> Option<Connection> {
        let is_open = |connection: &Connection| connection.close_reason().is_none();
        let held = self.leased.get(&peer).map(|leases| leases.clone()).unwrap_or_default();
        held.iter().rev().filter_map(WeakLease::peek).find(is_open).or_else(|| {
            let accepted = self.accepted.get(&peer)?;
            accepted.iter().rev().find(|connection| is_open(connection)).cloned()
        })
    }

    /// Every connection, ours and the peers', with whose it is.
    pub fn all(&self) -> Vec<(NodeId, Connection)> {
        let leased = self.leased.iter().flat_map(|entry| {
            let peer = *entry.key();
            entry.value().iter().filter_map(|lease| Some((peer, lease.peek()?))).collect::<Vec<_>>()
        });
        let accepted = self.accepted.iter().flat_map(|entry| {
            let peer = *entry.key();
            entry.value().iter().map(|connection| (peer, connection.clone())).collect::<Vec<_>>()
        });
        leased.chain(accepted).collect()
    }

    /// Whether one is open with this address.
    pub fn is_at(&self, address: SocketAddr) -> bool {
        let there = |connection: &Connection| {
            let remote = connection.remote_address();
            (remote.ip(), remote.port()) == (address.ip(), address.port())
        };
        self.all().iter().any(|(_, connection)| there(connection) && connection.close_reason().is_none())
    }

    fn lease(&self, peer: NodeId, connection: Connection, hold: Hold) -> Lease {
        let lease = Lease::new(Arc::new(Held { connection, hold, leases: AtomicUsize::new(0) }));
        self.leased.retain(|_, leases| {
            leases.retain(|weak| weak.0.strong_count() > 0);
            !leases.is_empty()
        });
        self.leased.entry(peer).or_default().push(lease.downgrade());
        lease
    }
}

async fn ask_to_keep(connection: &Connection) -> Option<SendStream> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    write_frame(&mut send, &Open::Keep).await.ok()?;
    read_frame::<Kept>(&mut receive, MAX_OPEN_FRAME).await.ok()?;
    Some(send)
}

/// Keeps a connection for the peer until it says that it does not need it any more.
pub async fn keep_for_peer(lease: Option<Lease>, mut send: SendStream, mut receive: RecvStream) {
    if write_frame(&mut send, &Kept).await.is_ok() {
        let _ = send.finish();
        let _ = timeout(KEEP_LIFE, receive.read_to_end(0)).await;
    }
    drop(lease);
}
