//! The relay's process, and the members that use it.

use std::net::SocketAddr;

use nearmesh_common::wire::{
    relay::{ChannelId, RelayRequest},
    signal::SessionId,
};
use nearmesh_relay::{
    PathNews, PeerPath,
    io::{
        endpoint::Accepted,
        reservation::{Reservation, ReservationEvent},
    },
    proto::path::Route,
};
use quinn::Connection;
use tests::{
    process::{Lab, Node},
    rogue::{Rogue, address_of},
};
use tokio::sync::mpsc;

use crate::{load::Measured, turn};

/// Bytes a second that the relay may forward: more than any machine does, so that no pair's own limit is in the way.
const NO_LIMIT: &str = "100000000000";

pub struct Scene {
    _lab: Lab,
    relay: Node,
    bob: Rogue,
    carol: Rogue,
    others: [Rogue; 2],
}

/// From one member to another by way of the relay.
pub struct Way {
    /// The one's end.
    pub there: PeerPath,
    _back: PeerPath,
    _news: [mpsc::Receiver<PathNews>; 2],
    _reservations: [Reservation; 2],
    _to_relay: [Connection; 2],
}

impl Scene {
    pub fn new() -> Self {
        let lab = Lab::new(env!("CARGO_BIN_EXE_nearmesh-under-test"));
        let mut relay = lab.node("alice");
        relay.ok(&["net", "create", "lab", "--user", "alice"]);
        relay.up(&["--promote", "always", "--relay-rate", NO_LIMIT]);
        let [bob, carol, mallory, eve] =
            ["bob", "carol", "mallory", "eve"].map(|name| Rogue::of(&lab.joined(&relay, name)));
        Self { _lab: lab, relay, bob, carol, others: [mallory, eve] }
    }

    /// Where the relay is.
    pub fn relay(&self) -> SocketAddr {
        address_of(&self.relay)
    }

    /// Straight from bob to carol.
    pub fn direct(&self, bytes: u64) -> Measured {
        self.bob.run(async {
            let dialled = self.bob.endpoint.dial(self.carol.id(), self.carol.endpoint.local_addr());
            let ends = tokio::join!(dialled, accepted(&self.carol));
            measure((ends.0.expect("a connection"), ends.1), bytes, None).await
        })
    }

    /// The same by way of the relay.
    pub fn relayed(&self, bytes: u64) -> Measured {
        self.bob.run(async {
            let way = self.way(&self.bob, &self.carol).await;
            let ends = tokio::join!(self.bob.endpoint.dial_path(&way.there), accepted(&self.carol));
            let before = self.forwarded();
            let ends = (ends.0.expect("a connection"), ends.1);
            let measured = measure(ends, bytes, Some(self.relay.pid())).await;
            assert!(self.forwarded() - before > bytes, "it went by way of the relay");
            measured
        })
    }

    /// The same by way of a TURN server.
    pub fn turned(&self, server: SocketAddr, pid: Option<u32>, bytes: u64) -> Measured {
        self.bob.run(async {
            let carol = self.carol.endpoint.local_addr();
            let port = turn::port(server, carol, &self.bob.member.membership).await;
            let dialled = port.connect(carol, &self.carol.id().dns_name()).expect("it dials");
            let ends = tokio::join!(dialled, accepted(&self.carol));
            measure((ends.0.expect("a connection"), ends.1), bytes, pid).await
        })
    }

    /// A way for two further members.
    pub fn way_of_others(&self) -> Way {
        let [mallory, eve] = &self.others;
        mallory.run(self.way(mallory, eve))
    }

    async fn way(&self, one: &Rogue, other: &Rogue) -> Way {
        let to_relay = [one.connect(&self.relay).await, other.connect(&self.relay).await];
        let session = SessionId(rand::random());
        let request = |peer: &Rogue| RelayRequest { session, peer: peer.id() };
        let mut reservations = [
            one.endpoint.reserve(&to_relay[0], request(other)),
            other.endpoint.reserve(&to_relay[1], request(one)),
        ];
        let [first, second] = &mut reservations;
        let channels = tokio::join!(opened(first), opened(second));
        let (there, news) = self.path(one, other, session, channels.0);
        let (back, news_of_back) = self.path(other, one, session, channels.1);
        Way {
            there,
            _back: back,
            _news: [news, news_of_back],
            _reservations: reservations,
            _to_relay: to_relay,
        }
    }

    fn path(
        &self,
        from: &Rogue,
        to: &Rogue,
        session: SessionId,
        channel: ChannelId,
    ) -> (PeerPath, mpsc::Receiver<PathNews>) {
        let (path, news) = from.endpoint.peer_path(to.id(), session).expect("room");
        let route = Route::Relayed { relay: self.relay(), channel };
        path.accept(route, true);
        path.use_route(Some(route));
        (path, news)
    }

    fn forwarded(&self) -> u64 {
        self.relay.json(&["status"])["relaying"]["bytes"].as_u64().expect("a number")
    }
}

async fn measure(ends: (Connection, Connection), bytes: u64, middle: Option<u32>) -> Measured {
    let measured = Measured::of((&ends.0, &ends.1), bytes, middle).await;
    ends.0.close(0u32.into(), b"measured");
    measured
}

async fn accepted(member: &Rogue) -> Connection {
    match member.endpoint.accept().await.expect("the port is open") {
        Accepted::Member(connection) => connection,
        Accepted::Enrol(_) => panic!("a member came in as a newcomer"),
    }
}

async fn opened(reservation: &mut Reservation) -> ChannelId {
    loop {
        match reservation.next().await.expect("it goes on") {
            ReservationEvent::Open { channel, .. } => return channel,
            ReservationEvent::Waiting => {}
            other => panic!("not opened: {other:?}"),
        }
    }
}
