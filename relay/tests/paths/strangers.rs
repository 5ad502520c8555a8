//! What those who are not the peer can do.

use nearmesh_common::wire::relay::ChannelId;
use nearmesh_relay::{PathNews, proto::path::Route};
use tokio::net::UdpSocket;

use crate::{
    net::{any_port, node},
    pair::{MIB, SESSION, Transfer, next_probe, pair, probe, until},
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
