//! Summaries: what each supernode knows of the others' indexes.
//!
//! Ours moves on in versions. Changes gather for [`GATHER`] and are then sent to every member as one step from the version before. A peer
//! that comes back says which version it holds: if the steps since then are still in the log it gets those, else the whole. A
//! peer that cannot apply a step says so and gets the whole.
//!
//! Invariant: a member whose summary is not held completely is asked anyway, so a search never misses what is there.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::mesh::{MAX_SUMMARY_ENTRIES, Mesh, SummaryEntry, SummaryVersion},
};

use super::{budget::{Budget, Rate}, outbox::Outbox};
use crate::{
    index::Catalogue,
    summary::{Probe, SummaryChanges, SummaryView, ViewError},
};

/// How long changes gather before they are sent: a folder that is being shared makes thousands a second.
pub const GATHER: Duration = Duration::from_millis(200);
/// Entries of past steps that are kept for peers that come back (4 bytes each: 1 MiB).
const MAX_LOG_ENTRIES: usize = 256 * 1024;
/// How often one peer may ask for the whole: it costs us up to 4 bytes for each word and content.
const WHOLES: Rate = Rate { per_second: 1, burst: 3 };

/// One step of our summary.
#[derive(Debug)]
struct Step {
    from: u64,
    changes: SummaryChanges,
}

/// What a peer sent cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absurd;

/// A peer's summary, and what it cost us.
#[derive(Debug)]
struct Peer {
    view: SummaryView,
    wholes: Budget,
}

/// Ours and theirs.
#[derive(Debug)]
pub struct Summaries {
    version: SummaryVersion,
    log: VecDeque<Step>,
    logged: usize,
    send_at: Option<Instant>,
    peers: BTreeMap<NodeId, Peer>,
}

impl Summaries {
    /// Empty; `epoch` tells this life from the ones before.
    pub fn new(epoch: u64) -> Self {
        Self {
            version: SummaryVersion { epoch, number: 0 },
            log: VecDeque::new(),
            logged: 0,
            send_at: None,
            peers: BTreeMap::new(),
        }
    }

    /// What we hold of a peer's.
    pub fn held_of(&self, node: NodeId) -> SummaryVersion {
        self.peers.get(&node).map(|peer| peer.view.version()).unwrap_or_default()
    }

    /// Whether that peer has to be asked.
    pub fn may_match(&self, node: NodeId, probe: &Probe) -> bool {
        self.peers.get(&node).is_none_or(|peer| peer.view.may_match(probe))
    }

    /// The index may have changed: send that soon.
    pub fn touch(&mut self, now: Instant) {
        self.send_at.get_or_insert(now + GATHER);
    }

    /// A peer has greeted us and holds this of ours: bring it up to date.
    pub fn on_hello(&mut self, from: NodeId, held: SummaryVersion, catalogue: &Catalogue, outbox: &mut Outbox) {
        self.peers.entry(from).or_insert_with(Peer::new);
        let oldest = self.log.front().map_or(self.version.number, |step| step.from);
        if held.epoch != self.version.epoch || held.number < oldest || held.number > self.version.number {
            self.send_whole(from, catalogue, outbox);
            return;
        }
        for step in self.log.iter().filter(|step| step.from >= held.number) {
            outbox.mesh(from, self.message(step));
        }
    }

    /// A part of a peer's whole summary.
    ///
    /// # Errors
    /// If it is larger than any summary.
    pub fn on_part(
        &mut self,
        from: NodeId,
        version: SummaryVersion,
        ends: (bool, bool),
        entries: &[SummaryEntry],
        outbox: &mut Outbox,
    ) -> Result<(), Absurd> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let outcome = peer.view.apply_part(version, ends, entries);
        recover(from, outcome, outbox)
    }

    /// A step of a peer's summary.
    ///
    /// # Errors
    /// If it makes it larger than any summary.
    pub fn on_change(
        &mut self,
        from: NodeId,
        version: SummaryVersion,
        (added, removed): (&[SummaryEntry], &[SummaryEntry]),
        outbox: &mut Outbox,
    ) -> Result<(), Absurd> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let outcome = peer.view.apply_change(version, added, removed);
        recover(from, outcome, outbox)
    }

    /// A peer could not apply a step.
    pub fn on_lost(&mut self, from: NodeId, now: Instant, catalogue: &Catalogue, outbox: &mut Outbox) {
        if self.peers.get_mut(&from).is_some_and(|peer| peer.wholes.take(now)) {
            self.send_whole(from, catalogue, outbox);
        }
    }

    /// Forgets a peer that is no supernode any more.
    pub fn forget(&mut self, node: NodeId) {
        self.peers.remove(&node);
    }

    /// Sends what has gathered to `members`.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        catalogue: &mut Catalogue,
        members: impl Iterator<Item = NodeId> + Clone,
        outbox: &mut Outbox,
    ) {
        if self.send_at.is_none_or(|at| at > now) {
            return;
        }
        self.send_at = None;
        loop {
            let changes = catalogue.take_changes(MAX_SUMMARY_ENTRIES);
            if changes.is_empty() {
                return;
            }
            let step = Step { from: self.version.number, changes };
            self.version.number += 1;
            for node in members.clone() {
                outbox.mesh(node, self.message(&step));
            }
            self.keep(step);
        }
    }

    /// When there is something to send.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.send_at
    }

    fn keep(&mut self, step: Step) {
        self.logged += step.len();
        self.log.push_back(step);
        while self.logged > MAX_LOG_ENTRIES {
            self.logged -= self.log.pop_front().map_or(0, |step| step.len());
        }
    }

    fn message(&self, step: &Step) -> Mesh {
        Mesh::SummaryChange {
            from: SummaryVersion { epoch: self.version.epoch, number: step.from },
            added: step.changes.added.clone(),
            removed: step.changes.removed.clone(),
        }
    }

    /// Changes that were not yet sent as a step are in the whole already; applied once more, they change nothing.
    fn send_whole(&self, to: NodeId, catalogue: &Catalogue, outbox: &mut Outbox) {
        let all: Vec<SummaryEntry> = catalogue.summary().all().collect();
        let mut parts = all.chunks(MAX_SUMMARY_ENTRIES).peekable();
        let mut first = true;
        loop {
            let entries = parts.next().unwrap_or_default().to_vec();
            let last = parts.peek().is_none();
            outbox.mesh(to, Mesh::SummaryPart { version: self.version, first, last, entries });
            if last {
                return;
            }
            first = false;
        }
    }
}

impl Step {
    fn len(&self) -> usize {
        self.changes.added.len() + self.changes.removed.len()
    }
}

impl Peer {
    fn new() -> Self {
        Self { view: SummaryView::default(), wholes: Budget::new(WHOLES) }
    }
}

fn recover(from: NodeId, outcome: Result<(), ViewError>, outbox: &mut Outbox) -> Result<(), Absurd> {
    match outcome {
        Ok(()) => Ok(()),
        Err(ViewError::OutOfStep) => {
            outbox.mesh(from, Mesh::SummaryLost);
            Ok(())
        }
        Err(ViewError::TooLarge) => Err(Absurd),
    }
}
