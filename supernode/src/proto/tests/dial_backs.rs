//! Whether strangers reach alice.

use nearmesh_common::wire::home::{DialBack, DialBackAnswer, DialBackBy, DialBackOutcome};

use super::super::testing::*;
use nearmesh_common::wire::{
    home::{ToChild, ToHome},
    mesh::Mesh,
};

const TOKEN: [u8; 16] = [7; 16];
const OTHER_NODE: DialBackBy = DialBackBy::OtherNode { not: None };

/// Supernodes and alice, each on an address of its own.
fn net(supernodes: u8) -> Net {
    let mut net = Net::new();
    net.place("alice", "203.0.113.7:41000");
    for number in 0..supernodes {
        net.place(&format!("s{number}"), &format!("198.51.100.{}:7117", number + 1));
    }
    for number in 0..supernodes {
        net.start(&format!("s{number}"), super::super::Config::default(), &["s0"]);
    }
    net.run(LATENCY * 300);
    net.attach("alice", "s0", 0);
    net.heard("alice");
    net
}

fn ask(net: &mut Net, by: DialBackBy) -> Vec<DialBackOutcome> {
    net.say("alice", "s0", ToHome::DialBack(DialBack { token: TOKEN, by }));
    net.run(LATENCY * 3);
    let answers = net.heard("alice").into_iter().filter_map(|message| match message {
        ToChild::DialBack(DialBackAnswer { token: TOKEN, outcome }) => Some(outcome),
        _ => None,
    });
    answers.collect()
}

#[test]
fn a_home_sends_from_another_port_to_where_the_link_comes_from() {
    let mut net = net(1);
    assert_eq!(ask(&mut net, DialBackBy::OtherPort), [DialBackOutcome::SentFrom(FRESH_PORT)]);
    assert_eq!(net.dialled_back, [(node("s0"), "203.0.113.7:41000".parse().unwrap(), TOKEN)]);
}

#[test]
fn a_link_over_a_path_that_changes_has_no_address_to_send_to() {
    let mut net = net(1);
    net.place("bob", "240.0.0.1:1");
    net.attach("bob", "s0", 0);
    net.say("bob", "s0", ToHome::DialBack(DialBack { token: TOKEN, by: DialBackBy::OtherPort }));
    net.run(LATENCY * 3);
    let answer = ToChild::DialBack(DialBackAnswer { token: TOKEN, outcome: DialBackOutcome::Nobody });
    assert!(net.heard("bob").contains(&answer));
    assert_eq!(net.dialled_back, []);
}

#[test]
fn another_supernode_sends_unless_the_asker_has_sent_to_it() {
    let mut net = net(3);
    for _ in 0..8 {
        let by = DialBackBy::OtherNode { not: Some(node("s1")) };
        assert_eq!(ask(&mut net, by), [DialBackOutcome::PassedOn]);
    }
    assert_eq!(net.dialled_back.len(), 8);
    assert!(net.dialled_back.iter().all(|(by, ..)| *by == node("s2")));
}

#[test]
fn a_home_that_knows_no_other_says_so() {
    let mut net = net(1);
    assert_eq!(ask(&mut net, OTHER_NODE), [DialBackOutcome::Nobody]);
    assert_eq!(net.dialled_back, []);
}

#[test]
fn a_supernode_on_the_askers_own_machine_is_not_another_node() {
    let mut net = net(1);
    net.place("s1", "203.0.113.7:7117");
    net.start("s1", super::super::Config::default(), &["s0"]);
    net.run(LATENCY * 300);
    assert_eq!(ask(&mut net, OTHER_NODE), [DialBackOutcome::Nobody]);
}

#[test]
fn who_asks_too_often_is_answered_and_sent_nothing() {
    let mut net = net(1);
    let sent = (0..200).map(|_| ask(&mut net, DialBackBy::OtherPort));
    let sent = sent.filter(|answer| *answer != [DialBackOutcome::Nobody]).count();
    assert!((24..40).contains(&sent), "{sent}");
    assert_eq!(net.dialled_back.len(), sent);
}

#[test]
fn a_supernode_sends_for_members_only_and_not_into_its_own_network() {
    let mut net = net(2);
    let passed = |to: &str| Mesh::DialBack { to: to.parse().unwrap(), token: TOKEN };
    for inside in
        ["127.0.0.1:53", "192.168.1.1:80", "10.0.0.1:7117", "224.0.0.1:7117", "240.0.0.1:1", "192.0.2.1:0"]
    {
        net.say_mesh("s1", "s0", passed(inside));
        assert_eq!(net.dialled_back, [], "{inside}");
    }
    net.say_mesh("alice", "s0", passed("192.0.2.1:7117"));
    assert_eq!(net.dialled_back, [], "alice is no supernode");
    for _ in 0..1000 {
        net.say_mesh("s1", "s0", passed("192.0.2.1:7117"));
    }
    assert_eq!(net.dialled_back.len(), 60);
}
