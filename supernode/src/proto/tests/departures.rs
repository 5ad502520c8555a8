//! Who left is shown as gone, even by those who missed it or heard of it in the wrong order.

use std::time::Duration;

use nearmesh_common::{
    presence::Presence,
    signed::Signed,
    wire::{
        LinkMessage,
        mesh::{Mesh, Stored},
    },
};

use super::{
    across::{grouped, s},
    directory::{holders, other},
};
use crate::proto::{
    Config,
    placement::{Groups, Place},
    testing::{Net, node, user},
};

const SECOND: Duration = Duration::from_secs(1);

/// So many supernodes whose first entries are where they belong.
fn settled(supernodes: usize) -> Net {
    let mut net = Net::of(supernodes);
    net.run(SECOND * 6);
    net
}

/// `from` sends `to` a copy of bob's presence, and says whether bob is there.
fn send_copy(net: &mut Net, from: &str, to: &str, bob: &Signed<Presence>, here: bool) {
    let presences = vec![Stored { user: user("bob"), presence: bob.clone(), here }];
    net.say_mesh(from, to, Mesh::Store { number: 1, presences, hops: 0 });
    net.run(SECOND);
}

#[test]
fn who_gave_us_a_copy_may_say_later_that_it_is_over_but_not_against_its_home() {
    let mut net = settled(3);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    let bob = net.seal("bob", &net.presence("bob", "s2"));
    let say = |net: &mut Net, from: &str, here: bool| {
        send_copy(net, from, "s0", &bob, here);
        net.whereabouts("alice", "s0", "bob")
    };
    assert_eq!(say(&mut net, "s1", true), [(node("s2"), true)]);
    assert_eq!(say(&mut net, "s1", false), [(node("s2"), false)]);
    assert_eq!(say(&mut net, "s1", true), [(node("s2"), false)], "an old copy does not bring it back");
    assert_eq!(say(&mut net, "s2", true), [(node("s2"), true)], "its home does");
    assert_eq!(say(&mut net, "s1", false), [(node("s2"), true)]);
    assert_eq!(say(&mut net, "s2", false), [(node("s2"), false)]);
}

#[test]
fn a_departure_follows_the_copy_that_a_holder_just_handed_on() {
    let mut net = settled(6);
    let three = holders(&net, "bob");
    let left = net.supernodes.keys().copied().filter(|id| *id != node(&three[0]));
    let after = Place::of_user(&user("bob")).holders(left);
    let is_new = |name: &String| after.contains(&node(name)) && !three.contains(name);
    let newcomer = (0..6).map(s).find(is_new).unwrap();
    let home = other(&net, &[three.clone(), vec![newcomer.clone()]].concat());
    let bob = net.seal("bob", &net.presence("bob", &home));
    three.iter().for_each(|holder| send_copy(&mut net, &home, holder, &bob, true));
    net.kill(&three[0]);
    net.run(SECOND);
    net.attach("alice", &newcomer, 0);
    // Others come and go, and change nothing of it.
    for _ in 0..2 {
        net.start("s9", Config::default(), &["s0", "s1", "s2", "s3", "s4", "s5"]);
        net.run(SECOND);
        net.kill("s9");
        net.run(SECOND);
    }
    assert_eq!(net.whereabouts("alice", &newcomer, "bob"), [(node(&home), true)]);
    // Its home does not know yet that somebody new holds it.
    for holder in &three[1..] {
        let (node, home_id, sequence) = (node("bob"), node(&home), net.now.wall);
        let gone = Mesh::Gone { node, user: user("bob"), home: home_id, sequence, hops: 0 };
        net.say_mesh(&home, holder, gone);
    }
    net.run(SECOND);
    assert_eq!(net.whereabouts("alice", &newcomer, "bob"), [(node(&home), false)]);
}

#[test]
fn a_holder_that_only_seemed_dead_has_not_missed_that_a_user_left() {
    let mut net = settled(6);
    let three = holders(&net, "bob");
    let home = other(&net, &three);
    net.attach("alice", &three[0], 0);
    net.run(SECOND);
    net.silence(&three[0]);
    net.attach("bob", &home, 0);
    net.run(SECOND * 2);
    net.cut("bob", &home);
    net.run(SECOND);
    net.speak(&three[0]);
    assert_eq!(net.whereabouts("alice", &three[0], "bob"), [(node(&home), false)]);
}

#[test]
fn one_that_is_passed_over_shows_nobody_online_for_long() {
    let mut net = settled(6);
    let three = holders(&net, "bob");
    let stranger = other(&net, &three);
    net.attach("alice", &stranger, 0);
    net.run(SECOND);
    let bob = net.seal("bob", &net.presence("bob", &three[1]));
    send_copy(&mut net, &three[0], &stranger, &bob, true);
    assert_eq!(
        net.whereabouts("alice", &stranger, "bob"),
        [(node(&three[1]), true)],
        "the others may be dead"
    );
    net.run(SECOND * 45);
    assert_eq!(net.whereabouts("alice", &stranger, "bob"), [(node(&three[1]), false)]);
}

#[test]
fn a_copy_that_others_should_hold_does_not_outweigh_their_word() {
    let mut net = settled(6);
    let three = holders(&net, "bob");
    let stranger = other(&net, &three);
    let home = other(&net, &[three.clone(), vec![stranger.clone()]].concat());
    net.attach("alice", &stranger, 0);
    net.run(SECOND);
    let bob = net.seal("bob", &net.presence("bob", &home));
    send_copy(&mut net, &three[0], &stranger, &bob, true);
    assert_eq!(net.whereabouts("alice", &stranger, "bob"), [(node(&home), true)]);
    three.iter().for_each(|holder| send_copy(&mut net, &home, holder, &bob, false));
    assert_eq!(net.whereabouts("alice", &stranger, "bob"), [(node(&home), false)]);
}

#[test]
fn a_newcomer_does_not_give_back_what_others_have_just_forgotten() {
    let mut net = settled(12);
    for n in 0..40 {
        net.attach(&format!("c{n}"), "s0", 0);
    }
    net.run(SECOND);
    net.kill("s5");
    net.run(SECOND * 2);
    net.sent.clear();
    // For a second it knows one of the others only.
    net.lose_all(|message| matches!(message, LinkMessage::Mesh(Mesh::Members(_) | Mesh::Digest { .. })));
    net.start("s5", Config::default(), &["s1"]);
    net.run(SECOND);
    net.lose_all(|_| false);
    net.run(SECOND * 60);
    let all: Vec<_> = net.supernodes.keys().copied().collect();
    let (mut handed, mut astray) = (0, Vec::new());
    for (from, to, message) in &net.sent {
        if let LinkMessage::Mesh(Mesh::Store { presences, .. }) = message
            && *from == node("s5")
        {
            handed += presences.len();
            let is_astray =
                |stored: &&Stored| !Place::of_user(&stored.user).holders(all.iter().copied()).contains(to);
            astray.extend(presences.iter().filter(is_astray).map(|stored| (stored.user.clone(), *to)));
        }
    }
    assert!(handed > 0, "it is the first holder of some");
    assert!(astray.is_empty(), "{astray:?}");
}

#[test]
fn a_member_of_another_group_hides_nobody() {
    let mut net = grouped(100);
    let groups = Groups::new(net.supernode("s0").group_bits());
    let group = Place::of_user(&user("bob")).group(groups);
    let (holders, others): (Vec<_>, Vec<_>) = (0..100).map(s).partition(|n| groups.of(&node(n).0) == group);
    net.attach("bob", &others[0], 0);
    net.attach("alice", &others[1], 0);
    net.run(SECOND * 2);
    let presence = net.lookup("alice", &others[1], "bob").remove(0).presence;
    for hops in 0..3 {
        let presences = vec![Stored { user: user("bob"), presence: presence.clone(), here: false }];
        for holder in &holders {
            let from =
                others.iter().rfind(|liar| groups.of(&node(liar).0).number() ^ 1 != group.number()).unwrap();
            net.link(from, holder);
            net.say_mesh(from, holder, Mesh::Store { number: 1, presences: presences.clone(), hops });
        }
    }
    net.run(SECOND * 2);
    assert_eq!(net.whereabouts("alice", &others[1], "bob"), [(node(&others[0]), true)]);
}

#[test]
fn a_supernode_that_comes_back_as_a_node_is_left_in_peace() {
    let mut net = settled(4);
    net.kill("s3");
    net.run(SECOND * 3600);
    net.attach("s3", "s0", 0);
    net.sent.clear();
    net.run(SECOND * 3600 * 3);
    let called = net.sent.iter().filter(|(from, to, message)| {
        *from == node("s0") && *to == node("s3") && matches!(message, LinkMessage::Mesh(_))
    });
    assert_eq!(called.count(), 0);
}
