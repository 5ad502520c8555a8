//! Every user is found, and what is said of them is true.

use std::time::Duration;

use nearmesh_common::{
    presence::{LIFETIME, Presence, REFRESH},
    signed::Signed,
    wire::{
        LinkMessage,
        home::ToHome,
        mesh::{Mesh, Stored},
    },
};

use crate::proto::{
    Config,
    placement::Place,
    testing::{LATENCY, Net, node, user},
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The supernodes that hold a user, by name.
pub(super) fn holders(net: &Net, name: &str) -> Vec<String> {
    let members: Vec<_> = net.supernodes.keys().copied().collect();
    let holders = Place::of_user(&user(name)).holders(members.iter().copied());
    (0..members.len()).map(|n| format!("s{n}")).filter(|s| holders.contains(&node(s))).collect()
}

/// A supernode's name that is not among these.
pub(super) fn other(net: &Net, than: &[String]) -> String {
    (0..net.supernodes.len()).map(|n| format!("s{n}")).find(|name| !than.contains(name)).unwrap()
}

#[test]
fn every_user_is_found_from_every_supernode_on_three_holders() {
    let mut net = Net::of(8);
    for n in 0..8 {
        net.attach(&format!("c{n}"), &format!("s{n}"), 0);
    }
    net.run(SECOND);
    for n in 0..8 {
        for m in 0..8 {
            let found = net.whereabouts(&format!("c{n}"), &format!("s{n}"), &format!("c{m}"));
            assert_eq!(found, [(node(&format!("s{m}")), true)], "c{m} from s{n}");
        }
    }
    assert_eq!(net.supernodes.values().map(crate::proto::Supernode::listed).sum::<usize>(), 8 * 3);
    assert!(net.whereabouts("c0", "s0", "nobody").is_empty());
}

#[test]
fn all_nodes_of_a_user_are_found() {
    let mut net = Net::of(5);
    net.attach("bob", "s1", 0);
    net.attach("bob.2", "s2", 0);
    net.attach("alice", "s1", 0);
    net.run(SECOND);
    let mut found = net.whereabouts("alice", "s1", "bob");
    found.sort();
    let mut expected = [(node("s1"), true), (node("s2"), true)];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn when_a_holder_dies_another_answers() {
    let mut net = Net::of(6);
    let three = holders(&net, "bob");
    let home = other(&net, &three);
    net.attach("bob", &home, 0);
    net.attach("alice", &home, 0);
    net.run(SECOND);
    net.kill(&three[0]);
    net.kill(&three[1]);
    net.run(LATENCY * 2);
    assert_eq!(net.whereabouts("alice", &home, "bob"), [(node(&home), true)]);
    net.run(SECOND);
    let listed: usize = net.supernodes.values().map(crate::proto::Supernode::listed).sum();
    assert!(listed > 3, "new holders were told: {listed}");
}

#[test]
fn a_holder_that_does_not_answer_is_not_waited_for() {
    let mut net = Net::of(6);
    let three = holders(&net, "bob");
    let home = other(&net, &three);
    net.attach("bob", &home, 0);
    let asker = (0..6).map(|n| format!("s{n}")).find(|s| !three.contains(s) && *s != home).unwrap();
    net.attach("alice", &asker, 0);
    net.run(SECOND);
    for holder in &three[..2] {
        net.silence(holder);
    }
    let start = net.now.instant;
    assert_eq!(net.whereabouts("alice", &asker, "bob"), [(node(&home), true)]);
    assert!(net.now.instant - start < SECOND);
}

#[test]
fn a_user_whose_home_dies_is_offline_until_the_next_home() {
    let mut net = Net::of(6);
    let three = holders(&net, "bob");
    let home = other(&net, &three);
    net.attach("bob", &home, 0);
    let asker = three[0].clone();
    net.attach("alice", &asker, 0);
    net.run(SECOND);
    net.kill(&home);
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", &asker, "bob"), [(node(&home), false)]);
    net.attach("bob", &three[1], 0);
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", &asker, "bob"), [(node(&three[1]), true)]);
}

#[test]
fn a_user_who_left_without_a_word_is_offline_and_remembered_for_three_days() {
    let mut net = Net::of(4);
    net.attach("bob", "s1", 0);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.cut("bob", "s1");
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", "s0", "bob"), [(node("s1"), false)]);
    net.run(DAY * 3 - SECOND * 5);
    assert_eq!(net.whereabouts("alice", "s0", "bob"), [(node("s1"), false)]);
    net.run(LIFETIME + SECOND * 10);
    assert!(net.whereabouts("alice", "s0", "bob").is_empty());
}

#[test]
fn a_user_who_says_goodbye_is_offline() {
    let mut net = Net::of(4);
    net.attach("bob", "s1", 0);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    let farewell = Presence { online: false, ..net.presence("bob", "s1") };
    let farewell = net.seal("bob", &farewell);
    net.say("bob", "s1", ToHome::Detach(farewell));
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", "s0", "bob"), [(node("s1"), false)]);
    assert_eq!(net.supernode("s1").children(), 0);
}

#[test]
fn a_user_who_moved_to_a_home_that_reaches_no_holder_is_found_there_once_the_old_home_knows() {
    let mut net = Net::of(6);
    let three = holders(&net, "bob");
    let others: Vec<_> = (0..6).map(|n| format!("s{n}")).filter(|s| !three.contains(s)).collect();
    let [old, new, asker] = others.as_slice() else { panic!("three of six hold it") };
    net.attach("bob", old, 0);
    net.attach("alice", asker, 0);
    net.run(SECOND);
    net.lose_all(|message| matches!(message, LinkMessage::Mesh(Mesh::Store { .. })));
    net.attach("bob", new, 0);
    net.lose_all(|_| false);
    assert_eq!(net.whereabouts("alice", asker, "bob"), [(node(old), true)]);
    let moved = net.seal("bob", &net.presence("bob", new));
    net.say("bob", old, ToHome::Detach(moved));
    assert_eq!(net.whereabouts("alice", asker, "bob"), [(node(new), true)]);
}

#[test]
fn a_presence_that_is_not_refreshed_is_offline_and_a_refreshed_one_is_not() {
    let mut net = Net::of(4);
    net.attach("bob", "s1", 0);
    net.attach("carol", "s1", 0);
    net.attach("alice", "s0", 0);
    for _ in 0..4 {
        net.run(REFRESH);
        let presence = net.seal("carol", &net.presence("carol", "s1"));
        net.say("carol", "s1", ToHome::Refresh(presence));
    }
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", "s0", "bob"), [(node("s1"), false)]);
    assert_eq!(net.whereabouts("alice", "s0", "carol"), [(node("s1"), true)]);
}

#[test]
fn an_old_home_cannot_hide_a_user_who_moved() {
    let mut net = Net::of(6);
    net.attach("bob", "s1", 0);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.attach("bob", "s2", 0);
    net.run(SECOND);
    net.cut("bob", "s1");
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", "s0", "bob"), [(node("s2"), true)]);
    net.kill("s1");
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", "s0", "bob"), [(node("s2"), true)]);
}

#[test]
fn an_old_or_forged_presence_changes_nothing_and_only_the_home_says_gone() {
    let mut net = Net::of(4);
    let old = net.seal("bob", &net.presence("bob", "s1"));
    net.run(SECOND);
    net.attach("bob", "s1", 0);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    let forged = net.seal("mallory", &net.presence("bob", "s2"));
    for holder in ["s0", "s1", "s2", "s3"] {
        let stored = |presence: &Signed<Presence>| Stored {
            user: user("bob"),
            presence: presence.clone(),
            here: true,
        };
        net.say_mesh("s1", holder, Mesh::Store { number: 1, presences: vec![stored(&old)], hops: 0 });
        net.say_mesh("s2", holder, Mesh::Store { number: 1, presences: vec![stored(&forged)], hops: 0 });
        for hops in 0..3 {
            let (node, user, home, sequence) = (node("bob"), user("bob"), node("s1"), net.now.wall);
            net.say_mesh("s2", holder, Mesh::Gone { node, user, home, sequence, hops });
        }
    }
    assert_eq!(net.whereabouts("alice", "s0", "bob"), [(node("s1"), true)]);
}

#[test]
fn who_held_a_user_once_does_not_believe_it_online_for_ever() {
    let mut net = Net::of(6);
    let three = holders(&net, "bob");
    let home = other(&net, &three);
    net.attach("bob", &home, 0);
    net.attach("alice", &home, 0);
    net.run(SECOND);
    // Others hold bob while these are away.
    three.iter().for_each(|holder| net.kill(holder));
    net.run(SECOND);
    three.iter().for_each(|holder| net.start(holder, Config::default(), &[&home]));
    net.run(SECOND * 3);
    net.cut("bob", &home);
    net.run(SECOND);
    for holder in &three {
        net.kill(holder);
        net.run(SECOND);
    }
    assert_eq!(net.whereabouts("alice", &home, "bob"), [(node(&home), false)]);
}

#[test]
fn a_newcomer_among_the_holders_is_told() {
    let mut net = Net::of(3);
    for n in 0..20 {
        net.attach(&format!("c{n}"), "s0", 0);
    }
    for n in 3..8 {
        net.start(&format!("s{n}"), Config::default(), &["s1"]);
    }
    net.run(SECOND * 3);
    net.sent.clear();
    net.attach("alice", "s5", 0);
    for n in 0..20 {
        let name = format!("c{n}");
        assert_eq!(net.whereabouts("alice", "s5", &name), [(node("s0"), true)]);
    }
    let finds = net.sent.iter().filter(|(.., m)| matches!(m, LinkMessage::Mesh(Mesh::Find { .. })));
    assert!(finds.count() <= 20, "the first holder that is asked knows");
}
