//! All systems under one workload, and the table that compares them.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    Model, Outcome, PAGE, State, chord::Chord, gnutella::Gnutella, kazaa::Kazaa, napster::Napster, nearmesh,
    ultrapeers::Ultrapeers,
};
use crate::{
    report::{Axis, Fact, Plot, Report, Series, Table, figure},
    workload::{Node, Question, Shape, Workload, parameters},
};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Supernodes, where a system has such.
    pub supernodes: u32,
    /// Ordinary nodes. A hundred to a supernode: KaZaA's ratio (giFT-FastTrack, PROTOCOL).
    pub nodes: u32,
    /// Askers for each kind of question; fifty times as many where a question is cheap to simulate, fewer where one reaches
    /// a million nodes.
    pub questions: u32,
    /// The part of all index holders that dies: what Skype lost in December 2010.
    pub loss: f64,
    /// Files of a sharing node.
    pub files_per_sharer: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            supernodes: 1000,
            nodes: 100_000,
            questions: 200,
            loss: 0.30,
            files_per_sharer: parameters::FILES_PER_SHARER,
        }
    }
}

/// Files with one copy that each asker asks for.
const EACH: usize = 10;
/// Questions for popular files, and of the workload's mix, at most: more would only take longer.
const MOST_PAGES: u32 = 1000;
const MOST_MIXED: u32 = 5000;

/// How a system did. What is none was not measured, or the system has no such thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its name.
    pub system: String,
    /// How many hold an index.
    pub holders: u32,
    /// The part of all questions for a file with one copy that found it.
    pub single_copy: f64,
    /// The part of a page of 50 results that a question for a popular file filled, on average.
    pub page: f64,
    /// Messages that carried a word question, on average over the workload's mix.
    pub queries: f64,
    /// All messages of a word question.
    pub messages: f64,
    /// Their bytes.
    pub bytes: f64,
    /// When the first result came, half of the time, where one came.
    pub p50: Option<Duration>,
    /// The same in 99 of 100 cases.
    pub p99: Option<Duration>,
    /// Looking up users.
    pub lookup: Option<Looked>,
    /// What an index holder keeps, in bytes.
    pub state: Option<State>,
    /// [`Standing::single_copy`] right after the loss.
    pub after_loss: Option<f64>,
    /// The same when all has settled.
    pub after_repair: Option<f64>,
}

/// How a system looks up users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// The part that was found.
    pub found: f64,
    /// How long it took half of the time, where it was found.
    pub p50: Option<Duration>,
    /// The same in 99 of 100 cases.
    pub p99: Option<Duration>,
}

/// Runs every model, and gives the table with Nearmesh's own row, measured elsewhere, as its last.
pub fn compare(scenario: Scenario, seed: u64, nearmesh: Option<Standing>) -> Table {
    let mut standings = standings(scenario, seed, |_| {});
    standings.extend(nearmesh);
    table(&standings)
}

/// Runs every model; `finished` hears of each.
pub fn standings(scenario: Scenario, seed: u64, mut finished: impl FnMut(&Standing)) -> Vec<Standing> {
    let workload = workload(scenario, seed);
    let mut all = Vec::new();
    let mut note = |standing: Standing| {
        finished(&standing);
        all.push(standing);
    };
    note(built::<Napster<'_>>(&workload, scenario, seed));
    note(built::<Gnutella<'_>>(&workload, scenario, seed));
    note(built::<Ultrapeers<'_>>(&workload, scenario, seed));
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    note(measure(&mut Ultrapeers::limewire(&workload, rng), &workload, scenario, rng));
    note(built::<Kazaa<'_>>(&workload, scenario, seed));
    note(built::<Chord<'_>>(&workload, scenario, seed));
    all
}

/// The workload of a comparison: for whoever runs Nearmesh under the same one.
pub fn workload(scenario: Scenario, seed: u64) -> Workload {
    Workload::new(seed, Shape { files_per_sharer: scenario.files_per_sharer, ..Shape::of(scenario.nodes) })
}

/// Builds one model and measures it.
fn built<'w, M: Model<'w>>(workload: &'w Workload, scenario: Scenario, seed: u64) -> Standing {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut model = M::build(workload, scenario.supernodes, rng);
    measure(&mut model, workload, scenario, rng)
}

/// Asks a model at rest, takes index holders away, asks again, lets it settle, and asks again.
pub fn measure<'w>(
    model: &mut impl Model<'w>,
    workload: &Workload,
    scenario: Scenario,
    rng: &mut ChaCha8Rng,
) -> Standing {
    let questions = model.askers(scenario.questions);
    let single_copy = single_copies(model, workload, questions, rng);
    let page = pages(model, workload, questions.min(MOST_PAGES), rng);
    let mixed: Vec<Outcome> = (0..questions.min(MOST_MIXED))
        .map(|_| {
            let question = word_question(workload, rng);
            let asker = living(model, workload, rng);
            model.search(asker, &question, rng)
        })
        .collect();
    let mean = |what: &dyn Fn(&Outcome) -> f64| mixed.iter().map(what).sum::<f64>() / mixed.len() as f64;
    let (p50, p99) = percentiles(&mixed);
    let lookup = lookups(model, workload, questions, rng);
    let mut standing = Standing {
        system: model.name().to_owned(),
        holders: model.holders(),
        single_copy,
        page,
        queries: mean(&|outcome| f64::from(outcome.queries)),
        messages: mean(&|outcome| f64::from(outcome.messages)),
        bytes: mean(&|outcome| outcome.bytes as f64),
        p50,
        p99,
        lookup,
        state: Some(model.state()),
        after_loss: None,
        after_repair: None,
    };
    model.kill(scenario.loss, rng);
    standing.after_loss = Some(single_copies(model, workload, questions, rng));
    model.repair(rng);
    standing.after_repair = Some(single_copies(model, workload, questions, rng));
    standing
}

fn living<'w>(model: &impl Model<'w>, workload: &Workload, rng: &mut ChaCha8Rng) -> Node {
    loop {
        let node = Node(rng.random_range(0..workload.nodes()));
        if model.lives(node) {
            return node;
        }
    }
}

fn word_question(workload: &Workload, rng: &mut ChaCha8Rng) -> Question {
    loop {
        let question = workload.next_query(rng);
        if !question.words.is_empty() {
            return question;
        }
    }
}

/// The part of questions for a file with one copy, whose holder lives, that find it.
fn single_copies<'w>(
    model: &mut impl Model<'w>,
    workload: &Workload,
    questions: u32,
    rng: &mut ChaCha8Rng,
) -> f64 {
    let mut found = 0;
    for _ in 0..questions {
        let asker = living(model, workload, rng);
        let mut asked = Vec::with_capacity(EACH);
        while asked.len() < EACH {
            let file = workload.a_single_copy(rng).expect("most files exist once");
            if model.lives(workload.holders_of(file)[0]) {
                asked.push(workload.word_question(file, rng));
            }
        }
        found += model.find_each(asker, &asked, rng);
    }
    f64::from(found) / (f64::from(questions) * EACH as f64)
}

/// How full a page of results for a popular file is.
fn pages<'w>(model: &mut impl Model<'w>, workload: &Workload, questions: u32, rng: &mut ChaCha8Rng) -> f64 {
    let mut filled = 0.0;
    for _ in 0..questions {
        let Some(file) = workload.a_popular_file(rng) else { return f64::NAN };
        let question = workload.word_question(file, rng);
        let asker = living(model, workload, rng);
        let found = model.search(asker, &question, rng).found as usize;
        filled += found.min(PAGE) as f64 / PAGE as f64;
    }
    filled / f64::from(questions)
}

fn lookups<'w>(
    model: &mut impl Model<'w>,
    workload: &Workload,
    questions: u32,
    rng: &mut ChaCha8Rng,
) -> Option<Looked> {
    let mut outcomes = Vec::new();
    for _ in 0..questions {
        let [asker, user] = [(); 2].map(|()| living(model, workload, rng));
        outcomes.push(model.lookup(asker, user, rng)?);
    }
    let found = outcomes.iter().filter(|outcome| outcome.found > 0).count() as f64;
    let (p50, p99) = percentiles(&outcomes);
    Some(Looked { found: found / outcomes.len() as f64, p50, p99 })
}

fn percentiles(outcomes: &[Outcome]) -> (Option<Duration>, Option<Duration>) {
    let mut times: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.latency).collect();
    times.sort_unstable();
    let at = |part: f64| times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1)));
    (at(0.50).copied(), at(0.99).copied())
}

/// The table, a row for each system.
pub fn table(standings: &[Standing]) -> Table {
    let figures = [
        "index holders",
        "query messages",
        "bytes",
        "first result p50 / p99",
        "page of a popular file",
        "single copy: at rest / after loss / settled",
        "user found, p50 / p99",
        "state mean / most",
    ];
    let mut table = Table::new("The systems under one workload", &["system"], &figures).noted(
        "Query messages and bytes are averages over all word questions, 44.4 % of which match nothing; bytes are payloads of all messages \
         of a question. Times are to the first result, where one came. A page is 50 results. After loss: a part of all index \
         holders has ended at once and nobody has noticed; an asker whose only index holder is dead finds nothing.",
    );
    for standing in standings {
        table.push(cells(standing));
        if standing.system == nearmesh::NAME {
            table.note += " Nearmesh's row is not a model but the real machines: its times are those of the slower of single copies and popular \
                files, its bytes those between supernodes, and after the loss means within ten seconds.";
        }
    }
    table
}

fn cells(standing: &Standing) -> [String; 9] {
    let none = || "-".to_owned();
    let single = [Some(standing.single_copy), standing.after_loss, standing.after_repair];
    let single = single.map(|part| part.map_or_else(none, percent)).join(" / ");
    let looked = |looked: &Looked| format!("{}, {}", percent(looked.found), times(looked.p50, looked.p99));
    let state = |state: State| format!("{} / {}", bytes(state.mean), bytes(state.most));
    [
        standing.system.clone(),
        figure(f64::from(standing.holders)),
        figure(standing.queries),
        bytes(standing.bytes),
        times(standing.p50, standing.p99),
        percent(standing.page),
        single,
        standing.lookup.as_ref().map_or_else(|| "no such thing".to_owned(), looked),
        standing.state.map_or_else(none, state),
    ]
}

fn percent(part: f64) -> String {
    let rounded = (part * 1e4).round() / 100.0;
    if part.is_finite() { format!("{} %", figure(rounded)) } else { "-".to_owned() }
}

fn times(p50: Option<Duration>, p99: Option<Duration>) -> String {
    match (p50, p99) {
        (Some(p50), Some(p99)) => format!("{} / {}", time(p50), time(p99)),
        _ => "-".to_owned(),
    }
}

fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    format!("{} s", figure((time.as_secs_f64() * 10.0).round() / 10.0))
}

fn bytes(bytes: f64) -> String {
    match bytes {
        1e6.. => format!("{} MB", figure((bytes / 1e5).round() / 10.0)),
        1e3.. => format!("{} KB", figure((bytes / 100.0).round() / 10.0)),
        _ => format!("{} B", figure(bytes.round())),
    }
}

/// A page about a comparison: the table, what finding costs, and every parameter with its source.
pub fn report(scenario: Scenario, seed: u64, standings: &[Standing]) -> Report {
    let mut report = Report::new(
        "The systems that Nearmesh descends from",
        format!(
            "{} supernodes, {} nodes, one workload, the same round trips.",
            figure(f64::from(scenario.supernodes)),
            figure(f64::from(scenario.nodes))
        ),
    );
    let mut cost = Plot::new(
        "What finding a single copy costs",
        Axis::log("query messages of a question"),
        Axis::linear("single copies found, %"),
    )
    .noted("Upper left is best.");
    let mut loss = Plot::new(
        "Finding a single copy after the loss",
        Axis::named(&["at rest", "right after", "settled"]),
        Axis::linear("single copies found, %"),
    )
    .noted(format!("{} of all index holders end at once.", percent(scenario.loss)));
    for standing in standings {
        let name = short(&standing.system);
        cost = cost.with(Series::dots(name, [[standing.queries, standing.single_copy * 100.0]]));
        if let (Some(after), Some(settled)) = (standing.after_loss, standing.after_repair) {
            let stages = [standing.single_copy, after, settled];
            let points = stages.into_iter().zip(0..).map(|(part, stage)| [f64::from(stage), part * 100.0]);
            loss = loss.with(Series::line(name, points));
        }
    }
    report.plots = vec![cost, loss];
    report.tables.push(table(standings));
    report.facts.push(Fact::new("seed", seed, "the command line"));
    report.facts.push(Fact::new("questions of each kind", scenario.questions, "the scenario"));
    report.facts.push(Fact::new("index holders that die", percent(scenario.loss), "Skype, December 2010"));
    let rows = parameters::rows().into_iter();
    report.facts.extend(rows.map(|[what, value, source]| Fact { what, value, source }));
    report
}

/// A system's name without what is in brackets.
fn short(system: &str) -> &str {
    system.split(" (").next().unwrap_or(system)
}
