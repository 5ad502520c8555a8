//! Looking who is still there, when some are not.
//!
//! Whoever finds that one supernode is silent asks a few others, chosen by chance, whether they are there; each of these that is silent too
//! makes it ask a few more. Where one in eight or more is dead that goes on until all were asked; where fewer are it ends by itself. Once several are
//! known to be silent the questions say so, and whoever is asked looks for itself: nobody is believed, and nobody has to meet a dead one by chance.
//!
//! In a round everybody is asked once at most, and who asked us is there. So a round costs a link no more than the packets that keep it alive.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use nearmesh_common::NodeId;
use rand::seq::IteratorRandom;

use super::world::World;

/// How many are asked for each that is silent.
const SAMPLE: usize = 8;
/// How long a round lasts (guess: longer than it takes to ask everybody, one after another).
const ROUND: Duration = Duration::from_secs(10);
/// Others' alarms that are heeded in a round (guess: of 24 that are asked, one is dead where one in eight is, nearly surely).
const MAX_ALARMS: usize = 3;

/// Who was asked in this round.
#[derive(Debug, Default)]
pub(super) struct RollCall {
    called: BTreeSet<NodeId>,
    alarms: usize,
    ends_at: Option<Instant>,
}

impl RollCall {
    /// One of `members` fell silent: whom to ask whether they are there.
    pub(super) fn handle_silence(
        &mut self,
        members: impl Iterator<Item = NodeId>,
        world: &mut World,
    ) -> Vec<NodeId> {
        self.ends_at.get_or_insert(world.now.instant + ROUND);
        let links = &world.links;
        let fresh = members.filter(|node| !self.called.contains(node) && !links.is_silent(node));
        let chosen = fresh.sample(&mut world.rng, SAMPLE);
        self.called.extend(chosen.iter().copied());
        chosen
    }

    /// Somebody else found several silent: whom to ask.
    pub(super) fn on_alarm(
        &mut self,
        members: impl Iterator<Item = NodeId>,
        world: &mut World,
    ) -> Vec<NodeId> {
        self.alarms += 1;
        match self.alarms <= MAX_ALARMS {
            true => self.handle_silence(members, world),
            false => Vec::new(),
        }
    }

    /// It asked us, so it is there.
    pub(super) fn on_ping(&mut self, from: NodeId) {
        if self.ends_at.is_some() {
            self.called.insert(from);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.ends_at.is_some_and(|at| at <= now) {
            *self = Self::default();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ends_at
    }
}
