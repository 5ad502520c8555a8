//! A child as its home sees it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, UserName,
    frame::{MAX_LINK_FRAME, frame, read_frame},
    identity::{MemberKeyring, Membership, NetRoot, NodeKey},
    nat::Reach,
    presence::{LIFETIME, Presence, REFRESH},
    signed::{Keyring, Signed},
    wire::{
        LinkMessage, Open,
        file::JournalMark,
        home::{ToChild, ToHome},
    },
};
use nearmesh_relay::io::transport;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime,
    crypto::rustls::QuicClientConfig,
};
use tests::{relay_client::transport_config, rogue::wall};
use tokio::time::{interval_at, timeout};

/// How long each step may take: handshakes wait for one another.
const PATIENCE: Duration = Duration::from_secs(30);

/// The sockets that the children share.
pub struct Sockets(Vec<Endpoint>);

/// An attached child.
pub struct Child {
    connection: Connection,
}

impl Sockets {
    /// So many, on loopback.
    pub fn open(count: usize) -> Self {
        let open = |_| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
            let mut config = EndpointConfig::default();
            config.grease_quic_bit(false);
            Endpoint::new(config, None, socket, Arc::new(TokioRuntime)).expect("an endpoint")
        };
        Self((0..count).map(open).collect())
    }
}

impl Child {
    /// What its user is called.
    pub fn name(number: usize) -> UserName {
        format!("child{number}").parse().expect("a name")
    }

    /// Makes a member, connects it to the supernode and attaches it there.
    pub async fn attach(
        number: usize,
        root: &NetRoot,
        sockets: &Sockets,
        (home, address): (NodeId, SocketAddr),
    ) -> Self {
        let membership = member(root, &Self::name(number));
        let socket = &sockets.0[number % sockets.0.len()];
        let tls = membership.client_config().expect("a member's TLS");
        let mut config =
            ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a configuration")));
        config.transport_config(transport_config(transport::MAX_MTU));
        let connecting = socket.connect_with(config, address, &home.dns_name()).expect("it dials");
        let connection =
            timeout(PATIENCE, connecting).await.expect("an answer in time").expect("a connection");
        let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
        let keyring = MemberKeyring::new(membership);
        let at = socket.local_addr().expect("it is bound");
        let presence = presence(&keyring, home, at);
        send.write_all(&frame(&Open::Link)).await.expect("it is sent");
        say(&mut send, ToHome::Attach { presence, journal: JournalMark::default() }).await;
        timeout(PATIENCE, attached(&mut receive)).await.expect("an answer in time");
        tokio::spawn(async move {
            while read_frame::<LinkMessage>(&mut receive, MAX_LINK_FRAME).await.is_ok() {}
        });
        tokio::spawn(async move {
            // Those that came together do not speak together: by now they would have drifted apart.
            let first = Instant::now() + REFRESH * (number as u32 % 997) / 997;
            let mut refresh = interval_at(first.into(), REFRESH);
            loop {
                refresh.tick().await;
                say(&mut send, ToHome::Refresh(self::presence(&keyring, home, at))).await;
            }
        });
        Self { connection }
    }

    /// Whether its connection ended.
    pub fn is_gone(&self) -> bool {
        self.connection.close_reason().is_some()
    }
}

fn member(root: &NetRoot, user: &UserName) -> Membership {
    let key = NodeKey::generate();
    let issued = root.issue(&key.certificate_request(), user, wall()).expect("a certificate");
    Membership::assemble(root.certificate(), &issued.certificate, key, wall()).expect("a membership")
}

fn presence(keyring: &dyn Keyring, home: NodeId, at: SocketAddr) -> Signed<Presence> {
    let now = wall();
    keyring.seal(&Presence {
        node: keyring.node(),
        sequence: now,
        since: now,
        expires: now.after(LIFETIME),
        addresses: vec![at],
        home,
        reach: Reach::default(),
        relays: false,
        online: true,
    })
}

async fn say(send: &mut SendStream, message: ToHome) {
    // A supernode that is gone shows elsewhere.
    let _ = send.write_all(&frame(&LinkMessage::ToHome(message))).await;
}

async fn attached(receive: &mut RecvStream) {
    loop {
        match read_frame(receive, MAX_LINK_FRAME).await.expect("the link goes on") {
            LinkMessage::ToChild(ToChild::Attached { .. }) => return,
            LinkMessage::ToChild(other @ (ToChild::Redirect(_) | ToChild::Refused(_))) => panic!("{other:?}"),
            _ => {}
        }
    }
}
