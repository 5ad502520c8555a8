//! The host cache.

use super::*;

fn many(range: std::ops::Range<u32>) -> Vec<Candidate> {
    range
        .map(|number| {
            let mut node = [200; 32];
            node[..4].copy_from_slice(&number.to_be_bytes());
            let addresses = address(9).addresses;
            Candidate::new(NodeAddress { node: NodeId(node), addresses })
        })
        .collect()
}

#[test]
fn a_node_remembers_at_most_two_hundred_supernodes_and_keeps_those_that_answer() {
    let mut scene = Scene::at_home(&[10, 20, 30]);
    scene.handle(Input::Candidates(many(0..500)));
    let known = scene.alice.candidates();
    assert_eq!(known.len(), 200);
    let living: Vec<_> = known.iter().take(3).map(|candidate| candidate.address.node).collect();
    assert_eq!(living, [id(1), id(2), id(3)]);
}

#[test]
fn those_that_fail_make_room_first() {
    let mut scene = Scene::new(&[10]);
    scene.handle(Input::Candidates(many(0..200)));
    let dead = scene.probed.len();
    assert!(dead >= 5, "none of them exists");
    scene.handle(Input::Candidates(many(200..202)));
    let known = scene.alice.candidates();
    let all_kept = many(200..202).iter().all(|new| known.iter().any(|k| k.address == new.address));
    assert!(known.len() == 200 && all_kept);
}

#[test]
fn the_cache_is_offered_for_saving_at_most_once_a_minute() {
    let mut scene = Scene::at_home(&[10, 20, 30]);
    for number in 0..600 {
        scene.handle(Input::Candidates(many(number..number + 1)));
        scene.advance(Duration::from_secs(1));
    }
    let saves = scene.events.iter().filter(|event| matches!(event, Event::HostCache(_))).count();
    assert!((9..=11).contains(&saves), "{saves} times in ten minutes");
}

#[test]
fn what_a_supernode_says_of_itself_is_remembered_with_its_round_trip() {
    let scene = Scene::at_home(&[10, 20]);
    let nearest = &scene.alice.candidates()[0];
    assert_eq!(nearest.address, address(1));
    assert_eq!(nearest.rtt, Some(ms(10)));
    assert_eq!(nearest.heard, Some(WALL));
    assert_eq!(nearest.load.unwrap().capacity, 10);
}

#[test]
fn a_forged_record_is_not_remembered() {
    let mut scene = Scene::at_home(&[10]);
    let mut forged = keyring(66).seal(&SupernodeRecord {
        node: id(66),
        sequence: WALL,
        addresses: address(66).addresses,
        children: 0,
        capacity: 10,
        serving: true,
        group_bits: 0,
        group_size: 1,
        group_load: 0,
    });
    forged.payload[33] ^= 1;
    scene.receive(1, ToChild::Supernodes(vec![forged]));
    assert_eq!(scene.alice.candidates().len(), 1);
}

#[test]
fn one_that_is_named_while_nobody_else_answers_is_tried_next() {
    let mut scene = Scene::new(&[10]);
    let mut dead = many(0..199);
    for candidate in &mut dead {
        (candidate.heard, candidate.rtt) = (Some(WALL), Some(ms(1)));
    }
    scene.handle(Input::Candidates(dead));
    scene.advance(Duration::from_secs(6));
    assert!(scene.alice.home().is_none());
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(Duration::from_secs(4));
    assert_eq!(scene.home(), Some(1), "after {} others", scene.probed.len());
}

#[test]
fn where_others_know_a_supernode_counts_only_if_it_does_not_answer_where_it_was() {
    let elsewhere = || NodeAddress { node: id(1), addresses: address(9).addresses };
    let known = |scene: &Scene| scene.alice.candidates()[0].address.addresses.clone();
    let mut scene = Scene::at_home(&[10]);
    scene.handle(Input::Candidates(vec![Candidate::new(elsewhere())]));
    assert_eq!(known(&scene), address(1).addresses, "it said itself where it is");

    scene.kill(1);
    scene.handle(Input::Candidates(vec![Candidate::new(elsewhere())]));
    assert_eq!(known(&scene), [elsewhere().addresses, address(1).addresses].concat());
}
