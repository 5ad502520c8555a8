//! Many members: one whom everybody wants to be linked to, and whom it names.

use std::{collections::BTreeSet, time::Duration};

use nearmesh_common::{
    NodeId, codec,
    signed::{Keyring, Signed},
    supernode_record::SupernodeRecord,
    wire::mesh::{Mesh, SummaryVersion},
};

use super::crowd::Crowd;
use crate::proto::{
    Input, Peer,
    membership::{LISTED, MAX_MEMBERS, Membership},
    testing::{address, node, user},
};

const SECOND: Duration = Duration::from_secs(1);
/// What the machine bears without letting go of anybody.
const NEVER_TOO_MANY: usize = 256;

/// Those of each other group that it remembers without a link.
const SPARES: usize = 4;

/// A supernode that does nothing by itself says hello to `s0`, in a net of 32 groups.
fn greet(crowd: &mut Crowd, ghost: &str) {
    let record = SupernodeRecord {
        node: node(ghost),
        sequence: crowd.now.wall,
        addresses: address(ghost).addresses,
        children: 0,
        capacity: 300,
        serving: true,
        group_bits: 5,
        group_size: 32,
        group_load: 0,
    };
    let record = (&crowd.keyring(ghost) as &dyn Keyring).seal(&record);
    let peer = Peer { node: node(ghost), user: user(ghost), observed: ([127, 0, 0, 1], 9).into() };
    crowd.hand(node("s0"), Input::LinkUp { peer });
    let message = Mesh::Hello { record, summary: SummaryVersion::default() };
    crowd.hand(node("s0"), Input::FromMesh { from: node(ghost), message });
}

fn membership(crowd: &Crowd) -> &Membership {
    crowd.supernodes[&node("s0")].membership().0
}

fn members(crowd: &Crowd) -> Vec<NodeId> {
    membership(crowd).members().collect()
}

#[test]
fn however_many_are_linked_a_newcomer_is_let_in_and_a_mate_is_kept() {
    let mut crowd = Crowd::new();
    crowd.start_knowing(0, "ghost0");
    for number in 0..MAX_MEMBERS {
        greet(&mut crowd, &format!("ghost{number}"));
    }
    let before = members(&crowd);
    assert_eq!(before.len(), MAX_MEMBERS);
    let mates: Vec<NodeId> = membership(&crowd).mates().collect();
    assert!(!mates.is_empty(), "one group of 32 holds about as many of them");
    for number in 0..MAX_MEMBERS {
        greet(&mut crowd, &format!("late{number}"));
        assert!(members(&crowd).contains(&node(&format!("late{number}"))), "the {number}th");
        assert!(members(&crowd).len() <= MAX_MEMBERS);
    }
    assert!(mates.iter().all(|mate| members(&crowd).contains(mate)));
}

#[test]
fn whoever_stands_in_every_ticket_does_not_remain_the_contact_of_all() {
    const COUNT: usize = 700;
    let mut crowd = Crowd::new();
    crowd.start_knowing(0, "ghost0");
    // None of them ever says that it needs no link any more.
    for number in 0..COUNT {
        greet(&mut crowd, &format!("ghost{number}"));
    }
    let mates: BTreeSet<NodeId> = membership(&crowd).mates().collect();
    crowd.run(SECOND * 30);
    assert_eq!(members(&crowd).len(), COUNT, "nobody who just came is sent away, if there is room");
    crowd.run(SECOND * 300);
    let left = members(&crowd).len();
    assert!(left <= NEVER_TOO_MANY, "{left} links");
    assert!(membership(&crowd).known() <= left + 31 * SPARES, "{} known", membership(&crowd).known());
    assert_eq!(membership(&crowd).mates().collect::<BTreeSet<_>>(), mates);
    let world = crowd.supernodes[&node("s0")].membership().1;
    for group in membership(&crowd).other_groups() {
        assert!(membership(&crowd).contacts(group, world).len() >= 2, "{group:?}");
    }
}

#[test]
fn in_a_large_net_a_list_is_short_and_over_time_names_everybody() {
    const COUNT: usize = 300;
    let mut crowd = Crowd::new();
    crowd.start_knowing(0, "ghost0");
    for number in 0..COUNT {
        greet(&mut crowd, &format!("ghost{number}"));
    }
    let (membership, world) = crowd.supernodes[&node("s0")].membership();
    let mut named = BTreeSet::new();
    for asker in 0..100 {
        let list = membership.list(&node(&format!("asker{asker}")), &world.links);
        assert_eq!(list.len(), LISTED);
        let record = |signed: &Signed<SupernodeRecord>| codec::decode::<SupernodeRecord>(&signed.payload);
        let nodes: BTreeSet<NodeId> = list.iter().map(|signed| record(signed).unwrap().node).collect();
        assert_eq!(nodes.len(), LISTED, "nobody twice");
        assert_eq!(record(&list[0]).unwrap().node, node("s0"), "itself first");
        named.extend(nodes);
    }
    assert_eq!(named.len(), COUNT + 1);
}
