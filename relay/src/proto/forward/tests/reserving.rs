//! How reservations come and go.

use super::*;

#[test]
fn two_ends_that_name_each_other_get_a_channel_each_and_packets_pass_both_ways() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    assert_eq!(relay.told(alice.end)[0], FromRelay::Waiting);
    assert_ne!(alice.channel, bob.channel);
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    assert_eq!(relay.packet(&bob), forwarded_to(&alice));
    let counters = relay.machine.counters();
    assert_eq!((counters.packets, counters.bytes, counters.sessions), (2, 2_000, 1));
    assert_eq!(counters.dropped.total(), 0);
}

#[test]
fn ends_that_do_not_name_each_other_in_the_same_session_are_not_joined() {
    let mut relay = Relay::new(Limits { waiting: 10, ..limits() });
    let somewhere = Standing::Proved(at("192.0.2.1:1"));
    relay.ask("alice", "bob", 1, somewhere);
    relay.ask("bob", "alice", 2, somewhere);
    relay.ask("bob", "carol", 1, somewhere);
    relay.ask("mallory", "bob", 1, somewhere);
    relay.ask("mallory", "alice", 1, somewhere);
    let counters = relay.machine.counters();
    assert_eq!((counters.sessions, counters.waiting), (0, 5));
}

#[test]
fn an_end_whose_peer_does_not_come_is_told_so() {
    let mut relay = Relay::new(limits());
    let alice = relay.ask("alice", "bob", 1, Standing::Proved(at("192.0.2.1:1")));
    relay.pass(WAIT - Duration::from_millis(1));
    assert_eq!(relay.told(alice), [FromRelay::Waiting]);
    relay.pass(Duration::from_millis(1));
    assert!(relay.is_closed(alice, RelayClosed::Alone));
    assert!(relay.holds_nothing());
}

#[test]
fn when_one_end_goes_the_other_is_told_and_its_packets_go_nowhere() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    relay.input(Input::Gone(alice.end));
    assert!(relay.is_closed(bob.end, RelayClosed::PeerGone));
    assert!(!relay.is_closed(alice.end, RelayClosed::PeerGone), "alice is not there to be told");
    assert_eq!(relay.packet(&bob), Decision::Drop(DropReason::UnknownChannel));
    assert!(relay.holds_nothing());
}

#[test]
fn an_end_that_goes_while_it_waits_leaves_nothing_behind() {
    let mut relay = Relay::new(limits());
    let alice = relay.ask("alice", "bob", 1, Standing::Proved(at("192.0.2.1:1")));
    relay.input(Input::Gone(alice));
    assert!(relay.holds_nothing());
    let bob = relay.ask("bob", "alice", 1, Standing::Proved(at("192.0.2.2:2")));
    assert_eq!(relay.told(bob), [FromRelay::Waiting]);
}

#[test]
fn an_unused_pair_ends_and_a_used_one_does_not() {
    let mut relay = Relay::new(Limits { life: 100 * LIFE, ..limits() });
    let (alice, bob) = relay.open();
    for _ in 0..10 {
        relay.pass(IDLE - Duration::from_millis(1));
        assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    }
    relay.pass(IDLE);
    assert!(relay.is_closed(alice.end, RelayClosed::Idle) && relay.is_closed(bob.end, RelayClosed::Idle));
    assert!(relay.holds_nothing());
}

#[test]
fn a_pair_that_nobody_renews_expires_and_one_that_is_renewed_does_not() {
    let mut relay = Relay::new(Limits { idle: 100 * LIFE, ..limits() });
    let (alice, bob) = relay.open();
    for _ in 0..5 {
        relay.pass(LIFE - Duration::from_secs(1));
        relay.input(Input::Renew(alice.end));
        for end in [alice.end, bob.end] {
            assert_eq!(relay.told(end).last(), Some(&FromRelay::Renewed(600_000)));
        }
    }
    assert_eq!(relay.packet(&bob), forwarded_to(&alice));
    relay.pass(LIFE);
    assert!(
        relay.is_closed(alice.end, RelayClosed::Expired) && relay.is_closed(bob.end, RelayClosed::Expired)
    );
    assert_eq!(relay.packet(&bob), Decision::Drop(DropReason::UnknownChannel));
}

#[test]
fn both_ends_hear_when_bytes_run_low_and_a_renewal_brings_new_ones() {
    let mut relay = Relay::new(Limits { pair_bytes: 10_000, ..limits() });
    let (alice, bob) = relay.open();
    for _ in 0..8 {
        assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    }
    for end in [alice.end, bob.end] {
        assert_eq!(relay.told(end).last(), Some(&FromRelay::RunningLow));
    }
    relay.pass(Duration::from_secs(2));
    relay.input(Input::Renew(bob.end));
    for _ in 0..10 {
        assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    }
    let low = relay.told(alice.end).into_iter().filter(|message| *message == FromRelay::RunningLow);
    assert_eq!(low.count(), 2, "once for each time");
}

#[test]
fn a_pair_without_bytes_is_given_a_moment_to_renew() {
    let mut relay = Relay::new(Limits { pair_bytes: 1_500, ..limits() });
    let (alice, bob) = relay.open();
    relay.pass(Duration::from_secs(2));
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    assert_eq!(relay.packet(&alice), Decision::Drop(DropReason::OutOfBytes));
    relay.pass(Duration::from_secs(4));
    relay.input(Input::Renew(alice.end));
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    assert_eq!(relay.packet(&alice), Decision::Drop(DropReason::OutOfBytes));
    relay.pass(Duration::from_secs(5));
    assert!(relay.is_closed(bob.end, RelayClosed::Expired));
    assert!(relay.holds_nothing());
}

#[test]
fn renewals_that_come_too_fast_bring_nothing() {
    let mut relay = Relay::new(Limits { pair_bytes: 1_500, ..limits() });
    let (alice, bob) = relay.open();
    relay.pass(Duration::from_secs(1));
    let mut forwarded = 0;
    for _ in 0..1_000 {
        relay.input(Input::Renew(alice.end));
        forwarded += u32::from(relay.packet(&alice) == forwarded_to(&bob));
        relay.pass(Duration::from_millis(10));
    }
    assert!(forwarded <= 11, "{forwarded} packets in ten seconds");
    let told = relay.told(alice.end).into_iter();
    let renewed = told.filter(|said| *said == FromRelay::Renewed(600_000));
    assert!(renewed.count() <= 11, "the others hear how little is left");
}

#[test]
fn who_asks_again_takes_the_place_of_its_old_self() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    let again = relay.ask("alice", "bob", 1, Standing::Proved(at("192.0.2.1:9")));
    assert!(relay.is_closed(alice.end, RelayClosed::Replaced));
    assert!(relay.is_closed(bob.end, RelayClosed::PeerGone));
    relay.ask("bob", "alice", 1, Standing::Proved(at("192.0.2.2:2")));
    assert!(relay.told(again).iter().any(|said| matches!(said, FromRelay::Open { .. })));
    relay.input(Input::Gone(alice.end));
    assert_eq!(relay.machine.counters().sessions, 1, "the late end of the old stream changes nothing");
}

#[test]
fn a_relay_that_drains_takes_nobody_goes_on_for_a_while_and_then_stops() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    let waiting = relay.ask("carol", "dave", 2, Standing::Proved(at("192.0.2.3:3")));
    relay.input(Input::Drain(Duration::from_secs(1)));
    assert!(relay.is_closed(waiting, RelayClosed::Leaving));
    assert_eq!(relay.told(alice.end).last(), Some(&FromRelay::Draining(1_000)));
    assert_eq!(relay.told(bob.end).last(), Some(&FromRelay::Draining(1_000)));
    let late = relay.ask("carol", "dave", 2, Standing::Proved(at("192.0.2.3:3")));
    assert!(relay.is_closed(late, RelayClosed::Leaving));
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
    relay.pass(Duration::from_secs(1));
    assert!(relay.is_closed(alice.end, RelayClosed::Leaving));
    assert_eq!(relay.packet(&alice), Decision::Drop(DropReason::UnknownChannel));
    assert!(relay.holds_nothing());
}

#[test]
fn a_node_that_does_not_relay_says_so_and_keeps_what_it_promised() {
    let mut relay = Relay::new(limits());
    let (alice, bob) = relay.open();
    relay.input(Input::Limits(None));
    let carol = relay.ask("carol", "dave", 2, Standing::Proved(at("192.0.2.3:3")));
    assert!(relay.is_closed(carol, RelayClosed::NoRelay));
    assert_eq!(relay.machine.counters().refused, 1);
    assert_eq!(relay.packet(&alice), forwarded_to(&bob));
}
