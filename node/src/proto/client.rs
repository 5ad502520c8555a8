//! The node's machine: owns the sub-protocols, hands each its part of what happens, and turns what they want into
//! outputs.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now,
    signed::{Keyring, Signed},
    supernode_record::SupernodeRecord,
    wire::{
        NodeAddress,
        file::JournalMark,
        home::{MAX_LATER_MILLIS, Refusal, ToChild, ToHome},
    },
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{
    Candidate, Event, Home, Input, Output, home,
    home::{Homing, Scene},
    host_cache::HostCache,
    presence::{Presences, Reached},
    questions,
    questions::Questions,
    registration,
    registration::Registration,
    relays,
    relays::Relays,
};

/// What a node is when its machine starts.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How it is reached.
    pub reached: Reached,
    /// Where its journal of shared files stands.
    pub journal: JournalMark,
    /// Whether it is a supernode from the start.
    pub serving: bool,
}

/// A node of the net: finds a home, keeps it, registers there, and asks there.
pub struct Client {
    keyring: Arc<dyn Keyring>,
    rng: ChaCha8Rng,
    hosts: HostCache,
    home: Homing,
    presences: Presences,
    registration: Registration,
    questions: Questions,
    relays: Relays,
    outputs: VecDeque<Output>,
}

impl Client {
    /// A node that begins to look for a home at `now`. Hand it candidates, then call `handle(Input::Timeout)` when
    /// `poll_timeout` says so. The same seed and inputs give the same outputs.
    pub fn new(config: Config, keyring: Arc<dyn Keyring>, seed: u64, now: Now) -> Self {
        let own = NodeAddress { node: keyring.node(), addresses: config.reached.addresses.clone() };
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            hosts: HostCache::new(own.node),
            home: Homing::new(own, config.serving, now),
            presences: Presences::new(config.reached, now),
            registration: Registration::new(config.journal),
            questions: Questions::default(),
            relays: Relays::default(),
            outputs: VecDeque::new(),
            keyring,
        }
    }

    /// The present home.
    pub fn home(&self) -> Option<Home> {
        let node = self.home.home()?;
        if node == self.keyring.node() {
            let addresses = self.presences.addresses().to_vec();
            return Some(Home { address: NodeAddress { node, addresses }, rtt: None });
        }
        let unknown = || NodeAddress { node, addresses: Vec::new() };
        let address = self.hosts.address(node).unwrap_or_else(unknown);
        Some(Home { address, rtt: self.hosts.rtt(node) })
    }

    /// The supernode that keeps a place warm.
    pub fn standby(&self) -> Option<NodeId> {
        self.home.standby()
    }

    /// The known supernodes, nearest first, without this node itself.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.hosts.snapshot()
    }

    /// How much of the journal the present home holds.
    pub fn registered(&self) -> Option<JournalMark> {
        self.registration.registered()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle(Input::Timeout, now)`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.home.poll_timeout(),
            self.hosts.poll_timeout(),
            self.presences.poll_timeout(),
            self.registration.poll_timeout(),
            self.questions.poll_timeout(),
            self.relays.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::LinkUp { node } => self.with_home(now, |home, scene| home.on_link_up(node, scene)),
            Input::LinkDown { node } | Input::DialFailed { node } => {
                self.with_home(now, |home, scene| home.on_link_gone(node, scene));
            }
            Input::Received { from, message } => self.on_received(from, message, now),
            Input::Probed { node, rtt } => {
                self.hosts.handle_probed(node, rtt, now);
                self.with_home(now, |home, scene| home.on_probed(node, rtt.is_some(), scene));
            }
            Input::RelayProbed { node, answer } => self.relays.handle_probed(node, answer),
            Input::Reached(reached) => {
                if self.presences.handle_reached(reached) {
                    self.send_refresh(now);
                }
            }
            Input::Candidates(candidates) => {
                self.hosts.handle_candidates(candidates, now);
                self.with_home(now, Homing::handle_candidates);
            }
            Input::Journal(mark) => self.registration.handle_journal(mark),
            Input::Changes { after, upto, changes } => {
                self.registration.handle_changes(after, upto, changes, now);
            }
            Input::Ask { id, question } => self.questions.handle_ask(id, question, now),
            Input::Cancel(id) => self.questions.handle_cancel(id),
            Input::Signal { home, signal } => self.send_home(ToHome::Signal { home, signal }),
            Input::Serving(serving) => {
                let addresses = self.presences.addresses().to_vec();
                let own = NodeAddress { node: self.keyring.node(), addresses };
                self.with_home(now, |home, scene| home.handle_serving(serving, own, scene));
            }
            Input::CrlAdopted(crl) => self.send_home(ToHome::Crl(crl)),
            Input::Leave => self.handle_leave(now),
            Input::Timeout => self.handle_timeout(now),
        }
        self.route(now);
    }

    fn on_received(&mut self, from: NodeId, message: ToChild, now: Now) {
        match message {
            ToChild::Attached { journal, home } => {
                self.on_records(vec![home], now);
                let mut is_home = false;
                self.with_home(now, |home, scene| is_home = home.on_attached(from, scene));
                if is_home {
                    self.registration.on_attached(from, journal);
                    self.questions.handle_home(from, now);
                    self.relays.handle_home(from, &mut self.rng, now);
                    self.tell_home();
                }
            }
            ToChild::Redirect(records) => {
                let alternatives = self.on_records(records, now);
                self.with_home(now, |home, scene| home.on_redirect(from, &alternatives, scene));
            }
            ToChild::Later { millis } => {
                let wait = Duration::from_millis(millis.min(MAX_LATER_MILLIS).into());
                self.with_home(now, |home, scene| home.on_later(from, wait, scene));
            }
            ToChild::Pace(pace) => self.home.on_pace(from, pace),
            ToChild::StandbyKept => self.home.on_standby_kept(from),
            ToChild::Refused(refusal) => {
                if refusal == Refusal::NotASupernode {
                    self.hosts.forget(from, now);
                }
                self.with_home(now, |home, scene| home.on_refused(from, scene));
            }
            ToChild::Published(mark) => self.registration.on_published(from, mark, now),
            ToChild::Supernodes(records) => {
                self.on_records(records, now);
                self.with_home(now, |home, scene| home.on_listed(from, scene));
            }
            ToChild::Crl(crl) => self.outputs.push_back(Output::OfferedCrl(crl)),
            answer if self.home.home() == Some(from) => self.on_answer(answer, now),
            call @ ToChild::Signal { .. } if self.home.former() == Some(from) => self.on_answer(call, now),
            _ => tracing::debug!(%from, "an answer from a supernode that is not the home"),
        }
    }

    fn on_answer(&mut self, answer: ToChild, now: Now) {
        match answer {
            ToChild::Hits { id, hits } => self.questions.on_hits(id, hits),
            ToChild::SearchDone { id, summary } => self.questions.on_search_done(id, summary),
            ToChild::Found { id, nodes } => self.questions.on_found(id, nodes, &*self.keyring, now.wall),
            ToChild::Declined { id, reason } => self.questions.on_declined(id, reason, now),
            ToChild::Relays(named) => {
                self.relays.on_relays(named, self.keyring.node(), now);
            }
            ToChild::Neighbourhood(around) => {
                self.outputs.push_back(Output::Event(Event::Neighbourhood(around)));
            }
            ToChild::Signal { home, signal } if signal.to == self.keyring.node() => {
                self.outputs.push_back(Output::Event(Event::Signal { home, signal }));
            }
            _ => {}
        }
    }

    /// Takes the records that hold into the cache, and says whose they are.
    fn on_records(&mut self, records: Vec<Signed<SupernodeRecord>>, now: Now) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        for signed in records {
            let verified = self.keyring.verify(signed, now.wall);
            match verified.map(|verified| verified.admit(now.wall)) {
                Ok(Ok(verified)) => {
                    nodes.push(verified.content.node);
                    self.hosts.on_record(verified.content, now);
                }
                Ok(Err(error)) => tracing::debug!(%error, "dropped a supernode record"),
                Err(error) => tracing::debug!(%error, "dropped a supernode record"),
            }
        }
        nodes
    }

    fn handle_timeout(&mut self, now: Now) {
        self.with_home(now, Homing::handle_timeout);
        self.registration.handle_timeout(now);
        self.questions.handle_timeout(now);
        self.relays.handle_timeout(&mut self.rng, now);
        if self.presences.is_due(now) {
            self.send_refresh(now);
        }
        if let Some(candidates) = self.hosts.poll_save(now) {
            self.outputs.push_back(Output::Event(Event::HostCache(candidates)));
        }
    }

    fn handle_leave(&mut self, now: Now) {
        if let Some(home) = self.home.home() {
            let presence = self.presences.sign(&*self.keyring, home, false, now);
            self.send(home, ToHome::Detach(presence));
            self.home_lost(now);
        }
        self.home.handle_leave();
    }

    fn home_lost(&mut self, now: Now) {
        self.registration.handle_home_lost();
        self.presences.pause();
        self.questions.handle_home_lost(now);
        self.relays.handle_home_lost();
    }

    fn send_refresh(&mut self, now: Now) {
        match self.home.home() {
            Some(home) => {
                let presence = self.presences.sign(&*self.keyring, home, true, now);
                self.send(home, ToHome::Refresh(presence));
            }
            None => self.presences.pause(),
        }
    }

    fn send_home(&mut self, message: ToHome) {
        if let Some(home) = self.home.home() {
            self.send(home, message);
        }
    }

    fn send(&mut self, to: NodeId, message: ToHome) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn tell_home(&mut self) {
        self.outputs.push_back(Output::Event(Event::Home(self.home())));
    }

    fn with_home(&mut self, now: Now, step: impl FnOnce(&mut Homing, &mut Scene<'_>)) {
        let mut scene = Scene { hosts: &mut self.hosts, rng: &mut self.rng, now };
        step(&mut self.home, &mut scene);
        self.route_home(now);
    }

    /// Turns what the sub-protocols want into outputs.
    fn route(&mut self, now: Now) {
        self.route_home(now);
        while let Some(action) = self.registration.poll_action() {
            match action {
                registration::Action::Read(after) => {
                    self.outputs.push_back(Output::ReadJournal { after, limit: registration::BATCH });
                }
                registration::Action::Publish { to, after, upto, changes } => {
                    self.send(to, ToHome::Publish { after, upto, changes });
                }
                registration::Action::Registered(mark) => {
                    if mark == self.registration.journal() {
                        self.home.on_registered(now);
                    }
                    self.outputs.push_back(Output::Event(Event::Registered(mark)));
                }
            }
        }
        while let Some(action) = self.questions.poll_action() {
            match action {
                questions::Action::Send(home, message) => self.send(home, message),
                questions::Action::Tell(event) => self.outputs.push_back(Output::Event(event)),
            }
        }
        while let Some(action) = self.relays.poll_action() {
            match action {
                relays::Action::List(home) => self.send(home, ToHome::ListRelays),
                relays::Action::Probe(relay) => self.outputs.push_back(Output::ProbeRelay(relay)),
                relays::Action::Changed => {
                    self.outputs.push_back(Output::Event(Event::Relays(self.relays.offers())));
                }
            }
        }
    }

    fn route_home(&mut self, now: Now) {
        while let Some(action) = self.home.poll_action() {
            match action {
                home::Action::Dial(address) => self.outputs.push_back(Output::Dial(address)),
                home::Action::Close(node) => self.outputs.push_back(Output::Close(node)),
                home::Action::Probe(to, rounds) => self.outputs.push_back(Output::Probe { to, rounds }),
                home::Action::Pace(node, pace) => self.outputs.push_back(Output::Pace { node, pace }),
                home::Action::List(node) => self.send(node, ToHome::ListSupernodes),
                home::Action::Standby(node) => self.send(node, ToHome::Standby),
                home::Action::Attach(node) => {
                    let presence = self.presences.sign(&*self.keyring, node, true, now);
                    let journal = self.registration.journal();
                    self.send(node, ToHome::Attach { presence, journal });
                }
                home::Action::Detach(old) => {
                    if let Some(home) = self.home.home() {
                        let presence = self.presences.sign(&*self.keyring, home, true, now);
                        self.send(old, ToHome::Detach(presence));
                        // The last word is the new home's: the old one may report the node gone.
                        self.send_refresh(now);
                    }
                }
                home::Action::Reassure => self.send_refresh(now),
                home::Action::HomeLost => {
                    self.home_lost(now);
                    self.tell_home();
                }
                home::Action::StandbyChanged => {
                    self.outputs.push_back(Output::Event(Event::Standby(self.home.standby())));
                }
            }
        }
    }
}
