//! Groups form as the net grows, and become one again as it shrinks.

use std::time::Duration;

use nearmesh_common::NodeId;

use super::crowd::{Crowd, name};
use crate::proto::testing::node;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn up_to_64_are_one_full_mesh() {
    let mut crowd = Crowd::of(64);
    assert_eq!(crowd.flaws_after(0, SECOND * 60), Vec::<String>::new());
    assert_eq!(crowd.degrees(), (63, 63));
}

#[test]
fn seventy_are_eight_groups() {
    let mut crowd = Crowd::of(70);
    assert_eq!(crowd.flaws_after(3, SECOND * 60), Vec::<String>::new());
    crowd.run(SECOND * 120);
    assert!(crowd.degrees().0 <= 40, "{:?} links", crowd.degrees());
}

#[test]
fn two_hundred_are_sixteen_groups_and_each_is_two_hops_from_any_other() {
    let mut crowd = Crowd::of(200);
    assert_eq!(crowd.flaws_after(4, SECOND * 60), Vec::<String>::new());
    let all: Vec<NodeId> = crowd.supernodes.keys().copied().collect();
    let mut lost = 0;
    for from in &all {
        for to in all.iter().filter(|to| *to != from) {
            lost += usize::from(crowd.way(from, to).is_none_or(|between| between > 1));
        }
    }
    // A surplus link may be closing just now.
    assert!(lost * 10_000 <= all.len() * all.len(), "{lost} ways");
    let (mean, most) = crowd.degrees();
    assert!(mean <= 12 + 15 * 3 && most <= 120, "{mean} links each, {most} at most");
    crowd.bytes = Some(0);
    crowd.dials = 0;
    crowd.run(SECOND * 600);
    let rate = crowd.bytes.unwrap_or_default() / 600 / 200;
    eprintln!("{mean} links each, {most} at most; {rate} B/s; {} dials in ten minutes", crowd.dials);
    assert!(rate < 500, "{rate} bytes a second for each that has nothing to say");
}

#[test]
#[ignore = "half a minute"]
fn six_hundred_are_thirty_two_groups() {
    let mut crowd = Crowd::of(600);
    assert_eq!(crowd.flaws_after(5, SECOND * 60), Vec::<String>::new());
    let (mean, most) = crowd.degrees();
    assert!(mean <= 19 + 31 * 4 && most <= 350, "{mean} links each, {most} at most");
    crowd.bytes = Some(0);
    crowd.dials = 0;
    crowd.start(600);
    crowd.run(SECOND * 10);
    eprintln!("{mean} links each, {most} at most; one more: {:?} bytes, {} dials", crowd.bytes, crowd.dials);
    crowd.run(SECOND * 50);
    assert_eq!(crowd.flaws_after(5, SECOND * 60), Vec::<String>::new());
}

#[test]
fn while_a_net_grows_one_by_one_everybody_is_found_throughout() {
    let mut crowd = Crowd::new();
    for count in 0..200 {
        crowd.start(count);
        crowd.run(SECOND);
        // Whoever came less than three seconds ago may still be looking for its place.
        let settled: Vec<NodeId> = (0..count.saturating_sub(2)).map(|number| node(&name(number))).collect();
        for (index, from) in settled.iter().enumerate() {
            let to = &settled[(index * 31 + count) % settled.len()];
            assert!(from == to || crowd.way(from, to).is_some(), "{from:?} to {to:?} of {count}");
        }
    }
    crowd.run(SECOND * 60);
    assert_eq!(crowd.flaws_after(4, SECOND * 60), Vec::<String>::new());
}

#[test]
fn a_net_that_shrinks_becomes_a_full_mesh_again() {
    let mut crowd = Crowd::of(200);
    for number in 30..200 {
        crowd.kill(&[node(&name(number))]);
        crowd.run(SECOND);
    }
    crowd.run(SECOND * 60);
    assert_eq!(crowd.flaws_after(0, SECOND * 60), Vec::<String>::new());
}

#[test]
fn who_has_just_come_is_asked_last() {
    let mut crowd = Crowd::of(200);
    let mut met = 0;
    for number in 200..220 {
        crowd.start(number);
        crowd.run(Duration::from_millis(700));
        let new = node(&name(number));
        for old in (0..200).map(name) {
            let (membership, world) = crowd.supernodes[&node(&old)].membership();
            let group = membership.groups().of(&new.0);
            if group != membership.own_group() && membership.is_member(&new) {
                met += 1;
                assert_ne!(membership.contacts(group, world).first(), Some(&new), "it may know nobody yet");
            }
        }
    }
    assert!(met >= 20, "{met}");
}
