//! The scenarios of the large simulator, in the sizes that a suite can afford. By hand, and larger:
//! `cargo run --release -p tests --bin simulate -- tests/simulation/storm.toml`.

use std::path::Path;

use tests::scenario::{Outcome, Scenario, play};

/// The seed of every scenario, unless the environment names another.
const SEED: u64 = 1;

fn seed() -> u64 {
    let seed = std::env::var("NEARMESH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    println!("NEARMESH_SEED={seed}");
    seed
}

/// A scenario from its file.
fn scenario(name: &str) -> Scenario {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation").join(format!("{name}.toml"));
    Scenario::read(&file).unwrap_or_else(|error| panic!("failed to {error}"))
}

/// The same, smaller.
fn sized(name: &str, supernodes: u32, nodes: u32) -> Scenario {
    let mut scenario = scenario(name);
    (scenario.net.supernodes, scenario.net.nodes) = (supernodes, nodes);
    scenario
}

fn played(scenario: &Scenario) -> Outcome {
    let outcome = play(scenario, seed(), &mut ());
    println!(
        "{}: {} events in {:.1} s, {:.0} MB",
        outcome.scenario, outcome.machine.events, outcome.machine.seconds, outcome.machine.memory
    );
    outcome
}

/// Every bound of the scenario holds, but for those whose figures begin with one of `except`.
fn assert_bounds_hold(outcome: &Outcome, except: &[&str]) {
    let broken: Vec<_> = outcome
        .checked
        .iter()
        .filter(|checked| !checked.holds)
        .filter(|checked| !except.iter().any(|except| checked.expectation.figure.starts_with(except)))
        .map(|checked| (&checked.expectation.figure, checked.found))
        .collect();
    assert!(broken.is_empty(), "{broken:?}; the first wrong answers: {:#?}", outcome.wrong);
}

#[test]
fn every_scenario_can_be_read() {
    for name in [
        "rest",
        "churn",
        "storm",
        "partition",
        "flash",
        "flash-hour",
        "million",
        "nat",
        "lone",
        "leaving",
        "lies-dropper",
        "lies-nearest",
        "lies-members",
        "lies-summary",
        "lies-files",
    ] {
        assert_eq!(scenario(name).name, name);
    }
}

#[test]
fn a_large_run_follows_from_its_seed_alone() {
    let mut small = sized("churn", 24, 240);
    (small.growth.supernodes, small.growth.nodes, small.growth.settle) = (20.0, 10.0, 20.0);
    (small.workload.seconds, small.workload.session) = (60.0, Some(60.0));
    let digest = |seed| play(&small, seed, &mut ()).digest;
    let first = digest(1);
    assert_eq!(first, digest(1));
    assert_ne!(first, digest(2));
}

#[test]
fn two_hundred_and_fifty_six_supernodes_find_everything() {
    let outcome = played(&sized("rest", 256, 2560));
    // What a lookup and idle links cost is measured by hand, with all children.
    assert_bounds_hold(&outcome, &["signalling", "questions/popular", "questions/lookup/r"]);
    let lookups = &outcome.questions["lookup"];
    assert!(lookups.recall > 0.99 && lookups.requests.p50 <= 2.0, "{lookups:?}");
    assert!(outcome.state.members.mean < 80.0, "groups, no full mesh: {:?}", outcome.state.members);
}

#[test]
fn a_supernode_with_a_hundred_children_spends_little_on_silence() {
    let outcome = played(&sized("rest", 20, 2000));
    assert!(outcome.state.children.mean > 95.0, "{:?}", outcome.state.children);
    let spent = outcome.signalling;
    let idle = spent.keep_alive.max(spent.kept_alive) + spent.probes;
    assert!(idle < 3.0, "of the 5 KB/s that all signalling may cost: {spent:?}");
    assert!(spent.total_sent.max(spent.total_received) < 5.0, "{spent:?}");
}

#[test]
fn three_of_ten_supernodes_die_at_once_and_everybody_is_found_again() {
    let outcome = played(&sized("storm", 256, 2560));
    assert_bounds_hold(&outcome, &[]);
}

#[test]
fn a_crowd_makes_the_supernodes_that_it_needs() {
    let mut flash = sized("flash", 1, 1000);
    (flash.workload.waiting, flash.workload.seconds) = (1000, 900.0);
    let outcome = played(&flash);
    // A few supernodes more or less are a large part of so few.
    assert_bounds_hold(&outcome, &["provision"]);
    assert!((0.6..1.6).contains(&outcome.provision), "{} of what is needed", outcome.provision);
    assert!(outcome.state.supernodes >= 8, "{} supernodes", outcome.state.supernodes);
}

#[test]
fn a_net_with_one_reachable_node_works() {
    assert_bounds_hold(&played(&scenario("lone")), &[]);
}
