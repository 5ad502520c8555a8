//! Sessions: paths to peers of which neither they nor this node can be dialled.
//!
//! A session begins with a call, by way of the homes. Both ends run the path machine of `nearmesh_relay` then, and as soon as it has a
//! route, the caller opens a QUIC connection to the peer's virtual address; the machine changes the routes beneath it. The session lives as
//! long as that connection. There is one for each peer: when both call at once the machines agree on whose call it is, and a peer
//! that lost its state and calls anew is answered as soon as the old session is silent.

mod local;
mod relays;
mod running;

use std::{pin::pin, sync::Arc, time::Duration};

use dashmap::DashMap;
use nearmesh_common::{
    NodeId,
    wire::signal::{End, Offer, ProbeKey, SessionId, SignalBody},
};
use nearmesh_relay::{
    DialError, PathHandle, PathStatus, PeerPathError, VirtualAddr,
    io::path_driver::drive,
    proto::path::{Session, Setup},
};
use quinn::Connection;
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    clock::now,
    connect::{ConnectError, Target},
    connections::Lease,
    node::Node,
};
use running::{Running, Start};

/// Sessions at a time (guess: each may hold two relays, and half of what the port has room for stays free).
const MAX_SESSIONS: usize = 512;
/// How long a call may take until there is a connection: as long as the machine takes to find a peer unreachable, and a handshake.
const CALL_PATIENCE: Duration = Duration::from_secs(20);
/// How often somebody waits for the connection of a session looks whether the session is there still.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A call of a peer that has a session already is looked at so often, a second apart, in case the old one turns out to be dead. The
/// machine takes it for dead after three seconds.
const SECOND_LOOKS: u32 = 4;

/// All sessions of this node, by peer.
#[derive(Debug, Default)]
pub struct Sessions(DashMap<NodeId, Arc<Live>>);

/// One session, for those who did not make it.
#[derive(Debug)]
pub struct Live {
    peer: NodeId,
    id: SessionId,
    handle: PathHandle,
    stage: watch::Sender<Stage>,
}

/// How far a session is.
#[derive(Clone, Debug)]
enum Stage {
    /// There is no connection yet.
    Connecting,
    /// It lives as long as this.
    Connected(Connection),
    /// Whoever called does not want the peer any more.
    Abandoned,
    /// Another session with the same peer took its place: by our own call, or by the peer's, which is not told then.
    Replaced {
        /// Whose call it was.
        by_peer: bool,
    },
}

/// What a peer says when it calls.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who.
    pub from: NodeId,
    /// The caller's home.
    pub home: NodeId,
    /// Which session.
    pub session: SessionId,
    /// Authenticates its probes.
    pub key: ProbeKey,
    /// The caller's side.
    pub offer: Offer,
}

impl Live {
    /// The path in use.
    pub fn status(&self) -> PathStatus {
        *self.handle.status().borrow()
    }

    /// The same, as it changes.
    pub fn watch(&self) -> watch::Receiver<PathStatus> {
        self.handle.status()
    }

    /// The connection over it, while there is one that is open.
    fn connection(&self) -> Option<Connection> {
        match &*self.stage.borrow() {
            Stage::Connected(connection) if connection.close_reason().is_none() => Some(connection.clone()),
            _ => None,
        }
    }

    /// Whether the peer called, and has not connected yet.
    fn is_awaited(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Connecting)
    }

    fn replace(&self, by_peer: bool) {
        self.stage.send_replace(Stage::Replaced { by_peer });
    }
}

/// Whoever called is waiting; ends the session if that ends before there is a connection.
struct Calling(Arc<Live>);

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.stage.send_if_modified(|stage| {
            let waiting = matches!(stage, Stage::Connecting);
            if waiting {
                *stage = Stage::Abandoned;
            }
            waiting
        });
    }
}

impl Sessions {
    /// The session with this peer.
    pub fn with(&self, peer: NodeId) -> Option<Arc<Live>> {
        self.0.get(&peer).map(|live| Arc::clone(live.value()))
    }

    /// The session beneath a connection.
    pub fn beneath(&self, peer: NodeId, connection: &Connection) -> Option<Arc<Live>> {
        let address = VirtualAddr::of(connection.remote_address())?;
        self.with(peer).filter(|live| live.handle.path().virtual_addr() == address)
    }

    /// The peer has opened a connection.
    pub fn on_connection(&self, peer: NodeId, connection: &Connection) {
        if let Some(live) = self.beneath(peer, connection) {
            live.stage.send_replace(Stage::Connected(connection.clone()));
        }
    }

    fn insert(&self, live: &Arc<Live>, by_peer: bool) {
        if let Some(before) = self.0.insert(live.peer, Arc::clone(live)) {
            before.replace(by_peer);
        }
    }

    fn remove(&self, peer: NodeId, id: SessionId) {
        self.0.remove_if(&peer, |_, live| live.id == id);
    }
}

impl Node {
    /// Calls a peer and connects to it by whatever path there is.
    ///
    /// # Errors
    /// If it is not there, or no path was found.
    pub async fn call(self: &Arc<Self>, peer: &Target, home: NodeId) -> Result<Lease, ConnectError> {
        let node = peer.node;
        while let Some(theirs) =
            self.sessions.with(node).filter(|live| live.is_awaited() || live.connection().is_some())
        {
            // The peer called first, or its connection does not answer just now.
            if let Ok(lease) = timeout(LOOK_EVERY, self.connections.arrival(node)).await {
                return Ok(lease);
            }
            let current = self.sessions.with(node).is_some_and(|live| live.id == theirs.id);
            if !current {
                break;
            }
        }
        let (calling, failure) = self.begin_call(node, home)?;
        let live = Arc::clone(&calling.0);
        let mut failure = pin!(failure);
        tokio::select! {
            // Both called, and the peer's call won.
            lease = self.connections.arrival(node) => Ok(lease),
            connected = connect_over(self, &live) => {
                let connection = connected?;
                live.stage.send_replace(Stage::Connected(connection.clone()));
                Ok(self.adopt(node, connection))
            }
            Ok(error) = &mut failure => Err(error),
            () = sleep(CALL_PATIENCE) => Err(ConnectError::NoPath(node)),
        }
    }

    fn begin_call(
        self: &Arc<Self>,
        peer: NodeId,
        home: NodeId,
    ) -> Result<(Calling, oneshot::Receiver<ConnectError>), ConnectError> {
        if self.sessions.0.len() >= MAX_SESSIONS {
            return Err(ConnectError::Crowded(PeerPathError::TooMany));
        }
        let local = self.local().ok_or(ConnectError::NoHome)?;
        let setup = Setup {
            session: SessionId(rand::random()),
            key: ProbeKey(rand::random()),
            peer_relay: self.relay_at(home),
        };
        let id = setup.session;
        let session = Session::call(setup, local.clone(), rand::random(), now());
        let (sender, failure) = oneshot::channel();
        let start = Start { peer, id, home, local, failure: Some(sender) };
        let live = self.start_session(session, start)?;
        Ok((Calling(live), failure))
    }

    /// A peer calls.
    pub fn on_call(self: &Arc<Self>, call: Call) {
        let gate = &self.signals.calls;
        if !gate.lock().expect("no holder panics").admit_call(call.from, now()) {
            debug!(from = %call.from.short(), "calls too often");
            return;
        }
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let (from, home, session) = (call.from, call.home, call.session);
            match node.answer(call).await {
                Ok(()) => {}
                Err(ConnectError::Crowded(PeerPathError::TooMany)) => {
                    node.signals.say(home, from, session, SignalBody::End(End::TooMany));
                }
                Err(error) => debug!(from = %from.short(), %error, "a call was not answered"),
            }
        });
    }

    async fn answer(self: &Arc<Self>, call: Call) -> Result<(), ConnectError> {
        let Call { from, home, session, key, offer } = call;
        for look in 0.. {
            let Some(live) = self.sessions.with(from) else { break };
            if live.id == session {
                return Ok(());
            }
            if live.handle.yields_to(session).await {
                break;
            }
            if live.is_awaited() || look >= SECOND_LOOKS {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        if self.sessions.0.len() >= MAX_SESSIONS {
            return Err(ConnectError::Crowded(PeerPathError::TooMany));
        }
        let local = self.local().ok_or(ConnectError::NoHome)?;
        let setup = Setup { session, key, peer_relay: None };
        let machine = Session::answer(setup, offer, local.clone(), rand::random(), now());
        let start = Start { peer: from, id: session, home, local, failure: None };
        self.start_session(machine, start).map(drop)
    }

    fn start_session(self: &Arc<Self>, machine: Session, start: Start) -> Result<Arc<Live>, ConnectError> {
        let (peer, id) = (start.peer, start.id);
        let (path, news) = self.endpoint.peer_path(peer, id).map_err(ConnectError::Crowded)?;
        let (handle, outputs) = drive(machine, &self.endpoint, path, news);
        let stage = watch::Sender::new(Stage::Connecting);
        let live = Arc::new(Live { peer, id, handle, stage });
        let by_peer = start.failure.is_none();
        self.sessions.insert(&live, by_peer);
        let running = Running::new(self, &live, outputs, start);
        tokio::spawn(running.run());
        Ok(live)
    }
}

/// A connection over a session's path, as soon as it has one. Goes on for ever where only time can tell.
async fn connect_over(node: &Node, live: &Live) -> Result<Connection, ConnectError> {
    loop {
        match node.endpoint.dial_path(live.handle.path()).await {
            Ok(connection) => return Ok(connection),
            Err(DialError::NoRoute | DialError::NoAnswer) => {}
            Err(_) if !live.is_awaited() => std::future::pending().await,
            Err(error) => return Err(ConnectError::Handshake { node: live.peer, error }),
        }
    }
}
