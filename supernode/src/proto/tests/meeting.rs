//! Supernodes find one another, notice a death, and tell what is news.

use std::{collections::BTreeSet, time::Duration};

use nearmesh_common::{
    codec,
    supernode_record::{LIFETIME, REFRESH, SupernodeRecord},
    wire::{
        LinkMessage,
        home::{ToChild, ToHome},
        mesh::Mesh,
    },
};

use crate::proto::{
    Config, Input, Supernode,
    membership::LISTED_AT_HOME,
    testing::{LATENCY, Net, address, mark, node},
};

const SECOND: Duration = Duration::from_secs(1);

fn members(net: &Net, name: &str) -> usize {
    net.supernode(name).members().count()
}

#[test]
fn whoever_knows_one_soon_knows_all() {
    let mut net = Net::of(20);
    for supernode in net.supernodes.values() {
        assert_eq!(supernode.members().count(), 20);
    }
    net.start("late", Config::default(), &["s7"]);
    net.run(SECOND);
    assert!(net.supernodes.values().all(|supernode| supernode.members().count() == 21));
    assert!(net.supernodes.values().all(|supernode| supernode.counters().strange == 0));
}

#[test]
fn those_who_started_apart_meet_when_one_hears_of_the_other() {
    let mut net = Net::new();
    for (name, knows) in [("s0", "s0"), ("s1", "s0"), ("s2", "s2"), ("s3", "s2")] {
        net.start(name, Config::default(), &[knows]);
    }
    net.run(SECOND);
    assert_eq!(members(&net, "s0"), 2);
    net.tell("s1", Input::Candidates(vec![address("s3")]));
    net.run(SECOND);
    assert!(net.supernodes.values().all(|supernode| supernode.members().count() == 4));
}

#[test]
fn a_dead_supernode_counts_no_more_and_its_return_is_noticed() {
    let mut net = Net::of(4);
    net.kill("s2");
    net.run(LATENCY * 2);
    assert!(net.supernodes.values().all(|supernode| supernode.members().count() == 3));
    net.run(SECOND * 60);
    assert_eq!(members(&net, "s0"), 3);
    net.start("s2", Config::default(), &["s1"]);
    net.run(SECOND);
    assert!(net.supernodes.values().all(|supernode| supernode.members().count() == 4));
}

#[test]
fn a_link_that_breaks_is_opened_again() {
    let mut net = Net::of(3);
    net.cut("s0", "s1");
    net.run(LATENCY);
    assert_eq!(members(&net, "s0"), 2);
    net.run(SECOND * 2);
    assert_eq!(members(&net, "s0"), 3);
}

#[test]
fn what_others_say_of_a_member_ends_nothing() {
    let mut net = Net::of(4);
    net.cut("s0", "s1");
    net.run(LATENCY);
    assert_eq!((members(&net, "s2"), members(&net, "s3")), (4, 4));
}

#[test]
fn nobody_is_forgotten_while_it_renews_its_record() {
    let mut net = Net::of(3);
    net.run(LIFETIME * 2);
    assert!(net.supernodes.values().all(|supernode| supernode.members().count() == 3));
}

#[test]
fn an_idle_mesh_is_quiet() {
    let mut net = Net::of(10);
    net.run(SECOND);
    net.sent.clear();
    net.run(REFRESH);
    // Each renews its record once, some twice, and compares notes with somebody every half a minute.
    assert!(net.sent.len() <= 10 * 9 * 2 + 10 * 10, "{} messages in {REFRESH:?}", net.sent.len());
}

#[test]
fn a_rush_of_children_is_told_in_a_few_steps() {
    let mut net = Net::of(2);
    net.run(SECOND * 3);
    net.sent.clear();
    for n in 0..100 {
        net.attach(&format!("c{n}"), "s0", 0);
    }
    net.run(SECOND * 3);
    let told = net.sent.iter().filter(|(.., m)| matches!(m, LinkMessage::Mesh(Mesh::Renewed(_))));
    assert!((1..=4).contains(&told.count()));
    let s0 = net.supernode("s1").members().find(|record| record.content.node == node("s0"));
    assert_eq!(s0.unwrap().content.children, 100);
}

#[test]
fn the_list_names_all_who_live() {
    let mut net = Net::of(5);
    net.say("alice", "s0", ToHome::ListSupernodes);
    net.run(LATENCY);
    let Some(ToChild::Supernodes(list)) = net.heard("alice").pop() else { panic!("no list") };
    assert_eq!(list.len(), 5);
}

#[test]
fn a_child_is_named_some_at_a_time_and_all_by_and_by() {
    let mut net = Net::of(20);
    net.attach("alice", "s0", 0);
    net.run(LATENCY);
    let mut named = BTreeSet::new();
    for _ in 0..60 {
        net.say("alice", "s0", ToHome::ListSupernodes);
        net.run(SECOND * 10);
        let list = net.heard("alice").into_iter().find_map(|message| match message {
            ToChild::Supernodes(list) => Some(list),
            _ => None,
        });
        let list = list.expect("a list");
        assert_eq!(list.len(), LISTED_AT_HOME);
        named.extend(
            list.iter().map(|signed| codec::decode::<SupernodeRecord>(&signed.payload).unwrap().node),
        );
    }
    assert_eq!(named.len(), 20);
}

#[test]
fn a_new_address_is_told_at_once() {
    let mut net = Net::of(2);
    net.tell("s0", Input::Addresses(address("elsewhere").addresses));
    net.run(LATENCY);
    let s0 = net.supernode("s1").members().find(|record| record.content.node == node("s0"));
    assert_eq!(s0.unwrap().content.addresses, address("elsewhere").addresses);
}

#[test]
fn a_revoked_node_loses_its_links_and_its_records() {
    let mut net = Net::of(4);
    net.attach("bob", "s0", 0);
    net.attach("alice", "s1", 0);
    net.run(SECOND);
    net.revoked.lock().unwrap().extend([node("bob"), node("s3")]);
    net.sent.clear();
    for name in ["s0", "s1", "s2"] {
        net.tell(name, Input::CrlAdopted(Box::new([1])));
        net.tell(name, Input::CrlAdopted(Box::new([1])));
    }
    net.run(SECOND);
    assert_eq!((net.supernode("s0").children(), members(&net, "s0")), (0, 3));
    assert!(net.lookup("alice", "s1", "bob").is_empty());
    let crl = |m: &LinkMessage| matches!(m, LinkMessage::ToChild(ToChild::Crl(_)));
    assert_eq!(net.sent.iter().filter(|(.., m)| crl(m)).count(), 2, "each child once");
    let presence = net.seal("bob", &net.presence("bob", "s0"));
    net.say("bob", "s0", ToHome::Attach { presence, journal: mark(0) });
    assert_eq!(net.supernode("s0").children(), 0);
}

#[test]
fn a_revoked_supernode_is_not_let_in_again_however_often_it_comes() {
    let mut net = Net::of(3);
    net.revoked.lock().unwrap().insert(node("s2"));
    for name in ["s0", "s1"] {
        net.tell(name, Input::CrlAdopted(Box::new([1])));
    }
    net.run(SECOND * 120);
    assert_eq!((members(&net, "s0"), members(&net, "s1")), (2, 2));
    assert!(net.supernode("s0").counters().misbehaved > 1, "it did come");
}

#[test]
fn a_list_that_a_peer_shows_is_offered_and_a_known_one_is_not() {
    let mut net = Net::of(2);
    net.say("alice", "s0", ToHome::Crl(Box::new([7])));
    assert_eq!(net.crls_offered, 1);
    net.tell("s0", Input::CrlAdopted(Box::new([7])));
    net.say("alice", "s0", ToHome::Crl(Box::new([7])));
    net.run(LATENCY);
    assert_eq!(net.crls_offered, 2, "s1 was shown it by s0, and nobody else anything new");
}

#[test]
fn the_node_itself_is_a_child_like_any_other() {
    let mut net = Net::of(2);
    net.share("s0", "s0", &["julia"]);
    net.attach("alice", "s1", 0);
    net.run(SECOND);
    assert_eq!(net.search("alice", "s1", crate::proto::testing::words("julia", 5)).0.len(), 1);
    assert_eq!(net.supernodes.values().map(Supernode::children).sum::<usize>(), 2);
}
