//! The nodes that are registered here.
//!
//! A node says `Attach` with a presence that names this supernode as its home. It is told how much of its journal is still
//! held: all of it, if its link only broke and it is back within [`GRACE`]; meanwhile its files are kept but not found. A full supernode answers with
//! alternatives; only when no supernode of the net has room does it take more than its capacity, up to [`OVERFLOW`]: somebody
//! must.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, UserName,
    presence::{MAX_ADDRESSES, Presence},
    signed::Verified,
    wire::{
        file::{Change, JournalMark},
        query::Source,
    },
};

use super::budget::{Budget, Rate};
use crate::index::{Catalogue, ChildId};

/// How long the registration of a child whose link broke is kept for its return: a router's restart takes about so long.
pub const GRACE: Duration = Duration::from_secs(60);
/// Beyond its capacity by so much, as a divisor: a quarter more, when nobody else has room (guess).
pub const OVERFLOW: u32 = 4;
/// Files that one child may register (guess: a large music collection, ten times).
pub const MAX_FILES: u32 = 500_000;
/// Questions of one child: a person asks once in a while, a script in bursts (guess; FastTrack disconnected "excessive" searchers).
const QUESTIONS: Rate = Rate { per_second: 20, burst: 200 };

/// A node that is, or was a moment ago, attached.
#[derive(Debug)]
pub struct Child {
    /// Its number in the catalogue.
    pub id: ChildId,
    /// Its newest presence.
    pub presence: Verified<Presence>,
    /// Where its packets come from.
    observed: SocketAddr,
    /// How much of its journal is held.
    journal: JournalMark,
    files: u32,
    /// When it is forgotten, if its link is down.
    away_until: Option<Instant>,
    questions: Budget,
}

/// What became of an `Attach`.
#[derive(Debug, PartialEq, Eq)]
pub enum Attach {
    /// Attached; this much of its journal is held.
    Attached(JournalMark),
    /// The presence is older than one that was seen.
    Replayed,
    /// There is no room.
    Full,
}

/// All children.
#[derive(Debug)]
pub struct Children {
    capacity: u32,
    nodes: BTreeMap<NodeId, Child>,
    by_id: BTreeMap<ChildId, NodeId>,
    next: u32,
}

impl Children {
    /// None yet.
    pub fn new(capacity: u32) -> Self {
        Self { capacity, nodes: BTreeMap::new(), by_id: BTreeMap::new(), next: 0 }
    }

    /// How many are attached now.
    pub fn attached(&self) -> usize {
        self.nodes.values().filter(|child| child.away_until.is_none()).count()
    }

    /// A child that is attached now.
    pub fn get(&self, node: NodeId) -> Option<&Child> {
        self.nodes.get(&node).filter(|child| child.away_until.is_none())
    }

    /// All that are attached now.
    pub fn iter(&self) -> impl Iterator<Item = &Child> {
        self.nodes.values().filter(|child| child.away_until.is_none())
    }

    /// Takes a node, or takes it back. `must` is set where nobody else has room either.
    pub fn attach(
        &mut self,
        presence: Verified<Presence>,
        (observed, must): (SocketAddr, bool),
        journal: JournalMark,
        catalogue: &mut Catalogue,
    ) -> Attach {
        let node = presence.signer.node;
        if let Some(child) = self.nodes.get_mut(&node) {
            if presence.content.sequence <= child.presence.content.sequence {
                return Attach::Replayed;
            }
            child.presence = presence;
            child.observed = observed;
            child.away_until = None;
            catalogue.unhide(child.id);
            if child.journal.epoch != journal.epoch || child.journal.revision > journal.revision {
                catalogue.drop_child(child.id);
                child.journal = JournalMark { epoch: journal.epoch, revision: 0 };
                child.files = 0;
            }
            return Attach::Attached(child.journal);
        }
        let room = if must { self.capacity + self.capacity / OVERFLOW } else { self.capacity };
        if self.attached() >= room as usize {
            return Attach::Full;
        }
        let id = ChildId(self.next);
        self.next = self.next.wrapping_add(1);
        let held = JournalMark { epoch: journal.epoch, revision: 0 };
        self.by_id.insert(id, node);
        let questions = Budget::new(QUESTIONS);
        let child = Child { id, presence, observed, journal: held, files: 0, away_until: None, questions };
        self.nodes.insert(node, child);
        Attach::Attached(held)
    }

    /// Takes a newer presence of a child; says whether it was one.
    pub fn refresh(&mut self, presence: Verified<Presence>) -> bool {
        let Some(child) = self.nodes.get_mut(&presence.signer.node) else { return false };
        let newer = presence.content.sequence > child.presence.content.sequence;
        if newer {
            child.presence = presence;
        }
        newer
    }

    /// Takes changes of a child's journal, if they follow on what is held; gives what is held then.
    pub fn publish(
        &mut self,
        node: NodeId,
        (after, upto): (JournalMark, u64),
        changes: &[Change],
        catalogue: &mut Catalogue,
    ) -> Option<JournalMark> {
        let child = self.nodes.get_mut(&node)?;
        // A journal that begins anew says so by continuing from nothing.
        if after.revision == 0 && after.epoch != child.journal.epoch {
            catalogue.drop_child(child.id);
            (child.journal, child.files) = (after, 0);
        }
        if after == child.journal && upto >= after.revision {
            for change in changes {
                child.apply(change, catalogue);
            }
            child.journal.revision = upto;
        }
        Some(child.journal)
    }

    /// Whether a child may ask one more question now.
    pub fn may_ask(&mut self, node: NodeId, now: Instant) -> bool {
        self.nodes.get_mut(&node).is_some_and(|child| child.questions.take(now))
    }

    /// A child's link is gone: it is away. Gives its user, if it was attached.
    pub fn away(&mut self, node: NodeId, now: Instant, catalogue: &mut Catalogue) -> Option<UserName> {
        let child = self.nodes.get_mut(&node).filter(|child| child.away_until.is_none())?;
        child.away_until = Some(now + GRACE);
        catalogue.hide(child.id);
        Some(child.presence.signer.user.clone())
    }

    /// A child leaves for good.
    pub fn forget(&mut self, node: NodeId, catalogue: &mut Catalogue) {
        if let Some(child) = self.nodes.remove(&node) {
            self.by_id.remove(&child.id);
            catalogue.drop_child(child.id);
        }
    }

    /// Forgets those who did not come back; says whether there were any.
    pub fn handle_timeout(&mut self, now: Instant, catalogue: &mut Catalogue) -> bool {
        let late = |child: &Child| child.away_until.is_some_and(|until| until <= now);
        let gone: Vec<NodeId> =
            self.nodes.iter().filter(|(_, child)| late(child)).map(|(node, _)| *node).collect();
        for node in &gone {
            self.forget(*node, catalogue);
        }
        !gone.is_empty()
    }

    /// When the next one is forgotten.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.nodes.values().filter_map(|child| child.away_until).min()
    }

    /// The child with this number, as a source of files.
    pub fn source(&self, id: ChildId) -> Option<Source> {
        self.get(*self.by_id.get(&id)?).map(Child::source)
    }
}

impl Child {
    fn apply(&mut self, change: &Change, catalogue: &mut Catalogue) {
        match change {
            Change::Add(entry) => {
                let replaced = catalogue.remove(self.id, entry.number);
                if replaced || self.files < MAX_FILES {
                    catalogue.add(self.id, entry);
                    self.files += u32::from(!replaced);
                }
            }
            Change::Remove(number) => {
                self.files -= u32::from(catalogue.remove(self.id, *number));
            }
        }
    }

    fn source(&self) -> Source {
        let presence = &self.presence.content;
        let mut addresses = presence.addresses.clone();
        if !addresses.contains(&self.observed) && addresses.len() < MAX_ADDRESSES {
            addresses.push(self.observed);
        }
        Source { user: self.presence.signer.user.clone(), node: presence.node, addresses: addresses.into() }
    }
}
