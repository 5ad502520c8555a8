//! Who completes a handshake, and who does not.

use std::{sync::Arc, time::Duration};

use nearmesh_common::wire::{ALPN, ENROL_ALPN};
use nearmesh_relay::{
    Accepted, Counters, DialError, Endpoint, io::tls::ENROL_MARKER, proto::admission::MAX_NEWCOMERS,
};
use quinn::{Connection, ConnectionError, ConnectionId, crypto::rustls::QuicClientConfig};
use tokio::{net::UdpSocket, time::timeout};

use crate::net::{Net, any_port, node};

const PATIENCE: Duration = Duration::from_secs(10);

/// A client that obeys none of our rules: any ALPN, with the enrolment marker or without.
async fn dial_raw(
    tls: Arc<rustls::ClientConfig>,
    marked: bool,
    to: &Endpoint,
) -> Result<Connection, ConnectionError> {
    let crypto = QuicClientConfig::try_from(tls).expect("a configuration");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    if marked {
        config.initial_dst_cid_provider(Arc::new(|| ConnectionId::new(&[ENROL_MARKER, [7; 8]].concat())));
    }
    let client = quinn::Endpoint::client(any_port()).expect("a port");
    client.connect_with(config, to.local_addr(), &node(2).dns_name()).expect("an address").await
}

/// TLS 1.3 lets a client believe that it is through before its certificate was looked at: what counts is what follows.
async fn was_turned_away(dialled: Result<Connection, ConnectionError>) -> bool {
    match dialled {
        Err(ConnectionError::ConnectionClosed(_)) => true,
        Err(error) => panic!("{error}"),
        Ok(connection) => {
            let reason = timeout(PATIENCE, connection.closed()).await.expect("it is closed");
            matches!(reason, ConnectionError::ConnectionClosed(_))
        }
    }
}

async fn wait_for(endpoint: &Endpoint, condition: impl Fn(Counters) -> bool) {
    let condition = async {
        while !condition(endpoint.counters()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, condition).await.unwrap_or_else(|_| panic!("{:?}", endpoint.counters()));
}

#[tokio::test]
async fn who_has_no_certificate_completes_no_handshake_on_the_member_protocol() {
    let net = Net::new();
    let bob = net.endpoint(node(2), true);
    assert!(was_turned_away(dial_raw(net.newcomer(ALPN), false, &bob).await).await);
    wait_for(&bob, |counters| counters.handshakes_failed == 1).await;
    assert_eq!(bob.counters().accepted, 0);
}

#[tokio::test]
async fn a_newcomer_meets_the_enrolment_protocol_and_nothing_else() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), true));
    let (connection, accepted) =
        tokio::join!(alice.dial_enrol(bob.local_addr(), node(2), net.newcomer(ENROL_ALPN)), bob.accept());
    let connection = connection.expect("a connection");
    let Some(Accepted::Enrol(newcomer)) = accepted else { panic!("a newcomer came in as a member") };
    assert!(newcomer.peer_identity().is_none());

    let (mut send, _recv) = connection.open_bi().await.expect("one stream");
    send.write_all(b"a ticket").await.expect("written");
    send.finish().expect("finished");
    let (_send, mut recv) = newcomer.accept_bi().await.expect("the stream");
    assert_eq!(recv.read_to_end(100).await.expect("all of it"), b"a ticket");
    let second = timeout(Duration::from_millis(100), connection.open_bi()).await;
    assert!(second.is_err(), "one stream is all that a newcomer gets");
}

#[tokio::test]
async fn neither_the_marker_nor_the_enrolment_protocol_alone_opens_anything() {
    let net = Net::new();
    let bob = net.endpoint(node(2), true);
    assert!(was_turned_away(dial_raw(net.newcomer(ALPN), true, &bob).await).await, "the marker, as a member");
    assert!(was_turned_away(dial_raw(net.newcomer(ENROL_ALPN), false, &bob).await).await, "no marker");
    let both = dial_raw(net.newcomer(ENROL_ALPN), true, &bob);
    let (both, accepted) = tokio::join!(both, bob.accept());
    assert!(both.is_ok() && matches!(accepted, Some(Accepted::Enrol(_))));
    wait_for(&bob, |counters| (counters.handshakes_failed, counters.accepted) == (2, 1)).await;
}

#[tokio::test]
async fn a_node_that_is_no_authority_refuses_to_enrol() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    let refused = alice.dial_enrol(bob.local_addr(), node(2), net.newcomer(ENROL_ALPN)).await;
    assert!(matches!(refused, Err(DialError::Handshake(_))), "{refused:?}");
    assert_eq!(bob.counters().enrol_refused, 1);
}

#[tokio::test]
async fn a_configuration_with_the_wrong_protocol_is_not_used() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), true));
    let wrong = alice.dial_enrol(bob.local_addr(), node(2), net.newcomer(ALPN)).await;
    assert!(matches!(wrong, Err(DialError::Tls(_))), "{wrong:?}");
    let mut tls = net.member(node(1), true);
    tls.enrol_server = Some(tls.server.clone());
    assert!(Endpoint::bind(any_port(), tls).is_err());
}

#[tokio::test]
async fn a_node_under_another_name_or_of_another_net_is_not_talked_to() {
    let (net, other) = (Net::new(), Net::new());
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    let mistaken = alice.dial(node(3), bob.local_addr()).await;
    assert!(matches!(mistaken, Err(DialError::Handshake(_))), "{mistaken:?}");
    let mallory = other.endpoint(node(2), false);
    let foreign = alice.dial(node(2), mallory.local_addr()).await;
    assert!(matches!(foreign, Err(DialError::Handshake(_))), "{foreign:?}");
    let intruding = dial_raw(net.trusted_by_holder_of(&other, node(4)), false, &bob).await;
    assert!(was_turned_away(intruding).await, "a certificate of another net is as good as none");
    wait_for(&bob, |counters| (counters.handshakes_failed, counters.accepted) == (2, 0)).await;
}

#[tokio::test]
async fn new_configurations_hold_for_new_connections_and_leave_old_ones_open() {
    let (net, later) = (Net::new(), Net::new());
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    let (old, _at_bob) = tokio::join!(alice.dial(node(2), bob.local_addr()), bob.accept());
    let old = old.expect("a connection");
    bob.set_tls(later.member(node(2), false)).expect("they are usable");
    assert!(alice.dial(node(2), bob.local_addr()).await.is_err(), "alice does not trust the other root");
    alice.set_tls(later.member(node(1), false)).expect("they are usable");
    let (new, accepted) = tokio::join!(alice.dial(node(2), bob.local_addr()), bob.accept());
    assert!(new.is_ok() && matches!(accepted, Some(Accepted::Member(_))));
    assert!(old.close_reason().is_none());
}

#[tokio::test]
async fn a_handshake_that_hangs_keeps_nobody_waiting() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    // Mallory lets the first packet of a handshake through, and nothing after it.
    let mallory = UdpSocket::bind(any_port()).await.expect("a port");
    let lost = net.endpoint(node(3), false);
    let to = mallory.local_addr().expect("an address");
    let hanging = tokio::spawn(async move { lost.dial(node(2), to).await.is_err() });
    let mut packet = [0; 2000];
    let (length, _) = mallory.recv_from(&mut packet).await.expect("a first packet");
    mallory.send_to(&packet[..length], bob.local_addr()).await.expect("sent on");
    let answered =
        async { while mallory.recv_from(&mut packet).await.expect("a packet").1 != bob.local_addr() {} };
    timeout(PATIENCE, answered).await.expect("bob answers, and waits");

    let both = async { tokio::join!(alice.dial(node(2), bob.local_addr()), bob.accept()) };
    let (connection, accepted) = timeout(Duration::from_secs(3), both).await.expect("no waiting");
    assert!(connection.is_ok() && matches!(accepted, Some(Accepted::Member(_))));
    assert!(hanging.await.expect("it ran"));
}

#[tokio::test]
async fn many_newcomers_have_to_prove_their_address_and_then_to_wait_until_one_leaves() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), true));
    let dial = || alice.dial_enrol(bob.local_addr(), node(2), net.newcomer(ENROL_ALPN));
    let mut inside = Vec::new();
    for i in 0..MAX_NEWCOMERS {
        let (dialled, accepted) = tokio::join!(dial(), bob.accept());
        let Some(Accepted::Enrol(accepted)) = accepted else { panic!("a newcomer came in as a member") };
        inside.push((dialled.expect("there is room"), accepted));
        let asked_for_proof = (i + 1).saturating_sub(MAX_NEWCOMERS / 2) as u64;
        assert_eq!(bob.counters().retries, asked_for_proof, "newcomer {i}");
    }
    let late = async { tokio::join!(dial(), bob.accept()) };
    let leaving = async {
        wait_for(&bob, |counters| counters.handshakes_ignored > 0).await;
        let (first, _) = inside.swap_remove(0);
        first.close(0u32.into(), b"enrolled");
    };
    let ((late, accepted), ()) = tokio::join!(late, leaving);
    assert!(late.is_ok() && matches!(accepted, Some(Accepted::Enrol(_))), "{late:?}");
}
