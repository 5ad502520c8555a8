//! The deterministic simulator: many nodes and supernodes under virtual time, on a simulated network. The machines are the very
//! ones that run on sockets.
//!
//! A run follows from its seed alone: the same seed gives the same trace, byte by byte ([`Traffic::digest`]). Links are
//! reliable and in order, as QUIC's are; loss makes them late. A dead process is noticed by its peers only after the
//! transport's idle timeout. Every message goes through the codec and its bounds. The [`Oracle`] knows the truth and collects
//! what contradicts it.

mod keys;
mod library;
mod links;
mod machines;
mod network;
mod oracle;
mod process;
pub(crate) mod schedule;
mod traffic;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use keys::ToyKeyring;
pub use library::{Library, SharedFile};
use links::{End, LinkId, Links};
pub use links::{ProcessId, Role};
use nearmesh::proto as client;
use nearmesh_common::{NodeId, pace::Pace, signed::Keyring};
use network::Network;
use oracle::View;
pub use oracle::{Oracle, SETTLE, Score, Violation};
use process::Process;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schedule::Schedule;
pub(crate) use traffic::message_kind;
pub use traffic::{Count, Traffic};
pub use workload::Workload;

/// How long a dial to nobody takes.
const DIAL_TIMEOUT: Duration = nearmesh::daemon::DIAL_TIMEOUT;
/// How long STUN requests to a dead address are repeated.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1500);

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// From which everything random follows.
    pub seed: u64,
    /// Supernodes: the first processes.
    pub supernodes: usize,
    /// Ordinary nodes: the processes after them.
    pub nodes: usize,
    /// How many children a supernode takes.
    pub capacity: u32,
    /// Files that each process shares.
    pub files: usize,
    /// The part of all packets that is lost.
    pub loss: f64,
}

enum Event {
    Wake { process: ProcessId, role: Role },
    Established { link: LinkId, opener: End },
    DialFailed { link: LinkId, opener: End, to: NodeId },
    Down { link: LinkId, end: End },
    Deliver { link: LinkId, from: End, to: End, bytes: Vec<u8> },
    Probed { process: ProcessId, life: u32, measured: client::Input },
    Start { process: ProcessId },
    Churn { process: ProcessId },
    Ask,
}

/// A simulated net.
pub struct Sim {
    setup: Setup,
    schedule: Schedule<Event>,
    network: Network,
    links: Links,
    processes: Vec<Process>,
    numbers: BTreeMap<NodeId, ProcessId>,
    rng: ChaCha8Rng,
    workload: Option<Workload>,
    asked: u64,
    /// Processes that are cut off from all others.
    island: BTreeSet<ProcessId>,
    /// What was said.
    pub traffic: Traffic,
    /// What is true.
    pub oracle: Oracle,
}

impl Sim {
    /// A net whose processes start within `over`, supernodes in its first tenth.
    pub fn new(setup: Setup, over: Duration) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(setup.seed);
        let network = Network::new(ChaCha8Rng::seed_from_u64(rng.random()), setup.loss);
        let mut sim = Self {
            setup,
            schedule: Schedule::new(),
            network,
            links: Links::default(),
            processes: Vec::new(),
            numbers: BTreeMap::new(),
            workload: None,
            asked: 0,
            island: BTreeSet::new(),
            traffic: Traffic::default(),
            oracle: Oracle::default(),
            rng,
        };
        for number in 0..setup.supernodes + setup.nodes {
            sim.add_process(number);
            let within = if number < setup.supernodes { over / 10 } else { over };
            let at = sim.network.moment(within + Duration::from_millis(1));
            sim.schedule.at(at, Event::Start { process: number });
        }
        sim
    }

    /// Time since the beginning.
    pub fn now(&self) -> Duration {
        self.schedule.now()
    }

    /// Lets time pass.
    pub fn run_for(&mut self, by: Duration) {
        let end = self.now() + by;
        while let Some(event) = self.schedule.next(end) {
            self.happen(event);
        }
    }

    /// Lets time pass until `condition` holds, checked every ten milliseconds; how long that took, if it was within `limit`.
    pub fn run_until(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> Option<Duration> {
        let began = self.now();
        while !condition(self) {
            if self.now() >= began + limit {
                return None;
            }
            self.run_for(Duration::from_millis(10));
        }
        Some(self.now() - began)
    }

    /// The numbers of all running processes.
    pub fn running(&self) -> Vec<ProcessId> {
        (0..self.processes.len()).filter(|number| self.processes[*number].running.is_some()).collect()
    }

    /// The home of a process.
    pub fn home(&self, process: ProcessId) -> Option<ProcessId> {
        let home = self.processes[process].running.as_ref()?.client.home()?;
        self.numbers.get(&home.address.node).copied()
    }

    /// The standby of a process.
    pub fn standby(&self, process: ProcessId) -> Option<ProcessId> {
        let standby = self.processes[process].running.as_ref()?.client.standby()?;
        self.numbers.get(&standby).copied()
    }

    /// Those whose home is `supernode`, itself excepted.
    pub fn children(&self, supernode: ProcessId) -> Vec<ProcessId> {
        let child = |number: &ProcessId| *number != supernode && self.home(*number) == Some(supernode);
        self.running().into_iter().filter(child).collect()
    }

    /// Whether every running process has a living home that holds its whole journal.
    pub fn all_registered(&self) -> bool {
        self.running().into_iter().all(|process| self.is_registered(process))
    }

    /// Whether this process has a living home that holds its whole journal.
    pub fn is_registered(&self, process: ProcessId) -> bool {
        self.oracle.is_home(process) && self.oracle.truths[process].registered.is_some()
    }

    /// How many links the machines of a process hold.
    pub fn links_of(&self, process: ProcessId) -> usize {
        self.links.count((process, Role::Client)) + self.links.count((process, Role::Supernode))
    }

    /// The round trip between two processes, without queues and loss.
    pub fn rtt(&self, a: ProcessId, b: ProcessId) -> Duration {
        self.network.rtt(self.processes[a].place, self.processes[b].place)
    }

    /// Ends a process without a word.
    pub fn kill(&mut self, process: ProcessId) {
        if self.processes[process].running.is_none() {
            return;
        }
        let links = self.links.of(process).into_iter();
        let links: Vec<_> =
            links.map(|(link, own, other)| (link, own, other, self.pace(own, other))).collect();
        self.processes[process].running = None;
        self.oracle.on_running(process, false, self.now());
        for (link, own, other, pace) in links {
            self.links.let_go(link, own);
            if other.0 == process {
                self.links.let_go(link, other);
                continue;
            }
            let noticed = self.now() + self.noticed_after(pace);
            self.schedule.at(noticed, Event::Down { link, end: other });
        }
    }

    /// Cuts `island` off from everybody else: links across break, without a word, and no new ones come about.
    pub fn split(&mut self, island: BTreeSet<ProcessId>) {
        self.island = island;
        for process in self.island.clone() {
            for (link, own, other) in self.links.of(process) {
                if self.separated(own.0, other.0) {
                    self.links.cut(link);
                    let pace = self.pace(own, other);
                    for end in [own, other] {
                        let at = self.now() + self.noticed_after(pace);
                        self.schedule.at(at, Event::Down { link, end });
                    }
                }
            }
        }
    }

    /// The last keep-alive came a while ago.
    fn noticed_after(&mut self, pace: Pace) -> Duration {
        pace.silence() - self.network.moment(pace.keep_alive())
    }

    /// Everybody reaches everybody again.
    pub fn heal(&mut self) {
        self.island.clear();
    }

    /// Ends a process politely.
    pub fn leave(&mut self, process: ProcessId) {
        self.tell_client(process, client::Input::Leave);
        self.kill(process);
    }

    /// A supernode hands its children their alternatives. Its process goes on.
    pub fn step_down(&mut self, supernode: ProcessId) {
        self.tell_supernode(supernode, nearmesh_supernode::proto::Input::StepDown);
    }

    /// Starts a process that is not running.
    pub fn start(&mut self, process: ProcessId) {
        if self.processes[process].running.is_some() {
            return;
        }
        let now = self.schedule.moment();
        self.processes[process].start(self.setup.seed, now);
        self.oracle.on_running(process, true, self.now());
        let known = self.bootstrap(process);
        if self.processes[process].capacity.is_some() {
            let addresses = known.iter().map(|candidate| candidate.address.clone()).collect();
            self.tell_supernode(process, nearmesh_supernode::proto::Input::Candidates(addresses));
        }
        self.tell_client(process, client::Input::Candidates(known));
    }

    fn separated(&self, a: ProcessId, b: ProcessId) -> bool {
        self.island.contains(&a) != self.island.contains(&b)
    }

    fn add_process(&mut self, number: usize) {
        let is_supernode = number < self.setup.supernodes;
        let node = NodeId(self.rng.random());
        let user: nearmesh_common::UserName =
            format!("user{number}").parse().expect("letters and digits are a name");
        let keyring: Arc<dyn Keyring> = Arc::new(ToyKeyring::new(node, user.clone()));
        self.processes.push(Process {
            node,
            user,
            place: self.network.place(number, is_supernode),
            keyring,
            library: Library::new(number, self.setup.files, &mut self.rng),
            capacity: is_supernode.then_some(self.setup.capacity),
            known: Vec::new(),
            running: None,
            lives: 0,
        });
        self.numbers.insert(node, number);
        self.oracle.truths.push(oracle::Truth::default());
    }

    /// What a starting process knows: its host cache; three of the supernodes, as a ticket names them, if it has none.
    fn bootstrap(&mut self, process: ProcessId) -> Vec<client::Candidate> {
        if !self.processes[process].known.is_empty() {
            return self.processes[process].known.clone();
        }
        let others = (0..self.setup.supernodes.min(3)).filter(|number| *number != process);
        others.map(|number| client::Candidate::new(self.processes[number].address())).collect()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { process, role } => self.wake(process, role),
            Event::Established { link, opener } => self.establish(link, opener),
            Event::DialFailed { link, opener, to } => {
                if self.links.let_go(link, opener) {
                    self.tell_dial_failed(opener, to);
                }
            }
            Event::Down { link, end } => self.break_link(link, end),
            Event::Deliver { link, from, to, bytes } => self.deliver(link, from, to, &bytes),
            Event::Probed { process, life, measured } => {
                if self.processes[process].lives == life {
                    self.tell_client(process, measured);
                }
            }
            Event::Start { process } => self.start(process),
            Event::Churn { process } => self.churn(process),
            Event::Ask => self.ask_something(),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            now: self.schedule.now(),
            wall: self.schedule.moment().wall,
            processes: &self.processes,
            numbers: &self.numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use client::Event as Said;
    use nearmesh_common::wire::{
        home::RequestId,
        query::{Filter, Hit, Query, SearchSummary, Source, Subject},
    };

    use super::*;

    const ALICE: ProcessId = 2;
    const BOB: ProcessId = 3;

    fn settled() -> Sim {
        let setup = Setup { seed: 1, supernodes: 2, nodes: 6, capacity: 10, files: 4, loss: 0.0 };
        let mut sim = Sim::new(setup, Duration::from_secs(5));
        sim.run_for(Duration::from_secs(20));
        assert!(sim.all_registered());
        sim
    }

    /// Alice is told something that her machine never said.
    fn tell_alice(sim: &mut Sim, event: Said) -> Vec<String> {
        let mut oracle = std::mem::take(&mut sim.oracle);
        oracle.on_event(ALICE, &event, &sim.view());
        sim.oracle = oracle;
        sim.oracle.violations.drain(..).map(|violation| violation.what).collect()
    }

    #[test]
    fn the_oracle_notices_a_file_that_was_not_found() {
        let mut sim = settled();
        sim.search_for_file_of(ALICE, BOB);
        let end = Said::SearchDone { id: RequestId(1), summary: SearchSummary::default() };
        let noticed = tell_alice(&mut sim, end.clone());
        assert!(noticed.iter().any(|what| what.contains("did not find")), "{noticed:?}");
        let noticed = tell_alice(&mut sim, end);
        assert!(noticed[0].contains("ended twice"), "{noticed:?}");
    }

    #[test]
    fn the_oracle_notices_a_hit_that_is_not_true() {
        let mut sim = settled();
        let file = sim.processes[BOB].library.files[0].clone();
        let subject = Subject::Content(file.hash);
        sim.ask(ALICE, client::Question::Search(Query { subject, filter: Filter::default(), limit: 50 }));
        let not_bob = &sim.processes[ALICE];
        let source = Source {
            user: not_bob.user.clone(),
            node: not_bob.node,
            addresses: [not_bob.place.address].into(),
            home: not_bob.node,
            reach: nearmesh_common::nat::Reach::default(),
        };
        let hit = Hit {
            name: "julia.mp3".into(),
            size: 1,
            hash: file.hash,
            kind: nearmesh_common::wire::file::Kind::Audio,
            score: 1,
            source,
        };
        let noticed = tell_alice(&mut sim, Said::Hits { id: RequestId(1), hits: vec![hit] });
        assert!(noticed[0].contains("a wrong or repeated hit"), "{noticed:?}");
    }

    #[test]
    fn the_oracle_notices_a_user_who_is_not_where_they_are_shown() {
        let mut sim = settled();
        sim.look_up(ALICE, BOB);
        let noticed = tell_alice(&mut sim, Said::Found { id: RequestId(1), nodes: Vec::new() });
        assert!(noticed[0].contains("was shown as None"), "{noticed:?}");
    }

    #[test]
    fn the_oracle_notices_a_failure_without_a_reason() {
        let mut sim = settled();
        sim.look_up(ALICE, BOB);
        let failed = Said::Failed { id: RequestId(1), reason: client::Failure::NoAnswer };
        assert!(tell_alice(&mut sim, failed)[0].contains("failed at a steady home"));
    }

    #[test]
    fn a_home_with_few_children_that_dies_is_noticed_at_once() {
        let mut sim = settled();
        let home = sim.home(BOB).expect("bob has one");
        sim.kill(home);
        let quick = Pace::Quick;
        let noticed = sim.run_until(quick.silence(), |sim| sim.home(BOB) != Some(home));
        assert!(
            noticed > Some(quick.silence() - quick.keep_alive() - Duration::from_millis(100)),
            "{noticed:?}"
        );
    }
}
