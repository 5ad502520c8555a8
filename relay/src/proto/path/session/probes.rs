//! Probes of the peer's, and ours.

use std::{net::SocketAddr, time::Instant};

use nearmesh_common::rate::Limit;

use super::Session;
use crate::proto::path::{
    Output, PathKind, accepted,
    addresses::is_public,
    checks,
    packet::{Nonce, Probe},
    route::{Route, SocketIndex},
};

/// Pongs in a second, and at once. A peer that keeps to the protocol pings by a few routes four times a second, and by up to
/// twenty at once when a round begins.
const PONGS: Limit = Limit::per_second(50, 100);
/// Pings to addresses that never answered, in the long run: a few rounds of six waves to 18 candidates each, then one such round a
/// minute and more. So a false offer is worth 500 packets of 57 bytes, and then 10 in a second.
const UNPROVEN: Limit = Limit::per_second(10, 500);
/// And at once: a wave to all candidates, and the predicted ports.
const UNPROVEN_AT_ONCE: Limit = Limit::per_second(200, 100);

impl Session {
    /// A packet with our tag came.
    pub(super) fn on_probe(&mut self, route: Route, packet: &[u8], now: Instant) {
        let known_way = route.is_direct() || self.relays.node_of(route).is_some();
        match self.seal.decode(packet).filter(|_| known_way) {
            Some(Probe::Ping { sequence, nonce }) if self.replay.is_new(sequence) => {
                self.on_ping(route, nonce, now);
            }
            Some(Probe::Pong { nonce, observed }) => self.on_pong(route, nonce, observed, now),
            _ => self.ignored += 1,
        }
    }

    fn on_ping(&mut self, route: Route, nonce: Nonce, now: Instant) {
        self.on_sign(now);
        if self.pongs.take(PONGS, now) {
            let packet = checks::pong(route, nonce, &self.seal);
            self.outputs.push_back(Output::Send { route, packet, ttl: None });
        }
        self.accept(route, false, now);
        if self.paths.on_ping(route, now) || !route.is_direct() {
            return;
        }
        self.punch.on_peer_ready(now);
        if self.candidates.on_ping(route, &self.surroundings, now) {
            self.send_unproven_ping(route, None, now);
        }
    }

    fn on_pong(&mut self, route: Route, nonce: Nonce, observed: Option<SocketAddr>, now: Instant) {
        let Some(answer) = self.checks.on_pong(nonce, now) else {
            self.ignored += 1;
            return;
        };
        self.on_sign(now);
        if answer.asked != route {
            // The peer is there, but this does not prove the way that was asked for.
            if route.is_direct() && self.candidates.on_ping(route, &self.surroundings, now) {
                self.send_unproven_ping(route, None, now);
            }
            return;
        }
        let Route::Direct { socket, to } = route else {
            if let Some(relay) = self.relays.node_of(route) {
                self.relays.on_answer(relay);
            }
            return self.paths.on_answer(route, answer.sent, now);
        };
        let kind = if self.surroundings.is_lan(to) { PathKind::Lan } else { PathKind::Direct };
        let in_use = self.use_.route == Some(route);
        let new = self.paths.on_proven(route, kind, now);
        self.paths.on_answer(route, answer.sent, now);
        self.accept(route, true, now);
        if new {
            let act = self.guess.on_proven(route, now);
            self.act_on_guess(act, now);
        }
        if in_use && socket == SocketIndex::MAIN {
            self.on_observed(route, observed);
        }
    }

    /// The peer told us where we come from. When that changes by the same route, our NAT has given us another address; by another
    /// route, a NAT may give another one anyway.
    fn on_observed(&mut self, route: Route, observed: Option<SocketAddr>) {
        let Some(observed) = observed.filter(|address| is_public(*address)) else { return };
        let before = self.observed.replace((route, observed));
        if before.is_some_and(|(by, before)| by == route && before != observed) {
            self.renewal_wanted = true;
        }
    }

    /// Pings by a route that works, or did.
    pub(super) fn send_ping(&mut self, route: Route, now: Instant) {
        self.paths.handle_pinged(route, now);
        self.send_check(route, None, now);
    }

    /// Pings an address that never answered, if that may be.
    pub(super) fn send_unproven_ping(&mut self, route: Route, ttl: Option<u8>, now: Instant) {
        let [in_all, at_once] = &mut self.unproven;
        if at_once.take(UNPROVEN_AT_ONCE, now) && in_all.take(UNPROVEN, now) {
            self.send_check(route, ttl, now);
        }
    }

    /// Pings, whatever is known of the route.
    pub(super) fn send_check(&mut self, route: Route, ttl: Option<u8>, now: Instant) {
        let packet = self.checks.ping(route, &self.seal, &mut self.rng, now);
        self.outputs.push_back(Output::Send { route, packet, ttl });
    }

    pub(super) fn accept(&mut self, route: Route, proven: bool, now: Instant) {
        let changes = self.accepted.accept(route, proven, now);
        self.say_accepted(changes);
    }

    pub(super) fn say_accepted(&mut self, changes: impl IntoIterator<Item = accepted::Change>) {
        self.outputs.extend(changes.into_iter().map(|change| match change {
            accepted::Change::Accept { route, proven } => Output::Accept { route, proven },
            accepted::Change::Forget(route) => Output::Forget(route),
        }));
    }
}
