//! All supernodes that we know of, in the orders in which they are asked for.
//!
//! Invariant: who is a member, who is dialled when, and when a record expires stand in ordered sets beside the table, so that no event
//! and no timeout looks at all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Instant,
};

use nearmesh_common::{
    NodeId, UnixMillis,
    signed::Verified,
    supernode_record::{MAX_GROUP_BITS, SupernodeRecord},
    wire::mesh::digest_of,
};

use super::{
    estimate::Claim,
    known::{Dial, Known, Stage},
};

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    known: BTreeMap<NodeId, Known>,
    members: BTreeSet<NodeId>,
    /// The ids of our own group, and what the members among them are mixed to.
    own: RangeInclusive<NodeId>,
    mates: u64,
    /// Who is dialled for the first time, and who again.
    first: BTreeSet<(Instant, NodeId)>,
    again: BTreeSet<(Instant, NodeId)>,
    dialling: BTreeSet<(Instant, NodeId)>,
    /// Of those that are dialled, how many again.
    dialling_again: usize,
    expiries: BTreeSet<(UnixMillis, NodeId)>,
    /// How many members say how many bits.
    votes: [u16; MAX_GROUP_BITS as usize + 1],
}

impl Table {
    /// Nobody is known; the ids of our own group are these.
    pub(super) fn new(own: RangeInclusive<NodeId>) -> Self {
        Self {
            known: BTreeMap::new(),
            members: BTreeSet::new(),
            own,
            mates: 0,
            first: BTreeSet::new(),
            again: BTreeSet::new(),
            dialling: BTreeSet::new(),
            dialling_again: 0,
            expiries: BTreeSet::new(),
            votes: [0; MAX_GROUP_BITS as usize + 1],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Known> {
        self.known.get(node)
    }

    /// For what does not decide where it stands: use [`Self::set_stage`] and [`Self::set_record`] for that.
    pub(super) fn get_mut(&mut self, node: &NodeId) -> Option<&mut Known> {
        self.known.get_mut(node)
    }

    pub(super) fn is_member(&self, node: &NodeId) -> bool {
        self.members.contains(node)
    }

    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone {
        self.members.iter().copied()
    }

    /// From now on these are the ids of our own group.
    pub(super) fn set_own(&mut self, ids: RangeInclusive<NodeId>) {
        self.mates = self.members_in(ids.clone()).fold(0, |mixed, mate| mixed ^ digest_of(&mate));
        self.own = ids;
    }

    /// What the members of our own group are mixed to: the same for all who see the same.
    pub(super) fn mates_digest(&self) -> u64 {
        self.mates
    }

    pub(super) fn members_in(
        &self,
        ids: RangeInclusive<NodeId>,
    ) -> impl DoubleEndedIterator<Item = NodeId> + Clone {
        self.members.range(ids).copied()
    }

    /// What we know of the members in this part, in one walk.
    pub(super) fn known_members(&self, ids: RangeInclusive<NodeId>) -> impl Iterator<Item = &Known> {
        self.known.range(ids).map(|(_, known)| known).filter(|known| known.is_member())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&NodeId, &Known)> {
        self.known.iter()
    }

    pub(super) fn all_in(&self, ids: RangeInclusive<NodeId>) -> impl Iterator<Item = (&NodeId, &Known)> {
        self.known.range(ids)
    }

    /// How many dials are under way, and how many of them to somebody who failed before.
    pub(super) fn dialling(&self) -> (usize, usize) {
        (self.dialling.len(), self.dialling_again)
    }

    /// How many bits more than half of the members see.
    pub(super) fn majority(&self) -> Option<u8> {
        let most = (0..=MAX_GROUP_BITS).max_by_key(|bits| self.votes[usize::from(*bits)])?;
        (usize::from(self.votes[usize::from(most)]) * 2 > self.members.len()).then_some(most)
    }

    pub(super) fn insert(&mut self, node: NodeId, known: Known) {
        self.remove(&node);
        let stage = known.stage;
        self.known.insert(node, known);
        self.enter(node, stage);
    }

    pub(super) fn remove(&mut self, node: &NodeId) -> Option<Known> {
        let known = self.known.get(node)?;
        let (stage, expires) = (known.stage, known.expires());
        self.leave(*node, stage);
        expires.map(|expires| self.expiries.remove(&(expires, *node)));
        self.known.remove(node)
    }

    pub(super) fn set_stage(&mut self, node: &NodeId, stage: Stage) {
        let Some(before) = self.known.get(node).map(|known| known.stage) else { return };
        self.leave(*node, before);
        if let Some(known) = self.known.get_mut(node) {
            known.stage = stage;
            known.greeted &= !known.is_resting();
        }
        self.enter(*node, stage);
    }

    pub(super) fn set_record(&mut self, record: Verified<SupernodeRecord>) {
        let node = record.content.node;
        self.vote(&node, false);
        let Some(known) = self.known.get_mut(&node) else { return };
        let before = known.expires();
        known.set_record(record);
        let after = known.expires();
        before.map(|before| self.expiries.remove(&(before, node)));
        after.map(|after| self.expiries.insert((after, node)));
        self.vote(&node, true);
    }

    /// Its record is no longer believed.
    pub(super) fn take_record(&mut self, node: &NodeId) -> Option<Verified<SupernodeRecord>> {
        self.vote(node, false);
        let known = self.known.get_mut(node)?;
        let before = known.expires();
        let record = known.take_record();
        before.map(|before| self.expiries.remove(&(before, *node)));
        record
    }

    /// Whose record expires first, and when.
    pub(super) fn first_expiry(&self) -> Option<(UnixMillis, NodeId)> {
        self.expiries.first().copied()
    }

    /// Whose dial is over first, and when.
    pub(super) fn first_overdue(&self) -> Option<(Instant, NodeId)> {
        self.dialling.first().copied()
    }

    /// Who is dialled next, and when: for the first time, or again.
    pub(super) fn next_resting(&self, again: bool) -> Option<(Instant, NodeId)> {
        if again { &self.again } else { &self.first }.first().copied()
    }

    fn enter(&mut self, node: NodeId, stage: Stage) {
        match stage {
            Stage::Resting { at, dial: Dial::First } => drop(self.first.insert((at, node))),
            Stage::Resting { at, dial: Dial::Again } => drop(self.again.insert((at, node))),
            Stage::Resting { dial: Dial::OnNeed, .. } => {}
            Stage::Dialling { until, again } => {
                self.dialling.insert((until, node));
                self.dialling_again += usize::from(again);
            }
            Stage::Member { .. } => {
                self.members.insert(node);
                self.mix(&node);
                self.vote(&node, true);
            }
        }
    }

    fn leave(&mut self, node: NodeId, stage: Stage) {
        match stage {
            Stage::Resting { at, dial: Dial::First } => drop(self.first.remove(&(at, node))),
            Stage::Resting { at, dial: Dial::Again } => drop(self.again.remove(&(at, node))),
            Stage::Resting { dial: Dial::OnNeed, .. } => {}
            Stage::Dialling { until, again } => {
                self.dialling.remove(&(until, node));
                self.dialling_again -= usize::from(again);
            }
            Stage::Member { .. } => {
                self.vote(&node, false);
                self.mix(&node);
                self.members.remove(&node);
            }
        }
    }

    /// It becomes a member, or is one no more.
    fn mix(&mut self, node: &NodeId) {
        if self.own.contains(node) {
            self.mates ^= digest_of(node);
        }
    }

    fn vote(&mut self, node: &NodeId, counts: bool) {
        let known = self.known.get(node).filter(|known| known.is_member());
        let Some(Claim { bits, .. }) = known.and_then(Known::claim) else { return };
        let votes = &mut self.votes[usize::from(bits.min(MAX_GROUP_BITS))];
        *votes = if counts { votes.saturating_add(1) } else { votes.saturating_sub(1) };
    }
}
