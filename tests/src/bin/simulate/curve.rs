//! A scenario that is played at several sizes.

use std::process::ExitCode;

use tests::scenario::{Curve, Outcome, Progress, curve_page, curve_table, play};

/// Plays it at each size up to `most` supernodes; prints the table, or all outcomes as JSON, and writes the page.
pub fn run(curve: &Curve, most: u32, seed: u64, json: bool, progress: &mut dyn Progress) -> ExitCode {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in curve.scenarios(most) {
        let outcome = play(&scenario, seed, progress);
        eprintln!(
            "played: {} supernodes, {:.0} s, {:.0} MB",
            outcome.supernodes, outcome.machine.seconds, outcome.machine.memory
        );
        for wrong in &outcome.wrong {
            eprintln!("wrong: {wrong}");
        }
        outcomes.push(outcome);
    }
    let report = curve_page(curve, &outcomes);
    if json {
        println!("{}", serde_json::to_string(&outcomes).expect("figures have a JSON form"));
    } else {
        println!("{}", curve_table(&outcomes).to_markdown());
        for broken in report.expectations.iter().filter(|bound| !bound.held) {
            println!("BROKEN: {}: {} ({})", broken.what, broken.measured, broken.bound);
        }
    }
    super::write_page(&report, &curve.scenario.name, json);
    if report.held() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
