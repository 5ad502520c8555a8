//! Ends whose address changes, or is not known for certain.

use super::*;

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn an_end_behind_a_nat_that_rebinds_moves_when_it_proves_its_new_address() {
    let mut relay = Relay::new(limits());
    let (mut alice, bob) = relay.open();
    alice.address = at("192.0.2.1:5555");
    assert_eq!(relay.packet(&alice), Decision::Drop(DropReason::OtherSource));
    let (to, channel, cookie) = relay.asked().expect("she is asked");
    assert_eq!((to, channel), (alice.address, alice.channel));
    relay.input(Input::Proof { end: alice.end, cookie, from: alice.address });
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    assert_eq!(relay.packet(&bob), forwarded_to(&alice));
    assert_eq!(relay.machine.counters().moved, 1);
}

#[test]
fn a_cookie_proves_only_the_address_it_was_sent_to_for_the_end_it_was_sent_for_and_once() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    let (elsewhere, victim) = (at("192.0.2.1:5555"), at("203.0.113.9:53"));
    relay.send(alice.channel, &elsewhere, 1_000);
    let (_, _, cookie) = relay.asked().expect("she is asked");
    relay.input(Input::Proof { end: alice.end, cookie, from: victim });
    relay.input(Input::Proof { end: bob.end, cookie, from: elsewhere });
    relay.input(Input::Proof { end: alice.end, cookie: Cookie([0; 16]), from: elsewhere });
    assert_eq!(relay.packet(&bob), forwarded_to(&alice));
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    assert_eq!(relay.machine.counters().moved, 0);
    relay.input(Input::Proof { end: alice.end, cookie, from: elsewhere });
    relay.send(alice.channel, &alice.address, 1_000);
    relay.input(Input::Proof { end: alice.end, cookie, from: elsewhere });
    assert_eq!(relay.machine.counters().moved, 1);
}

#[test]
fn an_old_cookie_proves_nothing() {
    let mut relay = Relay::new(limits());
    let (alice, _) = relay.open();
    let elsewhere = at("192.0.2.1:5555");
    relay.send(alice.channel, &elsewhere, 1_000);
    let (_, _, cookie) = relay.asked().expect("she is asked");
    relay.pass(Duration::from_secs(5));
    relay.input(Input::Proof { end: alice.end, cookie, from: elsewhere });
    assert_eq!(relay.machine.counters().moved, 0);
}

#[test]
fn proof_is_asked_for_a_few_times_a_second_with_the_same_cookie() {
    let mut relay = Relay::new(limits());
    let (alice, _) = relay.open();
    let elsewhere = at("192.0.2.1:5555");
    let mut cookies = Vec::new();
    for _ in 0..1_000 {
        relay.send(alice.channel, &elsewhere, 1_000);
        cookies.extend(relay.asked().map(|(_, _, cookie)| cookie.0));
        relay.pass(Duration::from_millis(1));
    }
    cookies.dedup();
    assert_eq!(cookies.len(), 1);
    assert_eq!(relay.machine.counters().proofs_asked, 5);
}

#[test]
fn an_address_that_is_only_claimed_gets_a_question_and_nothing_else() {
    let mut relay = Relay::new(limits());
    let (victim, bob) = (at("203.0.113.9:53"), at("192.0.2.2:2"));
    let mallory = relay.ask("mallory", "bob", 1, Standing::Claimed(victim));
    let bob_end = relay.ask("bob", "mallory", 1, Standing::Proved(bob));
    let channel = relay.channel_of(bob_end);
    let mut forwarded = 0;
    for _ in 0..100 {
        forwarded += u32::from(relay.send(channel, &bob, 1_000) != Decision::Drop(DropReason::Unproved));
    }
    assert_eq!(forwarded, 0);
    let (to, asked_on, cookie) = relay.asked().expect("the claimed address is asked");
    assert_eq!((to, asked_on), (victim, relay.channel_of(mallory)));
    assert_eq!(relay.machine.counters().proofs_asked, 1);
    relay.input(Input::Proof { end: mallory, cookie, from: victim });
    assert_eq!(
        relay.send(channel, &bob, 1_000),
        Decision::Forward { to: victim, channel: asked_on },
        "whoever receives there and says so may have it"
    );
}

#[test]
fn who_knows_a_channel_and_forges_sources_makes_the_relay_send_less_than_it_gets() {
    let mut relay = Relay::new(limits());
    let (alice, _) = relay.open();
    let (mut received, mut sent) = (0, 0);
    for port in 1..2_000u16 {
        let forged = at(&format!("203.0.113.9:{port}"));
        let bytes = 8 + u64::from(port % 40);
        let before = relay.outputs.len();
        relay.send(alice.channel, &forged, bytes);
        received += bytes;
        sent += (relay.outputs.len() - before) * PROOF_REQUEST_LENGTH;
        if bytes < PROOF_REQUEST_LENGTH as u64 {
            assert_eq!(relay.outputs.len(), before, "an answer to {bytes} bytes would be longer");
        }
        relay.pass(SHORT / 4);
    }
    assert!(sent as u64 * 3 < received, "{sent} bytes for {received}");
    assert_eq!(relay.machine.counters().packets, 0);
}
