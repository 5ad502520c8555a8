//! Who is named to a child that needs a relay.

use std::time::Duration;

use nearmesh_common::{
    nat::{Nat, Reach},
    presence::Presence,
    wire::home::{ToChild, ToHome},
};

use crate::proto::{
    Input,
    testing::{LATENCY, Net, mark, node},
};

fn attach(net: &mut Net, child: &str, reach: Reach, relays: bool) {
    net.run(Duration::from_millis(1));
    let presence = Presence { reach, relays, ..net.presence(child, "s0") };
    let presence = net.seal(child, &presence);
    net.say(child, "s0", ToHome::Attach { presence, journal: mark(0) });
}

fn relays(net: &mut Net, child: &str) -> Vec<nearmesh_common::NodeId> {
    net.heard(child);
    net.say(child, "s0", ToHome::ListRelays);
    net.run(LATENCY * 2);
    let lists = net.heard(child).into_iter().filter_map(|message| match message {
        ToChild::Relays(list) => Some(list),
        _ => None,
    });
    lists.flatten().map(|relay| relay.node).collect()
}

#[test]
fn a_child_is_named_the_reachable_children_that_relay_and_the_supernodes() {
    let mut net = Net::of(2);
    attach(&mut net, "alice", Reach::Reachable, true);
    attach(&mut net, "bob", Reach::Reachable, true);
    attach(&mut net, "carol", Reach::Reachable, false);
    attach(&mut net, "dave", Reach::Behind(Nat::default()), true);
    let mut named = relays(&mut net, "alice");
    named.sort();
    let mut expected = [node("bob"), node("s1")];
    expected.sort();
    assert_eq!(named, expected, "not herself, not who does not want to, not who cannot");
    attach(&mut net, "s0", Reach::Unknown, true);
    assert_eq!(relays(&mut net, "alice").first(), Some(&node("s0")), "the home itself comes first");
}

#[test]
fn the_nearest_are_named_and_no_more_than_the_list_takes() {
    let mut net = Net::of(1);
    attach(&mut net, "alice", Reach::Unknown, false);
    for number in 0..30u64 {
        let name = format!("c{number}");
        attach(&mut net, &name, Reach::Reachable, true);
        net.tell("s0", Input::Rtt { node: node(&name), rtt: Duration::from_millis(100 - number) });
    }
    let nearest: Vec<_> = (14..30).rev().map(|number| node(&format!("c{number}"))).collect();
    assert_eq!(relays(&mut net, "alice"), nearest);
}

#[test]
fn who_is_no_child_or_asks_too_often_is_not_told() {
    let mut net = Net::of(2);
    assert!(relays(&mut net, "mallory").is_empty());
    attach(&mut net, "alice", Reach::Unknown, false);
    for _ in 0..100 {
        net.say("alice", "s0", ToHome::ListRelays);
    }
    net.run(LATENCY * 2);
    let lists = net.heard("alice").into_iter().filter(|message| matches!(message, ToChild::Relays(_)));
    assert!(lists.count() <= 10);
}
