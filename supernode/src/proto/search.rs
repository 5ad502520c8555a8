//! Searches of this supernode's own children.
//!
//! The own index answers at once. Then members whose summary does not rule the query out are asked in waves (see
//! [`super::waves`]), near ones first, until `limit` different contents were found, nobody is left to ask, or the deadline has passed. Hits go to the
//! child as they come. A wave that is slow does not hold up the next one; a member that dies counts as not answered, and the summary
//! at the end says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nearmesh_common::{
    ContentHash, NodeId,
    wire::{
        home::{RequestId, ToChild},
        mesh::{Mesh, QueryId},
        query::{Hit, MAX_HITS_PER_MESSAGE, Query, SearchSummary, Subject},
    },
};

use super::{
    outbox::Outbox,
    waves::{self, Progress},
};

/// How long a search may take in all. Skype's took 3 to 15 s.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long a wave is waited for before the next one is sent beside it: 300 ms is a round trip around the world.
pub const WAVE_TIMEOUT: Duration = Duration::from_millis(300);
/// Searches of one child at a time (guess: a person's windows, a script's threads).
pub const MAX_PER_CHILD: usize = 16;
/// Searches at a time in all.
pub const MAX_SEARCHES: usize = 4096;
/// Hits of one content that a child is sent: more sources than a download starts with.
const MAX_HITS_PER_CONTENT: usize = 64;

/// Who asked what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asker {
    child: NodeId,
    id: RequestId,
}

#[derive(Debug)]
struct Search {
    asker: Asker,
    query: Query,
    /// Members that may have something and were not asked, the next one last.
    left: Vec<NodeId>,
    outstanding: BTreeSet<NodeId>,
    asked: usize,
    answered: usize,
    /// Contents found, with the nodes that have them.
    found: BTreeMap<ContentHash, BTreeSet<NodeId>>,
    /// How many of the contents were found here.
    own: usize,
    deadline: Instant,
    next_wave: Option<Instant>,
}

/// All searches under way.
#[derive(Debug)]
pub struct Searches {
    me: NodeId,
    next: u64,
    running: BTreeMap<u64, Search>,
}

impl Searches {
    /// None yet.
    pub fn new(me: NodeId) -> Self {
        Self { me, next: 0, running: BTreeMap::new() }
    }

    /// Whether this child may have one more.
    pub fn has_room(&self, child: NodeId) -> bool {
        let own = self.running.values().filter(|search| search.asker.child == child).count();
        own < MAX_PER_CHILD && self.running.len() < MAX_SEARCHES
    }

    /// Begins one: `own` is what the own index has, `members` those that may have something, the best one first.
    pub fn start(
        &mut self,
        (child, id): (NodeId, RequestId),
        query: Query,
        own: Vec<Hit>,
        members: Vec<NodeId>,
        (now, outbox): (Instant, &mut Outbox),
    ) {
        let mut search = Search {
            asker: Asker { child, id },
            query,
            left: members.into_iter().rev().collect(),
            outstanding: BTreeSet::new(),
            asked: 0,
            answered: 0,
            found: BTreeMap::new(),
            own: 0,
            deadline: now + DEADLINE,
            next_wave: None,
        };
        search.take(own, outbox);
        search.own = search.found.len();
        let number = self.next;
        self.next += 1;
        self.running.insert(number, search);
        self.advance(number, now, outbox);
    }

    /// A member answers. Says whether it had been asked.
    pub fn on_answer(
        &mut self,
        from: NodeId,
        id: QueryId,
        (hits, more): (Vec<Hit>, bool),
        (now, outbox): (Instant, &mut Outbox),
    ) -> bool {
        if id.origin != self.me {
            return false;
        }
        // An answer that comes after the end of its search is late, not a lie.
        let Some(search) = self.running.get_mut(&id.number) else { return id.number < self.next };
        if !search.outstanding.contains(&from) {
            return false;
        }
        search.take(hits, outbox);
        if !more {
            search.outstanding.remove(&from);
            search.answered += 1;
        }
        self.advance(id.number, now, outbox);
        true
    }

    /// A child has had enough of one.
    pub fn cancel(&mut self, child: NodeId, id: RequestId, outbox: &mut Outbox) {
        let asker = Asker { child, id };
        self.end_where(|search| search.asker == asker, outbox);
    }

    /// A child is gone.
    pub fn on_child_gone(&mut self, child: NodeId, outbox: &mut Outbox) {
        self.end_where(|search| search.asker.child == child, outbox);
    }

    /// A member is gone: it will not answer.
    pub fn on_member_lost(&mut self, node: NodeId, now: Instant, outbox: &mut Outbox) {
        let mut concerned = Vec::new();
        for (number, search) in &mut self.running {
            search.left.retain(|left| *left != node);
            if search.outstanding.remove(&node) {
                concerned.push(*number);
            }
        }
        for number in concerned {
            self.advance(number, now, outbox);
        }
    }

    /// Sends waves whose time has come, ends searches whose time is over.
    pub fn handle_timeout(&mut self, now: Instant, outbox: &mut Outbox) {
        let due = |search: &Search| search.due() <= now;
        let numbers: Vec<u64> =
            self.running.iter().filter(|(_, search)| due(search)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.advance(number, now, outbox);
        }
    }

    /// When a wave or an end is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.running.values().map(Search::due).min()
    }

    /// Takes the next step of a search: end it, send a wave, or wait.
    fn advance(&mut self, number: u64, now: Instant, outbox: &mut Outbox) {
        let Some(search) = self.running.get_mut(&number) else { return };
        let exhausted = search.left.is_empty() && search.outstanding.is_empty();
        if search.missing() == 0 || exhausted || search.deadline <= now {
            self.end(number, outbox);
            return;
        }
        let wave_is_over = search.outstanding.is_empty() || search.next_wave.is_some_and(|at| at <= now);
        if wave_is_over {
            let id = QueryId { origin: self.me, number };
            search.send_wave(id, now, outbox);
        }
    }

    fn end(&mut self, number: u64, outbox: &mut Outbox) {
        let Some(search) = self.running.remove(&number) else { return };
        search.cancel_outstanding(QueryId { origin: self.me, number }, outbox);
        let Asker { child, id } = search.asker;
        outbox.child(child, ToChild::SearchDone { id, summary: search.summary() });
    }

    fn end_where(&mut self, concerned: impl Fn(&Search) -> bool, outbox: &mut Outbox) {
        let me = self.me;
        self.running.retain(|number, search| {
            let ends = concerned(search);
            if ends {
                search.cancel_outstanding(QueryId { origin: me, number: *number }, outbox);
            }
            !ends
        });
    }
}

impl Search {
    /// How many more contents are wanted; where one content is searched for, how many more sources of it.
    fn missing(&self) -> usize {
        match self.query.subject {
            Subject::Words(_) => (self.query.limit as usize).saturating_sub(self.found.len()),
            Subject::Content(hash) => {
                MAX_HITS_PER_CONTENT - self.found.get(&hash).map_or(0, |nodes| nodes.len())
            }
        }
    }

    fn due(&self) -> Instant {
        self.next_wave.map_or(self.deadline, |wave| wave.min(self.deadline))
    }

    /// Passes on the hits that are news to the child, within the limit.
    fn take(&mut self, hits: Vec<Hit>, outbox: &mut Outbox) {
        let mut fresh = Vec::new();
        for hit in hits {
            if !self.query.filter.admits(hit.size, hit.kind) {
                continue;
            }
            let missing = self.missing();
            let Some(nodes) = self.nodes_with(hit.hash, missing > 0) else { continue };
            if nodes.len() < MAX_HITS_PER_CONTENT && nodes.insert(hit.source.node) {
                fresh.push(hit);
            }
        }
        let Asker { child, id } = self.asker;
        for hits in fresh.chunks(MAX_HITS_PER_MESSAGE) {
            outbox.child(child, ToChild::Hits { id, hits: hits.to_vec() });
        }
    }

    fn nodes_with(&mut self, hash: ContentHash, room: bool) -> Option<&mut BTreeSet<NodeId>> {
        if room { Some(self.found.entry(hash).or_default()) } else { self.found.get_mut(&hash) }
    }

    fn send_wave(&mut self, id: QueryId, now: Instant, outbox: &mut Outbox) {
        let progress = Progress {
            asked: self.asked,
            brought: self.found.len() - self.own.min(self.found.len()),
            missing: self.missing(),
            left: self.left.len(),
        };
        let deadline_ms = u32::try_from(self.deadline.saturating_duration_since(now).as_millis()).unwrap_or(u32::MAX);
        for _ in 0..waves::next_wave(progress) {
            let Some(node) = self.left.pop() else { break };
            outbox.mesh(node, Mesh::Query { id, query: self.query.clone(), hops: 0, deadline_ms });
            self.outstanding.insert(node);
            self.asked += 1;
        }
        self.next_wave = (!self.left.is_empty()).then_some(now + WAVE_TIMEOUT);
    }

    fn cancel_outstanding(&self, id: QueryId, outbox: &mut Outbox) {
        for node in &self.outstanding {
            outbox.mesh(*node, Mesh::Cancel(id));
        }
    }

    fn summary(&self) -> SearchSummary {
        let count = |members: usize| u32::try_from(members + 1).unwrap_or(u32::MAX);
        SearchSummary {
            asked: count(self.asked),
            answered: count(self.answered),
            limit_reached: self.missing() == 0,
        }
    }
}
