//! Who could forward for this node: a few relays near to it, measured.
//!
//! The home names candidates; each is probed, and the nearest that answer are kept, so that a connection which needs a relay finds
//! one at once. They are asked for and measured anew from time to time, and at every new home.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now,
    wire::{
        NodeAddress,
        home::MAX_RELAY_LIST,
        signal::{MAX_RELAYS, MAX_SIGNAL_ADDRESSES, RelayOffer},
    },
};
use rand_chacha::ChaCha8Rng;

use super::backoff::jitter;

/// How often relays are asked for and measured (guess: as supernodes are).
const REFRESH_EVERY: Duration = Duration::from_secs(120);
/// How soon again when fewer than [`ENOUGH`] are known (guess: a small net grows by a relay a minute); doubles up to [`REFRESH_EVERY`].
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// How many a pair is to choose from (DESIGN.md, section 8).
const ENOUGH: usize = 3;
/// How long a round of measurements may take; a probe ends within a second, unless many wait for their turn.
const ROUND: Duration = Duration::from_secs(3);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    /// Ask the home for relays.
    List(NodeId),
    /// Measure one.
    Probe(NodeAddress),
    /// Others than before are the nearest.
    Changed,
}

/// The relays.
#[derive(Debug, Default)]
pub(super) struct Relays {
    home: Option<NodeId>,
    /// At most [`MAX_RELAYS`], measured.
    near: BTreeMap<NodeId, Near>,
    /// What the home named last and what is near, while it is being measured.
    measuring: BTreeMap<NodeId, Vec<SocketAddr>>,
    refresh_at: Option<Instant>,
    /// What the last wait was, while too few were known.
    waited: Option<Duration>,
    round_until: Option<Instant>,
    actions: VecDeque<Action>,
}

#[derive(Clone, Debug)]
struct Near {
    addresses: Vec<SocketAddr>,
    rtt: Duration,
}

impl Relays {
    /// A home was found, or another one.
    pub(super) fn handle_home(&mut self, home: NodeId, rng: &mut ChaCha8Rng, now: Now) {
        if self.home.replace(home) != Some(home) {
            self.waited = None;
            self.ask(rng, now);
        }
    }

    /// The home is gone. The relays near it may live on.
    pub(super) fn handle_home_lost(&mut self) {
        self.home = None;
        self.refresh_at = None;
    }

    /// The home names relays: they are measured, and those that were near as well.
    pub(super) fn on_relays(&mut self, mut named: Vec<NodeAddress>, own: NodeId, now: Now) {
        if self.round_until.is_some() {
            return;
        }
        named.truncate(MAX_RELAY_LIST);
        let near = self.near.iter().map(|(node, near)| (*node, near.addresses.clone()));
        self.measuring = near.collect();
        for NodeAddress { node, mut addresses } in named {
            addresses.truncate(MAX_SIGNAL_ADDRESSES);
            if node != own && !addresses.is_empty() {
                self.measuring.insert(node, addresses);
            }
        }
        self.round_until = (!self.measuring.is_empty()).then(|| now.instant + ROUND);
        let targets = self.measuring.iter();
        let probes =
            targets.map(|(node, addresses)| NodeAddress { node: *node, addresses: addresses.clone() });
        self.actions.extend(probes.map(Action::Probe));
    }

    /// One was measured: which of its addresses answered first, and how soon.
    pub(super) fn handle_probed(&mut self, node: NodeId, answer: Option<(SocketAddr, Duration)>) {
        let Some(mut addresses) = self.measuring.remove(&node) else { return };
        match answer {
            Some((address, rtt)) => {
                addresses.retain(|other| *other != address);
                addresses.insert(0, address);
                addresses.truncate(MAX_SIGNAL_ADDRESSES);
                self.near.insert(node, Near { addresses, rtt });
            }
            None => {
                self.near.remove(&node);
            }
        }
        if self.measuring.is_empty() {
            self.end_round();
        }
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, rng: &mut ChaCha8Rng, now: Now) {
        if self.round_until.is_some_and(|until| until <= now.instant) {
            for node in std::mem::take(&mut self.measuring).into_keys() {
                self.near.remove(&node);
            }
            self.end_round();
        }
        if self.refresh_at.is_some_and(|at| at <= now.instant) {
            self.ask(rng, now);
        }
    }

    /// What is to be done next.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.refresh_at.into_iter().chain(self.round_until).min()
    }

    /// The relays to offer, nearest first.
    pub(super) fn offers(&self) -> Vec<RelayOffer> {
        let mut offers: Vec<RelayOffer> = self.near.iter().map(|(node, near)| near.offer(*node)).collect();
        offers.sort_by_key(|offer| (offer.rtt_us, offer.node));
        offers
    }

    fn ask(&mut self, rng: &mut ChaCha8Rng, now: Now) {
        let Some(home) = self.home else { return };
        self.actions.push_back(Action::List(home));
        let enough = self.near.len() >= ENOUGH;
        self.waited = (!enough).then(|| self.waited.map_or(LOOK_AGAIN, |last| (last * 2).min(REFRESH_EVERY)));
        let wait = self.waited.unwrap_or(REFRESH_EVERY);
        self.refresh_at = Some(now.instant + jitter(rng, wait * 3 / 4, wait));
    }

    fn end_round(&mut self) {
        self.round_until = None;
        let farthest = self.offers().split_off(MAX_RELAYS.min(self.near.len()));
        for offer in farthest {
            self.near.remove(&offer.node);
        }
        self.actions.push_back(Action::Changed);
    }
}

impl Near {
    fn offer(&self, node: NodeId) -> RelayOffer {
        let rtt_us = u32::try_from(self.rtt.as_micros()).unwrap_or(u32::MAX);
        RelayOffer { node, addresses: self.addresses.clone(), rtt_us: Some(rtt_us) }
    }
}
