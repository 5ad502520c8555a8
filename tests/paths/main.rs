//! Rung 3 of the ladder, for paths: two machines over simulated NATs, held against an oracle.

use tests::pathsim::{
    PathSim,
    kinds::{KINDS, Together, expected},
    scenario::Scenario,
};

#[test]
fn matrix() {
    for alice in KINDS {
        let mut line = format!("{:16}", format!("{alice:?}"));
        for bob in KINDS {
            let outcome = PathSim::run(Scenario::quiet(1, alice, bob));
            let expected = expected(alice, bob, Together::Apart);
            let d =
                outcome.oracle.first_direct.map_or("-".into(), |at| format!("{:.2}", at.as_secs_f64() - 0.1));
            line += &format!(" {:>6}{}", d, if outcome.oracle.violations.is_empty() { ' ' } else { '!' });
            for v in &outcome.oracle.violations {
                println!("{alice:?} {bob:?} {expected:?} {v}");
            }
        }
        println!("{line}");
    }
}

#[test]
fn random() {
    let from: u64 = std::env::var("NEARMESH_SEED").ok().and_then(|t| t.parse().ok()).unwrap_or(0);
    let count: u64 =
        std::env::var("NEARMESH_PATH_SCENARIOS").ok().and_then(|t| t.parse().ok()).unwrap_or(100);
    let mut bad = 0;
    for seed in from..from + count {
        let mut scenario = Scenario::random(seed);
        scenario.trace = std::env::var_os("NEARMESH_TRACE").is_some();
        let outcome = PathSim::run(scenario.clone());
        if !outcome.oracle.violations.is_empty() {
            bad += 1;
            println!("seed {seed} {:?} {:?} {:?}", scenario.kinds, scenario.together, scenario.disturbances);
            for v in outcome.oracle.violations.iter().take(4) {
                println!("    {v}");
            }
        }
    }
    println!("{bad} of {count} bad");
    assert_eq!(bad, 0);
}
