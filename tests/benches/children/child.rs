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
    pace::Pace,
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
use tests::{relay_client::paced, rogue::wall};
use tokio::time::{interval_at, sleep, timeout};

/// How often a child tries to attach.
const TRIES: usize = 5;
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

    /// Makes a member, connects it to the supernode and attaches it there. Tries again as a node does: on a busy machine a handshake
    /// may take too long for the supernode.
    pub async fn attach(
        number: usize,
        root: &NetRoot,
        sockets: &Sockets,
        home: (NodeId, SocketAddr),
    ) -> Self {
        let membership = member(root, &Self::name(number));
        for _ in 0..TRIES {
            if let Some(child) = Self::try_attach(number, membership.clone(), sockets, home).await {
                return child;
            }
        }
        panic!("child {number} was not attached in {TRIES} tries");
    }

    async fn try_attach(
        number: usize,
        membership: Membership,
        sockets: &Sockets,
        (home, address): (NodeId, SocketAddr),
    ) -> Option<Self> {
        let socket = &sockets.0[number % sockets.0.len()];
        let tls = membership.client_config().expect("a member's TLS");
        let mut config =
            ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a configuration")));
        config.transport_config(paced(transport::MAX_MTU, Pace::Slow));
        let connecting = socket.connect_with(config, address, &home.dns_name()).expect("it dials");
        let connection = timeout(PATIENCE, connecting).await.ok()?.ok()?;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        let keyring = MemberKeyring::new(membership);
        let at = socket.local_addr().expect("it is bound");
        let presence = presence(&keyring, home, at);
        send.write_all(&frame(&Open::Link)).await.ok()?;
        let attach = ToHome::Attach { presence, journal: JournalMark::default() };
        let attach = LinkMessage::ToHome(attach);
        timeout(PATIENCE, attached(&attach, &mut send, &mut receive)).await.ok()??;
        tokio::spawn(async move {
            while read_frame::<LinkMessage>(&mut receive, MAX_LINK_FRAME).await.is_ok() {}
        });
        tokio::spawn(async move {
            // Those that came together do not speak together: by now they would have drifted apart.
            let every = |period: Duration| {
                let first = Instant::now() + period * (number as u32 % 997) / 997;
                interval_at(first.into(), period)
            };
            // From then on the home says it.
            say(&mut send, LinkMessage::Pulse(Pace::HOME)).await;
            let mut refresh = every(REFRESH);
            loop {
                refresh.tick().await;
                let presence = self::presence(&keyring, home, at);
                say(&mut send, LinkMessage::ToHome(ToHome::Refresh(presence))).await;
            }
        });
        Some(Self { connection })
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

async fn say(send: &mut SendStream, message: LinkMessage) {
    // A supernode that is gone shows elsewhere.
    let _ = send.write_all(&frame(&message)).await;
}

/// Asks for a place, and again whenever it is told to come later.
async fn attached(attach: &LinkMessage, send: &mut SendStream, receive: &mut RecvStream) -> Option<()> {
    say(send, attach.clone()).await;
    loop {
        match read_frame(receive, MAX_LINK_FRAME).await.ok()? {
            LinkMessage::ToChild(ToChild::Attached { .. }) => return Some(()),
            LinkMessage::ToChild(ToChild::Later { millis }) => {
                sleep(Duration::from_millis(millis.into())).await;
                say(send, attach.clone()).await;
            }
            LinkMessage::ToChild(other @ (ToChild::Redirect(_) | ToChild::Refused(_))) => panic!("{other:?}"),
            _ => {}
        }
    }
}
