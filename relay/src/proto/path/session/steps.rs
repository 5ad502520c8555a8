//! What follows from what happened: relays, the route in use, pings, rounds and signals that are due.

use std::time::{Duration, Instant};

use nearmesh_common::NodeId;

use super::Session;
use crate::proto::path::{
    Event, Output, PathKind, Why,
    choice::choose,
    guess,
    punch::{PRIME_TTL, Step},
    relays::{Act, Scene},
    route::{Route, SocketIndex},
};

/// Guessing begins when a round of punching was in vain.
const GUESS_AFTER: Duration = Duration::from_millis(1500);
/// Ports are predicted in the first wave, and once more in case the peer was not ready.
const PREDICTING_WAVES: [usize; 2] = [0, 3];
/// How often the owner is asked for our addresses.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(5);
/// How long there is no route and no sign of the peer until it counts as unreachable (guess: a person waits that long)...
const UNREACHABLE_AFTER: Duration = Duration::from_secs(15);
/// ...or only so long, when the homes say that signals do not reach it.
const UNDELIVERED_FOR: Duration = Duration::from_secs(5);

impl Session {
    /// Does all that is due.
    pub(super) fn step(&mut self, now: Instant) {
        self.fall_silent(now);
        self.step_relays(now);
        self.choose(now);
        self.step_paths(now);
        self.step_punch(now);
        self.step_guess(now);
        self.step_exchange(now);
        self.renew(now);
        let changes = self.accepted.expire(self.use_.route, self.local.keep_alive, now);
        self.say_accepted(changes);
        self.notice_unreachable(now);
    }

    /// When to say [`Input::Timeout`](crate::proto::path::Input::Timeout).
    pub fn poll_timeout(&self, now: nearmesh_common::Now) -> Option<Instant> {
        if self.use_.ended {
            return None;
        }
        let now = now.instant;
        let guess_at = self.guess_part().and_then(|_| {
            let since = self.punch.since()? + GUESS_AFTER;
            Some(since.max(self.guess.ready_at().unwrap_or(since)))
        });
        let timers = [
            self.paths.poll_timeout(self.pace(), now),
            self.relays.poll_timeout(&self.scene(), now),
            self.punch.poll_timeout(self.is_relayed()),
            self.guess.poll_timeout(),
            guess_at.filter(|at| *at > now),
            self.exchange.poll_timeout(),
            self.accepted.poll_timeout(self.use_.route, self.local.keep_alive),
            self.unreachable_at(),
            self.renewal_at(now),
        ];
        timers.into_iter().flatten().min()
    }

    pub(super) fn on_relay_open(&mut self, relay: NodeId, route: Route, now: Instant) {
        match self.relays.on_open(relay, route) {
            Some(before) => {
                if let Some(before) = before.filter(|before| *before != route) {
                    self.lose(before, Why::RelayLost);
                }
                self.paths.on_open(route, PathKind::Relayed(relay), now);
                self.accept(route, true, now);
            }
            None => self.outputs.push_back(Output::CloseRelay(relay)),
        }
    }

    pub(super) fn on_relay_lost(&mut self, relay: NodeId, now: Instant) {
        if let Some(route) = self.relays.on_lost(relay, now) {
            self.lose(route, Why::RelayLost);
        }
    }

    pub(super) fn on_relay_draining(&mut self, relay: NodeId) {
        if let Some(route) = self.relays.on_draining(relay) {
            self.paths.on_draining(route);
        }
    }

    /// A direct path is wanted, and the peer should know.
    pub(super) fn look_for_direct(&mut self) {
        self.addresses_changed = true;
        self.exchange.handle_changed();
        self.renewal_wanted = true;
    }

    fn renewal_at(&self, now: Instant) -> Option<Instant> {
        let earliest = self.renewed.map_or(now, |at| at + BETWEEN_RENEWALS);
        self.renewal_wanted.then_some(earliest)
    }

    fn renew(&mut self, now: Instant) {
        if self.renewal_at(now).is_some_and(|at| at <= now) {
            (self.renewed, self.renewal_wanted) = (Some(now), false);
            self.outputs.push_back(Output::Renew);
        }
    }

    pub(super) fn act_on_guess(&mut self, act: impl IntoIterator<Item = guess::Act>, now: Instant) {
        for act in act {
            match act {
                guess::Act::Open(count) => self.outputs.push_back(Output::OpenSockets(count)),
                guess::Act::Ping { route, ttl } => self.send_check(route, ttl, now),
                guess::Act::Keep(kept) => {
                    for route in self.paths.on_other_sockets(kept) {
                        self.lose(route, Why::Silent);
                    }
                    self.outputs.push_back(Output::KeepSocket(kept));
                }
            }
        }
    }

    /// The session is over: everything is closed.
    pub(super) fn close_all(&mut self) {
        if self.use_.route.is_some() {
            self.outputs.push_back(Output::Use(None));
        }
        for act in self.relays.close_all() {
            self.act_on_relays(act);
        }
        let acts = self.guess.give_up();
        self.outputs.extend(acts.map(|_| Output::KeepSocket(None)));
        let changes = self.accepted.forget_all();
        self.say_accepted(changes);
        self.use_.ended = true;
    }

    fn scene(&self) -> Scene<'_> {
        Scene { relayed: self.is_relayed(), in_use: self.use_.route, silence: &self.paths }
    }

    fn fall_silent(&mut self, now: Instant) {
        for route in self.paths.fall_silent(self.pace(), now) {
            if let Some(relay) = self.relays.node_of(route) {
                self.relays.on_silent(relay);
            }
            if self.use_.route == Some(route) {
                self.use_.lost = Why::Silent;
                if route.is_direct() {
                    self.look_for_direct();
                }
            }
        }
    }

    fn step_relays(&mut self, now: Instant) {
        let scene = Scene { relayed: self.is_relayed(), in_use: self.use_.route, silence: &self.paths };
        for act in self.relays.poll(&scene, now) {
            self.act_on_relays(act);
        }
    }

    fn act_on_relays(&mut self, act: Act) {
        match act {
            Act::Open(offer) => self.outputs.push_back(Output::OpenRelay(offer)),
            Act::Close(relay, route) => {
                if let Some(route) = route {
                    self.lose(route, Why::RelayLost);
                }
                self.outputs.push_back(Output::CloseRelay(relay));
            }
            Act::Measure(offer) => self.outputs.push_back(Output::Measure(offer)),
            Act::Say => self.exchange.handle_changed(),
        }
    }

    /// A route is gone for good.
    fn lose(&mut self, route: Route, why: Why) {
        if self.use_.route == Some(route) {
            self.use_.lost = why;
        }
        self.paths.remove(route);
        let change = self.accepted.forget(route);
        self.say_accepted(change);
    }

    fn choose(&mut self, now: Instant) {
        let ways = self.paths.ways(now);
        match choose(&ways, self.use_.route) {
            Some((_, None)) => {}
            Some((route, Some(why))) => {
                let why = if why == Why::First { self.use_.lost } else { why };
                self.use_.route = Some(route);
                self.use_.without_since = None;
                self.outputs.push_back(Output::Use(Some(route)));
                if let Some(kind) = self.paths.kind(route) {
                    let rtt = self.paths.rtt(route);
                    self.outputs.push_back(Output::Event(Event::Path { kind, rtt, why }));
                }
            }
            None if self.use_.route.is_some() => {
                self.use_.route = None;
                self.use_.without_since = Some(now);
                self.outputs.push_back(Output::Use(None));
                self.outputs.push_back(Output::Event(Event::NoPath));
            }
            None => {}
        }
    }

    fn step_paths(&mut self, now: Instant) {
        let pace = self.pace();
        self.paths.drop_unneeded(pace, now);
        for route in self.paths.due(pace, now) {
            if let Some(relay) = self.relays.node_of(route)
                && self.paths.is_late(route, now)
            {
                self.outputs.push_back(Output::Nudge(relay));
            }
            self.send_ping(route, now);
        }
    }

    fn step_punch(&mut self, now: Instant) {
        if self.punch.is_due(self.is_relayed(), now) {
            self.addresses_changed = true;
            self.exchange.handle_changed();
            // The round before was in vain: perhaps our NAT has given us another address. A hard one always gives others, and
            // those would begin all the guessing anew.
            self.renewal_wanted |= self.local.nat.mapping.is_stable();
        }
        if self.addresses_changed && self.exchange.is_about_to_change(now) {
            self.addresses_changed = false;
            if self.exchange.is_met() {
                self.punch.prime(now);
            }
        }
        while let Some(step) = self.punch.poll(now) {
            match step {
                Step::Prime => self.send_to_candidates(Some(PRIME_TTL), now),
                Step::Wave(number) => self.send_wave(number, now),
            }
        }
    }

    fn send_wave(&mut self, number: usize, now: Instant) {
        if number == 0 {
            self.candidates.handle_round(now);
        }
        self.send_to_candidates(None, now);
        if PREDICTING_WAVES.contains(&number) && self.is_relayed() {
            let outside = self.candidates.outside();
            for address in guess::predicted(&self.local.nat, &self.peer_nat, outside) {
                self.send_unproven_ping(Route::direct(address), None, now);
            }
        }
    }

    fn send_to_candidates(&mut self, ttl: Option<u8>, now: Instant) {
        let unproven = self.candidates.routes().filter(|route| !self.paths.is_alive(*route));
        for route in unproven.collect::<Vec<_>>() {
            self.send_unproven_ping(route, ttl, now);
        }
    }

    /// Our part in guessing, while it would be of use: a relayed path proves that the peer is there.
    fn guess_part(&self) -> Option<guess::Part> {
        let route = self.use_.route.filter(|route| !route.is_direct())?;
        if !self.paths.is_answered(route) {
            return None;
        }
        guess::part(&self.local.nat, &self.peer_nat, self.candidates.outside())
    }

    fn step_guess(&mut self, now: Instant) {
        if let Some(kept) = self.guess.kept()
            && !self.paths.has_on(kept)
        {
            let act = self.guess.on_lost(kept);
            self.act_on_guess(act, now);
        }
        let punched = self.punch.since().is_some_and(|since| since + GUESS_AFTER <= now);
        if punched
            && self.guess.is_ready(now)
            && let Some(part) = self.guess_part()
        {
            let act = self.guess.begin(part, now);
            self.act_on_guess(act, now);
        }
        let in_use = self.use_.route.map_or(SocketIndex::MAIN, |route| route.socket());
        let acts = self.guess.poll(in_use, &mut self.rng, now);
        self.act_on_guess(acts, now);
    }

    fn step_exchange(&mut self, now: Instant) {
        let (local, observed, round, relays) =
            (&self.local, self.observed, self.punch.announced(), &self.relays);
        let offer = || Self::offer(local, observed, round, relays);
        while let Some(body) = self.exchange.poll(local.home, offer, now) {
            self.outputs.push_back(Output::Signal(body));
        }
    }

    fn unreachable_at(&self) -> Option<Instant> {
        let since = self.use_.without_since.filter(|_| !self.use_.unreachable_said)?;
        let wait = if self.use_.undelivered { UNDELIVERED_FOR } else { UNREACHABLE_AFTER };
        Some(since.max(self.use_.sign) + wait)
    }

    fn notice_unreachable(&mut self, now: Instant) {
        if self.unreachable_at().is_some_and(|at| at <= now) {
            self.use_.unreachable_said = true;
            self.outputs.push_back(Output::Event(Event::Unreachable));
        }
    }
}
