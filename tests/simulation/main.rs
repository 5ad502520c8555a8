//! Rung 3 of the ladder: whole nets under virtual time, held against an oracle.
//!
//! `NEARMESH_SEED=7 cargo test -p tests --test simulation` runs every scenario with another seed.

mod large;

use std::time::Duration;

use nearmesh_common::{
    pace::{FEW_CHILDREN, Pace},
    presence, supernode_record,
};
use tests::sim::{Setup, Sim, Traffic, Workload};

/// The seed of every scenario, unless the environment names another.
const SEED: u64 = 2;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn setup(supernodes: usize, nodes: usize) -> Setup {
    let seed = std::env::var("NEARMESH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    println!("NEARMESH_SEED={seed}");
    Setup { seed, supernodes, nodes, capacity: 100, files: 10, loss: 0.02 }
}

/// A net whose processes have all found their homes.
fn settled(setup: Setup) -> Sim {
    let mut sim = Sim::new(setup, seconds(20));
    sim.run_for(seconds(21));
    let took = sim.run_until(seconds(60), Sim::all_registered);
    assert!(took.is_some(), "after a minute some have no home: {:?}", homeless(&sim));
    sim.run_for(seconds(10));
    sim
}

fn homeless(sim: &Sim) -> Vec<usize> {
    sim.running().into_iter().filter(|process| !sim.is_registered(*process)).collect()
}

/// A node that is just moving to a nearer home is for a moment not registered at either.
fn assert_all_are_home(sim: &mut Sim) {
    let took = sim.run_until(seconds(1), Sim::all_registered);
    assert!(took.is_some(), "some have no home: {:?}", homeless(sim));
}

fn assert_all_is_true(sim: &Sim) {
    let shown: Vec<_> = sim.oracle.violations.iter().take(9).collect();
    assert!(shown.is_empty(), "{} violations, the first: {shown:#?}", sim.oracle.violations.len());
    assert_eq!(sim.oracle.open_questions(), 0, "every question has an end");
}

/// Everybody looks up somebody, and searches for something of somebody.
fn ask_around(sim: &mut Sim) {
    let running = sim.running();
    for (number, asker) in running.iter().enumerate() {
        let other = running[(number * 7 + 3) % running.len()];
        sim.look_up(*asker, other);
        sim.search_for_file_of(*asker, other);
    }
    sim.run_for(seconds(20));
}

#[test]
fn sixteen_supernodes_and_four_hundred_nodes_that_come_and_go_find_everything() {
    let mut sim = settled(setup(16, 400));
    let began = sim.now();
    sim.begin(Workload {
        between_questions: Duration::from_millis(200),
        shortest_session: seconds(60),
        longest_absence: seconds(120),
    });
    for victim in [2, 7, 11, 5, 14] {
        sim.run_for(seconds(60));
        sim.kill(victim);
        sim.run_for(seconds(60));
        sim.start(victim);
    }
    sim.calm();
    sim.run_for(seconds(30));
    println!("{:#?}\n{:#?}", sim.oracle.score, sim.traffic.kinds);
    assert_all_is_true(&sim);
    let score = sim.oracle.score;
    assert_eq!(score.found, score.due, "recall is 1.0");
    assert!(score.searches > 1000 && score.due > 2000 && score.lookups > 1000, "{score:?}");
    assert!(score.online * 3 > score.lookups, "most of those looked up were there: {score:?}");
    let links = sim.running().into_iter().skip(16).map(|process| sim.links_of(process)).max();
    assert!(links <= Some(3), "an ordinary node holds {links:?} links");
    assert!(sim.traffic.worst_attach_second(began) <= 100, "{}", sim.traffic.worst_attach_second(began));
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let run = |seed: u64| {
        let mut sim = Sim::new(Setup { seed, ..setup(6, 60) }, seconds(10));
        sim.run_for(seconds(20));
        sim.begin(Workload {
            between_questions: Duration::from_millis(500),
            shortest_session: seconds(20),
            longest_absence: seconds(20),
        });
        sim.run_for(seconds(120));
        (sim.traffic.digest(), sim.oracle.score)
    };
    let seed = setup(6, 60).seed;
    let first = run(seed);
    println!("trace {}", first.0);
    assert_eq!(first, run(seed));
    assert_ne!(first.0, run(seed + 1).0);
}

#[test]
fn nearly_everybody_is_at_one_of_the_nearest_supernodes() {
    let sim = settled(setup(16, 200));
    let mut near = 0;
    for node in 16..216 {
        let home = sim.home(node).expect("all have a home");
        let nearest = (0..16).map(|supernode| sim.rtt(node, supernode)).min().expect("there are 16");
        near += usize::from(sim.rtt(node, home) <= nearest * 2 + Duration::from_millis(10));
    }
    assert!(near >= 180, "{near} of 200");
}

#[test]
fn the_children_of_a_killed_supernode_are_found_again_within_two_seconds_of_its_detection() {
    let mut sim = settled(setup(16, 200));
    let victim = (0..16).max_by_key(|supernode| sim.children(*supernode).len()).expect("there are 16");
    let orphans = sim.children(victim);
    assert!(orphans.len() >= 10, "only {orphans:?}");
    sim.kill(victim);
    let noticed = |sim: &Sim| orphans.iter().all(|orphan| sim.home(*orphan) != Some(victim));
    let limit = if orphans.len() <= FEW_CHILDREN {
        seconds(5)
    } else {
        Pace::HOME.silence() + Pace::HOME.keep_alive()
    };
    let detected = sim.run_until(limit, noticed).expect("detection takes as long as its pace");
    let again = |sim: &Sim| orphans.iter().all(|orphan| sim.is_registered(*orphan));
    let attached = sim.run_until(seconds(2), again).expect("all are registered within 2 s of detection");
    println!("{} orphans: detected after {detected:?}, registered {attached:?} later", orphans.len());
    sim.run_for(seconds(2).saturating_sub(attached));
    for (number, orphan) in orphans.iter().enumerate() {
        let asker = sim.running()[number];
        sim.look_up(asker, *orphan);
        sim.search_for_file_of(asker, *orphan);
    }
    sim.run_for(seconds(20));
    assert_all_is_true(&sim);
}

#[test]
fn a_full_supernode_redirects_and_nobody_stays_outside() {
    let mut sim = settled(Setup { capacity: 15, ..setup(8, 100) });
    let redirects = sim.traffic.kinds.get("redirect").copied().unwrap_or_default().messages;
    assert!(redirects > 0, "nobody was ever redirected");
    // Whom three sent on the first one took, and hands on when it hears of room.
    let within = |sim: &Sim| (0..8).all(|supernode| sim.children(supernode).len() <= 15);
    let took = sim.run_until(seconds(180), within).expect("nobody keeps more than it takes");
    println!("nobody has more than it takes after {took:?}");
    sim.run_for(seconds(10));
    assert!(within(&sim), "nobody gets more than it takes again");
    ask_around(&mut sim);
    assert_all_is_true(&sim);
}

#[test]
fn losing_a_third_of_the_supernodes_at_once_causes_no_stampede() {
    let mut sim = settled(setup(16, 400));
    let killed = [0, 3, 6, 9, 12];
    let orphans: usize = killed.iter().map(|supernode| sim.children(*supernode).len()).sum();
    sim.traffic = Traffic::default();
    killed.into_iter().for_each(|supernode| sim.kill(supernode));
    // RON's bound; some of these homes have many children, which notice its end within 16 s.
    let took = sim.run_until(seconds(20), Sim::all_registered);
    let worst = sim.traffic.worst_attach_second(Duration::ZERO);
    let attaches = sim.traffic.kinds["attach"].messages;
    println!("{orphans} orphans, back home after {took:?} with {attaches} attaches, {worst} in one second");
    assert!(took.is_some(), "20 s later some have no home: {:?}", homeless(&sim));
    assert!(attaches <= orphans as u64 * 3 / 2, "{attaches} attaches for {orphans} orphans");
    assert!(worst <= 100, "one supernode was asked {worst} times in a second");
    let dials = sim.traffic.worst_dial_second(Duration::ZERO);
    assert!(dials <= 400, "{dials} links were begun in one second");
    sim.run_for(seconds(10));
    ask_around(&mut sim);
    assert_all_is_true(&sim);
}

#[test]
fn a_net_that_was_split_in_two_grows_together_again() {
    let mut sim = settled(setup(8, 80));
    sim.split((0..88).filter(|process| process % 2 == 0).collect());
    sim.run_for(seconds(60));
    assert_all_are_home(&mut sim);
    sim.heal();
    sim.run_for(seconds(60));
    ask_around(&mut sim);
    assert_all_is_true(&sim);
}

#[test]
fn a_net_that_was_split_for_longer_than_any_record_lives_grows_together_again() {
    let mut sim = settled(setup(6, 40));
    sim.split((0..46).filter(|process| process % 3 == 0).collect());
    sim.run_for(supernode_record::LIFETIME * 4);
    sim.heal();
    sim.run_for(seconds(240));
    ask_around(&mut sim);
    assert_all_is_true(&sim);
}

#[test]
fn supernodes_that_restart_before_anybody_noticed_are_asked_again() {
    let mut sim = settled(setup(8, 100));
    for (number, supernode) in (0..8).enumerate() {
        sim.kill(supernode);
        sim.run_for(Duration::from_millis(100 + 700 * number as u64));
        sim.start(supernode);
        sim.run_for(Pace::HOME.silence() + seconds(5));
        assert_all_are_home(&mut sim);
        ask_around(&mut sim);
        assert_all_is_true(&sim);
    }
}

#[test]
fn a_supernode_that_steps_down_leaves_nobody_outside() {
    let mut sim = settled(setup(8, 100));
    let leaving = (0..8).max_by_key(|supernode| sim.children(*supernode).len()).expect("there are 8");
    let children = sim.children(leaving);
    assert!(children.len() >= 10, "only {children:?}");
    sim.step_down(leaving);
    let moved = |sim: &Sim| {
        children.iter().all(|child| sim.is_registered(*child) && sim.home(*child) != Some(leaving))
    };
    let took = sim.run_until(seconds(10), moved);
    println!("{} children were elsewhere after {took:?}", children.len());
    assert!(took.is_some(), "10 s later some are still there: {:?}", sim.children(leaving));
    sim.kill(leaving);
    sim.run_for(seconds(10));
    ask_around(&mut sim);
    assert_all_is_true(&sim);
}

#[test]
fn a_quiet_net_costs_little_and_keeps_everybody_findable() {
    let mut sim = settled(setup(4, 40));
    sim.traffic = Traffic::default();
    sim.run_for(presence::LIFETIME * 3);
    let bytes: u64 = sim.traffic.kinds.values().map(|count| count.bytes).sum();
    println!("{} bytes a node and minute: {:#?}", bytes / 44 / 30, sim.traffic.kinds);
    assert!(bytes / 44 / 30 < 10_000, "{} bytes a node and minute", bytes / 44 / 30);
    assert!((4..44).all(|node| sim.links_of(node) == 2), "a home and a standby each, and no other link");
    ask_around(&mut sim);
    assert_all_is_true(&sim);
}
