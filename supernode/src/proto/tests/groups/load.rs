//! Who hears how many children a supernode has.

use std::{collections::BTreeSet, time::Duration};

use nearmesh_common::{
    NodeId,
    signed::Keyring,
    supernode_record::REFRESH,
    wire::{file::JournalMark, home::ToHome},
};

use super::crowd::{Crowd, name};
use crate::proto::{
    Input, Peer,
    testing::{address, node, presence, user},
};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn attach(crowd: &mut Crowd, child: &str, home: &str) {
    let presence = (&crowd.keyring(child) as &dyn Keyring).seal(&presence(child, home, crowd.now.wall));
    let peer = Peer { node: node(child), user: user(child), observed: address(child).addresses[0] };
    crowd.hand(node(home), Input::LinkUp { peer });
    let message = ToHome::Attach { presence, journal: JournalMark::default() };
    crowd.hand(node(home), Input::FromChild { from: node(child), message });
}

/// The numbers of children that the mates of `of` believe it to have, and those that others linked to it do.
fn believed(crowd: &Crowd, of: &NodeId) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let (membership, _) = crowd.supernodes[of].membership();
    let see = |other: NodeId| {
        let (theirs, _) = crowd.supernodes[&other].membership();
        theirs.records().find(|record| record.content.node == *of).map(|record| record.content.children)
    };
    let (mates, others): (Vec<_>, Vec<_>) = membership.members().partition(|other| membership.is_mate(other));
    (mates.into_iter().filter_map(see).collect(), others.into_iter().filter_map(see).collect())
}

#[test]
fn everybody_sees_how_full_the_whole_net_is_not_those_alone_that_it_knows() {
    let mut crowd = Crowd::of(200);
    // Of a hundred that each may have.
    let children = |number: usize| if number.is_multiple_of(3) { 80 } else { number % 5 };
    for number in 0..200 {
        (0..children(number))
            .for_each(|child| attach(&mut crowd, &format!("c{number}_{child}"), &name(number)));
    }
    let percent = (0..200).map(children).sum::<usize>() as f64 / 200.0;
    crowd.run(SECOND * 120);
    for (node, supernode) in &crowd.supernodes {
        let around = supernode.neighbourhood();
        let seen = f64::from(around.all_children) / f64::from(around.all_capacity) * 100.0;
        assert!((seen - percent).abs() < 2.0, "{node:?} sees {seen} % for {percent}");
        assert!((180..220).contains(&around.supernodes), "{node:?} sees {}", around.supernodes);
    }
}

#[test]
fn mates_hear_of_small_steps_and_others_of_larger_ones() {
    let mut crowd = Crowd::of(70);
    let home = node(&name(0));
    let mut steps = |count: std::ops::Range<usize>, wait| {
        count.for_each(|number| attach(&mut crowd, &format!("c{number}"), &name(0)));
        crowd.run(wait);
        believed(&crowd, &home)
    };
    assert_eq!(steps(0..20, SECOND * 6), ([20].into(), [20].into()), "of much at once");
    assert_eq!(steps(20..26, SECOND * 6), ([25].into(), [20].into()));
    assert_eq!(steps(26..26, SECOND * 60), ([26].into(), [26].into()), "others hear a little later");
    assert_eq!(steps(26..32, SECOND * 6), ([31].into(), [26].into()));
    assert_eq!(steps(32..37, SECOND * 6), ([36].into(), [36].into()), "of much at once");
    assert_eq!(steps(37..37, REFRESH), ([37].into(), [37].into()), "whatever it is, it is told in time");
    // The last places, and that there are none.
    assert_eq!(steps(37..99, SECOND * 6), ([99].into(), [99].into()));
    assert_eq!(steps(99..100, SECOND * 6), ([100].into(), [100].into()));
}
