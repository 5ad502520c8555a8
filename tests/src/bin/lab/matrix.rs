//! `lab matrix`.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use serde_json::json;
use tests::lab::{
    Expected, Nat, Town,
    matrix::{Cell, Patience, measure},
};

use crate::{
    program,
    table::{self, Runs},
};

/// Callers and callees are different nodes, so that no two calls of a run share a connection.
const CALLER: &str = "a";
const CALLEE: &str = "b";

#[derive(Debug, Args)]
#[command(
    after_help = "Rows call columns. A cell: the way in the end, milliseconds to the first answer / to the \
                        first direct one (one number where that is the same). `!`: worse than these NATs allow; `?`: \
                        it could have been direct, had the right ports been guessed.\n\n\
                        Three supernodes are 10, 25 and 45 ms away from every home, and homes 10 ms from each other."
)]
pub(super) struct Matrix {
    /// Only these NATs: prc,sym,cgn-hairpin [default: all]
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Nat>,
    /// One JSON object a pair, as they end, in place of the table
    #[arg(long)]
    json: bool,
    /// Exit with 1 if any pair came out worse than its NATs allow
    #[arg(long)]
    check: bool,
    /// How often everybody calls everybody; all nodes are started anew in between
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Calls at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    /// Seconds to wait for the best way
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
    /// Seconds to wait for it where ports have to be guessed
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait_guessing: u64,
}

impl Matrix {
    pub(super) fn run(self) -> Result<ExitCode, String> {
        let kinds = program::kinds(&self.kinds);
        let (mut town, _directory) = program::found().map_err(|error| error.to_string())?;
        let people =
            kinds.iter().flat_map(|nat| [CALLER, CALLEE].map(|side| (format!("{nat}-{side}"), *nat)));
        town.settle(people);
        for person in &town.people {
            if let Some(reason) = &person.outside {
                eprintln!("{} is not in the net: {reason}", person.name);
            }
        }
        let mut pairs: Vec<Runs> = vec![Runs::default(); kinds.len() * kinds.len()];
        for run in 0..self.runs {
            if run > 0 {
                town.restart();
            }
            for (runs, cell) in pairs.iter_mut().zip(self.measure(&town, &kinds)) {
                runs.0.push(cell);
            }
        }
        if !self.json {
            print!("{}", table::markdown(&kinds, &pairs));
        }
        eprintln!("{}", table::summary(&pairs));
        let good = pairs.iter().all(Runs::are_as_expected);
        Ok(if self.check && !good { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn measure(&self, town: &Town, kinds: &[Nat]) -> Vec<Cell> {
        let side = |nat: &Nat, side| town.find(&format!("{nat}-{side}")).expect("everybody has settled");
        let pairs: Vec<_> = kinds
            .iter()
            .flat_map(|caller| kinds.iter().map(move |callee| (caller, callee)))
            .map(|(caller, callee)| (side(caller, CALLER), side(callee, CALLEE)))
            .collect();
        let patience = Patience {
            guessing: Duration::from_secs(self.wait_guessing),
            otherwise: Duration::from_secs(self.wait),
        };
        measure(&pairs, self.jobs.into(), patience, |cell| {
            if self.json {
                println!("{}", object(cell));
            }
        })
    }
}

fn object(cell: &Cell) -> serde_json::Value {
    let ms = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1e5).round() / 100.0);
    let call = &cell.call;
    json!({
        "caller": cell.caller,
        "callee": cell.callee,
        "expected": expected(cell.expected),
        "as_expected": cell.is_as_expected(),
        "path": call.reached.to_string(),
        "relay": call.relay,
        "first_byte_ms": ms(call.first),
        "direct_ms": ms(call.direct),
        "rtt_ms": ms(call.rtt),
        "error": call.error,
    })
}

fn expected(expected: Expected) -> &'static str {
    match expected {
        Expected::Direct => "direct",
        Expected::Guessed => "guessed",
        Expected::Relayed => "relayed",
        Expected::Nothing => "none",
    }
}
