//! Which relays the two hold, and which pair of routes through them is best.
//!
//! At first the callee's home and the caller's home, both at once, because both are known and near to one of the two. Meanwhile
//! each side measures the relays that the other named; then the relay with the smallest sum of both round trips is opened, and
//! the next best beside it, kept ready ([`pair`]). The caller chooses and says so in its offers; the callee opens what it is
//! told. An old relay is given back when a new one works and nothing comes by the old one any more.
//!
//! Whoever finds that a chosen relay does not work says nothing: the relay ends the reservation of both, or its route falls silent at
//! both, and the caller chooses another one.

mod known;
mod pair;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use known::Known;
use nearmesh_common::{
    NodeId,
    wire::signal::{MAX_CHOSEN_RELAYS, Offer, RelayOffer},
};
use pair::Pair;

use super::{packet::Side, route::Route};

/// How long opening a relay may take: a handshake over a lossy path, and the peer's (guess).
const OPENING: Duration = Duration::from_secs(10);
/// A relay that is not chosen any more is kept so long: the peer may move later than we (guess).
const GRACE: Duration = Duration::from_secs(5);
/// A relay that is silent for so long, while another route works, counts as lost.
const SILENCE: Duration = Duration::from_secs(10);
/// Most relays held at a time, old and new ones.
const MAX_HELD: usize = 4;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// Ask for a reservation.
    Open(RelayOffer),
    /// Give it back; the route through it, if there was one, is gone.
    Close(NodeId, Option<Route>),
    /// Measure the way to it.
    Measure(RelayOffer),
    /// What we say of relays has changed.
    Say,
}

/// What is known of the routes through relays.
pub(super) struct Scene<'a> {
    /// No direct path is in use.
    pub(super) relayed: bool,
    /// The route in use.
    pub(super) in_use: Option<Route>,
    /// Which routes are silent.
    pub(super) silence: &'a dyn SilentSince,
}

/// Knows since when a route is silent.
pub(super) trait SilentSince {
    /// `None` if it works, as far as is known.
    fn silent_since(&self, route: Route) -> Option<Instant>;
}

/// A relay that we asked for a reservation.
#[derive(Clone, Copy, Debug)]
struct Held {
    asked: Instant,
    route: Option<Route>,
    unwanted_since: Option<Instant>,
}

/// The relays of one session.
#[derive(Debug)]
pub(super) struct Relays {
    side: Side,
    known: Known,
    pair: Pair,
    held: BTreeMap<NodeId, Held>,
}

impl Relays {
    /// None yet but the peer's home, if that is known.
    pub(super) fn new(side: Side, peer_relay: Option<RelayOffer>) -> Self {
        let mut known = Known::default();
        if let Some(offer) = peer_relay {
            known.expect(offer);
        }
        Self { side, known, pair: Pair::default(), held: BTreeMap::new() }
    }

    /// Our own relays, with newer measurements.
    pub(super) fn handle_local(&mut self, own: &[RelayOffer], now: Instant) {
        self.known.handle_local(own, now);
        self.forget();
    }

    /// The peer's relays, and what it measured; from the caller also what it chose.
    pub(super) fn on_offer(&mut self, offer: &Offer, now: Instant) {
        self.known.on_offer(offer);
        match self.side {
            Side::Caller => self.pair.on_offer(now),
            Side::Callee => {
                self.pair.follow(offer.chosen.iter().take(MAX_CHOSEN_RELAYS).copied().collect());
            }
        }
        self.forget();
    }

    /// What we say of relays.
    pub(super) fn offered(&self) -> Vec<RelayOffer> {
        self.known.offered()
    }

    /// What the caller has chosen; nothing from the callee.
    pub(super) fn chosen(&self) -> Vec<NodeId> {
        if self.side == Side::Caller { self.pair.chosen().to_vec() } else { Vec::new() }
    }

    /// Whose route this is.
    pub(super) fn node_of(&self, route: Route) -> Option<NodeId> {
        self.held.iter().find(|(_, held)| held.route == Some(route)).map(|(node, _)| *node)
    }

    /// A relay is open. The route that led through it before, if it was open already; `None` if nobody waits for it: it
    /// should be closed.
    pub(super) fn on_open(&mut self, node: NodeId, route: Route) -> Option<Option<Route>> {
        let held = self.held.get_mut(&node)?;
        self.known.on_open(node);
        Some(held.route.replace(route))
    }

    /// An answer came through this relay.
    pub(super) fn on_answer(&mut self, node: NodeId) {
        self.known.on_answer(node);
    }

    /// The route through this relay is silent.
    pub(super) fn on_silent(&mut self, node: NodeId) {
        self.known.on_silent(node);
    }

    /// A relay is lost; the route that led through it.
    pub(super) fn on_lost(&mut self, node: NodeId, now: Instant) -> Option<Route> {
        let held = self.held.remove(&node)?;
        self.known.on_lost(node, now);
        held.route
    }

    /// A relay will stop; the route through it.
    pub(super) fn on_draining(&mut self, node: NodeId) -> Option<Route> {
        self.known.on_draining(node);
        self.held.get(&node)?.route
    }

    /// The way to a relay was measured.
    pub(super) fn on_measured(&mut self, node: NodeId, rtt: Option<Duration>, now: Instant) {
        self.known.on_measured(node, rtt, now);
    }

    /// This machine's network changed: what failed may work now.
    pub(super) fn handle_network_changed(&mut self) {
        self.known.handle_network_changed();
    }

    /// The session ends.
    pub(super) fn close_all(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.held).into_iter().map(|(node, held)| Act::Close(node, held.route)).collect()
    }

    /// What is to be done now.
    pub(super) fn poll(&mut self, scene: &Scene<'_>, now: Instant) -> Vec<Act> {
        let mut acts = self.give_up(scene, now);
        acts.extend(self.known.measure(scene.relayed, now).into_iter().map(Act::Measure));
        let chosen = self.side == Side::Caller && self.pair.choose(&self.known, now);
        if self.known.is_worth_saying() || chosen {
            acts.push(Act::Say);
        }
        acts.extend(self.open(now));
        acts.extend(self.close(scene, now));
        acts
    }

    /// When to ask again.
    pub(super) fn poll_timeout(&self, scene: &Scene<'_>, now: Instant) -> Option<Instant> {
        let held = self.held.values().flat_map(|held| {
            let opening = held.route.is_none().then_some(held.asked + OPENING);
            let silent =
                held.route.and_then(|route| scene.silence.silent_since(route)).map(|since| since + SILENCE);
            [opening, silent, held.unneeded_at(scene)].into_iter().flatten()
        });
        held.filter(|at| *at > now).chain(self.known.poll_timeout(scene.relayed, now)).min()
    }

    /// Relays that do not open, or do not answer any more although another route works.
    fn give_up(&mut self, scene: &Scene<'_>, now: Instant) -> Vec<Act> {
        let hopeless = |held: &Held| match held.route {
            None => held.asked + OPENING <= now,
            Some(route) => {
                let silent = scene.silence.silent_since(route).is_some_and(|since| since + SILENCE <= now);
                silent && scene.in_use.is_some()
            }
        };
        let lost = self.held.iter().filter(|(_, held)| hopeless(held)).map(|(node, _)| *node);
        let lost: Vec<NodeId> = lost.collect();
        lost.into_iter().map(|node| Act::Close(node, self.on_lost(node, now))).collect()
    }

    /// What should be open: the choice, and at the callee its own home until the caller knows of it.
    fn wanted(&self) -> Vec<NodeId> {
        let mut wanted = self.pair.chosen().to_vec();
        if self.side == Side::Callee && wanted.len() < MAX_CHOSEN_RELAYS {
            wanted.extend(self.known.first_own().filter(|node| !self.pair.chosen().contains(node)));
        }
        wanted
    }

    fn open(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        for node in self.wanted() {
            let Some(offer) = self.known.offer(node) else { continue };
            let wait = self.held.contains_key(&node) || self.known.is_resting(node, now);
            if wait || self.held.len() >= MAX_HELD {
                continue;
            }
            acts.push(Act::Open(offer.clone()));
            self.held.insert(node, Held { asked: now, route: None, unwanted_since: None });
        }
        acts
    }

    /// Gives back what is not wanted any more, once what is wanted works.
    fn close(&mut self, scene: &Scene<'_>, now: Instant) -> Vec<Act> {
        let wanted = self.wanted();
        let works = |route: Route| scene.silence.silent_since(route).is_none();
        let route_of = |node: &NodeId| self.held.get(node).and_then(|held| held.route);
        let ready = wanted.iter().filter_map(route_of).any(works);
        let mut unneeded = Vec::new();
        for (node, held) in &mut self.held {
            if wanted.contains(node) || !ready {
                held.unwanted_since = None;
                continue;
            }
            held.unwanted_since.get_or_insert(now);
            if held.unneeded_at(scene).is_some_and(|at| at <= now) {
                unneeded.push(*node);
            }
        }
        let close = |node: NodeId| Act::Close(node, self.held.remove(&node).and_then(|held| held.route));
        unneeded.into_iter().map(close).collect()
    }

    fn forget(&mut self) {
        let (held, pair) = (&self.held, &self.pair);
        self.known.forget(|node| held.contains_key(node) || pair.chosen().contains(node));
    }
}

impl Held {
    /// When it is given back, unless something changes.
    fn unneeded_at(&self, scene: &Scene<'_>) -> Option<Instant> {
        let since = self.unwanted_since?;
        if self.route.is_some() && self.route == scene.in_use {
            return None;
        }
        Some(since + GRACE)
    }
}
