//! Bad news that came lately: a copy of an entry that was sent before it must not undo it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{NodeId, UnixMillis, presence::Presence};

use super::Departure;

/// How long it is remembered (guess: many times what a message takes between two supernodes).
const REMEMBERED: Duration = Duration::from_secs(60);
/// How much of each kind (guess: a crowd that leaves at once; 100 bytes each).
const MOST: usize = 512;

/// Nodes that left and homes that died.
#[derive(Debug, Default)]
pub(super) struct Lately {
    departed: BTreeMap<NodeId, (NodeId, UnixMillis)>,
    lost: BTreeMap<NodeId, Instant>,
    order: VecDeque<(Instant, NodeId)>,
}

impl Lately {
    /// A home said that a node is gone.
    pub(super) fn handle_departure(&mut self, departure: &Departure, now: Instant) {
        let Departure { node, home, sequence } = *departure;
        if self.departed.insert(node, (home, sequence)).is_none() {
            self.order.push_back((now, node));
        }
        let old = |(at, _): &&(Instant, NodeId)| *at + REMEMBERED <= now;
        while self.order.len() > MOST || self.order.front().as_ref().is_some_and(old) {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.departed.remove(&oldest);
            }
        }
    }

    /// A home died.
    pub(super) fn handle_home_lost(&mut self, home: NodeId, now: Instant) {
        self.lost.retain(|_, at| *at + REMEMBERED > now);
        if self.lost.len() < MOST {
            self.lost.insert(home, now);
        }
    }

    /// It is there again.
    pub(super) fn handle_home_back(&mut self, home: &NodeId) {
        self.lost.remove(home);
    }

    /// Whether we know better than a copy of this presence that says that its node is at its home.
    pub(super) fn is_over(&self, presence: &Presence, now: Instant) -> bool {
        let departed = self.departed.get(&presence.node);
        departed.is_some_and(|(home, sequence)| *home == presence.home && *sequence >= presence.sequence)
            || self.lost.get(&presence.home).is_some_and(|at| *at + REMEMBERED > now)
    }
}
