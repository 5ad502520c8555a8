//! Reservations over real connections.

use std::time::{Duration, Instant};

use nearmesh_common::{
    NodeId,
    frame::{MAX_OPEN_FRAME, frame, read_frame},
    wire::{
        Open,
        relay::{RelayClosed, RelayRequest},
        signal::SessionId,
    },
};
use nearmesh_relay::{
    Accepted, Endpoint,
    io::reservation::{self, Reservation, ReservationEnd, ReservationEvent},
    proto::forward::Limits,
};
use quinn::Connection;
use tokio::time::timeout;

use crate::net::{Net, node};

const PATIENCE: Duration = Duration::from_secs(20);
const RELAY: u8 = 9;

/// A relay that serves every stream as a reservation, and closes the connection of who speaks garbage.
fn relay(net: &Net, limits: Limits) -> Endpoint {
    let relay = net.endpoint(node(RELAY), false);
    relay.forwarding().set_limits(Some(limits));
    let endpoint = relay.clone();
    tokio::spawn(async move {
        while let Some(Accepted::Member(connection)) = endpoint.accept().await {
            tokio::spawn(serve_all(endpoint.clone(), connection));
        }
    });
    relay
}

async fn serve_all(relay: Endpoint, connection: Connection) {
    while let Ok((send, mut receive)) = connection.accept_bi().await {
        let (relay, connection) = (relay.clone(), connection.clone());
        tokio::spawn(async move {
            let Ok(Open::Relay(request)) = read_frame(&mut receive, MAX_OPEN_FRAME).await else { return };
            // Tests name their members by port.
            let member = member_at(&connection);
            let served =
                reservation::serve(relay.forwarding(), &connection, member, request, send, receive).await;
            if served.is_err() {
                connection.close(7u32.into(), b"garbage");
            }
        });
    }
}

/// Who is at the other end, as its certificate would say.
fn member_at(connection: &Connection) -> NodeId {
    let identity = connection.peer_identity().expect("a member");
    let chain = identity.downcast_ref::<Vec<rustls::pki_types::CertificateDer<'static>>>().expect("a chain");
    let text = String::from_utf8_lossy(chain[0].as_ref()).into_owned();
    (1..100).map(node).find(|node| text.contains(&node.dns_name())).expect("a node of this test")
}

struct Member {
    id: NodeId,
    endpoint: Endpoint,
    relay: Connection,
}

impl Member {
    async fn new(net: &Net, seed: u8, relay: &Endpoint) -> Self {
        let endpoint = net.endpoint(node(seed), false);
        let connection = endpoint.dial(node(RELAY), relay.local_addr()).await.expect("a connection");
        Self { id: node(seed), endpoint, relay: connection }
    }

    fn reserve(&self, peer: NodeId, session: u8) -> Reservation {
        self.endpoint.reserve(&self.relay, RelayRequest { session: SessionId([session; 16]), peer })
    }
}

async fn next(reservation: &mut Reservation) -> ReservationEvent {
    timeout(PATIENCE, reservation.next()).await.expect("an event in time").expect("not the last one yet")
}

async fn ends(reservation: &mut Reservation) -> ReservationEnd {
    loop {
        if let ReservationEvent::Closed(end) = next(reservation).await {
            assert_eq!(reservation.next().await, None, "the last event");
            return end;
        }
    }
}

async fn eventually(condition: impl Fn() -> bool) {
    let condition = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, condition).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_of_a_pair_are_given_channels_and_the_second_hears_when_the_first_drops_its_own() {
    let net = Net::new();
    let relay = relay(&net, Limits::default());
    let (alice, bob) = (Member::new(&net, 1, &relay).await, Member::new(&net, 2, &relay).await);
    let mut at_alice = alice.reserve(bob.id, 1);
    assert_eq!(next(&mut at_alice).await, ReservationEvent::Waiting);
    let mut at_bob = bob.reserve(alice.id, 1);
    let ReservationEvent::Open { channel: of_bob, promise } = next(&mut at_bob).await else { panic!() };
    let ReservationEvent::Open { channel: of_alice, .. } = next(&mut at_alice).await else { panic!() };
    assert_ne!(of_alice, of_bob);
    assert_eq!(promise.life, Limits::default().life);
    assert_eq!(relay.counters().forward.sessions, 1);
    drop(at_alice);
    assert_eq!(ends(&mut at_bob).await, ReservationEnd::ByRelay(RelayClosed::PeerGone));
    assert_eq!(relay.counters().forward.sessions, 0);
    assert!(alice.relay.close_reason().is_none(), "the connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_closes_ends_its_reservations() {
    let net = Net::new();
    let relay = relay(&net, Limits::default());
    let (alice, bob) = (Member::new(&net, 1, &relay).await, Member::new(&net, 2, &relay).await);
    let (mut at_alice, mut at_bob) = (alice.reserve(bob.id, 1), bob.reserve(alice.id, 1));
    eventually(|| relay.counters().forward.sessions == 1).await;
    alice.relay.close(0u32.into(), b"");
    assert_eq!(ends(&mut at_alice).await, ReservationEnd::Lost);
    assert_eq!(ends(&mut at_bob).await, ReservationEnd::ByRelay(RelayClosed::PeerGone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_in_vain_is_told_and_its_stream_ends() {
    let net = Net::new();
    let relay = relay(&net, Limits { wait: Duration::from_millis(100), ..Limits::default() });
    let alice = Member::new(&net, 1, &relay).await;
    let began = Instant::now();
    let end = ends(&mut alice.reserve(node(2), 1)).await;
    assert_eq!(end, ReservationEnd::ByRelay(RelayClosed::Alone));
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(relay.counters().forward.waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_drains_warns_and_waits_for_those_who_move_and_ends_the_others() {
    let net = Net::new();
    let relay = relay(&net, Limits::default());
    let (alice, bob) = (Member::new(&net, 1, &relay).await, Member::new(&net, 2, &relay).await);
    let (mut at_alice, mut at_bob) = (alice.reserve(bob.id, 1), bob.reserve(alice.id, 1));
    eventually(|| relay.counters().forward.sessions == 1).await;
    let time = Duration::from_secs(30);
    let draining = tokio::spawn({
        let relay = relay.clone();
        async move { relay.forwarding().drain(time).await }
    });
    loop {
        match next(&mut at_alice).await {
            ReservationEvent::Draining(left) => break assert_eq!(left, time),
            ReservationEvent::Closed(end) => panic!("{end}"),
            _ => {}
        }
    }
    drop(at_alice);
    timeout(PATIENCE, draining).await.expect("as soon as all have left").expect("it ran");
    assert_eq!(ends(&mut at_bob).await, ReservationEnd::ByRelay(RelayClosed::PeerGone));
    let late = ends(&mut bob.reserve(alice.id, 2)).await;
    assert_eq!(late, ReservationEnd::ByRelay(RelayClosed::Leaving));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_do_not_move_are_ended_when_the_time_has_passed() {
    let net = Net::new();
    let relay = relay(&net, Limits::default());
    let (alice, bob) = (Member::new(&net, 1, &relay).await, Member::new(&net, 2, &relay).await);
    let (mut at_alice, mut at_bob) = (alice.reserve(bob.id, 1), bob.reserve(alice.id, 1));
    eventually(|| relay.counters().forward.sessions == 1).await;
    timeout(PATIENCE, relay.forwarding().drain(Duration::from_millis(100))).await.expect("in time");
    for reservation in [&mut at_alice, &mut at_bob] {
        assert_eq!(ends(reservation).await, ReservationEnd::ByRelay(RelayClosed::Leaving));
    }
    assert_eq!(relay.counters().forward.sessions, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_renews_itself() {
    let net = Net::new();
    // The client takes no life for shorter than ten seconds, and renews at half of it.
    let life = Duration::from_secs(10);
    let relay = relay(&net, Limits { life, ..Limits::default() });
    let (alice, bob) = (Member::new(&net, 1, &relay).await, Member::new(&net, 2, &relay).await);
    let (mut at_alice, _at_bob) = (alice.reserve(bob.id, 1), bob.reserve(alice.id, 1));
    eventually(|| relay.counters().forward.sessions == 1).await;
    while !matches!(next(&mut at_alice).await, ReservationEvent::Open { .. }) {}
    let ended = timeout(life + Duration::from_secs(2), at_alice.next()).await;
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(relay.counters().forward.sessions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_reservations_stream_is_a_breach_and_ends_it() {
    let net = Net::new();
    let relay = relay(&net, Limits::default());
    let (alice, bob) = (Member::new(&net, 1, &relay).await, Member::new(&net, 2, &relay).await);
    let mut at_bob = bob.reserve(alice.id, 1);
    let request = RelayRequest { session: SessionId([1; 16]), peer: bob.id };
    let (mut send, _receive) = alice.relay.open_bi().await.expect("a stream");
    send.write_all(&frame(&Open::Relay(request))).await.expect("asked");
    eventually(|| relay.counters().forward.sessions == 1).await;
    send.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff]).await.expect("sent");
    let reason = timeout(PATIENCE, alice.relay.closed()).await.expect("in time");
    assert!(
        matches!(&reason, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == 7u32.into())
    );
    assert_eq!(ends(&mut at_bob).await, ReservationEnd::ByRelay(RelayClosed::PeerGone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_its_stream_does_not_keep_the_relay_waiting() {
    let net = Net::new();
    let relay = relay(&net, Limits::default());
    let (alice, bob) = (Member::new(&net, 1, &relay).await, Member::new(&net, 2, &relay).await);
    let request = RelayRequest { session: SessionId([1; 16]), peer: bob.id };
    let (mut send, receive) = alice.relay.open_bi().await.expect("a stream");
    send.write_all(&frame(&Open::Relay(request))).await.expect("asked");
    let mut at_bob = bob.reserve(alice.id, 1);
    while !matches!(next(&mut at_bob).await, ReservationEvent::Open { .. }) {}
    timeout(PATIENCE, relay.forwarding().drain(Duration::from_millis(100))).await.expect("in time");
    assert_eq!(ends(&mut at_bob).await, ReservationEnd::ByRelay(RelayClosed::Leaving));
    drop((send, receive));
}
