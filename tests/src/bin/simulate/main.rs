//! `simulate SCENARIO.toml`: plays a scenario on the large simulator, prints its figures, and fails if a bound is broken.

mod compare;
mod curve;
mod progress;
mod table;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use tests::{
    models::comparison::Comparison,
    report::Report,
    scenario::{Curve, Scenario, ScenarioError, ScenarioFile, page, play},
};

/// Ten thousand supernodes take and give back small pieces of memory all the time: with this one a fifth faster (measured).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let file = ScenarioFile::read(&args.scenario)?;
    if let Some(mut comparison) = Comparison::of(file.clone())? {
        let size = &mut comparison.compare;
        size.supernodes = args.supernodes.unwrap_or(size.supernodes);
        size.nodes = args.nodes.unwrap_or(size.nodes);
        size.files_per_sharer = args.files.unwrap_or(size.files_per_sharer);
        return compare::run(&comparison, &args.scenario, args.seed, args.json, &mut progress::Bar::new());
    }
    if let Some(curve) = Curve::of(file.clone())? {
        let most = args.supernodes.unwrap_or(u32::MAX);
        return Ok(curve::run(&curve, most, args.seed, args.json, &mut progress::Bar::new()));
    }
    let mut scenario: Scenario = file.whole()?;
    scenario.net.supernodes = args.supernodes.unwrap_or(scenario.net.supernodes);
    scenario.net.nodes = args.nodes.unwrap_or(scenario.net.nodes);
    scenario.net.files = args.files.unwrap_or(scenario.net.files);
    let outcome = play(&scenario, args.seed, &mut progress::Bar::new());
    if args.json {
        println!("{}", serde_json::to_string(&outcome).expect("figures have a JSON form"));
    } else {
        table::print(&outcome);
    }
    write_page(&page(&outcome), &format!("{}-{}", scenario.name, outcome.supernodes), args.json);
    Ok(if outcome.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Writes a page for people, and says where it is unless standard output is for a program.
fn write_page(page: &Report, name: &str, json: bool) {
    let folder = Path::new("target/simulate").join(name);
    match page.write(&folder) {
        Ok(_) if json => {}
        Ok(_) => println!("{}", folder.join("report.html").display()),
        Err(error) => eprintln!("simulate: failed to write {}: {error}", folder.display()),
    }
}
