//! What was sent and must be confirmed: presences, and the question whether somebody is there.
//!
//! A link's end comes late: fifteen seconds and more after a supernode died without a word. So each batch of presences carries a number, which comes
//! back at once. When it does not within a few round trips the receiver is silent, and what it was sent goes to whoever takes its place.
//!
//! # What it costs
//! An answer is 5 bytes in a packet of its own: for 100 children that each sign anew every ten minutes a supernode sends one in a second, as home, contact
//! and holder together.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::mesh::{Mesh, Stored},
};

use super::{schedule::Schedule, world::World};

/// How many of its round trips a supernode has for an answer, and at least how long (guess: scheduling on a busy machine).
const ROUND_TRIPS: u32 = 3;
const MIN_PATIENCE: Duration = Duration::from_millis(400);
/// Presences that wait for a receipt, in all (guess: all children of a full supernode, at every holder; 700 bytes each). More are sent and not
/// sent again.
const MAX_OPEN: usize = 4096;
/// Questions that wait, with and without presences (guess: all links, and some batches to each).
const MAX_QUESTIONS: usize = 4096;

/// Presences that somebody did not confirm, and how many hops they had.
pub(super) type Unconfirmed = Vec<(Vec<Stored>, u8)>;

/// What waits for an answer.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    open: BTreeMap<u32, Open>,
    pinged: BTreeSet<NodeId>,
    schedule: Schedule,
    presences: usize,
    last: u32,
}

#[derive(Debug)]
struct Open {
    to: NodeId,
    presences: Vec<Stored>,
    hops: u8,
}

impl Receipts {
    /// Sends presences. One that is silent need not confirm them: others were sent them as well.
    pub(super) fn store(&mut self, to: NodeId, presences: Vec<Stored>, hops: u8, world: &mut World) {
        if world.links.is_silent(&to) {
            let number = self.next_number();
            return world.tell_mesh(to, Mesh::Store { number, presences, hops });
        }
        let kept = match self.presences + presences.len() <= MAX_OPEN {
            true => presences.clone(),
            false => Vec::new(),
        };
        let number = self.wait_for(to, kept, hops, world);
        world.tell_mesh(to, Mesh::Store { number, presences, hops });
    }

    /// Asks whether somebody is there.
    pub(super) fn ping(&mut self, to: NodeId, alarm: bool, world: &mut World) {
        if !self.pinged.insert(to) {
            return;
        }
        let number = self.wait_for(to, Vec::new(), 0, world);
        world.tell_mesh(to, Mesh::Ping { number, alarm });
    }

    fn wait_for(&mut self, to: NodeId, presences: Vec<Stored>, hops: u8, world: &World) -> u32 {
        let number = self.next_number();
        if self.open.len() < MAX_QUESTIONS && world.links.contains(&to) {
            let patience = (world.links.expected_rtt(&to) * ROUND_TRIPS).max(MIN_PATIENCE);
            self.presences += presences.len();
            self.open.insert(number, Open { to, presences, hops });
            self.schedule.set(number.into(), world.now.instant + patience);
        }
        number
    }

    fn next_number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// It came. What comes later than it should surprises nobody.
    pub(super) fn on_here(&mut self, from: &NodeId, number: u32) {
        if self.open.get(&number).is_some_and(|open| open.to == *from) {
            self.close(number);
            self.pinged.remove(from);
        }
    }

    /// Takes back what waits for this supernode, which is silent or gone.
    pub(super) fn take_back(&mut self, node: &NodeId) -> Unconfirmed {
        self.pinged.remove(node);
        let numbers: Vec<u32> =
            self.open.iter().filter(|(_, open)| open.to == *node).map(|(number, _)| *number).collect();
        let taken = numbers.into_iter().filter_map(|number| self.close(number));
        taken.filter(|open| !open.presences.is_empty()).map(|open| (open.presences, open.hops)).collect()
    }

    /// Whoever let an answer wait is silent.
    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        for number in self.schedule.due(world.now.instant) {
            self.schedule.remove(number);
            let open = u32::try_from(number).ok().and_then(|number| self.open.get(&number));
            open.into_iter().for_each(|open| world.fell_silent(&open.to));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.first()
    }

    fn close(&mut self, number: u32) -> Option<Open> {
        self.schedule.remove(number.into());
        let open = self.open.remove(&number)?;
        self.presences -= open.presences.len();
        Some(open)
    }
}
