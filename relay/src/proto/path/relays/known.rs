//! The relays that either side named: where they are, how far from both, and whether they work.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::signal::{MAX_RELAYS, Offer, RelayOffer},
};

use super::super::MAX_OWN_RELAYS;

/// A relay that failed is left alone for so long, doubled with each time in a row (guess).
const FIRST_PENALTY: Duration = Duration::from_secs(2);
/// At most so long.
const LONGEST_PENALTY: Duration = Duration::from_secs(120);
/// Measurements kept of each relay; the smallest counts.
const KEPT: usize = 3;
/// How often relays are measured again while the session is relayed (as often as a node at home surveys supernodes).
const MEASURE_EVERY: Duration = Duration::from_secs(120);
/// How long a measurement may take: a STUN probe ends within 1 s.
const MEASURING: Duration = Duration::from_secs(2);
/// A measurement that differs from what the peer was told by a part of this...
const WORTH_SAYING_PART: u32 = 5;
/// ...and by so many microseconds is worth an update (guess).
const WORTH_SAYING_US: u32 = 2000;

/// One relay.
#[derive(Debug)]
struct Relay {
    offer: RelayOffer,
    /// Our measurements, in microseconds, the newest last.
    ours: Vec<u32>,
    theirs: Option<u32>,
    measured_at: Option<Instant>,
    measuring: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
    draining: bool,
    silent: bool,
}

/// All of them: at most [`MAX_OWN_RELAYS`] of each side, and those that are still held.
#[derive(Debug, Default)]
pub(super) struct Known {
    relays: BTreeMap<NodeId, Relay>,
    own: Vec<NodeId>,
    theirs: Vec<NodeId>,
    said: Vec<RelayOffer>,
}

impl Known {
    /// The peer's home, before the peer has said anything.
    pub(super) fn expect(&mut self, offer: RelayOffer) {
        self.theirs.push(offer.node);
        self.relays.insert(offer.node, Relay::new(offer));
    }

    /// Our own relays, with newer measurements.
    pub(super) fn handle_local(&mut self, own: &[RelayOffer], now: Instant) {
        let own = &own[..own.len().min(MAX_OWN_RELAYS)];
        self.own = own.iter().map(|relay| relay.node).collect();
        for relay in own {
            let known = self.relays.entry(relay.node).or_insert_with(|| Relay::new(relay.clone()));
            known.offer.addresses.clone_from(&relay.addresses);
            if let Some(rtt) = relay.rtt_us {
                known.add(rtt, now);
            }
        }
    }

    /// The peer's relays, and what it measured.
    pub(super) fn on_offer(&mut self, offer: &Offer) {
        let theirs = &offer.relays[..offer.relays.len().min(MAX_RELAYS)];
        self.theirs = theirs.iter().take(MAX_OWN_RELAYS).map(|relay| relay.node).collect();
        self.relays.values_mut().for_each(|known| known.theirs = None);
        for relay in theirs {
            if self.theirs.contains(&relay.node) {
                self.relays.entry(relay.node).or_insert_with(|| Relay::new(relay.clone()));
            }
            if let Some(known) = self.relays.get_mut(&relay.node) {
                known.theirs = relay.rtt_us;
            }
        }
    }

    /// Forgets what nobody names and nobody `needs`.
    pub(super) fn forget(&mut self, needs: impl Fn(&NodeId) -> bool) {
        let (own, theirs) = (&self.own, &self.theirs);
        self.relays.retain(|node, _| own.contains(node) || theirs.contains(node) || needs(node));
    }

    /// What we say of relays: our own first, then those of the peer that we have measured.
    pub(super) fn offered(&self) -> Vec<RelayOffer> {
        let of_peer = self.theirs.iter().filter(|node| !self.own.contains(node));
        let measured =
            of_peer.filter(|node| self.relays.get(node).is_some_and(|relay| !relay.ours.is_empty()));
        let all = self.own.iter().chain(measured).filter_map(|node| self.relays.get(node));
        all.take(MAX_RELAYS).map(|relay| RelayOffer { rtt_us: relay.rtt(), ..relay.offer.clone() }).collect()
    }

    /// Whether the peer should be told again; not while measurements are under way.
    pub(super) fn is_worth_saying(&mut self) -> bool {
        if self.is_measuring() {
            return false;
        }
        let offered = self.offered();
        let same = offered.len() == self.said.len()
            && offered.iter().zip(&self.said).all(|(now, said)| is_alike(now, said));
        if !same {
            self.said = offered;
        }
        !same
    }

    /// Where a relay is.
    pub(super) fn offer(&self, node: NodeId) -> Option<&RelayOffer> {
        self.relays.get(&node).map(|relay| &relay.offer)
    }

    /// Our first relay.
    pub(super) fn first_own(&self) -> Option<NodeId> {
        self.own.first().copied()
    }

    /// Whether a failure lies so short behind that it must be left alone.
    pub(super) fn is_resting(&self, node: NodeId, now: Instant) -> bool {
        self.relays.get(&node).is_some_and(|relay| relay.not_before.is_some_and(|at| at > now))
    }

    /// Relays that may be chosen: the peer's and ours, in turn.
    pub(super) fn usable(&self, now: Instant) -> Vec<NodeId> {
        let longest = self.own.len().max(self.theirs.len());
        let in_turn = (0..longest).flat_map(|place| [self.theirs.get(place), self.own.get(place)]);
        let mut usable: Vec<NodeId> = Vec::new();
        for node in in_turn.flatten() {
            let fine = self.relays.get(node).is_some_and(|relay| relay.is_usable(now));
            if fine && !usable.contains(node) {
                usable.push(*node);
            }
        }
        usable
    }

    /// Both sides' round trips, in microseconds.
    pub(super) fn sum(&self, node: NodeId) -> Option<u64> {
        let relay = self.relays.get(&node)?;
        Some(u64::from(relay.rtt()?) + u64::from(relay.theirs?))
    }

    /// Whether both have an address in common.
    pub(super) fn same_machine(&self, a: NodeId, b: NodeId) -> bool {
        let (Some(a), Some(b)) = (self.offer(a), self.offer(b)) else { return false };
        a.addresses.iter().any(|x| b.addresses.iter().any(|y| x.ip() == y.ip()))
    }

    /// Works.
    pub(super) fn on_answer(&mut self, node: NodeId) {
        self.change(node, |relay| (relay.failures, relay.silent) = (0, false));
    }

    /// Open.
    pub(super) fn on_open(&mut self, node: NodeId) {
        self.change(node, |relay| (relay.silent, relay.draining) = (false, false));
    }

    /// Does not answer.
    pub(super) fn on_silent(&mut self, node: NodeId) {
        self.change(node, |relay| relay.silent = true);
    }

    /// Will stop.
    pub(super) fn on_draining(&mut self, node: NodeId) {
        self.change(node, |relay| relay.draining = true);
    }

    /// Lost.
    pub(super) fn on_lost(&mut self, node: NodeId, now: Instant) {
        self.change(node, |relay| relay.fail(now));
    }

    /// Measured, or not to be reached.
    pub(super) fn on_measured(&mut self, node: NodeId, rtt: Option<Duration>, now: Instant) {
        self.change(node, |relay| {
            relay.measuring = None;
            relay.measured_at = Some(now);
            match rtt {
                Some(rtt) => relay.add(u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX), now),
                None => relay.ours.clear(),
            }
        });
    }

    /// What failed may work now.
    pub(super) fn handle_network_changed(&mut self) {
        for relay in self.relays.values_mut() {
            (relay.failures, relay.not_before) = (0, None);
        }
    }

    /// Whether measurements are under way.
    pub(super) fn is_measuring(&self) -> bool {
        self.relays.values().any(|relay| relay.measuring.is_some())
    }

    /// Relays to measure now: each at first, and again from time to time if that is of use.
    pub(super) fn measure(&mut self, again: bool, now: Instant) -> Vec<RelayOffer> {
        let mut due = Vec::new();
        for relay in self.relays.values_mut() {
            if relay.measuring.is_some_and(|at| at + MEASURING <= now) {
                (relay.measuring, relay.measured_at) = (None, Some(now));
            }
            if relay.is_due(again, now) {
                relay.measuring = Some(now);
                due.push(relay.offer.clone());
            }
        }
        due
    }

    /// When something changes by itself.
    pub(super) fn poll_timeout(&self, again: bool, now: Instant) -> Option<Instant> {
        let of = |relay: &Relay| {
            let measure = relay.again_at().filter(|_| again);
            [relay.not_before, relay.measuring.map(|at| at + MEASURING), measure]
        };
        self.relays.values().flat_map(of).flatten().filter(|at| *at > now).min()
    }

    fn change(&mut self, node: NodeId, change: impl FnOnce(&mut Relay)) {
        if let Some(relay) = self.relays.get_mut(&node) {
            change(relay);
        }
    }
}

impl Relay {
    fn new(offer: RelayOffer) -> Self {
        Self {
            offer: RelayOffer { rtt_us: None, ..offer },
            ours: Vec::new(),
            theirs: None,
            measured_at: None,
            measuring: None,
            failures: 0,
            not_before: None,
            draining: false,
            silent: false,
        }
    }

    fn add(&mut self, rtt_us: u32, now: Instant) {
        if self.ours.len() >= KEPT {
            self.ours.remove(0);
        }
        self.ours.push(rtt_us);
        self.measured_at = Some(now);
    }

    fn rtt(&self) -> Option<u32> {
        self.ours.iter().min().copied()
    }

    /// When it is due to be measured again.
    fn again_at(&self) -> Option<Instant> {
        self.measured_at.filter(|_| self.measuring.is_none()).map(|at| at + MEASURE_EVERY)
    }

    fn is_due(&self, again: bool, now: Instant) -> bool {
        let never = self.measured_at.is_none() && self.measuring.is_none();
        (never || again && self.again_at().is_some_and(|at| at <= now)) && !self.offer.addresses.is_empty()
    }

    fn is_usable(&self, now: Instant) -> bool {
        !self.draining
            && !self.silent
            && !self.offer.addresses.is_empty()
            && self.not_before.is_none_or(|at| at <= now)
    }

    fn fail(&mut self, now: Instant) {
        let penalty = FIRST_PENALTY * (1 << self.failures.min(6));
        self.failures += 1;
        self.not_before = Some(now + penalty.min(LONGEST_PENALTY));
        (self.draining, self.silent) = (false, false);
    }
}

fn is_alike(a: &RelayOffer, b: &RelayOffer) -> bool {
    let near = match (a.rtt_us, b.rtt_us) {
        (Some(a), Some(b)) => a.abs_diff(b) <= WORTH_SAYING_US.max(b / WORTH_SAYING_PART),
        (a, b) => a == b,
    };
    near && a.node == b.node && a.addresses == b.addresses
}
