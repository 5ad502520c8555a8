//! Telling the holders of each child's user where the child is.
//!
//! A key of our own group: we know its holders and tell them ourselves. Any other key: two contacts in its group are told, as
//! one of them may be dead, and each passes it on to the three holders. When a child's link breaks, its presence goes the same way as
//! *gone*; and when it moves, its old home says through one contact where it is now: a new home that came a moment ago may not know all whom it has
//! to tell. While the division into groups changes, both placements are told.
//!
//! # What it costs
//! A presence with its certificate takes about 700 bytes. In a net of 1,000,000 nodes a supernode has 100 children; each signs anew every
//! ten minutes (see [`nearmesh_common::presence::REFRESH`]), and as nothing depends on a single one of those, it goes through one
//! contact only, in turn the first and the second. So a supernode hears 100 * 700 / 600 = 117 B/s from its children and sends as much to contacts; as a contact of others it
//! hears 117 B/s and sends three times that; as a holder it hears 350 B/s: 580 B/s in, 470 B/s out. A child that comes (one in 36 s, if it
//! stays for an hour) costs its home two copies, and the net eight: another 160 B/s each way; one that moves costs its old home one, and the net four. With a
//! refresh every 200 s through two contacts to three holders each it were 5 kB/s in and 3 kB/s out.
//!
//! # After a disaster
//! Where many supernodes die in one moment, all three holders of a key may be among them, and its home, in another group, hears nothing of that. So a
//! supernode that loses as many of those that it needs as a twentieth of all its links tells the holders of all its children again, a little later. The transport takes up to
//! two minutes to notice a death; a supernode that lets a question wait counts as lost at once, and until it speaks others are taken in its place. If so many speak again that it was no
//! disaster nothing is told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::NodeId;
use rand::RngExt;

use super::{placement::Place, world::World};

/// Links lost in this time are counted together (guess: longer than it takes a roll call to find those who died in one moment; links end later).
const DISASTER_WITHIN: Duration = Duration::from_secs(10);
/// A disaster is the loss of one link in so many (guess: in peace a supernode of a group of 78 loses one of 330 in half a minute).
const DISASTER_ONE_IN: usize = 20;
/// And of at least so many.
const DISASTER_AT_LEAST: usize = 3;
/// So many lost are told to others (guess: two may be chance).
const ALARM_AT: usize = 3;
/// Losses that are remembered (guess: all links, twice).
const MAX_LOST: usize = 2048;
/// How long after the last loss everything is told again, at least and at most: new contacts are found by then (guess).
const RETELL_AFTER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));
/// All is not told again sooner than this after it was (guess: in trouble without end 140 kB in ten seconds are enough).
const RETELL_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// Children told again at a time, and how often: 300 children in 3 s, a tenth of a holder's budget for presences.
const RETELL_BATCH: usize = 10;
const RETELL_EVERY: Duration = Duration::from_millis(100);

/// What the holders were told of our children. As many as there are children.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    told: BTreeMap<NodeId, Told>,
    /// Children in whose group we had nobody to tell.
    untold: BTreeSet<NodeId>,
    lost: VecDeque<Instant>,
    retell: Option<Retell>,
    /// When it was told again last.
    retold_at: Option<Instant>,
}

#[derive(Debug)]
struct Told {
    place: Place,
    refreshes: u8,
}

#[derive(Debug)]
struct Retell {
    after: Option<NodeId>,
    at: Instant,
    /// Why: if it was a false alarm nothing is told.
    for_loss: bool,
}

/// How a presence is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// Through two contacts.
    Twice,
    /// Through one, the first or the second.
    Once {
        /// Which of them, counted from 0.
        choice: usize,
    },
}

impl Publishing {
    /// A child attached.
    pub(super) fn handle_attached(&mut self, node: NodeId, place: Place) -> Telling {
        self.told.insert(node, Told { place, refreshes: 0 });
        Telling::Twice
    }

    /// A child signed anew; `changed` if what it says is another than before.
    pub(super) fn handle_refreshed(&mut self, node: NodeId, place: Place, changed: bool) -> Telling {
        let told = self.told.entry(node).or_insert(Told { place, refreshes: 0 });
        told.refreshes = told.refreshes.wrapping_add(1);
        match changed {
            true => Telling::Twice,
            false => Telling::Once { choice: usize::from(told.refreshes % 2) },
        }
    }

    /// There was nobody to tell: it is tried again when somebody comes.
    pub(super) fn handle_untold(&mut self, node: NodeId) {
        self.untold.insert(node);
    }

    /// A child is gone. Where it was told of.
    pub(super) fn remove(&mut self, node: &NodeId) -> Option<Place> {
        self.untold.remove(node);
        self.told.remove(node).map(|told| told.place)
    }

    /// The children that could not be told of.
    pub(super) fn take_untold(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.untold).into_iter().collect()
    }

    /// All children and their places.
    pub(super) fn places(&self) -> impl Iterator<Item = (NodeId, Place)> {
        self.told.iter().map(|(node, told)| (*node, told.place))
    }

    /// One of `linked` members is silent, or its link ended.
    pub(super) fn handle_lost(&mut self, linked: usize, world: &mut World) {
        self.lost.push_back(world.now.instant);
        if self.is_disaster(linked, world.now.instant) {
            self.retell_later(true, world);
        }
    }

    /// One that was silent speaks.
    pub(super) fn handle_back(&mut self) {
        self.lost.pop_back();
    }

    /// Whether so many were lost lately that others should know.
    pub(super) fn is_alarmed(&self, now: Instant) -> bool {
        self.lost.iter().filter(|at| **at + DISASTER_WITHIN >= now).count() >= ALARM_AT
    }

    fn is_disaster(&mut self, linked: usize, now: Instant) -> bool {
        let old = |at: &Instant| *at + DISASTER_WITHIN < now;
        while self.lost.front().is_some_and(old) || self.lost.len() > MAX_LOST {
            self.lost.pop_front();
        }
        self.lost.len() >= (linked / DISASTER_ONE_IN).max(DISASTER_AT_LEAST)
    }

    /// The placement changed: all is told again after a moment.
    pub(super) fn retell(&mut self, world: &mut World) {
        self.retell_later(false, world);
    }

    fn retell_later(&mut self, for_loss: bool, world: &mut World) {
        let for_loss = for_loss && self.retell.as_ref().is_none_or(|retell| retell.for_loss);
        let wait = world.rng.random_range(RETELL_AFTER.0..=RETELL_AFTER.1);
        let soonest = self.retold_at.map(|at| at + RETELL_AT_MOST_EVERY);
        let at = soonest.into_iter().chain([world.now.instant + wait]).max();
        self.retell = at.map(|at| Retell { after: None, at, for_loss });
    }

    /// Children that are to be told of again now.
    pub(super) fn handle_timeout(&mut self, linked: usize, world: &World) -> Vec<NodeId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some(retell) = self.retell.take_if(|retell| retell.at <= world.now.instant) else {
            return Vec::new();
        };
        if retell.after.is_none() {
            if retell.for_loss && !self.is_disaster(linked, world.now.instant) {
                return Vec::new();
            }
            self.retold_at = Some(world.now.instant);
            // What was counted says nothing more.
            self.lost.clear();
        }
        let range = (retell.after.map_or(Unbounded, Excluded), Unbounded);
        let some: Vec<_> = self.told.range(range).take(RETELL_BATCH).map(|(node, _)| *node).collect();
        if let Some(last) = some.last() {
            self.retell = Some(Retell { after: Some(*last), at: world.now.instant + RETELL_EVERY, ..retell });
        }
        some
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retell.as_ref().map(|retell| retell.at)
    }
}
