//! Those who have no right to be served, and those who want too much.

use super::*;

#[test]
fn a_packet_without_a_reservation_goes_nowhere() {
    let mut relay = Relay::new(limits());
    let (alice, _) = relay.open();
    for bits in 0..1_000u64 {
        let guess = ChannelId::from_random(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        assert_eq!(relay.send(guess, &alice.address, 1_000), Decision::Drop(DropReason::UnknownChannel));
    }
    let counters = relay.machine.counters();
    assert_eq!((counters.dropped.unknown_channel, counters.proofs_asked), (1_000, 0));
}

#[test]
fn another_ends_channel_is_of_no_use() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    let (carol, dave) = (at("192.0.2.3:3"), at("192.0.2.4:4"));
    let (carol, _) = relay.open_between(("carol", carol), ("dave", dave), 2);
    assert_eq!(
        relay.send(alice.channel, &carol.address, 1_000),
        Decision::Drop(DropReason::OtherSource),
        "a member with a channel of its own"
    );
    assert_eq!(
        relay.send(alice.channel, &bob.address, 1_000),
        Decision::Drop(DropReason::OtherSource),
        "her own peer"
    );
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
}

#[test]
fn one_member_gets_no_more_than_its_share_and_another_finds_room() {
    let mut relay = Relay::new(Limits { sessions: 100, waiting: 100, ..limits() });
    let mallory = Standing::Proved(at("192.0.2.66:6"));
    let asked: Vec<EndId> = (0..200).map(|number| relay.ask("mallory", "bob", number, mallory)).collect();
    let given = asked.iter().filter(|end| !relay.is_closed(**end, RelayClosed::Full)).count();
    assert_eq!(given, limits().per_member);
    assert_eq!(relay.machine.counters().refused, 197);
    let (alice, bob) = relay.open();
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
}

#[test]
fn many_who_wait_keep_nobody_from_joining_the_one_that_waits_for_it() {
    let mut relay = Relay::new(limits());
    let somewhere = Standing::Proved(at("192.0.2.66:6"));
    let alice = relay.ask("alice", "bob", 1, somewhere);
    for member in ["m1", "m2", "m3", "m4", "m5"] {
        relay.ask(member, "nobody", 1, somewhere);
    }
    assert_eq!(relay.machine.counters().waiting, 4);
    assert_eq!(relay.machine.counters().refused, 2);
    relay.ask("bob", "alice", 1, somewhere);
    assert!(matches!(relay.told(alice).last(), Some(FromRelay::Open { .. })));
}

#[test]
fn a_full_relay_refuses_and_takes_again_when_a_pair_ends() {
    let mut relay = Relay::new(limits());
    let (alice, _) = relay.open();
    let (carol, dave) = (at("192.0.2.3:3"), at("192.0.2.4:4"));
    relay.open_between(("carol", carol), ("dave", dave), 2);
    let erin = relay.ask("erin", "frank", 3, Standing::Proved(at("192.0.2.5:5")));
    assert!(relay.is_closed(erin, RelayClosed::Full));
    relay.input(Input::Gone(alice.end));
    let erin = relay.ask("erin", "frank", 3, Standing::Proved(at("192.0.2.5:5")));
    assert_eq!(relay.told(erin), [FromRelay::Waiting]);
}

#[test]
fn nobody_is_joined_with_itself() {
    let mut relay = Relay::new(limits());
    for _ in 0..2 {
        let end = relay.ask("mallory", "mallory", 1, Standing::Proved(at("192.0.2.66:6")));
        assert!(relay.is_closed(end, RelayClosed::Full));
    }
    assert!(relay.holds_nothing());
}

#[test]
fn what_ends_say_out_of_turn_changes_nothing() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    let waiting = relay.ask("carol", "dave", 2, Standing::Proved(at("192.0.2.3:3")));
    let unknown = EndId(999);
    let before = relay.outputs.len();
    for end in [waiting, unknown] {
        relay.input(Input::Renew(end));
        relay.input(Input::Proof { end, cookie: Cookie([1; 16]), from: at("192.0.2.1:1") });
    }
    relay.input(Input::Gone(unknown));
    assert_eq!(relay.outputs.len(), before);
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
}
