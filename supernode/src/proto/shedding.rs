//! A supernode that has more children than it would like hands some of them on, as soon as others have room.
//!
//! A few in each second hear of others that are lighter. They stay children here until they are attached there: whether, when
//! and where they go is their business.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nearmesh_common::NodeId;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// How often it is looked at while there are too many.
const EVERY: Duration = Duration::from_secs(1);
/// Which part of the excess is told each time: nearly all of it in half a minute.
const PART: usize = 10;
/// Most that are told at a time (guess: at 7 kB each, 140 kB/s for as long as it lasts).
const MOST: usize = 20;
/// How long a child that was told is left alone (guess: longer than it takes to measure others and attach there).
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Who was told, and when to tell more.
#[derive(Debug, Default)]
pub(super) struct Shedding {
    at: Option<Instant>,
    /// As many as there are children.
    told: BTreeMap<NodeId, Instant>,
}

impl Shedding {
    /// There are so many children.
    pub(super) fn handle_load(&mut self, children: usize, capacity: u32, now: Instant) {
        if children > capacity as usize {
            self.at.get_or_insert(now + EVERY);
        } else {
            *self = Self::default();
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// Who is to be told now, of these `children`, of whom so many are too many.
    pub(super) fn chosen(
        &mut self,
        mut children: Vec<NodeId>,
        too_many: usize,
        now: Instant,
        rng: &mut ChaCha8Rng,
    ) -> Vec<NodeId> {
        self.at = Some(now + EVERY);
        self.told.retain(|_, at| *at + AGAIN_AFTER > now);
        let under_way = self.told.keys().filter(|told| children.binary_search(told).is_ok()).count();
        let excess = too_many.saturating_sub(under_way);
        children.retain(|child| !self.told.contains_key(child));
        children.shuffle(rng);
        children.truncate(excess.div_ceil(PART).min(MOST));
        self.told.extend(children.iter().map(|child| (*child, now)));
        children
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }
}
