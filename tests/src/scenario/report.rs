//! A run on one page: facts, bounds, figures, and the net over time.

use super::{Outcome, Sample};
use crate::report::{Axis, Expectation, Fact, Look, Plot, Report, Series, Table};

/// The page about a run.
pub fn page(outcome: &Outcome) -> Report {
    let summary = format!(
        "{} {} supernodes and {} nodes, seed {}; {} events in {:.0} s.",
        outcome.about,
        outcome.supernodes,
        outcome.nodes,
        outcome.seed,
        outcome.machine.events,
        outcome.machine.seconds
    );
    let mut report = Report::new(format!("Nearmesh: {}", outcome.scenario), summary);
    report.expectations = outcome.checked.iter().map(bound).collect();
    report.facts = facts(outcome);
    report.tables = vec![questions(outcome), volume(outcome), signalling(outcome)];
    report.plots = plots(&outcome.samples);
    report
}

pub(super) fn bound(checked: &super::Checked) -> Expectation {
    let bound = &checked.expectation;
    let what = if bound.because.is_empty() { bound.figure.clone() } else { bound.because.clone() };
    let limit = match (bound.least, bound.most) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "measured".to_owned(),
    };
    let measured = checked.found.map_or_else(|| "nothing".to_owned(), |found| format!("{found:.5}"));
    Expectation { what, bound: limit, measured, held: checked.holds }
}

fn facts(outcome: &Outcome) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("supernode machines", "all real", "nearmesh-supernode's proto::Supernode"),
        Fact::new(
            "ordinary nodes",
            "light",
            "they say what nearmesh's proto::Client says, in a few hundred bytes each",
        ),
        Fact::new("children of a supernode", format!("{:.0}", outcome.state.children.mean), "measured"),
        Fact::new("links of a supernode", format!("{:.0}", outcome.state.links.mean), "measured"),
        Fact::new("measured for", format!("{:.0} s", outcome.measured), "the scenario"),
        Fact::new("digest", &outcome.digest, "the same seed gives the same"),
        Fact::new("memory", format!("{:.0} MB", outcome.machine.memory), "the most that the process took"),
    ];
    let rows = crate::workload::parameters::rows().into_iter();
    facts.extend(rows.map(|[what, value, source]| Fact::new(what, value, source)));
    facts
}

fn questions(outcome: &Outcome) -> Table {
    let columns =
        ["asked", "recall", "p50 ms", "p99 ms", "queries", "most", "requests", "bytes", "results", "waves"];
    let mut table = Table::new("Questions", &["kind"], &columns)
        .noted("Queries, requests and bytes: between supernodes, for one question. Recall: of what was there all the time.");
    for (kind, figures) in &outcome.questions {
        table.push([
            kind.replace('_', " "),
            figures.asked.to_string(),
            format!("{:.5}", figures.recall),
            format!("{:.0}", figures.latency_ms.p50),
            format!("{:.0}", figures.latency_ms.p99),
            format!("{:.1}", figures.queries.mean),
            format!("{:.0}", figures.queries.max),
            format!("{:.2}", figures.requests.mean),
            format!("{:.0}", figures.bytes.mean),
            format!("{:.1}", figures.results.mean),
            format!("{:.2}", figures.waves.mean),
        ]);
    }
    table
}

fn volume(outcome: &Outcome) -> Table {
    let mut table = Table::new("A supernode's second, by kind of message", &["kind"], &["messages", "bytes"])
        .noted("With frames and packets; acknowledgements are below.");
    let mut volume: Vec<_> = outcome.volume.iter().collect();
    volume.sort_by(|(_, a), (_, b)| b.bytes.total_cmp(&a.bytes));
    for (kind, rate) in volume {
        table.push([kind.clone(), format!("{:.3}", rate.messages), format!("{:.1}", rate.bytes)]);
    }
    table
}

fn signalling(outcome: &Outcome) -> Table {
    let s = outcome.signalling;
    let mut table = Table::new("A supernode's second, each way", &["what"], &["KB/s"]);
    for (what, value) in [
        ("messages sent", s.sent),
        ("messages received", s.received),
        ("acknowledgements", s.acks),
        ("keep-alives of idle links, sent", s.keep_alive),
        ("the same, received", s.kept_alive),
        ("STUN measurements", s.probes),
        ("all sent", s.total_sent),
        ("all received", s.total_received),
    ] {
        table.push([what.to_owned(), format!("{value:.2}")]);
    }
    table
}

fn plots(samples: &[Sample]) -> Vec<Plot> {
    let series = |name: &str, of: &dyn Fn(&Sample) -> f64| Series {
        name: name.to_owned(),
        look: Look::Steps,
        points: samples.iter().map(|sample| [sample.at, of(sample)]).collect(),
    };
    let time = || Axis::linear("seconds since measuring began");
    vec![
        Plot::new("nodes", time(), Axis::linear("nodes"))
            .with(series("running", &|sample| f64::from(sample.running)))
            .with(series("at home", &|sample| f64::from(sample.homed))),
        Plot::new("supernodes", time(), Axis::linear("supernodes"))
            .with(series("serving", &|sample| f64::from(sample.supernodes))),
        Plot::new("messages", time(), Axis::linear("messages a second"))
            .with(series("in the whole net", &|sample| sample.messages)),
    ]
}
