//! What a node needs to learn about its own NAT, on a loopback without any.

use std::time::Duration;

use nearmesh_relay::{Endpoint, proto::nat::Token};
use tokio::time::timeout;

use crate::net::{Net, node};

const PATIENCE: Duration = Duration::from_secs(5);

fn alice_and_bob() -> (Endpoint, Endpoint) {
    let net = Net::new();
    (net.endpoint(node(1), false), net.endpoint(node(2), false))
}

#[tokio::test]
async fn a_dial_back_comes_from_another_port_which_answers_stun_for_a_while() {
    let (alice, bob) = alice_and_bob();
    let token = Token([7; 16]);
    let port = alice.dial_back(bob.local_addr(), token).await.expect("it is sent");
    let came = timeout(PATIENCE, bob.dialled_back()).await.expect("in time").expect("a token");
    assert_eq!((came.token, came.from.port()), (token, port));
    assert_ne!(port, alice.local_addr().port());
    let seen = bob.observe(came.from).await.expect("an answer from the other port");
    assert_eq!(seen.observed, bob.local_addr());
}

#[tokio::test]
async fn who_was_asked_is_a_contact_and_who_was_asked_from_beside_the_port_is_none() {
    let (alice, bob) = alice_and_bob();
    let come = async || {
        alice.dial_back(bob.local_addr(), Token([1; 16])).await.expect("it is sent");
        timeout(PATIENCE, bob.dialled_back()).await.expect("in time").expect("a token").contact
    };
    let aside = bob.probe_aside(alice.local_addr(), 3).await.expect("an answer");
    assert_ne!(aside.observed, bob.local_addr(), "another socket asked");
    assert!(!come().await && !bob.has_sought(alice.local_addr()));
    bob.probe(alice.local_addr()).await.expect("an answer");
    assert!(come().await && bob.has_sought(alice.local_addr()));
}

#[tokio::test]
async fn who_dialled_us_is_a_contact_that_we_have_not_sought() {
    let (alice, bob) = alice_and_bob();
    let (dialled, accepted) = tokio::join!(alice.dial(node(2), bob.local_addr()), bob.accept());
    let (_dialled, _accepted) = (dialled.expect("a connection"), accepted.expect("a connection"));
    assert!(!bob.has_sought(alice.local_addr()));
    alice.dial_back(bob.local_addr(), Token([1; 16])).await.expect("it is sent");
    let came = timeout(PATIENCE, bob.dialled_back()).await.expect("in time").expect("a token");
    assert!(came.contact, "bob has answered alice's address");
}

#[tokio::test]
async fn an_answer_comes_to_the_socket_that_was_silent_when_another_asks_for_it() {
    let (alice, bob) = alice_and_bob();
    let (silent, waker) = (bob.open_aside().expect("a socket"), bob.open_aside().expect("a socket"));
    let outside = silent.observe(alice.local_addr()).await.expect("an answer").observed;
    let answered = waker.observe_at(&silent, outside.port(), alice.local_addr()).await;
    let asked_from = answered.expect("an answer at the silent one").observed;
    assert_ne!(asked_from, outside, "it says from where it was asked");
}

#[tokio::test]
async fn tokens_that_nobody_takes_cost_nothing_but_themselves() {
    let (alice, bob) = alice_and_bob();
    for _ in 0..1000 {
        alice.send_token(bob.local_addr(), Token([9; 16]));
    }
    bob.probe(alice.local_addr()).await.expect("bob's port still works");
    let first = timeout(PATIENCE, bob.dialled_back()).await.expect("in time").expect("a token");
    assert_eq!(first.from, alice.local_addr());
}
