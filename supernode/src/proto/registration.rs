//! The files of our children, and how far each registration has come.
//!
//! A child publishes the changes of its journal in order; a batch that does not follow what we hold is answered with our
//! mark, and the child resumes there. A batch from the start of another epoch replaces everything. When a child's
//! link breaks, its files are hidden and kept for a while, so that coming back costs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::{
        file::{Change, JournalMark},
        query::Query,
    },
};

use super::world::World;
use crate::index::{Catalogue, ChildId, Match};

/// How long the files of a child whose link broke are kept (guess: a router restarts in a minute).
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// Files of one child (guess: what a node lets its user share).
pub(super) const MAX_FILES_PER_CHILD: usize = 250_000;
/// Registrations that wait for their child at the same time (guess: thrice the usual capacity).
const MAX_AWAY: usize = 1000;
/// How often files of dropped children are cleared away, and how many: 1 ms of work each time, at 2 us.
const PURGE_EVERY: Duration = Duration::from_millis(20);
const PURGE_BATCH: usize = 500;

/// Everything that children share.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    catalogue: Catalogue,
    held: BTreeMap<NodeId, Held>,
    /// Whose child is away, by when they are dropped.
    away: BTreeSet<(Instant, NodeId)>,
    nodes: BTreeMap<ChildId, NodeId>,
    next: u32,
    purge_at: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    id: ChildId,
    mark: JournalMark,
    files: usize,
    /// When it is dropped, while its child is away.
    until: Option<Instant>,
}

impl Registrations {
    /// A child attached, whose journal stands at `journal`; returns what is held of it.
    pub(super) fn on_attached(&mut self, node: NodeId, journal: JournalMark, world: &World) -> JournalMark {
        let usable = |held: &Held| held.mark.epoch == journal.epoch && held.mark.revision <= journal.revision;
        match self.held.get_mut(&node) {
            Some(held) if usable(held) => {
                if let Some(until) = held.until.take() {
                    self.away.remove(&(until, node));
                }
                self.catalogue.unhide(held.id);
                held.mark
            }
            _ => self.begin(node, journal.epoch, world),
        }
    }

    /// A batch of changes; returns what is held now. `None` if the node has no registration here.
    pub(super) fn on_publish(
        &mut self,
        node: NodeId,
        after: JournalMark,
        upto: u64,
        changes: &[Change],
        world: &mut World,
    ) -> Option<JournalMark> {
        let mark = self.held.get(&node)?.mark;
        if after.epoch != mark.epoch && after.revision == 0 {
            self.begin(node, after.epoch, world);
        } else if after != mark {
            return Some(mark);
        }
        let held = self.held.get_mut(&node)?;
        if upto <= after.revision {
            world.strange(&node, "a batch that leads nowhere");
            return Some(held.mark);
        }
        for change in changes {
            world.counters.files_dropped += u64::from(!held.apply(change, &mut self.catalogue));
        }
        held.mark.revision = upto;
        Some(held.mark)
    }

    /// A child's link broke.
    pub(super) fn hide(&mut self, node: &NodeId, world: &World) {
        let Some(held) = self.held.get_mut(node) else { return };
        let until = world.now.instant + GRACE;
        if let Some(before) = held.until.replace(until) {
            self.away.remove(&(before, *node));
        }
        self.away.insert((until, *node));
        self.catalogue.hide(held.id);
        if self.away.len() > MAX_AWAY
            && let Some((_, oldest)) = self.away.first().copied()
        {
            self.drop_child(&oldest, world);
        }
    }

    /// A child left for good.
    pub(super) fn drop_child(&mut self, node: &NodeId, world: &World) {
        let Some(held) = self.held.remove(node) else { return };
        if let Some(until) = held.until {
            self.away.remove(&(until, *node));
        }
        self.catalogue.drop_child(held.id);
        self.nodes.remove(&held.id);
        self.purge_at.get_or_insert(world.now.instant + PURGE_EVERY);
    }

    /// What matches, and whose it is.
    pub(super) fn search(&self, query: &Query) -> Vec<(NodeId, Match)> {
        let matches = self.catalogue.search(query).into_iter();
        matches.filter_map(|found| Some((*self.nodes.get(&found.child)?, found))).collect()
    }

    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub(super) fn catalogue_mut(&mut self) -> &mut Catalogue {
        &mut self.catalogue
    }

    /// Drops who stayed away, clears away what was dropped. Whether the summary may have changed.
    pub(super) fn handle_timeout(&mut self, world: &World) -> bool {
        let now = world.now.instant;
        while let Some((until, gone)) = self.away.first().copied().filter(|(until, _)| *until <= now) {
            self.away.remove(&(until, gone));
            self.drop_child(&gone, world);
        }
        if self.purge_at.is_none_or(|at| at > now) {
            return false;
        }
        let purged = self.catalogue.purge(PURGE_BATCH);
        self.purge_at = (purged == PURGE_BATCH).then(|| now + PURGE_EVERY);
        purged > 0
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let away = self.away.first().map(|(until, _)| *until);
        away.into_iter().chain(self.purge_at).min()
    }

    fn begin(&mut self, node: NodeId, epoch: u64, world: &World) -> JournalMark {
        self.drop_child(&node, world);
        let id = ChildId(self.next);
        // 4 billion attachments before a number comes again; by then its first bearer is long gone.
        self.next = self.next.wrapping_add(1);
        let mark = JournalMark { epoch, revision: 0 };
        self.nodes.insert(id, node);
        self.held.insert(node, Held { id, mark, files: 0, until: None });
        mark
    }
}

impl Held {
    /// Whether there was room.
    fn apply(&mut self, change: &Change, catalogue: &mut Catalogue) -> bool {
        match change {
            Change::Remove(number) => {
                self.files -= usize::from(catalogue.remove(self.id, *number));
                true
            }
            Change::Add(entry) => {
                let before = catalogue.len();
                let room = self.files < MAX_FILES_PER_CHILD && catalogue.add(self.id, entry);
                // An entry that takes another's place adds none.
                self.files += catalogue.len().saturating_sub(before);
                room
            }
        }
    }
}
