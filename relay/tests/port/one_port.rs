//! QUIC and STUN on the same port, side by side.

use std::{
    net::UdpSocket,
    process::Command,
    time::{Duration, Instant},
};

use nearmesh_relay::{Accepted, DialError, Endpoint};
use quinn::Connection;
use tokio::{sync::Notify, time::timeout};

use crate::net::{Net, any_port, node};

const MIB: usize = 1 << 20;

async fn member(endpoint: &Endpoint) -> Connection {
    match endpoint.accept().await.expect("the endpoint is open") {
        Accepted::Member(connection) => connection,
        Accepted::Enrol(_) => panic!("a member came in as a newcomer"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alice_sends_32_mib_to_bob_while_both_ports_answer_probes() {
    const PROBES: u64 = 5;
    let some_probes = Notify::new();
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    let sending = async {
        let connection = alice.dial(node(2), bob.local_addr()).await.expect("a connection");
        let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
        let block: Vec<u8> = (0..MIB).map(|i| (i % 251) as u8).collect();
        for i in 0..32 {
            if i == 31 {
                some_probes.notified().await;
            }
            send.write_all(&block).await.expect("written");
        }
        send.finish().expect("finished");
        recv.read_to_end(8).await.expect("bob's verdict")
    };
    let receiving = async {
        let connection = member(&bob).await;
        let (mut send, mut recv) = connection.accept_bi().await.expect("a stream");
        let all = recv.read_to_end(33 * MIB).await.expect("all of it");
        let whole =
            all.len() == 32 * MIB && all.iter().enumerate().all(|(i, byte)| *byte == (i % MIB % 251) as u8);
        send.write_all(if whole { b"whole" } else { b"broken" }).await.expect("written");
        send.finish().expect("finished");
        send.stopped().await.expect("alice has it");
    };
    let probing = async {
        for _ in 0..PROBES {
            let (of_bob, of_alice) =
                tokio::join!(alice.probe(bob.local_addr()), bob.probe(alice.local_addr()));
            assert_eq!(of_bob.expect("bob answers").observed, alice.local_addr());
            assert_eq!(of_alice.expect("alice answers").observed, bob.local_addr());
        }
        some_probes.notify_one();
    };
    let began = Instant::now();
    let (verdict, (), ()) = tokio::join!(sending, receiving, probing);
    assert_eq!(verdict, b"whole");
    let counters = bob.counters();
    assert!(counters.stun.answered >= 3 * PROBES, "{counters:?}");
    assert_eq!((counters.accepted, counters.reserved, counters.stun.malformed), (1, 0, 0), "{counters:?}");
    eprintln!("32 MiB in {:?}; bob's port: {counters:?}", began.elapsed());
}

#[tokio::test]
async fn the_first_probe_of_a_fresh_port_goes_out_at_once() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    assert!(alice.probe(bob.local_addr()).await.is_some());
    assert_eq!((alice.counters().stun_unsent, bob.counters().stun_unsent), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standard_stun_client_learns_its_address_from_the_port() {
    let net = Net::new();
    let bob = net.endpoint(node(2), false);
    let port = bob.local_addr().port().to_string();
    let run = move || Command::new("turnutils_stunclient").args(["-p", &port, "127.0.0.1"]).output();
    match tokio::task::spawn_blocking(run).await.expect("it ran") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: turnutils_stunclient is not installed");
        }
        Err(error) => panic!("turnutils_stunclient: {error}"),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains("UDP reflexive addr: 127.0.0.1:"), "{text}");
            assert!(bob.counters().stun.answered >= 1);
        }
    }
}

#[tokio::test]
async fn a_probe_of_a_silent_address_ends_within_its_deadline() {
    let net = Net::new();
    let alice = net.endpoint(node(1), false);
    let silent = UdpSocket::bind(any_port()).expect("a port");
    let began = Instant::now();
    assert_eq!(alice.probe(silent.local_addr().expect("an address")).await, None);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_silent_peer_is_given_up_within_five_seconds() {
    let net = Net::new();
    let alice = net.endpoint(node(1), false);
    let silent = UdpSocket::bind(any_port()).expect("a port");
    let began = Instant::now();
    let error =
        alice.dial(node(2), silent.local_addr().expect("an address")).await.expect_err("nobody is there");
    assert!(matches!(error, DialError::NoAnswer), "{error}");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_address_of_the_other_ip_version_is_refused_at_once() {
    let net = Net::new();
    let alice = net.endpoint(node(1), false);
    let there = "[::1]:9".parse().expect("an address");
    assert_eq!(alice.probe(there).await, None);
    assert!(matches!(alice.dial(node(2), there).await, Err(DialError::IpVersion)));
}

#[tokio::test]
async fn a_closed_endpoint_tells_its_peers_and_accepts_no_more() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    let (connection, accepted) = tokio::join!(alice.dial(node(2), bob.local_addr()), member(&bob));
    let connection = connection.expect("a connection");
    bob.close().await;
    assert!(matches!(connection.closed().await, quinn::ConnectionError::ApplicationClosed(_)));
    assert!(accepted.close_reason().is_some());
    assert!(bob.accept().await.is_none());
}

#[tokio::test]
async fn a_port_on_ipv6_does_the_same() {
    let net = Net::new();
    let bind = |seed| Endpoint::bind("[::1]:0".parse().expect("an address"), net.member(node(seed), false));
    let (Ok(alice), Ok(bob)) = (bind(1), bind(2)) else {
        eprintln!("skipped: there is no IPv6 on this machine");
        return;
    };
    let probe = alice.probe(bob.local_addr()).await.expect("bob answers");
    assert_eq!(probe.observed, alice.local_addr());
    let (connection, _) = tokio::join!(alice.dial(node(2), bob.local_addr()), member(&bob));
    assert_eq!(connection.expect("a connection").remote_address(), bob.local_addr());
}

#[tokio::test]
async fn a_peer_that_dies_is_noticed_within_five_seconds() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    // Everything between the two passes here, until all is said: the worst moment to die, because the next keep-alive
    // still starts the idle timeout anew (RFC 9000, section 10.1).
    const QUIET: Duration = Duration::from_millis(100);
    let between = tokio::net::UdpSocket::bind(any_port()).await.expect("a port");
    let (to, there) = (between.local_addr().expect("an address"), bob.local_addr());
    let here = alice.local_addr();
    let passing = tokio::spawn(async move {
        let mut packet = [0; 2000];
        while let Ok(received) = timeout(QUIET, between.recv_from(&mut packet)).await {
            let (length, from) = received.expect("a packet");
            let to = if from == there { here } else { there };
            between.send_to(&packet[..length], to).await.expect("passed on");
        }
        Instant::now()
    });
    let (dialled, accepted) = tokio::join!(alice.dial(node(2), to), member(&bob));
    let dialled = dialled.expect("a connection");
    let (one, other) = tokio::join!(dialled.closed(), accepted.closed());
    assert_eq!((one, other), (quinn::ConnectionError::TimedOut, quinn::ConnectionError::TimedOut));
    let died = passing.await.expect("it ran");
    eprintln!("noticed after {:?}", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
}
