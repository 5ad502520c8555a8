//! What one that lies can do to how others see the net.

use std::time::Duration;

use nearmesh_common::{NodeId, signed::Keyring, supernode_record::SupernodeRecord, wire::mesh::Mesh};

use super::{
    crowd::{Crowd, name},
    load::attach,
};
use crate::proto::{
    Input,
    testing::{address, node},
};

const SECOND: Duration = Duration::from_secs(1);

/// A record that says that its maker sees the net so.
fn record(
    crowd: &Crowd,
    name: &str,
    (group_bits, group_size, group_load): (u8, u16, u16),
) -> SupernodeRecord {
    SupernodeRecord {
        node: node(name),
        sequence: crowd.now.wall,
        addresses: address(name).addresses,
        children: 0,
        capacity: 300,
        serving: true,
        group_bits,
        group_size,
        group_load,
    }
}

/// The liar tells these of the record.
fn tell(crowd: &mut Crowd, liar: &str, claim: (u8, u16, u16), others: impl Iterator<Item = NodeId>) {
    let keyring = crowd.keyring(liar);
    let signed = (&keyring as &dyn Keyring).seal(&record(crowd, liar, claim));
    for other in others {
        let message = Mesh::Members(vec![signed.clone()]);
        crowd.hand(other, Input::FromMesh { from: node(liar), message });
    }
}

#[test]
fn a_liar_about_its_group_moves_nothing() {
    let mut crowd = Crowd::of(200);
    let mallory = name(77);
    let others: Vec<NodeId> =
        crowd.supernodes.keys().copied().filter(|other| *other != node(&mallory)).collect();
    crowd.puppets.insert(node(&mallory));
    let lies =
        [(4, u16::MAX, 0), (8, u16::MAX, u16::MAX), (0, u16::MAX, 10_000), (4, 1, 0), (8, 1, u16::MAX)];
    for claim in lies {
        crowd.run(SECOND);
        tell(&mut crowd, &mallory, claim, others.iter().copied());
        crowd.run(SECOND * 60);
        for other in &others {
            assert_eq!(crowd.supernodes[other].group_bits(), 4);
            let estimate = crowd.supernodes[other].estimate();
            assert!((180..220).contains(&estimate), "{other:?} believes in {estimate} by {claim:?}");
        }
    }
}

#[test]
fn a_liar_about_its_groups_load_moves_little() {
    const CHILDREN: usize = 30;
    let mut crowd = Crowd::of(70);
    let (mallory, others) = (name(33), (0..70).filter(|number| *number != 33));
    for number in others.clone() {
        (0..CHILDREN).for_each(|child| attach(&mut crowd, &format!("c{number}_{child}"), &name(number)));
    }
    crowd.run(SECOND * 90);
    crowd.puppets.insert(node(&mallory));
    for claim in [(3, 9, 0), (3, 9, u16::MAX), (3, u16::MAX, u16::MAX), (0, 70, 0), (8, 1, u16::MAX)] {
        crowd.run(SECOND);
        tell(&mut crowd, &mallory, claim, others.clone().map(|number| node(&name(number))));
        crowd.run(SECOND * 30);
        for other in others.clone().map(|number| node(&name(number))) {
            let around = crowd.supernodes[&other].neighbourhood();
            let full = f64::from(around.all_children) / f64::from(around.all_capacity);
            assert!((0.27..0.33).contains(&full), "{other:?} sees {full} in {around:?} by {claim:?}");
        }
    }
}

#[test]
fn records_without_end_push_nobody_out() {
    let mut crowd = Crowd::of(100);
    let (mallory, bob) = (name(40), node(&name(41)));
    for batch in 0..50 {
        let ghost = |number: usize| {
            let name = format!("ghost{}", batch * 100 + number);
            let keyring = crowd.keyring(&name);
            (&keyring as &dyn Keyring).seal(&record(&crowd, &name, (3, 12, 0)))
        };
        let records = (0..100).map(ghost).collect();
        crowd.hand(bob, Input::FromMesh { from: node(&mallory), message: Mesh::Members(records) });
        crowd.run(SECOND * 2);
    }
    assert_eq!(crowd.flaws_after(3, SECOND * 60), Vec::<String>::new());
    crowd.start(100);
    crowd.run(SECOND * 30);
    assert_eq!(crowd.flaws_after(3, SECOND * 60), Vec::<String>::new());
}
