//! What two nodes say to each other through their homes arrives, or comes back, and nothing else happens.

use std::time::Duration;

use nearmesh_common::wire::{
    home::{ToChild, ToHome},
    mesh::Mesh,
    signal::{End, SessionId, Signal, SignalBody},
};

use crate::proto::testing::{LATENCY, Net, node};

const SECOND: Duration = Duration::from_secs(1);

fn signal(from: &str, to: &str, body: SignalBody) -> Box<Signal> {
    Box::new(Signal { from: node(from), to: node(to), session: SessionId([7; 16]), body })
}

fn push() -> SignalBody {
    SignalBody::Push(vec![([10, 0, 0, 1], 4000).into()])
}

/// From a child of `home` to one of `s0`.
fn carried(home: &str, signal: Box<Signal>) -> Mesh {
    Mesh::Signal { from: node(home), to: node("s0"), hops: 0, signal }
}

/// Alice at `s0` and bob at `s1`.
fn two_homes() -> Net {
    let mut net = Net::of(2);
    net.attach("alice", "s0", 0);
    net.attach("bob", "s1", 0);
    net.run(SECOND);
    net.heard("alice");
    net.heard("bob");
    net
}

/// What a child was told by other nodes: the home by which it came, and the signal.
fn told(net: &mut Net, child: &str) -> Vec<(nearmesh_common::NodeId, Signal)> {
    let signals = net.heard(child).into_iter().filter_map(|message| match message {
        ToChild::Signal { home, signal } => Some((home, *signal)),
        _ => None,
    });
    signals.collect()
}

fn say(net: &mut Net, from: &str, at: &str, home: &str, signal: Box<Signal>) {
    net.say(from, at, ToHome::Signal { home: node(home), signal });
    net.run(LATENCY * 4);
}

#[test]
fn a_signal_reaches_the_child_of_another_home_and_tells_the_way_back() {
    let mut net = two_homes();
    say(&mut net, "alice", "s0", "s1", signal("alice", "bob", push()));
    assert_eq!(told(&mut net, "bob"), [(node("s0"), *signal("alice", "bob", push()))]);
    say(&mut net, "bob", "s1", "s0", signal("bob", "alice", SignalBody::Heard(1)));
    assert_eq!(told(&mut net, "alice"), [(node("s1"), *signal("bob", "alice", SignalBody::Heard(1)))]);
}

#[test]
fn children_of_one_home_reach_each_other_there() {
    let mut net = two_homes();
    net.attach("carol", "s0", 0);
    say(&mut net, "alice", "s0", "s0", signal("alice", "carol", push()));
    assert_eq!(told(&mut net, "carol"), [(node("s0"), *signal("alice", "carol", push()))]);
    assert!(!net.sent.iter().any(|(_, _, message)| {
        matches!(message, nearmesh_common::wire::LinkMessage::Mesh(Mesh::Signal { .. }))
    }));
}

#[test]
fn a_supernode_that_is_its_own_child_calls_and_is_called() {
    let mut net = two_homes();
    net.attach("s1", "s1", 0);
    net.heard("s1");
    say(&mut net, "alice", "s0", "s1", signal("alice", "s1", push()));
    assert_eq!(told(&mut net, "s1"), [(node("s0"), *signal("alice", "s1", push()))]);
    say(&mut net, "s1", "s1", "s0", signal("s1", "alice", push()));
    assert_eq!(told(&mut net, "alice"), [(node("s1"), *signal("s1", "alice", push()))]);
}

#[test]
fn the_caller_hears_when_the_other_is_not_there() {
    let mut net = two_homes();
    let not_here = |who: &str| *signal(who, "alice", SignalBody::End(End::NotHere));
    for (home, who) in [("s1", "nobody"), ("s0", "bob"), ("s7", "bob")] {
        say(&mut net, "alice", "s0", home, signal("alice", who, push()));
        let told: Vec<_> = told(&mut net, "alice").into_iter().map(|(_, signal)| signal).collect();
        assert_eq!(told, [not_here(who)], "{who} at {home}");
    }
}

#[test]
fn a_node_that_has_moved_is_not_there_any_more() {
    let mut net = two_homes();
    net.run(SECOND);
    let moved = net.seal("bob", &net.presence("bob", "s0"));
    net.say("bob", "s1", ToHome::Detach(moved));
    say(&mut net, "alice", "s0", "s1", signal("alice", "bob", push()));
    assert_eq!(told(&mut net, "alice").len(), 1);
    net.attach("bob", "s0", 0);
    say(&mut net, "alice", "s0", "s0", signal("alice", "bob", push()));
    assert_eq!(told(&mut net, "bob").len(), 1);
}

#[test]
fn an_end_that_cannot_be_delivered_is_dropped() {
    let mut net = two_homes();
    net.sent.clear();
    for end in [End::NotHere, End::Done, End::TooMany] {
        say(&mut net, "alice", "s0", "s1", signal("alice", "nobody", SignalBody::End(end)));
    }
    net.say_mesh("s1", "s0", carried("s1", signal("x", "y", SignalBody::End(End::NotHere))));
    net.run(SECOND);
    assert!(told(&mut net, "alice").is_empty());
    let carried = net.sent.iter().filter(|(_, _, message)| {
        matches!(message, nearmesh_common::wire::LinkMessage::Mesh(Mesh::Signal { .. }))
    });
    assert_eq!(carried.count(), 3, "each was carried once, and none came back");
}

#[test]
fn who_speaks_in_the_name_of_another_loses_the_link() {
    let mut net = two_homes();
    net.attach("mallory", "s0", 0);
    say(&mut net, "mallory", "s0", "s1", signal("alice", "bob", push()));
    assert!(told(&mut net, "bob").is_empty());
    assert_eq!(net.supernode("s0").counters().misbehaved, 1);
    assert_eq!(net.supernode("s0").children(), 1, "alice stays");
}

#[test]
fn who_is_no_child_is_not_carried() {
    let mut net = two_homes();
    say(&mut net, "mallory", "s0", "s1", signal("mallory", "bob", push()));
    assert!(told(&mut net, "bob").is_empty());
    assert_eq!(net.supernode("s0").counters().strange, 1);
}

#[test]
fn a_child_that_floods_is_slowed_down_and_others_are_still_carried() {
    let mut net = two_homes();
    net.attach("mallory", "s0", 0);
    net.attach("carol", "s1", 0);
    for _ in 0..10_000 {
        net.say(
            "mallory",
            "s0",
            ToHome::Signal { home: node("s1"), signal: signal("mallory", "bob", push()) },
        );
    }
    net.run(SECOND);
    let first = told(&mut net, "bob").len();
    assert!(first <= 200, "{first}");
    say(&mut net, "alice", "s0", "s1", signal("alice", "carol", push()));
    assert_eq!(told(&mut net, "carol").len(), 1);
    say(&mut net, "alice", "s0", "s1", signal("alice", "bob", push()));
    assert_eq!(told(&mut net, "bob").len(), 1);
}

#[test]
fn what_many_members_together_send_to_one_child_is_bounded() {
    let mut net = Net::of(6);
    net.attach("bob", "s0", 0);
    net.attach("carol", "s0", 0);
    for home in ["s1", "s2", "s3", "s4", "s5"] {
        for _ in 0..10_000 {
            net.say_mesh(home, "s0", carried(home, signal("x", "bob", push())));
        }
    }
    net.run(LATENCY);
    let flood = told(&mut net, "bob").len();
    assert!((100..=400).contains(&flood), "{flood}");
    net.run(SECOND * 10);
    say(&mut net, "carol", "s0", "s0", signal("carol", "bob", push()));
    assert_eq!(told(&mut net, "bob").len(), 1);
}
