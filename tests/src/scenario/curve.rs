//! One scenario at several sizes: how what a net costs grows with it.

use serde::Deserialize;

use super::{Outcome, Scenario, ScenarioError, ScenarioFile};
use crate::report::{Axis, Expectation, Fact, Plot, Report, Series, Table, figure};

/// A scenario with a table `[curve]`.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What happens at each size.
    pub scenario: Scenario,
    sizes: Sizes,
}

/// At what sizes it is played.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    /// Supernodes.
    supernodes: Vec<u32>,
    /// Ordinary nodes for each supernode.
    children: u32,
    /// But not more of them in all: memory asks for it.
    nodes: u32,
}

impl Curve {
    /// What is written in a file; none if it is a scenario of another kind.
    ///
    /// # Errors
    /// As [`ScenarioError`] tells.
    pub fn of(mut file: ScenarioFile) -> Result<Option<Self>, ScenarioError> {
        let Some(sizes) = file.take("curve")? else { return Ok(None) };
        Ok(Some(Self { scenario: file.whole()?, sizes }))
    }

    /// The scenario at each size, up to this one.
    pub fn scenarios(&self, most: u32) -> impl Iterator<Item = Scenario> {
        let Sizes { supernodes, children, nodes } = &self.sizes;
        supernodes.iter().filter(move |size| **size <= most).map(move |size| {
            let mut scenario = self.scenario.clone();
            scenario.net.supernodes = *size;
            scenario.net.nodes = (size * children).min(*nodes);
            scenario
        })
    }
}

/// What came of each size.
pub fn table(outcomes: &[Outcome]) -> Table {
    let columns = [
        "nodes",
        "single copies",
        "by hash",
        "lookups",
        "queries of a sweep",
        "bound",
        "requests of a lookup",
        "round trips, p99",
        "links",
        "KB/s out",
    ];
    let mut table = Table::new("By the number of supernodes", &["supernodes"], &columns).noted(
        "Queries of a sweep: between supernodes, beyond one for each that answers; the bound is 2 sqrt(N) + 1 % of N.",
    );
    for outcome in outcomes {
        let right = |kind: &str| {
            let figures = outcome.questions.get(kind).cloned().unwrap_or_default();
            format!("{:.0} of {}", figures.recall * figures.due as f64, figures.due)
        };
        let lookups = outcome.questions.get("lookup").cloned().unwrap_or_default();
        table.push([
            figure(outcome.supernodes.into()),
            figure(outcome.nodes.into()),
            right("rare"),
            right("rare_hash"),
            right("lookup"),
            figure(outcome.law.mean),
            figure(outcome.law.allowed),
            figure(lookups.requests.mean),
            figure(lookups.round_trips.p99),
            figure(outcome.state.links.mean),
            figure(outcome.signalling.total_sent),
        ]);
    }
    table
}

/// All of them on one page.
pub fn report(curve: &Curve, outcomes: &[Outcome]) -> Report {
    let mut report = Report::new(format!("Nearmesh: {}", curve.scenario.name), &curve.scenario.about);
    let over = |of: &dyn Fn(&Outcome) -> f64| -> Vec<[f64; 2]> {
        outcomes.iter().map(|outcome| [f64::from(outcome.supernodes), of(outcome)]).collect()
    };
    let supernodes = || Axis::log("supernodes");
    let queries = |outcome: &Outcome| outcome.questions.get("nothing").map_or(0.0, |of| of.queries.mean);
    let requests = |outcome: &Outcome| outcome.questions.get("lookup").map_or(0.0, |of| of.requests.mean);
    report.plots = vec![
        Plot::new("a sweep of the whole net", supernodes(), Axis::log("queries between supernodes"))
            .noted("Beyond one for each supernode that answers.")
            .with(Series::line("the mean", over(&|outcome| outcome.law.mean)))
            .with(Series::line("the most", over(&|outcome| outcome.law.max)))
            .with(Series::line("for words that nobody has", over(&queries)))
            .with(Series::dashed("2 sqrt(N) + N / 100", over(&|outcome| outcome.law.allowed))),
        Plot::new("a lookup", supernodes(), Axis::linear("requests between supernodes"))
            .with(Series::line("the mean", over(&requests))),
        Plot::new("a supernode's signalling", supernodes(), Axis::linear("KB/s out"))
            .with(Series::line("all of it", over(&|outcome| outcome.signalling.total_sent)))
            .with(Series::line("keep-alives", over(&|outcome| outcome.signalling.keep_alive))),
        Plot::new("a supernode's links", supernodes(), Axis::log("links"))
            .with(Series::line("the mean", over(&|outcome| outcome.state.links.mean)))
            .with(Series::line("the most", over(&|outcome| outcome.state.links.max))),
    ];
    report.tables.push(table(outcomes));
    report.expectations = outcomes.iter().flat_map(bounds).collect();
    let seed = outcomes.first().map(|outcome| Fact::new("seed", outcome.seed, "the command line"));
    report.facts = seed.into_iter().collect();
    report
}

/// The scenario's own bounds, at one size.
fn bounds(outcome: &Outcome) -> impl Iterator<Item = Expectation> {
    let of = figure(outcome.supernodes.into());
    outcome.checked.iter().map(move |checked| {
        let mut bound = super::report::bound(checked);
        bound.what = format!("{of} supernodes: {}", bound.what);
        bound
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What is written in a file of ours.
    fn shipped(name: &str) -> Option<Curve> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/simulation"));
        let file = ScenarioFile::read(&folder.join(name)).expect("it can be read");
        Curve::of(file).expect("it is understood")
    }

    #[test]
    fn each_size_has_its_nodes_and_no_more_than_there_is_memory_for() {
        let curve = shipped("curve.toml").expect("it is a curve");
        let sizes = |most| -> Vec<(u32, u32)> {
            curve.scenarios(most).map(|of| (of.net.supernodes, of.net.nodes)).collect()
        };
        assert_eq!(sizes(64), [(16, 1600), (64, 6400)]);
        assert_eq!(sizes(u32::MAX).last(), Some(&(10_000, 20_000)));
        assert!(shipped("rest.toml").is_none());
    }

    #[test]
    fn the_page_draws_what_was_measured_against_the_bound() {
        let curve = shipped("curve.toml").expect("it is a curve");
        let mut scenario = curve.scenarios(16).next().expect("the smallest");
        (scenario.net.nodes, scenario.growth.supernodes, scenario.growth.nodes) = (100, 5.0, 5.0);
        (scenario.growth.settle, scenario.workload.questions) = (20.0, 20.0);
        let outcome = super::super::play(&scenario, 1, &mut ());
        let report = report(&curve, std::slice::from_ref(&outcome));
        assert_eq!(report.plots[0].series[0].points, [[16.0, outcome.law.mean]]);
        assert_eq!(report.plots[0].series[3].points, [[16.0, 2.0 * 4.0 + 0.16]]);
        assert_eq!(report.expectations.len(), outcome.checked.len());
        assert!(outcome.checked.iter().all(|checked| checked.found.is_some()));
        assert!(report.tables[0].to_markdown().contains("| 16 | 100 |"));
    }
}
