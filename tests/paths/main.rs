//! Rung 3 of the ladder, for paths: two machines behind simulated NATs, held against an oracle.
//!
//! - `cargo test -p tests --test paths` runs a few hundred random scenarios; `NEARMESH_SEED` is the first of them, `NEARMESH_SEEDS` how many.
//! - `cargo test -p tests --test paths -- --ignored --nocapture ten_thousand` runs ten thousand.
//! - `NEARMESH_SEED=7 cargo test -p tests --test paths -- --ignored --nocapture replay` shows all that happens in one.

use std::time::Duration;

use tests::pathsim::{
    CALL_AT, DIRECT_WITHIN, LONGEST_STALL, Outcome, PathSim,
    kinds::{Expected, KINDS, Kind, Together, expected},
    scenario::{BOTH, Disturbance, Scenario, Who},
    tally::Tally,
};

/// Random scenarios in every run of the suite.
const SEEDS: u64 = 200;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// From the call until both used a direct path.
fn until_direct(outcome: &Outcome) -> Option<Duration> {
    outcome.oracle.first_direct.map(|at| at - CALL_AT)
}

fn assert_all_is_true(outcome: &Outcome) {
    assert!(outcome.oracle.violations.is_empty(), "{:#?}", outcome.oracle.violations);
}

/// Runs them; everything must be as the oracle says, and as many of those that must guess are direct as was promised.
fn run(seeds: u64) {
    let first = number("NEARMESH_SEED", 0);
    let tally = Tally::of(first..first + number("NEARMESH_SEEDS", seeds));
    println!("{tally}");
    assert!(tally.violations.is_empty(), "{} runs with violations, see above", tally.violations.len());
    if let Some(guessed) = tally.ends.get(&Expected::Guessed).filter(|guessed| guessed.pairs >= 20) {
        assert!(guessed.direct * 10 >= guessed.pairs * 9, "{guessed:?}");
    }
}

#[test]
fn random_scenarios_end_as_the_oracle_says() {
    run(SEEDS);
}

#[test]
#[ignore = "takes many minutes"]
fn ten_thousand_random_scenarios_end_as_the_oracle_says() {
    run(10_000);
}

#[test]
#[ignore = "prints everything that happens in one scenario"]
fn replay() {
    let scenario = Scenario { trace: true, ..Scenario::random(number("NEARMESH_SEED", 0)) };
    println!("{scenario:#?}");
    assert_all_is_true(&PathSim::run(scenario));
}

#[test]
fn every_pair_of_places_ends_as_the_lab_says() {
    for alice in KINDS {
        let mut line = format!("{:16}", format!("{alice:?}"));
        for bob in KINDS {
            let outcome = PathSim::run(Scenario::quiet(1, alice, bob));
            assert_all_is_true(&outcome);
            let direct =
                until_direct(&outcome).map_or("-".into(), |time| format!("{:.2}", time.as_secs_f64()));
            line += &format!(" {direct:>5}");
            if expected(alice, bob, Together::Apart) == Expected::Direct {
                assert!(until_direct(&outcome) <= Some(DIRECT_WITHIN), "{alice:?} and {bob:?}: {direct}");
                for who in BOTH {
                    let probes = outcome.oracle.sent_between(who, seconds(10), seconds(20));
                    assert!(probes <= 200, "{who:?} sent {probes} probes in 10 s although all was well");
                }
            }
        }
        println!("{line}");
    }
}

#[test]
fn a_random_port_is_guessed_at_the_first_try_in_nine_runs_of_ten() {
    use Kind::{AddressDependent, Cgn, CgnSymmetric, Firewall, PortRestricted, Symmetric};
    for (alice, bob) in [
        (PortRestricted, Symmetric),
        (Symmetric, PortRestricted),
        (Cgn, Symmetric),
        (CgnSymmetric, PortRestricted),
        (AddressDependent, Firewall),
    ] {
        let mut times: Vec<Duration> = (0..100)
            .filter_map(|seed| {
                let scenario = Scenario { settle: seconds(12), ..Scenario::quiet(seed, alice, bob) };
                until_direct(&PathSim::run(scenario))
            })
            .collect();
        times.sort();
        println!(
            "{alice:?} and {bob:?}: {} of 100 direct, half of them after {:?}, all after {:?}",
            times.len(),
            times[times.len() / 2],
            times.last()
        );
        assert!(times.len() >= 90, "{alice:?} and {bob:?}: {} of 100", times.len());
    }
}

#[test]
fn consecutive_ports_are_predicted_before_any_guessing() {
    use Kind::{Cgn, Firewall, PortRestricted, Predictable};
    for other in [Cgn, Firewall, PortRestricted] {
        for pair in [[other, Predictable], [Predictable, other]] {
            let times = (0..10).map(|seed| {
                let scenario = Scenario { settle: seconds(5), ..Scenario::quiet(seed, pair[0], pair[1]) };
                until_direct(&PathSim::run(scenario))
            });
            let in_time = times.filter(|time| time.is_some_and(|time| time < seconds(1))).count();
            assert!(in_time >= 9, "{pair:?}: {in_time} of 10 within a second");
        }
    }
}

/// Two that only a relay connects; so it happens to that.
fn relayed(seed: u64, what: Disturbance) -> Scenario {
    let places = [seed * 17 % 100, seed * 29 % 100];
    let disturbances = vec![(seconds(15), what)];
    Scenario { places, disturbances, ..Scenario::quiet(seed, Kind::Symmetric, Kind::Symmetric) }
}

#[test]
fn when_the_relay_dies_or_drains_the_other_one_takes_over_in_less_than_two_seconds() {
    for what in [Disturbance::RelayDies, Disturbance::RelayDrains] {
        let outcomes = (0..20).map(|seed| PathSim::run(relayed(seed, what)));
        let stalls = outcomes.map(|outcome| {
            assert_all_is_true(&outcome);
            let moved = outcome.events[0].iter().any(|(at, _)| *at >= seconds(15));
            assert!(moved, "nothing was said of {what:?}");
            outcome.oracle.stall_at(seconds(15))
        });
        let longest = stalls.max().expect("there are 20");
        println!("{what:?}: longest pause {longest:?}");
        assert!(longest < LONGEST_STALL, "{what:?}: {longest:?}");
    }
}

#[test]
fn when_a_direct_path_dies_the_relay_takes_over_in_less_than_two_seconds() {
    for what in [Disturbance::Flush(Who::Alice), Disturbance::NewAddress(Who::Bob)] {
        let stalls = (0..20).map(|seed| {
            let quiet = Scenario::quiet(seed, Kind::PortRestricted, Kind::PortRestricted);
            let disturbances = vec![(seconds(15), what)];
            let outcome = PathSim::run(Scenario { disturbances, ..quiet });
            assert_all_is_true(&outcome);
            assert!(outcome.is_direct(), "direct again");
            outcome.oracle.stall_at(seconds(15))
        });
        let longest = stalls.max().expect("there are 20");
        println!("{what:?}: longest pause {longest:?}");
        assert!(longest < LONGEST_STALL, "{what:?}: {longest:?}");
    }
}

#[test]
fn the_relay_in_use_is_the_nearest_to_both_by_the_sum_of_round_trips() {
    let mut nearest = 0;
    for seed in 0..40 {
        let scenario = Scenario { disturbances: Vec::new(), ..relayed(seed, Disturbance::RelayDies) };
        let outcome = PathSim::run(scenario);
        assert_all_is_true(&outcome);
        let (used, best) = outcome.relay_sums.expect("a relay is in use");
        nearest += u32::from(used <= best + best / 5);
    }
    assert!(nearest >= 36, "{nearest} of 40 use a relay that is nearly as near as any");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let digest = |seed: u64| PathSim::run(Scenario::random(seed)).digest;
    let seed = number("NEARMESH_SEED", 0);
    assert_eq!(digest(seed), digest(seed));
    assert_ne!(digest(seed), digest(seed + 1));
}
