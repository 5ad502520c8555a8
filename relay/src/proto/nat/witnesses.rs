//! Who has seen that strangers come in.
//!
//! One supernode that says so, or one packet, is enough for the verdict; whoever takes duties upon itself because of it wants to hear it from
//! two, each independently of the other. So a reachable node asks further supernodes for a dial-back, as long as only one has
//! sent or arranged one that came in. A member that opens a connection by itself has seen it too.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use nearmesh_common::{NodeId, wire::home::DialBackBy};

use super::{
    Observer, Token,
    filtering::{TRIES, TRY_EVERY},
};

/// As many as anybody wants.
pub const ENOUGH: usize = 2;

/// The witnesses of one place in the network.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    seen: BTreeSet<NodeId>,
    strangers: BTreeSet<IpAddr>,
    /// Nothing translates: a packet from any port that we have not sent to proves it.
    any_port: bool,
    asked: BTreeMap<NodeId, u8>,
    pending: BTreeMap<Token, NodeId>,
    next: Option<Instant>,
}

impl Witnesses {
    /// A round found the node reachable, by the dial-backs of these.
    pub(super) fn handle_round(&mut self, seen: BTreeSet<NodeId>, any_port: bool, now: Instant) {
        self.seen = seen;
        self.any_port = any_port;
        self.asked.clear();
        self.pending.clear();
        self.next = Some(now);
    }

    /// Somebody came in by itself.
    pub(super) fn on_stranger(&mut self, from: IpAddr) {
        if self.strangers.len() < ENOUGH {
            self.strangers.insert(from);
        }
    }

    /// A token came; whether it was one of ours.
    pub(super) fn on_packet(&mut self, token: Token, contact: bool) -> bool {
        let Some(of) = self.pending.remove(&token) else { return false };
        if self.any_port || !contact {
            self.seen.insert(of);
        }
        true
    }

    /// Whom to ask for what now; to be followed by [`Self::asked`].
    pub(super) fn poll(&self, observers: &[Observer], now: Instant) -> Option<(NodeId, DialBackBy)> {
        self.next.filter(|at| *at <= now)?;
        let of = self.candidate(observers)?;
        let by = match self.any_port {
            true => DialBackBy::OtherPort,
            false => DialBackBy::OtherNode { not: self.seen.first().copied() },
        };
        Some((of, by))
    }

    /// It was asked for.
    pub(super) fn asked(&mut self, of: NodeId, token: Token, now: Instant) {
        *self.asked.entry(of).or_default() += 1;
        self.pending.insert(token, of);
        self.next = Some(now + TRY_EVERY);
    }

    pub(super) fn poll_timeout(&self, observers: &[Observer]) -> Option<Instant> {
        self.next.filter(|_| self.candidate(observers).is_some())
    }

    /// How many there are, of [`ENOUGH`].
    pub(super) fn count(&self) -> usize {
        (self.seen.len() + self.strangers.len()).min(ENOUGH)
    }

    /// Another one to which there is a link, and which has not been asked in vain.
    fn candidate(&self, observers: &[Observer]) -> Option<NodeId> {
        if self.count() >= ENOUGH {
            return None;
        }
        let left = |node: &NodeId| {
            !self.seen.contains(node) && self.asked.get(node).is_none_or(|tries| *tries < TRIES)
        };
        observers.iter().filter(|observer| observer.linked).map(|observer| observer.node).find(left)
    }
}
