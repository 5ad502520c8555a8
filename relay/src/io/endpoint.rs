//! The port as the rest of the node sees it: dial, accept, probe.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use nearmesh_common::{
    NodeId,
    dialable::is_dialable,
    pace::Pace,
    wire::{relay::RelayRequest, signal::SessionId},
};
use quinn::{ClientConfig, ConnectError, Connection, ConnectionError, EndpointConfig, TokioRuntime};
use thiserror::Error;
use tokio::{
    sync::{Mutex, mpsc},
    task::AbortHandle,
    time::timeout,
};
use tracing::debug;

pub use super::acceptor::Accepted;
use super::{
    acceptor::{AcceptCounts, Acceptor, Current, HANDSHAKE_LIMIT, MAX_WAITING},
    aside::Aside,
    counters::Counters,
    dial_back::{self, DialledBack},
    forward::Forwarding,
    peer_path::{PathNews, PeerPath, PeerPathError},
    probe::{self, PROBE_ROUNDS, Probe, Query},
    reservation::Reservation,
    socket::SharedSocket,
    tls::{self, QuicConfigs, TlsConfigs, TlsError},
};
use crate::proto::{
    nat::Token,
    path::{Route, Tag, virtual_addr::VirtualAddr},
};

/// Why the port could not be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// The system said no.
    #[error("no UDP socket at {listen}: {source}")]
    Socket {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The TLS configurations cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a connection was not made.
#[derive(Debug, Error)]
pub enum DialError {
    /// Nothing was sent.
    #[error("the address or the name cannot be dialed: {0}")]
    Address(#[from] ConnectError),
    /// IPv4 from an IPv6 port, or the other way round.
    #[error("an address of the other IP version cannot be reached from this port")]
    IpVersion,
    /// The TLS configuration cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gave no port to dial from.
    #[error("no UDP socket: {0}")]
    Socket(#[source] io::Error),
    /// No way to the peer was found in time.
    #[error("there is no path to the peer")]
    NoRoute,
    /// No answer in time.
    #[error("nobody answered")]
    NoAnswer,
    /// The other side is not who it should be, or does not want us.
    #[error("the handshake failed: {0}")]
    Handshake(#[source] ConnectionError),
}

/// The port. Clones are the same port; it is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    quinn: quinn::Endpoint,
    socket: Arc<SharedSocket>,
    local: SocketAddr,
    current: Current,
    accepted: Mutex<mpsc::Receiver<Accepted>>,
    accept_counts: Arc<AcceptCounts>,
    acceptor: AbortHandle,
    forwarder: AbortHandle,
    aside: std::sync::Mutex<Option<Aside>>,
}

impl Endpoint {
    /// Opens the port and begins to answer: STUN and handshakes. Needs a tokio runtime.
    pub fn bind(listen: SocketAddr, tls: TlsConfigs) -> Result<Self, BindError> {
        let configs = QuicConfigs::new(tls, None)?;
        let failed = |source| BindError::Socket { listen, source };
        let socket = Arc::new(SharedSocket::bind(listen).map_err(failed)?);
        let mut config = EndpointConfig::default();
        // The fixed bit is how packets are told apart.
        config.grease_quic_bit(false);
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            config,
            Some((*configs.server).clone()),
            socket.clone(),
            Arc::new(TokioRuntime),
        )
        .map_err(failed)?;
        let local = quinn.local_addr().map_err(failed)?;
        let current: Current = Arc::new(RwLock::new(Arc::new(configs)));
        let accept_counts = Arc::new(AcceptCounts::default());
        let (sender, accepted) = mpsc::channel(MAX_WAITING);
        let acceptor = Acceptor {
            quinn: quinn.clone(),
            socket: socket.clone(),
            current: current.clone(),
            counts: accept_counts.clone(),
            accepted: sender,
            forwarding: socket.forwarding().clone(),
        };
        let acceptor = tokio::spawn(acceptor.run()).abort_handle();
        let forwarder = tokio::spawn(socket.forwarding().clone().run()).abort_handle();
        let accepted = Mutex::new(accepted);
        Ok(Self {
            inner: Arc::new(Inner {
                quinn,
                socket,
                local,
                current,
                accepted,
                accept_counts,
                acceptor,
                forwarder,
                aside: std::sync::Mutex::default(),
            }),
        })
    }

    /// Connections made from now on use these, in both directions. Those that are open stay open.
    pub fn set_tls(&self, tls: TlsConfigs) -> Result<(), TlsError> {
        let renewed = QuicConfigs::new(tls, Some(&self.configs()))?;
        *self.inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        Ok(())
    }

    /// Connects to a member and verifies that it is `node`.
    ///
    /// In TLS 1.3 the other side looks at our certificate last: if it does not trust it, it closes the connection just after
    /// this has returned it.
    pub async fn dial(&self, node: NodeId, addr: SocketAddr) -> Result<Connection, DialError> {
        self.dial_at(Pace::Quick, node, addr).await
    }

    /// The same for a connection whose end need not be noticed as soon.
    pub async fn dial_at(&self, pace: Pace, node: NodeId, addr: SocketAddr) -> Result<Connection, DialError> {
        self.connect(self.configs().client(pace), node, addr).await
    }

    /// Connects to an authority as a newcomer; `client_cfg` trusts the root that the ticket names.
    pub async fn dial_enrol(
        &self,
        addr: SocketAddr,
        node: NodeId,
        client_cfg: Arc<rustls::ClientConfig>,
    ) -> Result<Connection, DialError> {
        self.connect(tls::enrol_client(client_cfg)?, node, addr).await
    }

    /// The next one who dialled us, handshake completed; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Accepted> {
        let accepted = self.inner.accepted.lock().await.recv().await?;
        let (Accepted::Member(connection) | Accepted::Enrol(connection)) = &accepted;
        self.inner.socket.dial_backs().note_answered(connection.remote_address());
        Some(accepted)
    }

    /// Measures the round trip to `addr` and learns our own address as seen from there, with a few STUN requests within
    /// a second. `None` if nothing came back.
    pub async fn probe(&self, addr: SocketAddr) -> Option<Probe> {
        self.observe_with(Query::rounds(addr, PROBE_ROUNDS)).await
    }

    /// Asks `addr` once as whom it sees this port.
    pub async fn observe(&self, addr: SocketAddr) -> Option<Probe> {
        self.observe_with(Query::once(addr)).await
    }

    /// The same as [`probe`](Self::probe), with so many answers, from another socket: whom it asks remains a stranger to this port's NAT.
    /// The address that it learns is of no other use.
    pub async fn probe_aside(&self, addr: SocketAddr, rounds: u32) -> Option<Probe> {
        if addr.is_ipv4() != self.inner.local.is_ipv4() {
            return None;
        }
        match self.aside() {
            Some(aside) => aside.probe(addr, rounds).await,
            None => self.observe_with(Query::rounds(addr, rounds)).await,
        }
    }

    /// A fresh socket on the port's interface, to ask from.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn open_aside(&self) -> io::Result<Aside> {
        Aside::open(SocketAddr::new(self.inner.local.ip(), 0))
    }

    /// Sends `token` to `to` from a port that is used for nothing else, and says from which; `None` if it could not be sent. That port
    /// answers STUN binding requests for three seconds.
    pub async fn dial_back(&self, to: SocketAddr, token: Token) -> Option<u16> {
        if to.is_ipv4() != self.inner.local.is_ipv4() || !is_dialable(to) {
            return None;
        }
        dial_back::send(&self.inner.socket, to, token).await
    }

    /// The next token that came at this port.
    pub async fn dialled_back(&self) -> Option<DialledBack> {
        self.inner.socket.dial_backs().next().await
    }

    /// Sends `token` to `to` from this port.
    pub fn send_token(&self, to: SocketAddr, token: Token) {
        self.inner.socket.dial_backs().note_sought(to);
        self.inner.socket.send_now(&token.packet(), to);
    }

    /// Whether this port has dialled, or asked, that IP address in the last minutes.
    pub fn has_sought(&self, address: SocketAddr) -> bool {
        self.inner.socket.dial_backs().is_sought(address)
    }

    /// Gives `node` a virtual address, over which connections may be made and accepted, whose packets take the
    /// route that the handle says. Path probes of `session` come out of the receiver.
    pub fn peer_path(
        &self,
        node: NodeId,
        session: SessionId,
    ) -> Result<(PeerPath, mpsc::Receiver<PathNews>), PeerPathError> {
        let (peer, news) = self.inner.socket.paths().add(node, Tag::of(&session))?;
        Ok((PeerPath::new(peer, self.inner.socket.clone()), news))
    }

    /// Asks `is_plain` whether there is a plain connection with an address, before packets from there are taken for those of a peer that
    /// only seems to be there. Asked for each new address of a peer, so it should be quick. The first one stays.
    pub fn ask_where_plain(&self, is_plain: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) {
        self.inner.socket.paths().plain.ask(Box::new(is_plain));
    }

    /// Connects to the peer of `path` and verifies that it is the node that it should be, as soon as there is a route.
    pub async fn dial_path(&self, path: &PeerPath) -> Result<Connection, DialError> {
        let mut route = path.watch_route();
        let routed = async { route.wait_for(Option::is_some).await.is_ok() };
        if !timeout(HANDSHAKE_LIMIT, routed).await.unwrap_or(false) {
            return Err(DialError::NoRoute);
        }
        let config = self.configs().path_client(path.peer().epoch.clone());
        let connection = self.connect(config, path.node(), path.virtual_addr().addr()).await?;
        path.adopt(connection.clone());
        Ok(connection)
    }

    /// Who has the virtual address `addr`, and so who the other end of a connection with it must prove to be.
    pub fn peer_of(&self, addr: VirtualAddr) -> Option<NodeId> {
        self.inner.socket.paths().peer(addr.addr()).map(|peer| peer.node)
    }

    /// The address at the other end of `connection`, as it is now; `None` if its packets are relayed, or have no route.
    pub fn direct_remote(&self, connection: &Connection) -> Option<SocketAddr> {
        let remote = connection.remote_address();
        if VirtualAddr::of(remote).is_none() {
            return Some(remote);
        }
        match self.inner.socket.paths().peer(remote)?.route()? {
            Route::Direct { to, .. } => Some(to),
            Route::Relayed { .. } => None,
        }
    }

    /// Asks the relay at the other end of a connection of this port for a reservation. It ends when it is dropped.
    pub fn reserve(&self, relay: &Connection, request: RelayRequest) -> Reservation {
        Reservation::new(relay, request, self.inner.socket.proofs())
    }

    /// What this port forwards for others: nothing, until it is given limits.
    pub fn forwarding(&self) -> &Forwarding {
        self.inner.socket.forwarding()
    }

    /// Where the port is bound: with port 0 asked for, the one that was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// What the port has seen.
    pub fn counters(&self) -> Counters {
        let mut counters = self.inner.socket.counters();
        self.inner.accept_counts.fill(&mut counters);
        counters
    }

    /// Closes all connections and accepts no more; returns when the peers were told, or were too slow to be.
    pub async fn close(&self) {
        self.inner.quinn.close(0u32.into(), b"closing");
        self.inner.quinn.wait_idle().await;
    }

    async fn connect(
        &self,
        config: ClientConfig,
        node: NodeId,
        addr: SocketAddr,
    ) -> Result<Connection, DialError> {
        if addr.is_ipv4() != self.inner.local.is_ipv4() {
            return Err(DialError::IpVersion);
        }
        self.inner.socket.dial_backs().note_sought(addr);
        self.inner.socket.paths().make_way(addr);
        let connecting = self.inner.quinn.connect_with(config, addr, &node.dns_name())?;
        match timeout(HANDSHAKE_LIMIT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(ConnectionError::TimedOut)) | Err(_) => Err(DialError::NoAnswer),
            Ok(Err(error)) => Err(DialError::Handshake(error)),
        }
    }

    async fn observe_with(&self, query: Query) -> Option<Probe> {
        let to = query.to();
        if to.is_ipv4() != self.inner.local.is_ipv4() {
            return None;
        }
        let socket = &self.inner.socket;
        socket.dial_backs().note_sought(to);
        probe::run(socket.probes(), query, |packet, to| socket.send_now(packet, to)).await
    }

    fn aside(&self) -> Option<Aside> {
        let mut aside = self.inner.aside.lock().unwrap_or_else(PoisonError::into_inner);
        if aside.is_none() {
            *aside = self.open_aside().inspect_err(|error| debug!(%error, "no socket beside the port")).ok();
        }
        aside.clone()
    }

    fn configs(&self) -> Arc<QuicConfigs> {
        self.inner.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.forwarder.abort();
        self.quinn.close(0u32.into(), b"closing");
    }
}
