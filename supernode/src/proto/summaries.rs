//! Telling other supernodes what is worth asking here, and knowing the same of them.
//!
//! Changes are gathered for a moment, numbered, and sent to every member that holds the version before. A member that comes
//! back and still holds a version that our log reaches gets the changes since; any other gets the whole, in parts, a few at a
//! time, and then the changes that were made meanwhile. Who could not apply a change says so, and gets the whole.
//!
//! Invariant: a member whose summary we do not hold in full is asked everything: a lost message costs a
//! question in vain, never a result.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::mesh::{MAX_SUMMARY_ENTRIES, Mesh, SummaryEntry, SummaryVersion},
};

use super::{CloseReason, budget::Charge, membership::MAX_MEMBERS, world::World};
use crate::{
    index::Catalogue,
    summary::{Probe, SummaryChanges, SummaryView, ViewError},
};

/// How long changes are gathered (guess: a fifth of what a person calls at once).
const GATHER: Duration = Duration::from_millis(200);
/// How long between two parts of a whole: with 64 Ki entries of 5 bytes, 16 MB/s for each member.
const PART_EVERY: Duration = Duration::from_millis(20);
/// Entries in the log of changes: 4 MB, a link's absence of minutes in a busy net (guess).
const MAX_LOGGED: usize = 1 << 20;
/// Changes in the log: 200 ms each for a quarter of an hour.
const MAX_LOG: usize = 4096;
/// How long until a whole is sent to somebody who wanted it too often.
const RETRY_WHOLE: Duration = Duration::from_secs(2);

/// Our summary's versions, and the views of the others'.
#[derive(Debug)]
pub(super) struct Summaries {
    version: SummaryVersion,
    /// What led to `version`, the last at the end.
    log: VecDeque<SummaryChanges>,
    logged: usize,
    followers: BTreeMap<NodeId, Follower>,
    /// When those who get the whole get their next part.
    sending: BTreeSet<(Instant, NodeId)>,
    views: BTreeMap<NodeId, View>,
    gather_until: Option<Instant>,
}

#[derive(Debug)]
enum Follower {
    /// Holds the present version.
    InStep,
    /// Gets the whole: entries from `next` on are still to be sent.
    Sending { version: SummaryVersion, next: SummaryEntry, first: bool, at: Instant },
}

#[derive(Debug, Default)]
struct View {
    held: SummaryView,
    /// We said that it is lost, and wait for the whole.
    lost: bool,
    linked: bool,
}

impl Summaries {
    /// A new life, with an epoch that no earlier one had.
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            version: SummaryVersion { epoch, number: 0 },
            log: VecDeque::new(),
            logged: 0,
            followers: BTreeMap::new(),
            sending: BTreeSet::new(),
            views: BTreeMap::new(),
            gather_until: None,
        }
    }

    /// What we still hold of a peer's summary.
    pub(super) fn held_of(&self, node: &NodeId) -> SummaryVersion {
        self.views.get(node).map(|view| view.held.version()).unwrap_or_default()
    }

    /// Whether a member may have something that matches.
    pub(super) fn may_match(&self, node: &NodeId, probe: &Probe) -> bool {
        self.views.get(node).is_none_or(|view| view.held.may_match(probe))
    }

    /// Our index changed.
    pub(super) fn handle_changed(&mut self, world: &World) {
        self.gather_until.get_or_insert(world.now.instant + GATHER);
    }

    /// A member said hello and what it holds of ours.
    pub(super) fn on_hello(
        &mut self,
        from: NodeId,
        holds: SummaryVersion,
        catalogue: &mut Catalogue,
        world: &mut World,
    ) {
        self.view_of(from);
        self.take_changes(catalogue, world);
        if self.send_since(from, holds, world) {
            self.set_follower(from, Follower::InStep);
        } else {
            self.send_whole(from, catalogue, world);
        }
    }

    /// A member lost what it held of ours.
    pub(super) fn on_lost(&mut self, from: NodeId, catalogue: &mut Catalogue, world: &mut World) {
        if !self.followers.contains_key(&from) {
            return world.strange(&from, "a summary lost by a stranger");
        }
        self.take_changes(catalogue, world);
        self.send_whole(from, catalogue, world);
    }

    /// A member is gone. Its view stays, in case it comes back.
    pub(super) fn handle_member_lost(&mut self, node: &NodeId) {
        self.forget_follower(node);
        if let Some(view) = self.views.get_mut(node) {
            view.linked = false;
            view.lost = false;
        }
    }

    /// Whether a member is told of changes.
    pub(super) fn is_told(&self, node: &NodeId) -> bool {
        self.followers.contains_key(node)
    }

    /// Only these are told any more, and only their summaries are held.
    pub(super) fn retain(&mut self, stays: impl Fn(&NodeId) -> bool) {
        let gone: Vec<_> = self.followers.keys().filter(|node| !stays(node)).copied().collect();
        gone.iter().for_each(|node| self.forget_follower(node));
        self.views.retain(|node, _| stays(node));
    }

    /// A part of a member's whole summary. Who is no mate of ours may see the net divided otherwise already.
    pub(super) fn on_part(
        &mut self,
        from: NodeId,
        version: SummaryVersion,
        ends: (bool, bool),
        entries: &[SummaryEntry],
        world: &mut World,
    ) {
        let view = self.view_of(from);
        view.lost &= !ends.0;
        let outcome = view.held.apply_part(version, ends, entries);
        view.settle(from, outcome, world);
    }

    /// A member's summary changed.
    pub(super) fn on_change(
        &mut self,
        from: NodeId,
        version: SummaryVersion,
        added: &[SummaryEntry],
        removed: &[SummaryEntry],
        world: &mut World,
    ) {
        let Some(view) = self.views.get_mut(&from).filter(|view| view.linked) else {
            return world.strange(&from, "a summary of a stranger");
        };
        let outcome = view.held.apply_change(version, added, removed);
        view.settle(from, outcome, world);
    }

    /// Sends what is due.
    pub(super) fn handle_timeout(&mut self, catalogue: &mut Catalogue, world: &mut World) {
        let now = world.now.instant;
        if self.gather_until.is_some_and(|until| until <= now) {
            self.take_changes(catalogue, world);
        }
        let due = self.sending.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<_> = due.map(|(_, node)| *node).collect();
        if !due.is_empty() {
            self.take_changes(catalogue, world);
        }
        due.into_iter().for_each(|node| self.send_part(node, catalogue, world));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.sending.first().map(|(at, _)| *at).into_iter().chain(self.gather_until).min()
    }

    /// Numbers all changes that were not told yet, and tells those who are in step.
    ///
    /// This comes before any part of a whole: an entry that was removed, is absent from a part, and is added
    /// again before its removal was numbered would never be told.
    fn take_changes(&mut self, catalogue: &mut Catalogue, world: &mut World) {
        self.gather_until = None;
        loop {
            let changes = catalogue.take_changes(MAX_SUMMARY_ENTRIES);
            if changes.is_empty() {
                return;
            }
            let in_step = self.followers.iter().filter(|(_, follower)| matches!(follower, Follower::InStep));
            for (node, _) in in_step {
                world.tell_mesh(*node, change(self.version, &changes));
            }
            self.version.number += 1;
            self.logged += changes.added.len() + changes.removed.len();
            self.log.push_back(changes);
            while self.logged > MAX_LOGGED || self.log.len() > MAX_LOG {
                let Some(oldest) = self.log.pop_front() else { break };
                self.logged -= oldest.added.len() + oldest.removed.len();
            }
        }
    }

    /// Sends the changes since `holds`, if the log has them all.
    fn send_since(&self, to: NodeId, holds: SummaryVersion, world: &mut World) -> bool {
        let behind = self.version.number.checked_sub(holds.number);
        let Some(behind) = behind.and_then(|behind| usize::try_from(behind).ok()) else { return false };
        if holds.epoch != self.version.epoch || behind > self.log.len() {
            return false;
        }
        let mut from = holds;
        for changes in self.log.range(self.log.len() - behind..) {
            world.tell_mesh(to, change(from, changes));
            from.number += 1;
        }
        true
    }

    fn send_whole(&mut self, to: NodeId, catalogue: &Catalogue, world: &mut World) {
        let now = world.now.instant;
        let in_budget = world.charge(&to, Charge::Summary, 1);
        let at = if in_budget { now } else { now + RETRY_WHOLE };
        let sending = Follower::Sending { version: self.version, next: 0, first: true, at };
        self.set_follower(to, sending);
        if in_budget {
            self.send_part(to, catalogue, world);
        }
    }

    fn send_part(&mut self, to: NodeId, catalogue: &Catalogue, world: &mut World) {
        let Some(Follower::Sending { version, next, first, .. }) = self.followers.get(&to) else { return };
        let (mut version, mut next, mut first) = (*version, *next, *first);
        if !first && self.version.number - version.number > self.log.len() as u64 {
            // The log no longer reaches back to the first part: begin again.
            (version, next, first) = (self.version, 0, true);
        }
        if first {
            version = self.version;
        }
        let mut rest = catalogue.summary().all_from(next);
        let entries: Vec<_> = rest.by_ref().take(MAX_SUMMARY_ENTRIES).collect();
        let following = rest.next();
        world.tell_mesh(to, Mesh::SummaryPart { version, first, last: following.is_none(), entries });
        let follower = match following {
            Some(next) => {
                Follower::Sending { version, next, first: false, at: world.now.instant + PART_EVERY }
            }
            None => {
                self.send_since(to, version, world);
                Follower::InStep
            }
        };
        self.set_follower(to, follower);
    }

    fn set_follower(&mut self, node: NodeId, follower: Follower) {
        self.forget_follower(&node);
        if let Follower::Sending { at, .. } = follower {
            self.sending.insert((at, node));
        }
        self.followers.insert(node, follower);
    }

    fn forget_follower(&mut self, node: &NodeId) {
        if let Some(Follower::Sending { at, .. }) = self.followers.remove(node) {
            self.sending.remove(&(at, *node));
        }
    }

    fn view_of(&mut self, node: NodeId) -> &mut View {
        self.make_room_for(node);
        let view = self.views.entry(node).or_default();
        view.linked = true;
        view
    }

    fn make_room_for(&mut self, node: NodeId) {
        if self.views.len() >= MAX_MEMBERS && !self.views.contains_key(&node) {
            let absent = self.views.iter().find(|(_, view)| !view.linked).map(|(node, _)| *node);
            absent.and_then(|absent| self.views.remove(&absent));
        }
    }
}

impl View {
    fn settle(&mut self, from: NodeId, outcome: Result<(), ViewError>, world: &mut World) {
        match outcome {
            Ok(()) => {}
            Err(ViewError::TooLarge) => world.close(from, CloseReason::Misbehaved),
            // Said once: what was on its way before the whole is out of step, too.
            Err(ViewError::OutOfStep) if self.lost => {}
            Err(ViewError::OutOfStep) => {
                self.lost = true;
                world.counters.summaries_lost += 1;
                world.tell_mesh(from, Mesh::SummaryLost);
            }
        }
    }
}

fn change(from: SummaryVersion, changes: &SummaryChanges) -> Mesh {
    Mesh::SummaryChange { from, added: changes.added.clone(), removed: changes.removed.clone() }
}
