//! `simulate SCENARIO.toml`: plays a scenario on the large simulator, prints its figures, and fails if a bound is broken.

mod compare;
mod curve;
mod progress;
mod table;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use tests::{
    models::comparison::Comparison,
    scenario::{Curve, Scenario, ScenarioError, page, play},
};

/// Plays a scenario on the large simulator.
#[derive(Parser, Debug)]
struct Args {
    /// The scenario, a file in tests/simulation.
    scenario: PathBuf,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many supernodes, instead of what the scenario says; of a curve, the sizes up to this.
    #[arg(long)]
    supernodes: Option<u32>,
    /// So many ordinary nodes.
    #[arg(long)]
    nodes: Option<u32>,
    /// Files of each node.
    #[arg(long)]
    files: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    simulate(&args).unwrap_or_else(|error| {
        eprintln!("simulate: failed to {error}");
        ExitCode::from(2)
    })
}

fn simulate(args: &Args) -> Result<ExitCode, ScenarioError> {
    if let Some(mut comparison) = Comparison::read(&args.scenario)? {
        let size = &mut comparison.compare;
        size.supernodes = args.supernodes.unwrap_or(size.supernodes);
        size.nodes = args.nodes.unwrap_or(size.nodes);
        size.files_per_sharer = args.files.unwrap_or(size.files_per_sharer);
        return compare::run(&comparison, &args.scenario, args.seed, args.json, &mut progress::Bar::new());
    }
    if let Some(curve) = Curve::read(&args.scenario)? {
        let most = args.supernodes.unwrap_or(u32::MAX);
        return Ok(curve::run(&curve, most, args.seed, args.json, &mut progress::Bar::new()));
    }
    let mut scenario = Scenario::read(&args.scenario)?;
    scenario.net.supernodes = args.supernodes.unwrap_or(scenario.net.supernodes);
    scenario.net.nodes = args.nodes.unwrap_or(scenario.net.nodes);
    scenario.net.files = args.files.unwrap_or(scenario.net.files);
    let outcome = play(&scenario, args.seed, &mut progress::Bar::new());
    let folder = PathBuf::from("target/simulate").join(format!("{}-{}", scenario.name, outcome.supernodes));
    let written = page(&outcome).write(&folder);
    if args.json {
        println!("{}", serde_json::to_string(&outcome).expect("figures have a JSON form"));
    } else {
        table::print(&outcome);
    }
    match written {
        Ok(_) if args.json => {}
        Ok(_) => println!("{}", folder.join("report.html").display()),
        Err(error) => eprintln!("simulate: failed to write {}: {error}", folder.display()),
    }
    Ok(if outcome.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
