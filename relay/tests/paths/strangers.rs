//! What those who are not the peer can do.

use std::time::{Duration, Instant};

use nearmesh_common::{
    frame::{MAX_OPEN_FRAME, read_frame},
    wire::{
        Open,
        relay::{ChannelId, RelayClosed, RelayRequest},
    },
};
use nearmesh_relay::{
    PathNews,
    io::reservation::{self, ReservationEnd, ReservationEvent},
    proto::{forward::Limits, nat::Token, path::Route},
};
use quinn::Connection;
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    net::{any_port, node},
    pair::{MIB, SESSION, Transfer, member, next_probe, pair, probe, until},
    wire::Wire,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_knows_the_channel_and_the_tag_disturbs_nothing_and_gets_no_answer() {
    let mut pair = pair();
    let relay = pair.relay().await;
    pair.accept(&relay);
    pair.use_wire(&relay);
    let (alices, bobs) = pair.connect().await;
    let transfer = Transfer::begin(&alices, &bobs, 8 * MIB).await;
    transfer.reached(MIB).await;

    let mallory = UdpSocket::bind(any_port()).await.expect("a port");
    let Route::Relayed { channel, .. } = relay.route(1) else { panic!("a relay") };
    let framed = |payload: &[u8]| [&channel.to_bytes()[..], payload].concat();
    let quic = |first: u8| vec![first; 1200];
    let packets =
        [framed(&quic(0x41)), framed(&quic(0xc1)), framed(&probe(9)), probe(9), framed(b"\xb0proof?")];
    let before = pair.bob.counters();
    for packet in &packets {
        mallory.send_to(packet, pair.bob.local_addr()).await.expect("sent");
    }
    let (route, _) = next_probe(&mut pair.news_of_alice).await;
    let mallorys = mallory.local_addr().expect("an address");
    assert_eq!(route, Route::direct(mallorys), "the machine sees whom it came from, and only the plain one");
    transfer.finished().await;
    let after = pair.bob.counters();
    assert_eq!(
        after.forward.dropped.unknown_channel - before.forward.dropped.unknown_channel,
        4,
        "{after:?}"
    );
    assert_eq!(bobs.remote_address(), pair.to_alice.virtual_addr().addr());
    let mut answer = [0; 2000];
    let answered = mallory.try_recv_from(&mut answer);
    assert!(answered.is_err(), "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_channel_that_is_open_but_not_accepted_only_probes_come_through() {
    let mut pair = pair();
    let relay = pair.relay().await;
    let Route::Relayed { relay: at, channel } = relay.route(1) else { panic!("a relay") };
    pair.to_alice.open_channel(at, channel);
    pair.to_bob.send_control(relay.route(0), &[0x41; 1200], None);
    pair.to_bob.send_control(relay.route(0), &probe(1), None);
    assert_eq!(next_probe(&mut pair.news_of_alice).await, (relay.route(1), probe(1)));
    until(|| pair.bob.counters().strays == 1).await;
    pair.to_alice.close_channel(at, channel);
    pair.to_bob.send_control(relay.route(0), &probe(2), None);
    until(|| pair.bob.counters().forward.dropped.unknown_channel == 1).await;
    assert!(!matches!(pair.news_of_alice.try_recv(), Ok(PathNews::Probe { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_gone_leaves_nothing_behind() {
    let pair = pair();
    assert!(pair.alice.peer_path(node(3), SESSION).is_err(), "the tag is in use");
    let wire = Wire::cable([pair.alice.local_addr(), pair.bob.local_addr()]).await;
    pair.accept(&wire);
    pair.use_wire(&wire);
    let (alices, bobs) = pair.connect().await;
    let was = pair.to_bob.virtual_addr();
    drop(pair.to_bob);
    assert_eq!(pair.alice.peer_of(was), None);
    // The other end's packets are a stranger's now, and ours vanish; both connections end by themselves.
    let (again, _news) = pair.alice.peer_path(node(3), SESSION).expect("room");
    assert_ne!(again.virtual_addr(), was, "another address");
    alices.close(0u32.into(), b"done");
    bobs.close(0u32.into(), b"done");
}

#[tokio::test]
async fn a_channel_is_not_believed_when_another_relay_uses_it() {
    let mut pair = pair();
    let mallory = UdpSocket::bind(any_port()).await.expect("a port");
    let relay = pair.relay().await;
    pair.to_alice.accept(relay.route(1), true);
    let Route::Relayed { channel, .. } = relay.route(1) else { panic!("a relay") };
    assert_eq!(ChannelId::of(&channel.to_bytes()), Some(channel));
    let framed = [&channel.to_bytes()[..], &probe(1)].concat();
    mallory.send_to(&framed, pair.bob.local_addr()).await.expect("sent");
    pair.to_bob.send_control(relay.route(0), &probe(2), None);
    assert_eq!(next_probe(&mut pair.news_of_alice).await, (relay.route(1), probe(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_reached_over_changing_paths_is_relayed_for_by_nobody() {
    let pair = pair();
    pair.bob.forwarding().set_limits(Some(Limits::default()));
    let cable = pair.cable().await;
    pair.accept(&cable);
    pair.use_wire(&cable);
    let (alices, bobs) = pair.connect().await;
    let mut reservation = pair.alice.reserve(&alices, RelayRequest { session: SESSION, peer: node(3) });
    let serving = async {
        let (send, mut receive) = bobs.accept_bi().await.expect("a stream");
        let Ok(Open::Relay(request)) = read_frame(&mut receive, MAX_OPEN_FRAME).await else { panic!() };
        reservation::serve(pair.bob.forwarding(), &bobs, node(1), request, send, receive).await
    };
    let (event, served) = tokio::join!(reservation.next(), serving);
    assert_eq!(event, Some(ReservationEvent::Closed(ReservationEnd::ByRelay(RelayClosed::NoRelay))));
    assert!(served.is_ok());
    assert_eq!(pair.bob.counters().forward.waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_or_called_back_at_an_address_that_no_single_host_has() {
    let pair = pair();
    for nobody in ["240.0.0.1:1", "224.0.0.251:5353", "255.255.255.255:9", "127.0.0.1:0"] {
        let nobody = nobody.parse().expect("an address");
        let began = Instant::now();
        assert_eq!(pair.alice.probe(nobody).await, None);
        assert_eq!(pair.alice.probe_aside(nobody, 3).await, None);
        assert_eq!(pair.alice.dial_back(nobody, Token([1; 16])).await, None);
        assert!(began.elapsed().as_millis() < 500, "nothing was sent, so nothing was waited for");
    }
}

/// Whether bob's answers come through.
async fn hears(alices: &Connection, bobs: &Connection) -> bool {
    let asking = async {
        let (mut send, mut receive) = alices.open_bi().await.ok()?;
        send.write_all(b"?").await.ok()?;
        let (mut answer, _question) = bobs.accept_bi().await.ok()?;
        answer.write_all(b"!").await.ok()?;
        receive.read_exact(&mut [0]).await.ok()
    };
    timeout(Duration::from_secs(2), asking).await.ok().flatten().is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_forges_the_source_of_a_plain_connection_gets_none_of_its_packets() {
    let pair = pair();
    let (at_bob, to_mallory) = (pair.bob.local_addr(), &pair.to_bob);
    pair.alice.ask_where_plain(move |address| address == at_bob);
    let (alices, bobs) = tokio::join!(pair.alice.dial(node(2), at_bob), member(&pair.bob));
    let alices = alices.expect("a connection");
    to_mallory.accept(Route::direct(at_bob), false);
    assert!(hears(&alices, &bobs).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_source_does_not_keep_a_plain_connection_from_being_made() {
    let pair = pair();
    let (at_bob, to_mallory) = (pair.bob.local_addr(), &pair.to_bob);
    to_mallory.accept(Route::direct(at_bob), false);
    let alices = pair.alice.dial(node(2), at_bob).await.expect("a connection");
    assert!(hears(&alices, &member(&pair.bob).await).await);
}
