//! Scenarios of the node's machine alone: alice's node among scripted supernodes, under virtual time.

mod choosing;
mod hostile;
mod keys;
mod publishing;
mod pushing;
mod questions;
mod relays;
mod remembering;
mod signals;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use keys::FakeKeyring;
use nearmesh_common::{
    NodeId, Now, UnixMillis,
    pace::Pace,
    signed::{Keyring, Signed},
    supernode_record::SupernodeRecord,
    wire::{
        NodeAddress,
        file::{Change, FileNumber, JournalMark},
        home::{Refusal, ToChild, ToHome},
    },
};

use super::{Candidate, Client, Config, Event, Input, Output};

/// An `Instant` can only be had from the clock; which one it is does not matter.
#[allow(clippy::disallowed_methods)]
pub(super) fn the_beginning() -> Now {
    Now { instant: Instant::now(), wall: WALL }
}

const WALL: UnixMillis = UnixMillis(1_800_000_000_000);

/// A supernode that follows its script.
struct Scripted {
    rtt: Duration,
    alive: bool,
    /// Answers links but nothing said on them.
    mute: bool,
    children: u32,
    holds: JournalMark,
    redirects_to: Vec<u8>,
    /// It redirects children only, as one without room does.
    full: bool,
    refuses: Option<Refusal>,
    /// Tells whoever wants to attach to come again.
    later: Option<u32>,
}

impl Scripted {
    fn new(rtt: Duration) -> Self {
        Self {
            rtt,
            alive: true,
            mute: false,
            children: 3,
            holds: JournalMark::default(),
            redirects_to: Vec::new(),
            full: false,
            refuses: None,
            later: None,
        }
    }
}

/// Alice's machine and the supernodes around it. What it sends is answered at once.
struct Scene {
    alice: Client,
    now: Now,
    supernodes: BTreeMap<u8, Scripted>,
    /// Nodes that every home names as relays, and how far each is, if it answers.
    relays: BTreeMap<u8, Option<Duration>>,
    sent: Vec<(u8, ToHome)>,
    events: Vec<Event>,
    probed: Vec<u8>,
    /// How quick alice wants her links.
    paces: BTreeMap<u8, Pace>,
    dialled: Vec<u8>,
    closed: Vec<u8>,
    link_log: Vec<(u8, bool)>,
    revision: u64,
}

fn id(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn keyring(number: u8) -> Arc<dyn Keyring> {
    Arc::new(FakeKeyring::new(id(number), if number == 0 { "alice" } else { "someone" }))
}

fn address(number: u8) -> NodeAddress {
    NodeAddress { node: id(number), addresses: vec![SocketAddr::from(([10, 0, 0, number], 4000))] }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Scene {
    /// Alice knows the first supernode; there are as many as `rtts`, numbered from 1.
    fn new(rtts: &[u64]) -> Self {
        Self::seeded(rtts, 7)
    }

    fn seeded(rtts: &[u64], seed: u64) -> Self {
        let now = the_beginning();
        let script = |rtt: &u64| Scripted::new(ms(*rtt));
        Self {
            alice: Client::new(Config::default(), keyring(0), seed, now),
            now,
            supernodes: (1..).zip(rtts.iter().map(script)).collect(),
            relays: BTreeMap::new(),
            sent: Vec::new(),
            events: Vec::new(),
            probed: Vec::new(),
            paces: BTreeMap::new(),
            dialled: Vec::new(),
            closed: Vec::new(),
            link_log: Vec::new(),
            revision: 0,
        }
    }

    /// Alice knows supernode 1 and has had a second to find a home.
    fn at_home(rtts: &[u64]) -> Self {
        let mut scene = Self::new(rtts);
        scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
        scene.advance(ms(1000));
        assert!(scene.alice.home().is_some());
        scene
    }

    fn home(&self) -> Option<u8> {
        self.alice.home().map(|home| home.address.node.0[0])
    }

    fn standby(&self) -> Option<u8> {
        self.alice.standby().map(|node| node.0[0])
    }

    fn supernode(&mut self, number: u8) -> &mut Scripted {
        self.supernodes.get_mut(&number).unwrap()
    }

    fn record(&self, number: u8) -> Signed<SupernodeRecord> {
        let script = &self.supernodes[&number];
        keyring(number).seal(&SupernodeRecord {
            node: id(number),
            sequence: self.now.wall,
            addresses: address(number).addresses,
            children: script.children,
            capacity: 10,
            serving: true,
            group_bits: 0,
            group_size: 1,
            group_load: 0,
        })
    }

    fn handle(&mut self, input: Input) {
        self.alice.handle(input, self.now);
        while let Some(output) = self.alice.poll_output() {
            self.obey(output);
        }
    }

    fn receive(&mut self, from: u8, message: ToChild) {
        self.handle(Input::Received { from: id(from), message });
    }

    /// Lets time pass; the machine is called exactly when it asked for it.
    fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(at) = self.alice.poll_timeout().filter(|at| *at <= end.instant) {
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            self.handle(Input::Timeout);
        }
        self.now = end;
    }

    fn kill(&mut self, number: u8) {
        self.supernode(number).alive = false;
        self.handle(Input::LinkDown { node: id(number) });
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Dial(to) => {
                let number = to.node.0[0];
                self.dialled.push(number);
                let alive = self.supernodes.get(&number).is_some_and(|script| script.alive);
                let node = to.node;
                self.link_log.push((number, alive));
                self.handle(if alive { Input::LinkUp { node } } else { Input::DialFailed { node } });
            }
            Output::Close(node) => {
                self.closed.push(node.0[0]);
                self.link_log.push((node.0[0], false));
            }
            Output::Pace { node, pace } => {
                self.paces.insert(node.0[0], pace);
            }
            Output::Probe { to, .. } => {
                let number = to.node.0[0];
                self.probed.push(number);
                let rtt = self.supernodes.get(&number).filter(|script| script.alive).map(|script| script.rtt);
                self.handle(Input::Probed { node: to.node, rtt });
            }
            Output::ProbeRelay(to) => {
                let rtt = self.relays.get(&to.node.0[0]).copied().flatten();
                let answer = rtt.map(|rtt| (to.addresses[to.addresses.len() - 1], rtt));
                self.handle(Input::RelayProbed { node: to.node, answer });
            }
            Output::Send { to, message } => {
                self.sent.push((to.0[0], message.clone()));
                self.answer(to.0[0], message);
            }
            Output::ReadJournal { after, limit } => {
                let upto = self.revision.min(after.revision + limit as u64);
                let removed = |number| Change::Remove(FileNumber(number as u32));
                let changes = (after.revision + 1..=upto).map(removed).collect();
                self.handle(Input::Changes { after, upto, changes });
            }
            Output::Event(event) => self.events.push(event),
            Output::OfferedCrl(_) => {}
        }
    }

    fn answer(&mut self, number: u8, message: ToHome) {
        let script = &self.supernodes[&number];
        if !script.alive || script.mute {
            return;
        }
        let answer = match message {
            ToHome::ListSupernodes => {
                ToChild::Supernodes(self.supernodes.keys().map(|number| self.record(*number)).collect())
            }
            ToHome::Attach { .. } | ToHome::Standby if script.refuses.is_some() => {
                ToChild::Refused(script.refuses.unwrap())
            }
            ToHome::Standby if script.full => ToChild::StandbyKept,
            ToHome::Attach { .. } | ToHome::Standby if !script.redirects_to.is_empty() => {
                ToChild::Redirect(script.redirects_to.iter().map(|number| self.record(*number)).collect())
            }
            ToHome::Attach { .. } if script.later.is_some() => {
                ToChild::Later { millis: script.later.unwrap() }
            }
            ToHome::Attach { .. } => ToChild::Attached { journal: script.holds, home: self.record(number) },
            ToHome::Standby => ToChild::StandbyKept,
            ToHome::ListRelays => {
                ToChild::Relays(self.relays.keys().map(|number| address(*number)).collect())
            }
            _ => return,
        };
        self.receive(number, answer);
    }

    fn sent_to(&self, number: u8, what: impl Fn(&ToHome) -> bool) -> usize {
        self.sent.iter().filter(|(to, message)| *to == number && what(message)).count()
    }
}

fn is_attach(message: &ToHome) -> bool {
    matches!(message, ToHome::Attach { .. })
}
