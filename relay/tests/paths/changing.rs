//! The route changes while something is under way.

use std::time::{Duration, Instant};

use nearmesh_relay::{
    DialError, PathNews, VirtualAddr,
    proto::path::{Route, SocketIndex},
};
use quinn::Connection;
use tokio::time::timeout;

use crate::{
    net::node,
    pair::{MIB, PATIENCE, Transfer, next_probe, pair, probe, until},
    wire::Wire,
};

/// Sooner than a connection of which [`patient`] was said would do anything by itself.
const SOON: Duration = Duration::from_secs(2);

/// Until `connection` has repeated something in vain so often that its next try is 2.4 s away: it waits twice as long each time.
async fn patient(connection: &Connection) {
    const LAST_WAIT: Duration = Duration::from_millis(1200);
    let mut last = (connection.stats().path.sent_packets, Instant::now());
    until(|| {
        let sent = connection.stats().path.sent_packets;
        let (before, since) = last;
        if sent != before {
            last = (sent, Instant::now());
        }
        sent != before && since.elapsed() >= LAST_WAIT
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_while_the_route_changes_from_relay_to_direct_to_another_relay_to_another_socket()
{
    let pair = pair();
    let (first, direct, second) = (pair.relay().await, pair.cable().await, pair.relay().await);
    let guessed = pair.to_bob.open_sockets(3);
    let from = pair.to_bob.socket_addr(guessed[1]).expect("it is open");
    let other_socket = Wire::cable([from, pair.bob.local_addr()]).await;
    for wire in [&first, &direct, &second] {
        pair.accept(wire);
    }
    let last = Route::Direct { socket: guessed[1], to: other_socket.addr() };
    pair.to_bob.accept(last, true);
    pair.to_alice.accept(other_socket.route(1), true);

    pair.use_wire(&first);
    let (alices, bobs) = pair.connect().await;
    assert_eq!(alices.remote_address(), pair.to_bob.virtual_addr().addr());
    let transfer = Transfer::begin(&alices, &bobs, 48 * MIB).await;
    let began = Instant::now();
    for (wire, after) in [(&direct, 12), (&second, 24)] {
        transfer.reached(after * MIB).await;
        pair.use_wire(wire);
        let gap = transfer.reached(transfer.received() + 1).await;
        eprintln!("at {after} MiB another route; the next bytes after {gap:?}");
    }
    transfer.reached(36 * MIB).await;
    pair.to_bob.keep_socket(Some(guessed[1]));
    assert_eq!(pair.to_bob.socket_addr(guessed[0]), None, "closed");
    pair.to_bob.use_route(Some(last));
    pair.to_alice.use_route(Some(other_socket.route(1)));
    transfer.finished().await;
    eprintln!("48 MiB over four routes in {:?}", began.elapsed());
    for wire in [&first, &direct, &second, &other_socket] {
        assert!(wire.passed() > 1000, "{} packets", wire.passed());
    }
    assert!(alices.close_reason().is_none() && bobs.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_died_silently_in_the_middle_of_a_transfer_is_replaced_and_the_sender_goes_on_at_once() {
    // At once, when the first congestion window is full; and when there is more of it than the receiver allows.
    for progress in [0, 8, 0, 8].map(|mib| mib * MIB) {
        let pair = pair();
        let (first, second) = (pair.relay().await, pair.relay().await);
        pair.accept(&first);
        pair.accept(&second);
        pair.use_wire(&first);
        let (alices, bobs) = pair.connect().await;
        if progress == 0 {
            first.cut();
        }
        let transfer = Transfer::begin(&alices, &bobs, 24 * MIB).await;
        transfer.reached(progress).await;
        first.cut();
        transfer.stalled().await;
        let stuck = alices.stats().path;
        patient(&alices).await;
        let before = transfer.received();
        pair.use_wire(&second);
        let gap = transfer.reached(before + 1).await;
        let restored = transfer.reached(before + MIB).await;
        eprintln!(
            "dead with {} bytes of window; the next bytes after {gap:?}, 1 MiB after {restored:?}",
            stuck.cwnd
        );
        transfer.finished().await;
        assert!(gap < SOON, "{gap:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_was_lost_with_its_route_is_repeated_when_there_is_another_one() {
    let pair = pair();
    let (first, second) = (pair.relay().await, pair.relay().await);
    pair.accept(&first);
    pair.accept(&second);
    pair.use_wire(&first);
    let (alices, bobs) = pair.connect().await;
    // Let the handshake come to its end.
    let (mut send, mut receive) = alices.open_bi().await.expect("a stream");
    send.write_all(b"1").await.expect("written");
    let (mut answer, mut question) = bobs.accept_bi().await.expect("a stream");
    let mut byte = [0];
    question.read_exact(&mut byte).await.expect("a byte");

    first.cut();
    send.write_all(b"2").await.expect("written");
    patient(&alices).await;
    let began = Instant::now();
    pair.use_wire(&second);
    question.read_exact(&mut byte).await.expect("a byte");
    let heard = began.elapsed();
    answer.write_all(b"3").await.expect("written");
    receive.read_exact(&mut byte).await.expect("a byte");
    eprintln!("heard after {heard:?}, answered after {:?}", began.elapsed());
    assert!(began.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn congestion_control_starts_afresh_on_each_route() {
    let pair = pair();
    let (first, second) = (pair.cable().await, pair.cable().await);
    pair.accept(&first);
    pair.accept(&second);
    pair.use_wire(&first);
    let (alices, bobs) = pair.connect().await;
    let cwnd = || alices.stats().path.cwnd;
    let fresh = cwnd();
    Transfer::begin(&alices, &bobs, 8 * MIB).await.finished().await;
    let grown = cwnd();
    assert!(grown > 2 * fresh, "{grown}");
    pair.use_wire(&second);
    until(|| cwnd() <= 2 * fresh).await;
    eprintln!("window {grown} on the first route, {} on the second", cwnd());
    Transfer::begin(&alices, &bobs, 8 * MIB).await.finished().await;
    assert!(cwnd() > 2 * fresh, "it grows again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_may_send_by_another_route() {
    let pair = pair();
    let (there, back) = (pair.cable().await, pair.relay().await);
    pair.accept(&there);
    pair.accept(&back);
    pair.to_bob.use_route(Some(there.route(0)));
    pair.to_alice.use_route(Some(back.route(1)));
    let (alices, bobs) = pair.connect().await;
    Transfer::begin(&alices, &bobs, 2 * MIB).await.finished().await;
    assert!(there.passed() > back.passed() && back.passed() > 0);
    assert_eq!(pair.alice.direct_remote(&alices), Some(there.addr()));
    assert_eq!(pair.bob.direct_remote(&bobs), None, "relayed");
    let seen = VirtualAddr::of(bobs.remote_address()).expect("virtual");
    assert_eq!(
        (pair.bob.peer_of(seen), pair.alice.peer_of(pair.to_bob.virtual_addr())),
        (Some(node(1)), Some(node(2)))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_by_a_route_that_is_not_accepted_do_not_move_the_connection() {
    let pair = pair();
    let (first, second) = (pair.cable().await, pair.cable().await);
    pair.accept(&first);
    pair.to_bob.accept(second.route(0), true);
    pair.use_wire(&first);
    let (alices, bobs) = pair.connect().await;
    let transfer = Transfer::begin(&alices, &bobs, 4 * MIB).await;
    transfer.reached(MIB).await;
    // Bob does not know yet that this is alice.
    pair.to_bob.use_route(Some(second.route(0)));
    until(|| second.passed() > 0).await;
    transfer.stalled().await;
    assert_eq!(bobs.remote_address(), pair.to_alice.virtual_addr().addr());
    pair.to_alice.accept(second.route(1), true);
    transfer.finished().await;
    assert_eq!(bobs.remote_address(), pair.to_alice.virtual_addr().addr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_dialled_as_soon_as_there_is_a_route() {
    let pair = pair();
    let wire = pair.relay().await;
    pair.accept(&wire);
    let dialling = pair.connect();
    let routing = async {
        tokio::task::yield_now().await;
        pair.use_wire(&wire);
    };
    let ((alices, _bobs), ()) = tokio::join!(dialling, routing);
    assert!(alices.close_reason().is_none());
    let (nobody, _news) =
        pair.alice.peer_path(node(9), nearmesh_common::wire::signal::SessionId([9; 16])).expect("room");
    let failed = timeout(PATIENCE, pair.alice.dial_path(&nobody)).await.expect("in time");
    assert!(matches!(failed, Err(DialError::NoRoute)), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_route_packets_vanish_and_the_connection_waits() {
    let pair = pair();
    let wire = pair.cable().await;
    pair.accept(&wire);
    pair.use_wire(&wire);
    let (alices, bobs) = pair.connect().await;
    let transfer = Transfer::begin(&alices, &bobs, 4 * MIB).await;
    transfer.reached(MIB).await;
    pair.to_bob.use_route(None);
    until(|| pair.alice.counters().unrouted > 0).await;
    transfer.stalled().await;
    pair.to_bob.use_route(Some(wire.route(0)));
    transfer.finished().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_tell_by_which_route_packets_come_and_when_something_is_under_way() {
    let mut pair = pair();
    let wire = pair.relay().await;
    pair.accept(&wire);
    pair.use_wire(&wire);
    let (alices, bobs) = pair.connect().await;
    Transfer::begin(&alices, &bobs, MIB).await.finished().await;
    let (mut heard, mut busy) = (false, false);
    while !(heard && busy) {
        match timeout(PATIENCE, pair.news_of_alice.recv()).await.expect("in time") {
            Some(PathNews::Heard(route)) => heard = route == wire.route(1),
            Some(PathNews::Busy) => busy = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(pair.to_alice.is_busy() && pair.to_bob.is_busy());
    until(|| !pair.to_alice.is_busy() && !pair.to_bob.is_busy()).await;
    assert!(alices.close_reason().is_none(), "keep-alives are no business");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_come_with_the_way_they_took_to_the_socket_they_came_to() {
    let mut pair = pair();
    let relay = pair.relay().await;
    pair.to_alice.accept(relay.route(1), true);
    let (bob, alice) = (pair.bob.local_addr(), pair.alice.local_addr());
    pair.to_bob.send_control(Route::direct(bob), &probe(1), None);
    assert_eq!(next_probe(&mut pair.news_of_alice).await, (Route::direct(alice), probe(1)));
    pair.to_bob.send_control(Route::direct(bob), &probe(2), Some(2));
    assert_eq!(next_probe(&mut pair.news_of_alice).await, (Route::direct(alice), probe(2)));
    pair.to_bob.send_control(relay.route(0), &probe(3), None);
    assert_eq!(next_probe(&mut pair.news_of_alice).await, (relay.route(1), probe(3)));

    let sockets = pair.to_bob.open_sockets(256);
    assert_eq!(sockets.len(), 256);
    assert!(pair.to_bob.open_sockets(1).is_empty(), "no more");
    let there = |index: SocketIndex| pair.to_bob.socket_addr(index).expect("it is open");
    let some = [sockets[0], sockets[100], sockets[255]];
    for (index, hops) in some.into_iter().zip([None, Some(3), None]) {
        pair.to_bob.send_control(Route::Direct { socket: index, to: bob }, &probe(4), hops);
        assert_eq!(next_probe(&mut pair.news_of_alice).await, (Route::direct(there(index)), probe(4)));
        pair.to_alice.send_control(Route::direct(there(index)), &probe(5), None);
        let way = Route::Direct { socket: index, to: bob };
        assert_eq!(next_probe(&mut pair.news_of_bob).await, (way, probe(5)));
    }
    let kept = there(some[1]);
    pair.to_bob.keep_socket(Some(some[1]));
    assert!(some.map(|index| pair.to_bob.socket_addr(index)) == [None, Some(kept), None]);
    pair.to_alice.send_control(Route::direct(kept), &probe(6), None);
    let way = Route::Direct { socket: some[1], to: bob };
    assert_eq!(next_probe(&mut pair.news_of_bob).await, (way, probe(6)), "it is read in batches now");
    pair.to_bob.send_control(way, &probe(7), Some(3));
    assert_eq!(next_probe(&mut pair.news_of_alice).await, (Route::direct(kept), probe(7)));
    pair.to_bob.keep_socket(None);
    assert_eq!(pair.to_bob.socket_addr(some[1]), None);
}
