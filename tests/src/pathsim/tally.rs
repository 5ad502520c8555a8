//! Many runs, and what came of them.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    CALL_AT, Outcome, PathSim,
    kinds::{Expected, Kind, expected},
    scenario::Scenario,
};

/// How many pairs there were, and how many of them ended direct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// All.
    pub pairs: u64,
    /// Direct ones.
    pub direct: u64,
}

/// The longest of many times, and the seed of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Longest {
    /// How long.
    pub time: Duration,
    /// Where.
    pub seed: u64,
}

/// What came of many runs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many there were.
    pub runs: u64,
    /// What must not be, by seed.
    pub violations: BTreeMap<u64, Vec<String>>,
    /// How they ended, by what was possible then.
    pub ends: BTreeMap<Expected, Reached>,
    /// How they ended, by where both were then, the lesser kind first.
    pub places: BTreeMap<(Kind, Kind), Reached>,
    /// From the call until something came.
    pub first_data: Longest,
    /// From the call until a direct path, where none needs guessing: by lines without any trouble, and by others.
    pub first_direct: [Longest; 2],
    /// The longest pause in what comes while nothing that takes longer was going on.
    pub stall: Longest,
    /// Most probes of one side in one second.
    pub most_in_a_second: u64,
}

impl Tally {
    /// Runs the random scenarios of these seeds, on all processors.
    pub fn of(seeds: Range<u64>) -> Self {
        let next = AtomicU64::new(seeds.start);
        let tally = Mutex::new(Self::default());
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return;
                }
                let scenario = Scenario::random(seed);
                let outcome = PathSim::run(scenario.clone());
                tally.lock().expect("nobody panics while holding it").add(&scenario, &outcome);
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        tally.into_inner().expect("nobody panics while holding it")
    }

    /// One more.
    pub fn add(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let (seed, oracle) = (scenario.seed, &outcome.oracle);
        self.runs += 1;
        if !oracle.violations.is_empty() {
            self.violations.insert(seed, oracle.violations.clone());
        }
        self.ends.entry(outcome.expected).or_default().add(outcome.is_direct());
        let [a, b] = outcome.places;
        self.places.entry((a.min(b), a.max(b))).or_default().add(outcome.is_direct());
        let since_call = |at: Duration| Longest { time: at.saturating_sub(CALL_AT), seed };
        let [alice, bob] = scenario.kinds;
        let before = expected(alice, bob, scenario.together);
        if before != Expected::Nothing {
            let first = oracle.first_data.iter().flatten().max().copied();
            self.first_data = self.first_data.max(since_call(first.unwrap_or_default()));
        }
        if before.needs_no_guessing() {
            let first = &mut self.first_direct[usize::from(!scenario.is_fair())];
            *first = (*first).max(since_call(oracle.first_direct.unwrap_or_default()));
        }
        self.stall = self.stall.max(Longest { time: oracle.longest_short_stall, seed });
        self.most_in_a_second = self.most_in_a_second.max(oracle.most_in_a_second());
    }
}

impl Reached {
    fn add(&mut self, direct: bool) {
        self.pairs += 1;
        self.direct += u64::from(direct);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs, {} of them with violations", self.runs, self.violations.len())?;
        for (expected, reached) in &self.ends {
            writeln!(f, "{:>6} pairs {expected:?}: {} direct", reached.pairs, reached.direct)?;
        }
        writeln!(f, "first data after at most {}", self.first_data)?;
        let [fair, foul] = self.first_direct;
        writeln!(f, "direct without guessing after at most {fair}; with bad lines {foul}")?;
        writeln!(f, "longest pause where 2 s are allowed: {}", self.stall)?;
        writeln!(f, "most probes of one side in a second: {}", self.most_in_a_second)?;
        for (seed, violations) in &self.violations {
            writeln!(f, "\nseed {seed}: {:?}", Scenario::random(*seed))?;
            violations.iter().take(5).try_for_each(|what| writeln!(f, "    {what}"))?;
            writeln!(f, "    replay: {}", replay(*seed))?;
        }
        Ok(())
    }
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s (seed {})", self.time.as_secs_f64(), self.seed)
    }
}

/// The command that shows one run in every detail.
pub fn replay(seed: u64) -> String {
    format!("NEARMESH_SEED={seed} cargo test -p tests --test paths -- --ignored --nocapture replay")
}
