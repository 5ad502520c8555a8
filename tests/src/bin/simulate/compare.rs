//! A scenario that compares systems.

use std::{path::Path, process::ExitCode};

use tests::{
    models::{compare, comparison::Comparison, nearmesh},
    scenario::{Progress, ScenarioError},
};

/// Runs all models, and Nearmesh; prints the table, or the whole report as JSON, and writes its page.
///
/// # Errors
/// If the scenario for Nearmesh's row cannot be read.
pub fn run(
    comparison: &Comparison,
    path: &Path,
    seed: u64,
    json: bool,
    progress: &mut dyn Progress,
) -> Result<ExitCode, ScenarioError> {
    let own = comparison.nearmesh(path)?;
    let mut standings = compare::standings(comparison.compare, seed, |standing| {
        eprintln!("measured: {}", standing.system);
    });
    if let Some(own) = own {
        standings.push(nearmesh::standing(&own, comparison.compare, seed, progress));
    }
    let report = compare::report(comparison.compare, seed, &standings);
    if json {
        println!("{}", report.to_json());
    } else {
        println!("{}", compare::table(&standings).to_markdown());
    }
    super::write_page(&report, &comparison.name, json);
    Ok(ExitCode::SUCCESS)
}
