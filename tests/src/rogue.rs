//! A member that does not keep to the rules: it joined a net as anybody does, and then speaks to its peers by hand.
//!
//! Its connections are real ones, with its real certificate; only what is said on them is the test's own choice.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use nearmesh::enrol::{Member, saved};
use nearmesh_common::{
    NodeId, UnixMillis,
    frame::{MAX_LINK_FRAME, MAX_OPEN_FRAME, frame, read_frame},
    identity::MemberKeyring,
    presence::{LIFETIME, Presence},
    signed::{Content, Keyring, Signed},
    supernode_record::SupernodeRecord,
    wire::{
        LinkMessage, Open,
        file::JournalMark,
        home::{ToChild, ToHome},
        mesh::Mesh,
        stream::{Kept, Pong, RangesRequest},
    },
};
use nearmesh_relay::io::{
    endpoint::{Accepted, Endpoint},
    tls::TlsConfigs,
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use serde::de::DeserializeOwned;
use tokio::{runtime::Runtime, time::timeout};

use crate::process::{Node, PATIENCE};

/// The code with which a node closes the connection of a peer that broke the protocol.
pub const MISBEHAVED: VarInt = VarInt::from_u32(1);
/// The code for a peer that has too many connections open.
pub const TOO_MANY: VarInt = VarInt::from_u32(5);

/// A member under the control of the test.
pub struct Rogue {
    runtime: Runtime,
    /// Its membership, as `net join` left it.
    pub member: Member,
    /// Its port.
    pub endpoint: Endpoint,
    keyring: Arc<MemberKeyring>,
}

/// A link, spoken by hand.
pub struct Link {
    /// What it runs on.
    pub connection: Connection,
    /// Towards the peer.
    pub send: SendStream,
    /// From the peer.
    pub receive: RecvStream,
}

impl Rogue {
    /// Takes over the membership of a node that joined and is not up.
    pub fn of(node: &Node) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let member = saved::load(&node.profile.join("membership"), wall()).expect("it joined");
        let _inside = runtime.enter();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = Endpoint::bind(listen, configs(&member)).expect("a port");
        let keyring = Arc::new(MemberKeyring::new(member.membership.clone()));
        Self { runtime, member, endpoint, keyring }
    }

    /// Runs what it does to its end.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Its node id.
    pub fn id(&self) -> NodeId {
        self.member.membership.node()
    }

    /// Its TLS configurations, to be tampered with.
    pub fn configs(&self) -> TlsConfigs {
        configs(&self.member)
    }

    /// A connection to a node.
    pub async fn connect(&self, to: &Node) -> Connection {
        self.endpoint.dial(id_of(to), address_of(to)).await.expect("a member is let in")
    }

    /// A stream that says what it is for with these bytes, over a connection of its own.
    pub async fn opening(&self, to: &Node, bytes: &[u8]) -> Link {
        let connection = self.connect(to).await;
        let (mut send, receive) = connection.open_bi().await.expect("a stream");
        send.write_all(bytes).await.expect("it is sent");
        Link { connection, send, receive }
    }

    /// A link.
    pub async fn link(&self, to: &Node) -> Link {
        self.opening(to, &frame(&Open::Link)).await
    }

    /// A link on which it is attached as a child.
    pub async fn attached(&self, to: &Node) -> Link {
        let mut link = self.link(to).await;
        let reply = link.attach(self.seal(&self.presence(id_of(to))), JournalMark::default()).await;
        assert!(matches!(reply, ToChild::Attached { .. }), "{reply:?}");
        link
    }

    /// A link on which it has said that it is a supernode.
    pub async fn meshed(&self, to: &Node) -> Link {
        let mut link = self.link(to).await;
        let record = self.seal(&self.record());
        link.say(&LinkMessage::Mesh(Mesh::Hello { record, summary: Default::default() })).await;
        link.hear(|message| matches!(message, LinkMessage::Mesh(Mesh::Hello { .. })).then_some(())).await;
        link
    }

    /// Signs with its own key, whatever it is.
    pub fn seal<T: Content>(&self, content: &T) -> Signed<T> {
        let keyring: &dyn Keyring = &*self.keyring;
        keyring.seal(content)
    }

    /// A presence that is true.
    pub fn presence(&self, home: NodeId) -> Presence {
        let now = wall();
        Presence {
            node: self.id(),
            sequence: now,
            since: now,
            expires: now.after(LIFETIME),
            addresses: vec![self.endpoint.local_addr()],
            home,
            reach: nearmesh_common::nat::Reach::default(),
            relays: false,
            online: true,
        }
    }

    /// A supernode's record that is true as far as it goes.
    pub fn record(&self) -> SupernodeRecord {
        SupernodeRecord {
            node: self.id(),
            sequence: wall(),
            addresses: vec![self.endpoint.local_addr()],
            children: 0,
            capacity: 0,
            serving: true,
            group_bits: 0,
            group_size: 1,
            group_load: 0,
        }
    }

    /// Answers everybody who asks for ranges with these bytes, until it is dropped.
    pub fn serve(&self, answer: impl Fn(RangesRequest) -> Vec<u8> + Clone + Send + Sync + 'static) {
        let endpoint = self.endpoint.clone();
        self.runtime.spawn(async move {
            while let Some(Accepted::Member(connection)) = endpoint.accept().await {
                tokio::spawn(serve_ranges(connection, answer.clone()));
            }
        });
    }

    /// The same on a connection that it opened itself.
    pub fn serve_on(
        &self,
        connection: &Connection,
        answer: impl Fn(RangesRequest) -> Vec<u8> + Send + Sync + 'static,
    ) {
        self.runtime.spawn(serve_ranges(connection.clone(), answer));
    }
}

impl Link {
    /// Sends a message.
    pub async fn say(&mut self, message: &LinkMessage) {
        self.send.write_all(&frame(message)).await.expect("the link is open");
    }

    /// Waits for a message that `wanted` takes, and skips the others.
    pub async fn hear<T>(&mut self, wanted: impl Fn(LinkMessage) -> Option<T>) -> T {
        let heard = async {
            loop {
                let message = read_frame(&mut self.receive, MAX_LINK_FRAME).await.expect("the link goes on");
                if let Some(taken) = wanted(message) {
                    return taken;
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("an answer in time")
    }

    /// Asks to be taken as a child, and gives the answer.
    pub async fn attach(&mut self, presence: Signed<Presence>, journal: JournalMark) -> ToChild {
        self.say(&LinkMessage::ToHome(ToHome::Attach { presence, journal })).await;
        self.hear(|message| match message {
            LinkMessage::ToChild(reply @ (ToChild::Attached { .. } | ToChild::Refused(_))) => Some(reply),
            _ => None,
        })
        .await
    }

    /// One frame of a stream that is no link; `None` when there is none.
    pub async fn reply<T: DeserializeOwned>(&mut self) -> Option<T> {
        timeout(PATIENCE, read_frame(&mut self.receive, MAX_OPEN_FRAME)).await.expect("an end in time").ok()
    }

    /// Waits until the peer has closed the connection, and gives its code.
    pub async fn closed(&self) -> VarInt {
        closed(&self.connection).await
    }
}

/// Waits until the peer has closed a connection, and gives its code.
pub async fn closed(connection: &Connection) -> VarInt {
    let reason = timeout(PATIENCE, connection.closed()).await.expect("the connection is closed in time");
    match reason {
        ConnectionError::ApplicationClosed(close) => close.error_code,
        other => panic!("closed by nobody: {other}"),
    }
}

/// A node's id, as it said itself.
pub fn id_of(node: &Node) -> NodeId {
    node.id().parse().expect("a node id")
}

/// Where a node listens.
pub fn address_of(node: &Node) -> SocketAddr {
    node.listen().parse().expect("an address")
}

/// Now, by the wall clock.
pub fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    UnixMillis(u64::try_from(since.as_millis()).expect("before the end of time"))
}

/// So long ago.
pub fn ago(time: Duration) -> UnixMillis {
    UnixMillis(wall().0 - u64::try_from(time.as_millis()).expect("not that long ago"))
}

/// Whether something stands in a file, a log for instance.
pub fn holds(path: &Path, text: &str) -> bool {
    std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
}

fn configs(member: &Member) -> TlsConfigs {
    let membership = &member.membership;
    TlsConfigs {
        server: membership.server_config().expect("a member's TLS"),
        client: membership.client_config().expect("a member's TLS"),
        enrol_server: None,
    }
}

async fn serve_ranges(connection: Connection, answer: impl Fn(RangesRequest) -> Vec<u8>) {
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        match read_frame(&mut receive, MAX_OPEN_FRAME).await {
            Ok(Open::Ranges(request)) => {
                let _ = send.write_all(&answer(request)).await;
                let _ = send.finish();
            }
            Ok(Open::Keep) => keep(send, receive),
            _ => {}
        }
    }
}

/// Keeps a connection open for the peer, as an honest node does.
fn keep(mut send: SendStream, mut receive: RecvStream) {
    tokio::spawn(async move {
        let _ = send.write_all(&frame(&Kept)).await;
        let _ = receive.read_to_end(0).await;
    });
}

/// Answers so many pings on a connection, and keeps it open for the peer meanwhile.
pub async fn answer_pings(connection: &Connection, count: usize) {
    let mut answered = 0;
    while answered < count {
        let (mut send, mut receive) = connection.accept_bi().await.expect("the connection goes on");
        match read_frame(&mut receive, MAX_OPEN_FRAME).await {
            Ok(Open::Keep) => keep(send, receive),
            Ok(Open::Ping) => {
                let pong = Pong { observed: connection.remote_address() };
                send.write_all(&frame(&pong)).await.expect("the pong is sent");
                let _ = send.finish();
                answered += 1;
            }
            other => panic!("neither a ping nor a request to keep the connection: {other:?}"),
        }
    }
}
