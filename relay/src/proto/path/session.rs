//! The machine of one session: it owns one sub-protocol per file and routes between them.

mod probes;
mod steps;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    Now,
    nat::Nat,
    wire::signal::{Candidate, CandidateKind, End, MAX_CANDIDATES, Offer, SessionId, SignalBody},
};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::{
    Event, Input, Local, Output, PathKind, Setup, Why,
    accepted::Accepted,
    addresses::{self, Surroundings},
    candidates::Candidates,
    checks::Checks,
    exchange::{Exchange, Said},
    guess::Guess,
    packet::{Seal, Side},
    paths::{Pace, Paths},
    punch::Punch,
    relays::Relays,
    replay::Replay,
    route::Route,
};
use nearmesh_common::rate::Bucket;

/// A peer that calls anew while an older session is answered takes its place only when the old one was silent for so long:
/// until then its call is a late copy of one that lost (guess: no signal is under way for longer).
const YIELDS_AFTER: Duration = Duration::from_secs(3);
/// Bounds of [`Local::keep_alive`]: more often is no keep-alive, and RFC 4787 (REQ-5) promises at least two minutes.
const KEEP_ALIVE_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// Finds paths to one peer and keeps to the best of them.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    side: Side,
    seal: Seal,
    rng: ChaCha12Rng,
    local: Local,
    surroundings: Surroundings,
    /// By which route the peer last saw us, and at which address.
    observed: Option<(Route, SocketAddr)>,
    peer_nat: Nat,
    /// Rounds of punching that the peer began.
    peer_round: u32,
    exchange: Exchange,
    candidates: Candidates,
    checks: Checks,
    replay: Replay,
    paths: Paths,
    punch: Punch,
    guess: Guess,
    relays: Relays,
    accepted: Accepted,
    /// Pongs that may be sent.
    pongs: Bucket,
    /// Pings that may be sent to addresses that never answered: in the long run, and at once.
    unproven: [Bucket; 2],
    use_: Use,
    /// What we say of our addresses has changed, or a round of punching is due, and the peer was not told.
    addresses_changed: bool,
    /// When the owner was last asked for our addresses, and whether it is to be asked again.
    renewed: Option<Instant>,
    renewal_wanted: bool,
    ignored: u64,
    outputs: VecDeque<Output>,
}

/// What is sent by, and how long nothing is.
#[derive(Debug)]
struct Use {
    route: Option<Route>,
    busy: bool,
    /// Why the next route comes into use.
    lost: Why,
    without_since: Option<Instant>,
    /// The last sign of the peer.
    sign: Instant,
    undelivered: bool,
    unreachable_said: bool,
    ended: bool,
}

impl Session {
    /// The caller's side. The first outputs are the call and the first relays.
    pub fn call(setup: Setup, local: Local, seed: [u8; 32], now: Now) -> Self {
        Self::new(Side::Caller, setup, local, seed, now)
    }

    /// The callee's side, with the offer that the call brought.
    pub fn answer(setup: Setup, theirs: Offer, local: Local, seed: [u8; 32], now: Now) -> Self {
        let (key, home) = (setup.key, local.home);
        let mut session = Self::new(Side::Callee, setup, local, seed, now);
        session.handle(Input::Signal(SignalBody::Call { key, home, offer: theirs }), now);
        session
    }

    fn new(side: Side, setup: Setup, local: Local, seed: [u8; 32], now: Now) -> Self {
        let mut session = Self {
            id: setup.session,
            side,
            seal: Seal::new(&setup.session, setup.key, side),
            rng: ChaCha12Rng::from_seed(seed),
            surroundings: Surroundings::default(),
            observed: None,
            peer_nat: Nat::default(),
            peer_round: 0,
            exchange: Exchange::new(side, setup.key),
            candidates: Candidates::default(),
            checks: Checks::default(),
            replay: Replay::new(),
            paths: Paths::default(),
            punch: Punch::new(side),
            guess: Guess::default(),
            relays: Relays::new(side, setup.peer_relay),
            accepted: Accepted::default(),
            pongs: Bucket::default(),
            unproven: [Bucket::default(); 2],
            use_: Use {
                route: None,
                busy: false,
                lost: Why::First,
                without_since: Some(now.instant),
                sign: now.instant,
                undelivered: false,
                unreachable_said: false,
                ended: false,
            },
            addresses_changed: true,
            renewed: None,
            renewal_wanted: false,
            ignored: 0,
            outputs: VecDeque::new(),
            local,
        };
        session.adopt_local(now.instant);
        if side == Side::Caller {
            session.step(now.instant);
        }
        session
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        if self.use_.ended {
            return;
        }
        let at = now.instant;
        match input {
            Input::Local(local) => self.handle_local(local, at),
            Input::Signal(body) => self.on_signal(body, at),
            Input::Undelivered => self.on_undelivered(at),
            Input::Probe { route, packet } => self.on_probe(canonical(route), &packet, at),
            Input::RelayOpen { relay, route } => self.on_relay_open(relay, route, at),
            Input::RelayLost { relay } => self.on_relay_lost(relay, at),
            Input::RelayDraining { relay } => self.on_relay_draining(relay),
            Input::RelayMeasured { relay, rtt } => self.relays.on_measured(relay, rtt, at),
            Input::Heard { route } => self.on_heard(canonical(route), at),
            Input::Busy(busy) => self.handle_busy(busy),
            Input::Sockets(sockets) => {
                let act = self.guess.on_sockets(sockets, at);
                self.act_on_guess(act, at);
            }
            Input::NetworkChanged => self.handle_network_changed(),
            Input::End => return self.handle_end(),
            Input::Timeout => {}
        }
        if !self.use_.ended {
            self.step(at);
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Which session this is.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The kind of the path in use, and its smoothed round trip, if it was measured.
    pub fn path(&self) -> Option<(PathKind, Option<Duration>)> {
        let route = self.use_.route?;
        Some((self.paths.kind(route)?, self.paths.rtt(route)))
    }

    /// Packets that were no probe of the peer's, or one that came before.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Whether this session gives way to the one of a call that the same peer makes now. If so, the owner drops this machine
    /// (first closing what it holds by [`Input::End`], whose signal it does not send) and answers; if not, it ignores the call.
    ///
    /// When both call at once, the lower id wins at both sides. When the peer calls although this session was answered, it has
    /// lost its state; or the call is a late copy, which is why a session that is alive stays.
    pub fn yields_to(&self, theirs: SessionId, now: Now) -> bool {
        if self.side == Side::Caller && !self.exchange.is_met() {
            return theirs < self.id;
        }
        theirs != self.id && now.instant.saturating_duration_since(self.use_.sign) >= YIELDS_AFTER
    }

    fn adopt_local(&mut self, now: Instant) {
        let (least, most) = KEEP_ALIVE_RANGE;
        self.local.keep_alive = self.local.keep_alive.clamp(least, most);
        self.surroundings = Surroundings::new(&self.local.candidates);
        self.relays.handle_local(&self.local.relays, now);
    }

    fn handle_local(&mut self, local: Local, now: Instant) {
        let moved = local.candidates != self.local.candidates || local.nat != self.local.nat;
        let changed = moved || local.home != self.local.home;
        self.local = local;
        self.adopt_local(now);
        if moved {
            self.addresses_changed = true;
            self.observed = None;
            self.guess.handle_changed();
        }
        if changed {
            self.exchange.handle_changed();
        }
    }

    fn on_signal(&mut self, body: SignalBody, now: Instant) {
        match body {
            SignalBody::End(End::NotHere) => return self.on_undelivered(now),
            SignalBody::End(end) => {
                self.close_all();
                self.outputs.push_back(Output::Event(Event::Ended(end)));
                return;
            }
            _ => {}
        }
        self.on_sign(now);
        match self.exchange.on_signal(body, now) {
            Some(Said::Call(offer)) => self.on_call(&offer, now),
            Some(Said::Offer(offer)) => self.on_offer(&offer, now),
            Some(Said::Heard) => self.punch.on_peer_ready(now),
            None => {}
        }
    }

    /// The caller does not know yet where we are, so it has not primed: it gets our offer, and waves begin when it has heard it.
    fn on_call(&mut self, offer: &Offer, now: Instant) {
        if self.take_offer(offer, now) {
            self.addresses_changed = true;
            self.exchange.handle_changed();
        }
    }

    fn on_offer(&mut self, offer: &Offer, now: Instant) {
        let moved = self.take_offer(offer, now);
        let begins = moved || offer.round > self.peer_round;
        self.peer_round = self.peer_round.max(offer.round);
        let in_use = self.use_.route.filter(Route::is_direct);
        if let Some(route) = in_use {
            // Perhaps the peer has lost this path, or is not there any more.
            self.paths.ask_again(route);
        }
        if (moved || in_use.is_none()) && begins && !self.addresses_changed {
            // The peer begins another round: as with our own, perhaps we are not where we believe.
            self.renewal_wanted |= !moved && self.local.nat.mapping.is_stable();
            self.punch.on_offer(moved, now);
        }
    }

    /// True if the peer's addresses or its NAT changed.
    fn take_offer(&mut self, offer: &Offer, now: Instant) -> bool {
        let moved = self.candidates.on_offer(offer, &self.surroundings) | (self.peer_nat != offer.nat);
        self.peer_nat = offer.nat;
        self.relays.on_offer(offer, now);
        moved
    }

    fn on_undelivered(&mut self, now: Instant) {
        self.use_.undelivered = true;
        self.exchange.on_undelivered(now);
    }

    /// The peer is there.
    fn on_sign(&mut self, now: Instant) {
        self.use_.sign = now;
        (self.use_.undelivered, self.use_.unreachable_said) = (false, false);
    }

    fn on_heard(&mut self, route: Route, now: Instant) {
        if self.accepted.contains(route) {
            self.on_sign(now);
            self.paths.on_heard(route, now);
            self.accepted.on_heard(route, now);
        }
    }

    fn handle_busy(&mut self, busy: bool) {
        self.use_.busy = busy;
    }

    fn handle_network_changed(&mut self) {
        self.paths.handle_network_changed();
        self.relays.handle_network_changed();
        self.guess.handle_changed();
        self.look_for_direct();
    }

    fn handle_end(&mut self) {
        self.outputs.push_back(Output::Signal(SignalBody::End(End::Done)));
        self.close_all();
    }

    /// Whether a direct path is still to be found.
    fn is_relayed(&self) -> bool {
        !self.use_.route.is_some_and(|route| route.is_direct())
    }

    fn pace(&self) -> Pace {
        Pace { in_use: self.use_.route, busy: self.use_.busy, keep_alive: self.local.keep_alive }
    }

    /// Our side; the exchange gives it its number.
    fn offer(local: &Local, observed: Option<(Route, SocketAddr)>, round: u32, relays: &Relays) -> Offer {
        let mut candidates: Vec<Candidate> = local.candidates.iter().take(MAX_CANDIDATES).copied().collect();
        let known = |address| candidates.iter().any(|candidate| candidate.address == address);
        if let Some(address) = observed
            .map(|(_, address)| address)
            .filter(|address| candidates.len() < MAX_CANDIDATES && !known(*address))
        {
            candidates.push(Candidate { kind: CandidateKind::PeerReflexive, address });
        }
        let (relays, chosen) = (relays.offered(), relays.chosen());
        Offer { number: 0, candidates, nat: local.nat, round, relays, chosen }
    }
}

/// The same address must always be the same route.
fn canonical(route: Route) -> Route {
    match route {
        Route::Direct { socket, to } => Route::Direct { socket, to: addresses::canonical(to) },
        Route::Relayed { relay, channel } => Route::Relayed { relay, channel },
    }
}
