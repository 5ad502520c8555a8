//! The large simulator: real supernode machines, a million light nodes, one process.
//!
//! What [`crate::sim`] is exact about, this is fast about: messages are moved and not encoded, peers are numbers and not ids, ordinary nodes are
//! light (`child`). Supernodes are the very machines that run on sockets. Links are reliable and in order; a dead process is noticed by each
//! of its peers only after the silence that the pace of their link allows (`keeping`). A run follows from its seed alone.

mod ahead;
mod asking;
mod calendar;
mod child;
mod digest;
mod events;
mod figures;
mod hearing;
mod homing;
mod keeping;
mod lies;
mod links;
mod machines;
mod names;
mod outcome;
mod promoting;
mod state;
mod traffic;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::workload::{Node, Shape, Workload, parameters};
pub use asking::{Asking, Kind, STALE};
use calendar::{Calendar, Moment};
use child::Child;
pub use digest::Digest;
pub use figures::{Histogram, Summary, Waits};
pub use keeping::Keeping;
pub use lies::Lie;
use links::{Role, Sides};
use machines::Super;
pub use names::Peer;
use nearmesh_common::wire::LinkMessage;
use nearmesh_supernode::proto as supernode;
pub use outcome::{Outcome, OutcomeFigures};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
pub use state::{State, Trouble};
pub use traffic::{ACK, PACKET, PROBE, Traffic, Volume};

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setup {
    /// From which everything random follows.
    pub seed: u64,
    /// Peers that serve from the start: the first numbers.
    pub supernodes: u32,
    /// Ordinary nodes: the numbers after them.
    pub nodes: u32,
    /// How many children a supernode takes.
    pub capacity: u32,
    /// Files of a sharing node, on average.
    pub files: u32,
    /// The part of all nodes that share nothing.
    pub free_riders: f64,
    /// The part of all packets that is lost.
    pub loss: f64,
    /// The part of all nodes that others can reach.
    pub reachable: f64,
    /// Of so many messages of a kind one is measured.
    pub measure_every: u64,
    /// How many results a search asks for.
    pub limit: u32,
    /// Whether nodes that others can reach become supernodes by themselves.
    pub promote: bool,
}

enum Event {
    WakeChild(Peer),
    WakeSuper(Peer),
    Established {
        from: Peer,
        to: Peer,
        link: u32,
    },
    Reused {
        from: Peer,
        to: Peer,
        link: u32,
        role: Role,
    },
    DialFailed {
        from: Peer,
        to: Peer,
        link: u32,
    },
    Down {
        at: Peer,
        other: Peer,
        link: u32,
    },
    /// The message is gone when a machine has made something of it in advance.
    Deliver {
        link: u32,
        from: Peer,
        to: Peer,
        cause: u32,
        message: Option<Box<LinkMessage>>,
    },
    Tell(Peer, Box<supernode::Input>),
    Start(Peer),
    Kill(Peer),
    Impatient(u32),
    AskAgain(u32),
    Look(Peer),
    Flood(Peer),
    WakeRole(Peer),
}

/// A simulated net.
pub struct Net {
    setup: Setup,
    seed: u64,
    calendar: Calendar<Event>,
    /// Where machines work side by side, in a large net.
    cores: Option<Arc<ahead::Cores>>,
    children: Vec<Child>,
    sides: Vec<Sides>,
    supers: Vec<Option<Box<Super>>>,
    /// Who serves.
    serving: BTreeSet<Peer>,
    lies: std::collections::BTreeMap<Peer, Lie>,
    links: u32,
    rng: ChaCha8Rng,
    events: u64,
    /// Those of which a machine's part was worked out in advance.
    in_advance: u64,
    limit: u32,
    split: bool,
    /// The mean round trip between two nodes, in nanoseconds.
    usual_rtt: Moment,
    /// Files that liars have published.
    flooded: u64,
    roles: std::collections::BTreeMap<Peer, Box<promoting::Role>>,
    /// Nodes that became supernodes or ceased to be, since the last reset.
    pub switches: u64,
    /// Nodes that were asked to come again later.
    pub put_off: u64,
    /// Who shares what, and what is asked for.
    pub workload: Arc<Workload>,
    /// What was said.
    pub traffic: Traffic,
    /// What keep-alives were saved by it.
    spoken: keeping::Spoken,
    /// What was asked, and what came of it.
    pub asking: Asking,
    /// How long nodes were without a home.
    pub waits: Waits,
    /// By which two runs are compared.
    pub digest: Digest,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            supernodes: 16,
            nodes: 1600,
            capacity: supernode::DEFAULT_CAPACITY,
            files: parameters::FILES_PER_SHARER,
            free_riders: parameters::FREE_RIDERS,
            loss: 0.0,
            reachable: 1.0,
            measure_every: 1,
            limit: nearmesh_common::wire::query::DEFAULT_RESULTS,
            promote: false,
        }
    }
}

/// The mean round trip of some pairs of nodes.
fn usual_rtt(workload: &Workload) -> Moment {
    const PAIRS: u32 = 1000;
    let place = |number: u32| workload.place(Node(number));
    let sum: u64 = (0..PAIRS).map(|pair| calendar::nanos(place(2 * pair).rtt(place(2 * pair + 1)))).sum();
    sum / u64::from(PAIRS)
}

impl Net {
    /// A net in which nobody runs yet.
    pub fn new(setup: Setup) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(setup.seed);
        let total = setup.supernodes + setup.nodes;
        let shape = Shape {
            nodes: total,
            files_per_sharer: setup.files,
            free_riders: setup.free_riders,
            behind_nat: 1.0 - setup.reachable,
        };
        let workload = Arc::new(Workload::new(setup.seed, shape));
        let children = (0..total)
            .map(|peer| {
                let well_placed = peer < setup.supernodes;
                let place =
                    if well_placed { workload.supernode_place(peer) } else { workload.place(Node(peer)) };
                let mut child = Child::new(place, workload.files_of(Node(peer)).len() as u32);
                child.reachable = well_placed || !workload.behind_nat(Node(peer));
                child
            })
            .collect();
        Self {
            setup,
            seed: setup.seed,
            calendar: Calendar::new(),
            cores: ahead::Cores::of(total),
            in_advance: 0,
            children,
            sides: (0..total).map(|_| Sides::default()).collect(),
            supers: (0..total).map(|_| None).collect(),
            serving: BTreeSet::new(),
            lies: std::collections::BTreeMap::new(),
            links: 0,
            rng,
            events: 0,
            limit: setup.limit,
            split: false,
            usual_rtt: usual_rtt(&workload),
            flooded: 0,
            roles: std::collections::BTreeMap::new(),
            switches: 0,
            put_off: 0,
            workload,
            traffic: Traffic::new(setup.measure_every),
            spoken: keeping::Spoken::default(),
            asking: Asking::default(),
            waits: Waits::default(),
            digest: Digest::default(),
        }
    }

    /// What is simulated.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Time since the beginning.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.calendar.now())
    }

    /// Events that have happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Lets time pass until `end` since the beginning.
    pub fn run_until(&mut self, end: Duration) {
        let end: Moment = calendar::nanos(end);
        match self.cores.clone() {
            // On one of its threads, which shares with the others what there is to do without a rest.
            Some(cores) => cores.threads.install(|| self.run(end)),
            None => self.run(end),
        }
    }

    fn run(&mut self, end: Moment) {
        loop {
            self.look_ahead(end);
            while let Some(event) = self.calendar.next(end) {
                self.events += 1;
                self.happen(event);
            }
            if !self.calendar.turn(end) {
                break;
            }
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, by: Duration) {
        self.run_until(self.now() + by);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::WakeChild(peer) => self.wake_child(peer),
            Event::WakeSuper(peer) => self.wake_super(peer),
            Event::Deliver { link, from, to, cause, message } => {
                self.deliver(link, (from, to), message, cause)
            }
            Event::Established { from, to, link } => self.establish(from, to, link),
            Event::Reused { from, to, link, role } => self.reused((from, to), link, role),
            Event::DialFailed { from, to, link } => self.dial_failed(from, to, link),
            Event::Down { at, other, link } => self.down(at, other, link),
            Event::Tell(peer, input) => self.tell_super(peer, *input, asking::NO_CAUSE),
            Event::Start(peer) => self.start(peer),
            Event::Kill(peer) => self.kill(peer),
            Event::Impatient(id) => self.impatient(id),
            Event::AskAgain(id) => self.ask_again(id),
            Event::Look(peer) => self.look(peer),
            Event::Flood(peer) => self.flood(peer),
            Event::WakeRole(peer) => self.wake_role(peer),
        }
    }
}
