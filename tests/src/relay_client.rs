//! A member as relays see it, spoken by hand: a UDP port whose QUIC goes to relays as it is and to a peer in packets that begin with a
//! channel id, with ways to send whatever else a test wants.
//!
//! The peer has an address that does not exist; what quinn sends there is framed and goes to the relay, and what the relay
//! sends on that channel comes from there.

mod socket;

use std::{net::SocketAddr, sync::Arc};

use nearmesh_common::{
    NodeId,
    identity::Membership,
    pace::Pace,
    wire::relay::{ChannelId, RelayRequest},
};
use nearmesh_relay::{
    TlsConfigs,
    io::{
        reservation::{Reservation, ReservationEvent},
        transport,
    },
};
use quinn::{
    ClientConfig, Connection, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};

use crate::process::PATIENCE;
use socket::Framing;

/// A packet that was relayed to this port on no channel of its own, as it came.
pub type Stray = (SocketAddr, Vec<u8>);

/// The port of one member.
pub struct RelayClient {
    /// Which node.
    pub id: NodeId,
    endpoint: quinn::Endpoint,
    socket: Arc<Framing>,
    client: ClientConfig,
    strays: Mutex<mpsc::Receiver<Stray>>,
}

impl RelayClient {
    /// A port on loopback. Needs a tokio runtime.
    pub fn of(membership: &Membership) -> Self {
        let tls = TlsConfigs {
            server: membership.server_config().expect("a member's TLS"),
            client: membership.client_config().expect("a member's TLS"),
            enrol_server: None,
        };
        let crypto = QuicClientConfig::try_from(tls.client).expect("a configuration");
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(transport_config(transport::MAX_MTU));
        let crypto = QuicServerConfig::try_from(tls.server).expect("a configuration");
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(transport_config(transport::MAX_MTU));
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let (socket, strays) = Framing::bind();
        let socket = Arc::new(socket);
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            config,
            Some(server),
            socket.clone(),
            Arc::new(TokioRuntime),
        );
        let endpoint = endpoint.expect("an endpoint");
        Self { id: membership.node(), endpoint, socket, client, strays: Mutex::new(strays) }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().expect("it is bound")
    }

    /// A connection to a node.
    pub async fn connect(&self, node: NodeId, address: SocketAddr) -> Connection {
        let connecting =
            self.endpoint.connect_with(self.client.clone(), address, &node.dns_name()).expect("it dials");
        timeout(PATIENCE, connecting).await.expect("an answer in time").expect("a connection")
    }

    /// The next connection that somebody opens to this port.
    pub async fn accept(&self) -> Connection {
        let incoming = timeout(PATIENCE, self.endpoint.accept()).await.expect("somebody comes in time");
        incoming.expect("the endpoint is open").await.expect("a connection")
    }

    /// Asks for a reservation at the other end of a connection of this port.
    pub fn reserve(&self, relay: &Connection, request: RelayRequest) -> Reservation {
        Reservation::new(relay, request, self.socket.proofs())
    }

    /// From now on a peer is reached at the answer, through this relay and on this channel.
    pub fn route(&self, relay: SocketAddr, channel: ChannelId) -> SocketAddr {
        self.socket.route(relay, channel)
    }

    /// Sends bytes as they are.
    pub async fn send(&self, to: SocketAddr, packet: &[u8]) {
        self.socket.send_raw(to, packet).await;
    }

    /// The next packet that came on no channel of this port; `None` if none has come yet.
    pub async fn stray(&self) -> Option<Stray> {
        self.strays.lock().await.try_recv().ok()
    }

    /// From now on everything that quinn sends leaves from another socket, while this port goes on listening where it is: a forged
    /// source.
    pub fn forge_source(&self, from: std::net::UdpSocket) {
        self.socket.forge_source(Some(from));
    }

    /// No longer.
    pub fn forge_no_more(&self) {
        self.socket.forge_source(None);
    }
}

/// Waits until a reservation is open, and gives its channel.
pub async fn opened(reservation: &mut Reservation) -> ChannelId {
    loop {
        match next(reservation).await {
            ReservationEvent::Open { channel, .. } => return channel,
            ReservationEvent::Waiting => {}
            other => panic!("not opened: {other:?}"),
        }
    }
}

/// The next event.
pub async fn next(reservation: &mut Reservation) -> ReservationEvent {
    timeout(PATIENCE, reservation.next()).await.expect("an event in time").expect("it has not ended")
}

/// As members have it, with packets of at most so many bytes.
pub fn transport_config(max_mtu: u16) -> Arc<TransportConfig> {
    paced(max_mtu, Pace::Quick)
}

/// The same, with a keep-alive of this pace: a link is dialled at [`Pace::Slow`].
pub fn paced(max_mtu: u16, pace: Pace) -> Arc<TransportConfig> {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(max_mtu);
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(transport::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(transport::RECEIVE_WINDOW))
        .send_window(transport::SEND_WINDOW)
        .initial_mtu(transport::INITIAL_MTU)
        .mtu_discovery_config(Some(discovery))
        .keep_alive_interval(Some(pace.keep_alive()));
    Arc::new(config)
}
