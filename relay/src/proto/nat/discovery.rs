//! The machine: when to test, and what is known.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use nearmesh_common::{
    Now,
    dialable::is_dialable,
    nat::{Mapping, Nat},
    scope::Scope,
    wire::home::DialBack,
};
use rand::{Rng, RngExt, rngs::StdRng};

use super::{
    Input, Observer, Output, ProbeId, Report, Socket, Token, Verdict,
    fresh::{self, Fresh},
    lifetime::Lifetime,
    mapping::Observations,
    run::{Run, Step},
    verdict::judge,
    witnesses::Witnesses,
};

/// How long a node that knows supernodes waits for a link before it tests without one: then it learns its mapping, or that nothing
/// comes back (guess: twice what finding a home takes).
const LINK_PATIENCE: Duration = Duration::from_secs(4);
/// Between a change and the round because of it: changes come in twos and threes, and links move first.
const SETTLE: Duration = Duration::from_millis(500);
/// Between two rounds at least, whatever changes.
const ROUND_EVERY_AT_MOST: Duration = Duration::from_secs(10);
/// How often everything is tested again (guess: often enough for who changes his router, seldom enough for who does not).
const ROUND_EVERY: Duration = Duration::from_secs(600);
/// The same while the verdict is open; it doubles up to [`ROUND_EVERY`].
const RETRY: Duration = Duration::from_secs(10);
/// How often one supernode is asked whether it still sees us where it did: that also shows another network in which the machine has
/// the same address as before. 5 bytes a second (guess: a change is noticed before its user has looked).
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// How long a measured lifetime is good for, in the same network.
const LIFETIME_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Rounds in a row without any answer before UDP counts as blocked: one may fall into a moment without network.
const SILENT_ROUNDS: u32 = 2;

/// Why a question was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Main(SocketAddr),
    Fresh(SocketAddr),
    Check(SocketAddr),
    Silence(usize),
}

/// What a node knows of its own reachability.
pub struct Discovery {
    rng: StdRng,
    /// When the last input came.
    now: Instant,
    observers: Vec<Observer>,
    host: Vec<SocketAddr>,
    mapped: Option<SocketAddr>,
    /// What was seen of the node's own port.
    main: Observations,
    nat: Nat,
    verdict: Verdict,
    stranger: bool,
    witnesses: Witnesses,
    lifetime: Option<Duration>,
    lifetime_due: Option<Instant>,
    run: Option<Run>,
    measuring: Option<Lifetime>,
    next_round: Option<Instant>,
    last_round: Option<Instant>,
    next_check: Option<Instant>,
    retry: Duration,
    silent_rounds: u32,
    questions: BTreeMap<ProbeId, Purpose>,
    next_question: u32,
    reported: Report,
    outputs: VecDeque<Output>,
}

impl Discovery {
    /// A node that knows nothing yet but its own addresses. Tokens come from `rng`, which must not be guessable.
    pub fn new(host: Vec<SocketAddr>, rng: StdRng, now: Now) -> Self {
        Self {
            rng,
            now: now.instant,
            observers: Vec::new(),
            host,
            mapped: None,
            main: Observations::default(),
            nat: Nat::default(),
            verdict: Verdict::NobodyToAsk,
            stranger: false,
            witnesses: Witnesses::default(),
            lifetime: None,
            lifetime_due: None,
            run: None,
            measuring: None,
            next_round: None,
            last_round: None,
            next_check: None,
            retry: RETRY,
            silent_rounds: 0,
            questions: BTreeMap::new(),
            next_question: 0,
            reported: Report::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        let now = now.instant;
        self.now = now;
        match input {
            Input::Observers(observers) => self.handle_observers(observers, now),
            Input::Host(host) => self.handle_host(host, now),
            Input::Mapped(mapped) => {
                if mapped != self.mapped {
                    self.mapped = mapped;
                    self.round_soon(now);
                }
            }
            Input::Probed { id, observed } => self.on_probed(id, observed, now),
            Input::Answered { of, answer } => {
                if let Some(run) = &mut self.run {
                    run.on_answer(of, Token(answer.token), answer.outcome);
                }
            }
            Input::DialBack { token, contact } => {
                let known = self.run.as_mut().is_some_and(|run| run.on_packet(token, contact));
                if !known && !self.witnesses.on_packet(token, contact) {
                    tracing::debug!(?token, "a dial-back that was not asked for");
                }
            }
            Input::Stranger { from } => self.on_stranger(from),
            Input::Doubt => {
                self.next_check = Some(now);
                self.handle_timeout(now);
            }
            Input::Timeout => self.handle_timeout(now),
        }
        self.go_on(now);
        self.report();
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to say [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let run = self.run.as_ref().map(|run| run.poll_timeout(self.now));
        let measuring = self.measuring.as_ref().and_then(Lifetime::poll_timeout);
        let witness = self.is_reachable().then(|| self.witnesses.poll_timeout(&self.observers)).flatten();
        [run, measuring, witness, self.next_round.filter(|_| run.is_none()), self.next_check]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_observers(&mut self, observers: Vec<Observer>, now: Instant) {
        let linked = |observers: &[Observer]| observers.iter().any(|observer| observer.linked);
        let (had_link, has_link) = (linked(&self.observers), linked(&observers));
        let changed = observers != self.observers;
        self.observers = observers;
        if self.observers.is_empty() || !changed {
            return;
        }
        if self.verdict == Verdict::NobodyToAsk {
            self.verdict = Verdict::Asking;
        }
        let open = !self.is_decided() || self.nat.mapping == Mapping::Unknown;
        if has_link && (!had_link || open) {
            self.round_soon(now);
        } else if self.next_round.is_none() || had_link && !has_link {
            // Links are found anew within that time, unless nothing comes through any more.
            let at = now + LINK_PATIENCE;
            self.next_round = Some(self.next_round.map_or(at, |next| next.min(at)));
        }
    }

    /// Another network: nothing of what was known holds.
    fn handle_host(&mut self, host: Vec<SocketAddr>, now: Instant) {
        if host == self.host {
            return;
        }
        self.host = host;
        self.main = Observations::default();
        self.nat = Nat::default();
        self.stranger = false;
        self.witnesses = Witnesses::default();
        self.lifetime = None;
        self.lifetime_due = None;
        self.silent_rounds = 0;
        self.retry = RETRY;
        self.end_measurement();
        if self.run.take().is_some() {
            self.questions.retain(|_, purpose| !matches!(purpose, Purpose::Main(_) | Purpose::Fresh(_)));
            self.outputs.push_back(Output::Close(Fresh::sockets().collect()));
        }
        self.last_round = None;
        if !self.observers.is_empty() {
            self.verdict = Verdict::Asking;
            self.round_soon(now);
        }
    }

    fn on_stranger(&mut self, from: SocketAddr) {
        // A virtual address is of a path that this node has opened itself.
        let wide = |address: &SocketAddr| Scope::of(address.ip()) == Scope::Global && is_dialable(*address);
        let local_net = !self.main.addresses().iter().chain(&self.host).any(wide);
        if wide(&from) || local_net {
            self.stranger = true;
            self.witnesses.on_stranger(from.ip());
            if self.verdict != Verdict::Reachable {
                tracing::debug!(%from, "somebody came in by itself: this node is reachable");
                self.verdict = Verdict::Reachable;
            }
        }
    }

    fn on_probed(&mut self, id: ProbeId, observed: Option<SocketAddr>, now: Instant) {
        match (self.questions.remove(&id), &mut self.run) {
            (Some(Purpose::Main(observer)), Some(run)) => {
                run.on_main(observer, observed);
                if let Some(observed) = observed {
                    self.main.add(observer, observed);
                }
            }
            (Some(Purpose::Fresh(observer)), Some(run)) => run.on_fresh(observer, observed),
            (Some(Purpose::Check(observer)), _) => self.on_checked(observer, observed, now),
            (Some(Purpose::Silence(silence)), _) => {
                if let Some(measuring) = &mut self.measuring {
                    measuring.on_answer(silence, observed, now);
                }
            }
            _ => {}
        }
    }

    /// A new address outside, and everything else may be new too.
    fn on_checked(&mut self, observer: SocketAddr, observed: Option<SocketAddr>, now: Instant) {
        let Some(observed) = observed else { return };
        let before = self.main.by(observer);
        let news = match before {
            Some(before) => before != observed,
            None => self.nat.mapping.is_stable() && !self.main.addresses().contains(&observed),
        };
        if news {
            tracing::debug!(%observed, "this node is seen at another address");
            self.main = Observations::default();
            self.round_soon(now);
        }
        self.main.add(observer, observed);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.next_check.is_some_and(|at| at <= now) {
            self.next_check = Some(now + CHECK_EVERY);
            let linked = self.observers.iter().find(|observer| observer.linked).copied();
            if let Some(observer) = linked.filter(|_| self.run.is_none()) {
                self.ask((Socket::Main, observer.address), Purpose::Check(observer.address), None);
            }
        }
        if self.run.is_none() && self.next_round.is_some_and(|at| at <= now) {
            self.begin_round(now);
        }
    }

    fn begin_round(&mut self, now: Instant) {
        if self.observers.is_empty() {
            self.next_round = None;
            self.verdict = Verdict::NobodyToAsk;
            return;
        }
        self.last_round = Some(now);
        self.next_round = Some(now + ROUND_EVERY.mul_f64(self.rng.random_range(0.8..1.2)));
        let token = self.token();
        self.run = Some(Run::new(&self.observers, &self.host, token, now));
    }

    /// Takes what is due from what is under way, and ends what is over.
    fn go_on(&mut self, now: Instant) {
        while let Some(step) = self.run.as_mut().and_then(|run| run.poll(now)) {
            self.take_step(step, now);
        }
        if let Some(run) = self.run.take_if(|run| run.is_over(now)) {
            self.outputs.push_back(Output::Close(Fresh::sockets().collect()));
            self.conclude(&run, now);
        }
        let witness = self.is_reachable().then(|| self.witnesses.poll(&self.observers, now)).flatten();
        if let Some((of, by)) = witness {
            let token = self.token();
            self.witnesses.asked(of, token, now);
            self.outputs.push_back(Output::Ask { of, request: DialBack { token: token.0, by } });
        }
        while let Some(question) = self.measuring.as_mut().and_then(|measuring| measuring.poll(now)) {
            let observer = self.measuring.as_ref().map(Lifetime::observer);
            if let Some(observer) = observer {
                let purpose = Purpose::Silence(question.silence);
                self.ask((question.socket, observer), purpose, question.answer_at);
            }
        }
        if self.measuring.as_ref().is_some_and(Lifetime::is_over) {
            self.lifetime = self.measuring.as_ref().and_then(Lifetime::found);
            self.lifetime_due = Some(now + LIFETIME_EVERY);
            self.end_measurement();
        }
    }

    fn take_step(&mut self, step: Step, now: Instant) {
        match step {
            Step::Main(to) => self.ask((Socket::Main, to), Purpose::Main(to), None),
            Step::Fresh(socket, to) => self.ask((socket, to), Purpose::Fresh(to), None),
            Step::Ask { of, by } => {
                let token = self.token();
                if let Some(run) = &mut self.run {
                    run.asked(of, by, token, now);
                }
                self.outputs.push_back(Output::Ask { of, request: DialBack { token: token.0, by } });
            }
            Step::Hairpin { own, fresh, token } => {
                // The first opens the way for the second, and is of no interest itself.
                let opening = self.token();
                self.outputs.push_back(Output::Send { socket: Socket::Main, to: fresh, token: opening });
                self.outputs.push_back(Output::Send { socket: fresh::FIRST, to: own, token });
            }
        }
    }

    fn conclude(&mut self, run: &Run, now: Instant) {
        self.next_check = Some(now + CHECK_EVERY);
        if run.is_silent() {
            self.silent_rounds += 1;
            if self.silent_rounds >= SILENT_ROUNDS && !self.observers.iter().any(|observer| observer.linked) {
                self.verdict = Verdict::Blocked { asked: self.asked() };
            }
        } else {
            self.silent_rounds = 0;
            self.main = run.main().clone();
            self.nat = run.nat(self.mapped);
            self.stranger &= !run.is_shut();
            self.verdict = judge(self.nat, self.stranger);
            if !self.is_reachable() {
                self.witnesses = Witnesses::default();
            } else {
                let any_port = run.is_open_otherwise(self.mapped);
                self.witnesses.handle_round(run.witnesses(any_port), any_port, now);
            }
            tracing::debug!(verdict = %self.verdict, nat = ?self.nat, "tested");
        }
        if !run.is_silent() && self.is_decided() && self.nat.mapping != Mapping::Unknown {
            self.retry = RETRY;
        } else {
            self.next_round = Some(now + self.retry);
            self.retry = (self.retry * 2).min(ROUND_EVERY);
        }
        self.begin_measurement(now);
    }

    fn begin_measurement(&mut self, now: Instant) {
        let due = self.lifetime_due.is_none_or(|at| at <= now);
        let worth_it = matches!(self.verdict, Verdict::Behind(_)) || self.translated() && self.is_decided();
        let observer = self.observers.iter().find(|observer| observer.linked);
        if let Some(observer) = observer.filter(|_| due && worth_it && self.measuring.is_none()) {
            self.measuring = Some(Lifetime::new(observer.address, now));
        }
    }

    fn end_measurement(&mut self) {
        if self.measuring.take().is_some() {
            self.questions.retain(|_, purpose| !matches!(purpose, Purpose::Silence(_)));
            self.outputs.push_back(Output::Close(Lifetime::sockets().collect()));
        }
    }

    fn ask(
        &mut self,
        (socket, to): (Socket, SocketAddr),
        purpose: Purpose,
        answer_at: Option<(Socket, u16)>,
    ) {
        let id = ProbeId(self.next_question);
        self.next_question = self.next_question.wrapping_add(1);
        self.questions.insert(id, purpose);
        self.outputs.push_back(Output::Probe { id, socket, to, answer_at });
    }

    fn round_soon(&mut self, now: Instant) {
        let earliest = self.last_round.map_or(now, |last| last + ROUND_EVERY_AT_MOST);
        let soon = earliest.max(now + SETTLE);
        self.next_round = Some(self.next_round.map_or(soon, |at| at.min(soon)));
    }

    fn is_decided(&self) -> bool {
        matches!(self.verdict, Verdict::Reachable | Verdict::Behind(_))
    }

    fn is_reachable(&self) -> bool {
        self.verdict == Verdict::Reachable
    }

    fn translated(&self) -> bool {
        !matches!(self.nat.mapping, Mapping::Unknown | Mapping::NoTranslation)
    }

    /// How many machines were asked.
    fn asked(&self) -> usize {
        let mut ips: Vec<IpAddr> = self.observers.iter().map(|observer| observer.address.ip()).collect();
        ips.sort_unstable();
        ips.dedup();
        ips.len()
    }

    fn token(&mut self) -> Token {
        let mut token = [0; 16];
        self.rng.fill_bytes(&mut token);
        Token(token)
    }

    fn report(&mut self) {
        let report = Report {
            verdict: self.verdict,
            nat: self.nat,
            server_reflexive: self.main.translated(&self.host).addresses(),
            mapping_lifetime: self.lifetime,
            witnesses: if self.is_reachable() { self.witnesses.count().max(1) } else { 0 },
        };
        if report != self.reported {
            self.reported = report.clone();
            self.outputs.push_back(Output::Report(report));
        }
    }
}
