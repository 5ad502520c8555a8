//! Playing a scenario.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nearmesh::proto::promotion;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Act, Event, Machine, Outcome, Sample, Scenario, VolumeRate,
    outcome::{Law, Signalling},
};
use crate::scale::{ACK, Kind, Lie, Net, PROBE, Peer};

/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(5);
/// How long until a supernode that died comes back (guess: a restart).
const RESTART: Duration = Duration::from_secs(60);
/// Recovered: this part of the running nodes is whole.
const RECOVERED: f64 = 0.999;
/// How long a recovery is watched for.
const WATCH: Duration = Duration::from_secs(300);

/// Hears how far a run has come.
pub trait Progress {
    /// At this virtual time of this much, with so many events.
    fn at(&mut self, now: Duration, end: Duration, phase: &str, net: &Net);
}

impl Progress for () {
    fn at(&mut self, _: Duration, _: Duration, _: &str, _: &Net) {}
}

/// Something that happens by itself while a net is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chance {
    NodeEnds(Peer),
    NodeReturns(Peer),
    SupernodeEnds(Peer),
    SupernodeReturns(Peer),
    Leaves(Peer),
    Ask,
}

/// A scenario being played.
pub struct Run<'a> {
    scenario: &'a Scenario,
    net: Net,
    rng: ChaCha8Rng,
    chances: std::collections::BinaryHeap<std::cmp::Reverse<(Duration, u64, Chance)>>,
    planned: u64,
    began: Duration,
    measured_from: Duration,
    end: Duration,
    samples: Vec<Sample>,
    messages: u64,
    waiting: Peer,
    recovery: BTreeMap<String, f64>,
    watched: Option<(String, Duration)>,
}

/// Plays a scenario.
pub fn play(scenario: &Scenario, seed: u64, progress: &mut dyn Progress) -> Outcome {
    Run::new(scenario, seed).play(progress)
}

impl<'a> Run<'a> {
    /// A net in which nobody runs yet.
    pub fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let growth = &scenario.growth;
        let began = Duration::from_secs_f64(growth.whole());
        Self {
            scenario,
            net: Net::new(scenario.setup(seed)),
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x5ce_4a41),
            chances: Default::default(),
            planned: 0,
            began,
            measured_from: began,
            end: began + Duration::from_secs_f64(scenario.workload.seconds),
            samples: Vec::new(),
            messages: 0,
            waiting: 0,
            recovery: BTreeMap::new(),
            watched: None,
        }
    }

    /// Lets it grow, measures, and draws up the figures.
    #[allow(clippy::disallowed_methods)]
    pub fn play(mut self, progress: &mut dyn Progress) -> Outcome {
        let clock = Instant::now();
        self.grow();
        while self.net.now() < self.began {
            self.step(self.began, "growing", progress);
        }
        self.begin();
        for event in self.scenario.events.clone() {
            let at = self.began + Duration::from_secs_f64(event.at);
            while self.net.now() < at.min(self.end) {
                self.step(at.min(self.end), "measuring", progress);
            }
            self.befall(&event);
        }
        while self.net.now() < self.end {
            self.step(self.end, "measuring", progress);
        }
        self.outcome(clock.elapsed())
    }

    fn grow(&mut self) {
        let setup = *self.net.setup();
        let growth = &self.scenario.growth;
        let all = f64::from(setup.supernodes);
        for peer in 0..setup.supernodes {
            // Doubling in equal times, from the three of a ticket.
            let part = (1.0 + f64::from(peer) / 3.0).ln() / (1.0 + all / 3.0).ln();
            self.net.start_at(peer, Duration::from_secs_f64(growth.supernodes * part));
        }
        let last = setup.supernodes + setup.nodes;
        self.waiting = last - self.scenario.workload.waiting.min(setup.nodes);
        for peer in setup.supernodes..self.waiting {
            let part: f64 = self.rng.random();
            self.net.start_at(peer, Duration::from_secs_f64(growth.nodes_from() + growth.nodes * part));
        }
    }

    fn begin(&mut self) {
        let (setup, workload) = (*self.net.setup(), &self.scenario.workload);
        self.measure_anew();
        if let Some(mean) = workload.supernode_life {
            for peer in 0..setup.supernodes {
                let life = self.exponential(mean);
                self.plan(life, Chance::SupernodeEnds(peer));
            }
        }
        if let Some(mean) = self.scenario.workload.session {
            for peer in setup.supernodes..self.waiting {
                let session = self.exponential(mean);
                self.plan(session, Chance::NodeEnds(peer));
            }
        }
        self.plan(Duration::ZERO, Chance::Ask);
    }

    fn measure_anew(&mut self) {
        self.net.reset_traffic();
        self.net.waits = Default::default();
        self.net.asking.outcomes.clear();
        self.measured_from = self.net.now();
        self.messages = self.net.traffic.total;
    }

    /// To the next chance or sample, at most to `end`.
    fn step(&mut self, end: Duration, phase: &str, progress: &mut dyn Progress) {
        let sample = self.samples.len() as u32;
        let next_sample = SAMPLE * (sample + 1);
        let chance = self.chances.peek().map(|std::cmp::Reverse((at, ..))| *at);
        let to = chance.unwrap_or(end).min(end).min(next_sample);
        self.net.run_until(to);
        if chance == Some(to)
            && let Some(std::cmp::Reverse((_, _, chance))) = self.chances.pop()
        {
            self.happen(chance);
        }
        if to == next_sample {
            self.sample();
            progress.at(to, self.end, phase, &self.net);
        }
        if let Some((name, since)) = &self.watched {
            let whole = self.net.whole_part();
            let waited = self.net.now() - *since;
            if whole >= RECOVERED || waited > WATCH {
                self.recovery.insert(name.clone(), waited.as_secs_f64());
                self.watched = None;
            }
        }
    }

    fn sample(&mut self) {
        let (running, homed) = self.net.running_and_homed();
        let total = self.net.traffic.total;
        let messages = (total - std::mem::replace(&mut self.messages, total)) as f64 / SAMPLE.as_secs_f64();
        self.samples.push(Sample {
            at: self.net.now().as_secs_f64() - self.began.as_secs_f64(),
            running,
            homed,
            supernodes: self.net.serving().len() as u32,
            messages,
        });
    }

    fn happen(&mut self, chance: Chance) {
        let workload = &self.scenario.workload;
        match chance {
            Chance::Ask => {
                let kind = self.draw_kind();
                self.net.ask(kind);
                let nodes = f64::from(self.net.setup().nodes + self.net.setup().supernodes);
                let rate = self.scenario.workload.questions * nodes / 1000.0;
                let wait = self.exponential(1.0 / rate.max(1e-6));
                self.plan(wait, Chance::Ask);
            }
            Chance::NodeEnds(peer) => {
                if !self.net.serves(peer) {
                    if self.rng.random_bool(0.5) { self.net.kill(peer) } else { self.net.leave(peer) }
                }
                let absence = self.exponential(workload.absence);
                self.plan(absence, Chance::NodeReturns(peer));
            }
            Chance::NodeReturns(peer) => {
                self.net.start(peer);
                let session = self.exponential(workload.session.unwrap_or(f64::MAX));
                self.plan(session, Chance::NodeEnds(peer));
            }
            Chance::SupernodeEnds(peer) => {
                self.net.kill(peer);
                self.plan(RESTART, Chance::SupernodeReturns(peer));
            }
            Chance::SupernodeReturns(peer) => {
                self.net.start(peer);
                let life = self.exponential(workload.supernode_life.unwrap_or(f64::MAX));
                self.plan(life, Chance::SupernodeEnds(peer));
            }
            Chance::Leaves(peer) => {
                self.net.step_down(peer);
                self.planned += 1;
                self.net.kill_at(peer, self.net.now() + promotion::DRAIN);
            }
        }
    }

    fn befall(&mut self, event: &Event) {
        let serving = self.net.serving();
        match &event.act {
            Act::Kill(share) => {
                for peer in self.some(&serving, *share) {
                    self.net.kill(peer);
                }
                self.watch("kill");
            }
            Act::Split(share) => {
                let seed = self.rng.random::<u64>();
                let share = *share;
                self.net.split(|peer| part_of(seed, peer) < share);
                self.watch("split");
            }
            Act::Heal(_) => {
                self.net.heal();
                self.watch("heal");
            }
            Act::Crowd { nodes, over } => {
                let all = self.net.setup().supernodes + self.net.setup().nodes;
                for peer in self.waiting..all.min(self.waiting + nodes) {
                    self.net.start_within(peer, Duration::from_secs_f64(*over));
                }
                self.waiting = all.min(self.waiting + nodes);
            }
            Act::Leave { share, over } => {
                let leaving = self.some(&serving, *share);
                let count = leaving.len().max(1) as f64;
                for (number, peer) in leaving.into_iter().enumerate() {
                    self.plan(Duration::from_secs_f64(over * number as f64 / count), Chance::Leaves(peer));
                }
            }
            Act::Corrupt { share, lie } => {
                let setup = *self.net.setup();
                let nodes: Vec<Peer> = (setup.supernodes..setup.supernodes + setup.nodes).collect();
                let among = if *lie == Lie::FloodsFiles { &nodes } else { &serving };
                for peer in self.some(among, *share) {
                    self.net.corrupt(peer, *lie);
                }
            }
            Act::Measure(_) => self.measure_anew(),
        }
    }

    fn watch(&mut self, name: &str) {
        self.watched = Some((name.to_owned(), self.net.now()));
    }

    /// This part of `all`, drawn at random; at least one.
    fn some(&mut self, all: &[Peer], share: f64) -> Vec<Peer> {
        let count = ((all.len() as f64 * share).round() as usize).clamp(1, all.len().max(1));
        let mut all = all.to_vec();
        for at in 0..count.min(all.len()) {
            let other = self.rng.random_range(at..all.len());
            all.swap(at, other);
        }
        all.truncate(count);
        all
    }

    fn draw_kind(&mut self) -> Kind {
        let mix = &self.scenario.workload.mix.0;
        let mut left = self.rng.random_range(0.0..mix.values().sum::<f64>().max(1e-9));
        for (kind, weight) in mix {
            left -= weight;
            if left <= 0.0 {
                return *kind;
            }
        }
        Kind::Lookup
    }

    fn exponential(&mut self, mean: f64) -> Duration {
        /// A year: later than the end of any run.
        const LONGEST: f64 = 3.2e7;
        let draw: f64 = self.rng.random_range(1e-12..1.0);
        Duration::from_secs_f64((-draw.ln() * mean).min(LONGEST))
    }

    fn plan(&mut self, wait: Duration, chance: Chance) {
        self.planned += 1;
        self.chances.push(std::cmp::Reverse((self.net.now() + wait, self.planned, chance)));
    }

    fn outcome(self, took: Duration) -> Outcome {
        let net = &self.net;
        let state = net.state();
        let measured = (net.now() - self.measured_from).as_secs_f64().max(1e-9);
        let supernodes = f64::from(state.supernodes.max(1));
        let name = |kind: &Kind| {
            serde_json::to_value(kind)
                .ok()
                .and_then(|name| name.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let outcomes = &net.asking.outcomes;
        let volume: BTreeMap<String, VolumeRate> = net
            .traffic
            .by_kind()
            .into_iter()
            .filter(|(_, volume)| volume.messages > 0)
            .map(|(kind, volume)| {
                let rate = |value: u64| value as f64 / supernodes / measured;
                (kind.to_owned(), VolumeRate { messages: rate(volume.messages), bytes: rate(volume.bytes) })
            })
            .collect();
        let packets: u64 = net.traffic.by_kind().values().map(|volume| volume.packets).sum();
        let acks = packets as f64 / 2.0 * ACK as f64 / supernodes / measured / 1000.0;
        let keeping = net.keeping();
        let (keep_alive, kept_alive) = (keeping.sent / 1000.0, keeping.received / 1000.0);
        let probes = net.traffic.probes() as f64 * PROBE.1 as f64 / supernodes / measured / 1000.0;
        let (sent, received) = (state.sent.mean / measured / 1000.0, state.received.mean / measured / 1000.0);
        let signalling = Signalling {
            sent,
            received,
            acks,
            keep_alive,
            kept_alive,
            probes,
            total_sent: sent + acks + keep_alive + probes,
            total_received: received + acks + kept_alive + probes * PROBE.0 as f64 / PROBE.1 as f64,
        };
        let sweeps = outcomes.get(&Kind::Rare).map(|rare| rare.figures().overhead).unwrap_or_default();
        let allowed = 2.0 * supernodes.sqrt() + 0.01 * supernodes;
        let law = Law { allowed, mean: sweeps.mean, max: sweeps.max, excess: sweeps.mean - allowed };
        let mut outcome = Outcome {
            scenario: self.scenario.name.clone(),
            about: self.scenario.about.clone(),
            seed: net.setup().seed,
            supernodes: net.setup().supernodes,
            nodes: net.setup().nodes,
            digest: format!("{:016x}", net.digest.value()),
            questions: outcomes.iter().map(|(kind, outcome)| (name(kind), outcome.figures())).collect(),
            homeless_ms: net.waits.all.in_milliseconds(),
            volume,
            signalling,
            law,
            trouble: net.trouble(),
            recovery: self.recovery.clone(),
            switched: net.switches as f64 / f64::from(state.running.max(1)),
            put_off: net.put_off,
            largest: state.children.max / f64::from(state.running.max(1)),
            provision: supernodes
                / (f64::from(state.homed) / (0.65 * f64::from(self.scenario.net.capacity))).max(1.0),
            measured,
            wrong: outcomes.values().flat_map(|outcome| outcome.wrong.iter().cloned()).collect(),
            machine: Machine { events: net.events(), seconds: took.as_secs_f64(), memory: peak_memory() },
            samples: self.samples.clone(),
            state,
            checked: Vec::new(),
        };
        let figures = serde_json::to_value(&outcome).unwrap_or_default();
        outcome.checked = self.scenario.expectations.iter().map(|bound| bound.check(&figures)).collect();
        outcome
    }
}

/// A number between 0 and 1 for each peer.
fn part_of(seed: u64, peer: Peer) -> f64 {
    ChaCha8Rng::seed_from_u64(seed ^ u64::from(peer)).random()
}

/// Megabytes that this process took at the most, where the system tells.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
