//! The links that are open, whatever they serve.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use nearmesh_common::{NodeId, Now};

use super::{
    Peer,
    budget::{Budget, Charge},
};

/// Most links: children, standbys, members, and room for those who only ask for a list (guess; a link costs about 1 kB here).
pub(super) const MAX_LINKS: usize = 8192;
/// What a round trip is taken for until it was measured (guess: within a continent).
const UNMEASURED: Duration = Duration::from_millis(100);

/// What the round trip of one that is silent is taken for: more than any real one.
const SILENT: Duration = Duration::from_secs(10);

/// Open links.
#[derive(Debug, Default)]
pub(super) struct Links {
    open: BTreeMap<NodeId, Link>,
    /// Those that let a question wait for too long, and have said nothing since. Hardly ever there is one, and all are asked about often.
    silent: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Link {
    observed: SocketAddr,
    rtt: Option<Duration>,
    budget: Budget,
}

impl Links {
    /// A link opened. False if there are too many.
    pub(super) fn open(&mut self, peer: &Peer) -> bool {
        if self.open.len() >= MAX_LINKS && !self.open.contains_key(&peer.node) {
            return false;
        }
        let link = Link { observed: peer.observed, rtt: None, budget: Budget::default() };
        // A second `LinkUp` of one link must not refill its budget.
        self.open.entry(peer.node).or_insert(link).observed = peer.observed;
        true
    }

    /// A link is gone; whether it was open.
    pub(super) fn close(&mut self, node: &NodeId) -> bool {
        self.silent.remove(node);
        self.open.remove(node).is_some()
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.open.contains_key(node)
    }

    /// The peer is elsewhere now.
    pub(super) fn set_observed(&mut self, node: &NodeId, observed: SocketAddr) {
        if let Some(link) = self.open.get_mut(node) {
            link.observed = observed;
        }
    }

    /// Where the peer's packets come from.
    pub(super) fn observed(&self, node: &NodeId) -> Option<SocketAddr> {
        self.open.get(node).map(|link| link.observed)
    }

    /// The measured round trip, or a guess. One that is silent is farther than all others: the transport takes much longer to notice that it is dead.
    pub(super) fn rtt(&self, node: &NodeId) -> Duration {
        if self.is_silent(node) { SILENT } else { self.expected_rtt(node) }
    }

    /// The round trip by which it is judged whether one is silent.
    pub(super) fn expected_rtt(&self, node: &NodeId) -> Duration {
        self.open.get(node).and_then(|link| link.rtt).unwrap_or(UNMEASURED)
    }

    /// It let a question wait for too long; whether that is news.
    pub(super) fn silence(&mut self, node: &NodeId) -> bool {
        self.open.contains_key(node) && self.silent.insert(*node)
    }

    /// It says something; whether it had been silent. None if it has no link.
    pub(super) fn hear(&mut self, node: &NodeId) -> Option<bool> {
        self.open.contains_key(node).then(|| self.silent.remove(node))
    }

    pub(super) fn is_silent(&self, node: &NodeId) -> bool {
        self.silent.contains(node)
    }

    pub(super) fn any_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    pub(super) fn set_rtt(&mut self, node: &NodeId, rtt: Duration) {
        if let Some(link) = self.open.get_mut(node) {
            link.rtt = Some(rtt);
        }
    }

    /// Whether the peer may have `count` of these now. Who has no link may have nothing.
    pub(super) fn charge(&mut self, node: &NodeId, charge: Charge, count: usize, now: Now) -> bool {
        self.open.get_mut(node).is_some_and(|link| link.budget.take(charge, count, now.instant))
    }
}
