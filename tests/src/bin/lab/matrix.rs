//! `lab matrix`.

use std::{collections::BTreeSet, process::ExitCode, str::FromStr, time::Duration};

use clap::Args;
use serde_json::json;
use tests::lab::{
    Expected, HOME_RTT_MS, Nat, SUPERNODES, Town,
    matrix::{Cell, Patience, Runs, complaints, first_of_the_open, late, measure},
};

use crate::{program, table};

/// Callers and callees are different nodes, so that no two calls of a run share a connection.
const CALLER: &str = "a";
const CALLEE: &str = "b";

#[derive(Debug, Args)]
#[command(
    after_help = "Rows call columns. A cell: the way in the end, milliseconds to the first answer / to the \
                        first direct one (one number where that is the same). `!`: worse than these NATs allow; `?`: \
                        it could have been direct, had the right ports been guessed.\n\n\
                        Exits with 1 if anything was worse than promised, and says what: every pair with UDP connects; who need not \
                        guess is direct, within 3 s; port-restricted and carrier-grade against symmetric are direct in 9 runs of \
                        10; the first answer comes at most 3 round trips later than between two open sites."
)]
pub(super) struct Matrix {
    /// Only these NATs: prc,sym,cgn-hairpin [default: all]
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Nat>,
    /// Only this caller and callee: prc,sym; may be given several times
    #[arg(long, value_name = "A,B", conflicts_with = "kinds")]
    pair: Vec<Pair>,
    /// One JSON object a pair, as they end, in place of the table
    #[arg(long)]
    json: bool,
    /// The table with a legend, to be put into a document
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// How often each calls each; all nodes are started anew in between
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

/// Who calls whom.
#[derive(Clone, Copy, Debug)]
struct Pair(Nat, Nat);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (caller, callee) = text.split_once(',').ok_or("two NATs with a comma between them: prc,sym")?;
        Ok(Self(caller.parse()?, callee.parse()?))
    }
}

impl Matrix {
    pub(super) fn run(self) -> Result<ExitCode, String> {
        let kinds = program::kinds(&self.kinds);
        let all = kinds.iter().flat_map(|caller| kinds.iter().map(move |callee| Pair(*caller, *callee)));
        let pairs = if self.pair.is_empty() { all.collect() } else { self.pair.clone() };
        let (mut town, _directory) = program::found().map_err(|error| error.to_string())?;
        let callers = pairs.iter().map(|pair| (CALLER, pair.0));
        let people: BTreeSet<_> = callers.chain(pairs.iter().map(|pair| (CALLEE, pair.1))).collect();
        town.settle(people.into_iter().map(|(side, nat)| (name(nat, side), nat)));
        for person in &town.people {
            if let Some(reason) = &person.outside {
                eprintln!("{} is not in the net: {reason}", person.name);
            }
        }
        let mut measured = vec![Runs::default(); pairs.len()];
        for run in 0..self.runs {
            if run > 0 {
                town.restart();
            }
            for (runs, cell) in measured.iter_mut().zip(self.measure(&town, &pairs)) {
                runs.0.push(cell);
            }
        }
        Ok(self.report(&kinds, &measured))
    }

    fn measure(&self, town: &Town, pairs: &[Pair]) -> Vec<Cell> {
        let side = |nat, side| town.find(&name(nat, side)).expect("everybody has settled");
        let pairs: Vec<_> = pairs.iter().map(|pair| (side(pair.0, CALLER), side(pair.1, CALLEE))).collect();
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

    fn report(&self, kinds: &[Nat], measured: &[Runs]) -> ExitCode {
        if !self.json {
            let listed = !self.pair.is_empty();
            print!("{}", if listed { table::list(measured) } else { table::square(kinds, measured) });
        }
        if self.markdown {
            println!("\n{}\n{}", table::legend(&rtts(), self.runs), table::summary(measured));
        } else {
            eprintln!("{}", table::summary(measured));
        }
        match first_of_the_open(measured) {
            Some(first) => eprintln!("between open sites the first answer came after {first:.0?}"),
            None => eprintln!("no call between open sites: nothing to tell a late first answer by"),
        }
        let complaints = [complaints(measured), late(measured)].concat();
        complaints.iter().for_each(|complaint| eprintln!("not as promised: {complaint}"));
        if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn name(nat: Nat, side: &str) -> String {
    format!("{nat}-{side}")
}

/// How far everybody is from everybody.
fn rtts() -> String {
    let hubs = SUPERNODES.map(|(_, rtt)| (rtt + HOME_RTT_MS).to_string()).join(", ");
    format!(
        "Homes are {} ms from one another and {hubs} ms from the three supernodes, there and back.",
        2 * HOME_RTT_MS
    )
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
