//! The searches of our own children.
//!
//! What our own children have is shown at once. Then the members whose summary has all the words are asked, wave by wave
//! ([`super::waves`]); results go to the child as they come, no file of one node twice. A search ends when enough was found, when
//! everybody answered, or at its deadline; and it says how many were asked and how many answered.
//!
//! How much is enough is counted in different contents. Who asks for one content with room for more gets every source of it, up to
//! the bound on a search.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nearmesh_common::{
    ContentHash, NodeId,
    wire::{
        home::{RequestId, ToChild},
        mesh::{Mesh, QueryId},
        query::{Hit, MAX_RESULTS, Query, SearchSummary, Subject},
    },
};

use super::{batches, waves::Plan, world::World};
use crate::index::MAX_SOURCES;

/// How long a search may take; a node waits longer.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long a wave is waited for before the next one goes (guess: a round trip around the world, and some work).
pub(super) const WAVE_WAIT: Duration = Duration::from_millis(500);
/// Searches at the same time, of all children (guess: 300 children with a dozen each).
const MAX_SEARCHES: usize = 4096;
/// Results of one search: each content with as many sources as one supernode tells, at most this many (100 kB of memory).
const MAX_HITS: usize = 10_000;

/// All searches under way.
#[derive(Debug, Default)]
pub(super) struct Searches {
    running: BTreeMap<u64, Search>,
    last: u64,
}

#[derive(Debug)]
struct Search {
    child: NodeId,
    id: RequestId,
    query: Query,
    plan: Plan,
    outstanding: BTreeSet<NodeId>,
    contents: BTreeSet<ContentHash>,
    shown: BTreeSet<(ContentHash, NodeId)>,
    asked: u32,
    answered: u32,
    wave_until: Instant,
    until: Instant,
}

impl Searches {
    /// How many searches a child has under way.
    pub(super) fn count_of(&self, child: &NodeId) -> usize {
        self.running.values().filter(|search| search.child == *child).count()
    }

    /// Whether one more can be begun, with this number of the child's.
    pub(super) fn has_room(&self, child: &NodeId, id: RequestId) -> bool {
        let taken = self.running.values().any(|search| search.child == *child && search.id == id);
        self.running.len() < MAX_SEARCHES && !taken
    }

    /// Begins a search with what our own children have.
    pub(super) fn begin(
        &mut self,
        (child, id): (NodeId, RequestId),
        query: Query,
        plan: Plan,
        local: Vec<Hit>,
        world: &mut World,
    ) {
        let now = world.now.instant;
        let mut search = Search {
            child,
            id,
            query,
            plan,
            outstanding: BTreeSet::new(),
            contents: BTreeSet::new(),
            shown: BTreeSet::new(),
            asked: 1,
            answered: 1,
            wave_until: now + WAVE_WAIT,
            until: now + DEADLINE,
        };
        search.show(local, world);
        // Numbers of an earlier life must not come again while others remember them.
        self.last = (self.last + 1).max(world.now.wall.0 << 16);
        self.running.insert(self.last, search);
        self.go_on(self.last, world);
    }

    /// A member answered.
    pub(super) fn on_answer(
        &mut self,
        from: NodeId,
        id: QueryId,
        hits: Vec<Hit>,
        more: bool,
        world: &mut World,
    ) {
        let asked = self.running.get_mut(&id.number).filter(|search| search.outstanding.contains(&from));
        // It may also be the answer to a search that has just ended.
        let Some(search) = asked.filter(|_| id.origin == world.own()) else {
            return world.strange(&from, "an answer that is not waited for");
        };
        search.show(hits, world);
        if !more {
            search.outstanding.remove(&from);
            search.answered += 1;
        }
        self.go_on(id.number, world);
    }

    /// A member is gone: it will not answer.
    pub(super) fn handle_member_lost(&mut self, node: &NodeId, world: &mut World) {
        let running: Vec<u64> = self.running.keys().copied().collect();
        for number in running {
            let Some(search) = self.running.get_mut(&number) else { continue };
            search.plan.remove(node);
            if search.outstanding.remove(node) {
                self.go_on(number, world);
            }
        }
    }

    /// The child has had enough of this one.
    pub(super) fn on_cancel(&mut self, child: NodeId, id: RequestId, world: &mut World) {
        let this = |search: &Search| search.child == child && search.id == id;
        self.stop_where(this, world);
    }

    /// The child is gone.
    pub(super) fn handle_child_lost(&mut self, child: &NodeId, world: &mut World) {
        self.stop_where(|search| search.child == *child, world);
    }

    /// Next waves, and the ends of those whose time is over.
    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        let due: Vec<u64> = self
            .running
            .iter()
            .filter(|(_, search)| search.due() <= world.now.instant)
            .map(|(number, _)| *number)
            .collect();
        due.into_iter().for_each(|number| self.go_on(number, world));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.running.values().map(Search::due).min()
    }

    /// Ends the search if it is over, asks the next wave if it is time.
    fn go_on(&mut self, number: u64, world: &mut World) {
        let Some(search) = self.running.get_mut(&number) else { return };
        let now = world.now.instant;
        if !search.has_enough() && search.until > now {
            if search.outstanding.is_empty() || search.wave_until <= now {
                search.ask_next_wave(number, world);
            }
            if !search.outstanding.is_empty() {
                return;
            }
        }
        let (child, id, summary) = (search.child, search.id, search.summary());
        self.stop(number, world);
        world.tell_child(child, ToChild::SearchDone { id, summary });
    }

    fn stop_where(&mut self, which: impl Fn(&Search) -> bool, world: &mut World) {
        let numbers: Vec<u64> =
            self.running.iter().filter(|(_, search)| which(search)).map(|(number, _)| *number).collect();
        numbers.into_iter().for_each(|number| self.stop(number, world));
    }

    fn stop(&mut self, number: u64, world: &mut World) {
        let Some(search) = self.running.remove(&number) else { return };
        let id = QueryId { origin: world.own(), number };
        search.outstanding.into_iter().for_each(|node| world.tell_mesh(node, Mesh::Cancel(id)));
    }
}

impl Search {
    fn limit(&self) -> usize {
        self.query.limit.min(MAX_RESULTS) as usize
    }

    fn has_enough(&self) -> bool {
        self.contents.len() >= self.limit() || self.shown.len() >= MAX_HITS
    }

    fn due(&self) -> Instant {
        if self.plan.is_done() { self.until } else { self.until.min(self.wave_until) }
    }

    fn summary(&self) -> SearchSummary {
        SearchSummary { asked: self.asked, answered: self.answered, limit_reached: self.has_enough() }
    }

    fn ask_next_wave(&mut self, number: u64, world: &mut World) {
        let wave = self.plan.next_wave(self.contents.len(), self.limit());
        self.wave_until = world.now.instant + WAVE_WAIT;
        let left = self.until.saturating_duration_since(world.now.instant);
        let query = Mesh::Query {
            id: QueryId { origin: world.own(), number },
            query: self.query.clone(),
            hops: 0,
            deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        };
        for node in wave {
            self.asked += 1;
            self.outstanding.insert(node);
            world.tell_mesh(node, query.clone());
        }
    }

    /// Shows the child what it has not seen yet, as far as it wants it.
    fn show(&mut self, mut hits: Vec<Hit>, world: &mut World) {
        hits.retain(|hit| self.takes(hit));
        for hits in batches::hits(hits) {
            world.tell_child(self.child, ToChild::Hits { id: self.id, hits });
        }
    }

    fn takes(&mut self, hit: &Hit) -> bool {
        let answers = self.query.filter.admits(hit.size, hit.kind)
            && match &self.query.subject {
                Subject::Words(_) => true,
                Subject::Content(hash) => *hash == hit.hash,
            };
        let wanted = self.contents.contains(&hit.hash) || self.contents.len() < self.limit();
        let takes = answers
            && wanted
            && self.shown.len() < MAX_HITS
            && self.shown.insert((hit.hash, hit.source.node));
        if takes {
            self.contents.insert(hit.hash);
        }
        takes
    }
}

// The most that one member tells in good faith is shown.
const _: () = assert!(MAX_RESULTS as usize * MAX_SOURCES <= MAX_HITS);
