//! Nearmesh's own row in the comparison: the real machines, on the large simulator, under the same workload.
//!
//! Three runs: at rest; the first seconds after the loss; after a minute, when all has settled. Where the models have everything
//! noticed or nothing, here the time goes on: "right after" are the questions of the first [`STRUCK`] seconds. The simulator has only nodes ask whose home
//! lives, so that what they find is multiplied by the part of all nodes that have such a home.

use std::{collections::BTreeMap, time::Duration};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{
    PAGE,
    compare::{self, Looked, Standing},
};
use crate::{
    scale::{Kind, OutcomeFigures},
    scenario::{Act, Event, Mix, Outcome, Progress, Scenario, play},
    workload::{Asked, Workload, parameters::MATCH_NOTHING},
};

/// The row's name.
pub const NAME: &str = "Nearmesh";
/// Seconds after the loss that count as right after (guess: a few of the transport's idle timeouts).
pub const STRUCK: f64 = 10.0;
/// Seconds after which it counts as settled (guess; the goal is 20).
pub const SETTLED: f64 = 60.0;
/// Questions come so many times as often while time is short.
const HURRY: f64 = 10.0;
/// Draws from the workload that tell how its questions are mixed.
const DRAWS: u32 = 10_000;

/// Plays `base` at the comparison's size, at rest and with its loss.
pub fn standing(
    base: &Scenario,
    comparison: compare::Scenario,
    seed: u64,
    progress: &mut dyn Progress,
) -> Standing {
    let mut rest = base.clone();
    rest.net.supernodes = comparison.supernodes;
    rest.net.nodes = comparison.nodes;
    rest.net.files = comparison.files_per_sharer;
    rest.net.limit = PAGE as u32;
    rest.events.clear();
    rest.workload.mix = mix();
    let mut struck = rest.clone();
    struck.events = vec![Event { at: 0.0, act: Act::Kill(comparison.loss) }];
    let mut settled = struck.clone();
    settled.events.push(Event { at: SETTLED, act: Act::Measure(true) });
    settled.workload.seconds += SETTLED;
    struck.workload.seconds = STRUCK;
    struck.workload.questions *= HURRY;

    let workload = compare::workload(comparison, seed);
    let mut standing = at_rest(&play(&rest, seed, progress), &workload);
    let struck = play(&struck, seed, progress);
    standing.after_loss = Some(found(&struck, "rare") * at_home(&struck));
    standing.after_repair = Some(found(&play(&settled, seed, progress), "rare"));
    standing
}

fn mix() -> Mix {
    let kinds = [(Kind::Rare, 4.0), (Kind::Popular, 2.0), (Kind::Nothing, 4.0), (Kind::Lookup, 3.0)];
    Mix(BTreeMap::from(kinds))
}

fn at_rest(outcome: &Outcome, workload: &Workload) -> Standing {
    let shares = shares(workload);
    let of_words = |what: &dyn Fn(&OutcomeFigures) -> f64| -> f64 {
        shares.iter().map(|(kind, share)| outcome.questions.get(*kind).map_or(0.0, what) * share).sum()
    };
    let slowest = |what: &dyn Fn(&OutcomeFigures) -> f64| {
        let times = ["rare", "popular"].into_iter().filter_map(|kind| outcome.questions.get(kind).map(what));
        times.reduce(f64::max).map(milliseconds)
    };
    let looked = |figures: &OutcomeFigures| Looked {
        found: found(outcome, "lookup"),
        p50: Some(milliseconds(figures.latency_ms.p50)),
        p99: Some(milliseconds(figures.latency_ms.p99)),
    };
    let results = outcome.questions.get("popular").map_or(f64::NAN, |figures| figures.results.mean);
    Standing {
        system: NAME.to_owned(),
        holders: outcome.supernodes,
        single_copy: found(outcome, "rare"),
        page: (results / PAGE as f64).min(1.0),
        // The child's own question to its home is one more.
        queries: 1.0 + of_words(&|figures| figures.queries.mean),
        messages: 1.0 + of_words(&|figures| figures.messages.mean),
        bytes: of_words(&|figures| figures.bytes.mean),
        p50: slowest(&|figures| figures.first_ms.p50),
        p99: slowest(&|figures| figures.first_ms.p99),
        lookup: outcome.questions.get("lookup").map(looked),
        ..Standing::default()
    }
}

/// The part of all questions that was right. Whose home died meanwhile, and what was of somebody whose home died, count as not found.
fn found(outcome: &Outcome, kind: &str) -> f64 {
    let Some(figures) = outcome.questions.get(kind) else { return f64::NAN };
    figures.recall * figures.due as f64 / (figures.asked as f64).max(1.0)
}

/// The part of all nodes that were at a living home, on average over the samples after the loss.
fn at_home(outcome: &Outcome) -> f64 {
    let after: Vec<f64> = (outcome.samples.iter().filter(|sample| sample.at > 0.0))
        .map(|sample| f64::from(sample.homed) / f64::from(sample.running.max(1)))
        .collect();
    after.iter().sum::<f64>() / (after.len() as f64).max(1.0)
}

/// How word questions are mixed.
fn shares(workload: &Workload) -> [(&'static str, f64); 3] {
    let rng = &mut ChaCha8Rng::seed_from_u64(workload.seed());
    let (mut rare, mut popular) = (0.0, 0.0);
    for _ in 0..DRAWS {
        match workload.next_query(rng).asked {
            Asked::Rare(_) => rare += 1.0,
            Asked::Popular(_) => popular += 1.0,
            Asked::Nothing | Asked::Hash(_) | Asked::User(_) => {}
        }
    }
    let matching = (1.0 - MATCH_NOTHING) / f64::max(rare + popular, 1.0);
    [("nothing", MATCH_NOTHING), ("rare", rare * matching), ("popular", popular * matching)]
}

fn milliseconds(count: f64) -> Duration {
    Duration::from_secs_f64(count.max(0.0) / 1000.0)
}
