//! Searches: of our own children in the whole net, and of other supernodes in a part of it.
//!
//! What our own children have is shown at once. Then others are asked, wave by wave ([`super::waves`]): members of our own group whose
//! summary has all the words, each for its own children; and one contact in each other group, which runs the same machine over its own
//! group. Results go to the asker as they come, no file of one node twice. A search ends when enough was
//! found, when everybody answered, or at its deadline; and it says how many were asked and how many answered. Who stops is told by the
//! asker, and tells those that it asked.
//!
//! A contact that has somebody to ask answers at once with what it has itself. From one that dies, or says nothing for three round trips, the
//! question goes to the next contact in that group.
//!
//! For one content, where there are groups, its holders are asked first who has it ([`super::offers`]); if one of those homes gives it that is all,
//! and else everybody is asked.
//!
//! How much is enough is counted in different contents; of words so popular that each content has several sources, two sources count as much
//! as one content. Who asks for one content with room for more gets every source of it, up to the bound on a search.
//!
//! # What it costs
//! In a net of N supernodes a search that finds nothing sends one query to each of sqrt(N) groups, and one to each supernode whose summary passes
//! by chance. What one query makes us send is at most one query to each member of our group, within the asker's budget for it.

mod asked;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use asked::Asked;
use nearmesh_common::{
    ContentHash, NodeId,
    wire::{
        home::{Decline, RequestId, ToChild},
        mesh::{Counts, MAX_HOPS, Mesh, Scope},
        query::{Hit, MAX_RESULTS, Query, SearchSummary, Subject},
    },
};
use rand::RngExt;

use super::{
    batches,
    membership::MAX_MEMBERS,
    schedule::Schedule,
    waves::{Plan, Target},
    world::World,
};
use crate::index::MAX_SOURCES;

/// How long a search may take; a node waits longer.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long a wave is waited for before the next one goes (guess: a round trip around the world, and some work).
pub(super) const WAVE_WAIT: Duration = Duration::from_millis(500);
/// Searches at the same time, of all children and other supernodes (guess: 300 children with a dozen each).
const MAX_SEARCHES: usize = 4096;
/// Results of one search: each content with as many sources as one supernode tells, at most this many (100 kB of memory).
const MAX_HITS: usize = 10_000;
/// So many sources of what words find count as one content: at the usual limit 100 end a search, a half of KaZaA's SearchResultsMax. Who wants more
/// sources of one content asks by its hash.
const SOURCES_PER_CONTENT: usize = 2;
/// A query's number: its search's, and its own among those of the search, in so many bits: more than there are groups and members of one.
const QUERY_BITS: u32 = 12;
/// Of the time that another supernode leaves us, the part after which we answer with what there is: four fifths.
const IN_TIME: (u32, u32) = (4, 5);

/// All searches under way.
#[derive(Debug, Default)]
pub(super) struct Searches {
    running: BTreeMap<u64, Search>,
    schedule: Schedule,
    last: u64,
}

/// Who is told what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A child, by its number.
    Child(NodeId, RequestId),
    /// Another supernode, by its number.
    Member {
        /// Which.
        node: NodeId,
        /// Its number.
        number: u64,
        /// How long it waits.
        patience: Duration,
        /// How often what we ask may be passed on.
        hops: u8,
    },
}

#[derive(Debug)]
struct Search {
    asker: Asker,
    query: Query,
    plan: Plan,
    outstanding: BTreeMap<u64, Asked>,
    sent: u64,
    contents: BTreeSet<ContentHash>,
    shown: BTreeSet<(ContentHash, NodeId)>,
    counts: Counts,
    wave_until: Instant,
    until: Instant,
    hints: Hints,
}

/// How far the holders of a content have helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hints {
    /// There are none, or none any more: the net is swept.
    None,
    /// They were asked.
    Awaited,
    /// The homes that they named were asked: if one of those has it, that is enough.
    Followed,
}

impl Searches {
    /// The first query's number is `first`: a link must not see one twice, even if we are forgotten and start anew.
    pub(super) fn new(world: &mut World) -> Self {
        Self { last: u64::from(world.rng.random::<u16>()), ..Self::default() }
    }

    /// How many searches a child has under way.
    pub(super) fn count_of(&self, child: &NodeId) -> usize {
        self.running.values().filter(|search| search.is_of(child)).count()
    }

    /// Whether one more can be begun.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < MAX_SEARCHES
    }

    /// Whether a child uses this number already.
    pub(super) fn is_taken(&self, child: &NodeId, id: RequestId) -> bool {
        self.running.values().any(|search| search.asker == Asker::Child(*child, id))
    }

    /// Begins a search with what our own children have. `unreachable` parts of the net are asked by nobody.
    pub(super) fn begin(
        &mut self,
        asker: Asker,
        query: Query,
        (plan, unreachable): (Plan, usize),
        local: Option<Vec<Hit>>,
        world: &mut World,
    ) {
        self.begin_with(asker, query, (plan, unreachable), (local, Hints::None), world);
    }

    /// Begins a search for a content, whose holders are asked who has it. Returns its number, for [`Self::on_sources`].
    pub(super) fn begin_with_hints(
        &mut self,
        asker: Asker,
        query: Query,
        plan: (Plan, usize),
        local: Vec<Hit>,
        world: &mut World,
    ) -> u64 {
        self.begin_with(asker, query, plan, (Some(local), Hints::Awaited), world);
        self.last
    }

    /// The holders of a content named these homes, each with those by whom it is reached.
    pub(super) fn on_sources(&mut self, number: u64, homes: Vec<(Scope, Vec<NodeId>)>, world: &mut World) {
        let Some(search) = self.running.get_mut(&number) else { return };
        search.hints = if homes.is_empty() { Hints::None } else { Hints::Followed };
        search.wave_until = world.now.instant + WAVE_WAIT;
        for (scope, contacts) in homes {
            search.counts.asked = search.counts.asked.saturating_add(1);
            search.ask(number, scope, contacts, world);
        }
        self.go_on(number, world);
    }

    fn begin_with(
        &mut self,
        asker: Asker,
        query: Query,
        (plan, unreachable): (Plan, usize),
        (local, hints): (Option<Vec<Hit>>, Hints),
        world: &mut World,
    ) {
        let now = world.now.instant;
        let patience = match asker {
            Asker::Child(..) => DEADLINE,
            Asker::Member { patience, .. } => patience.min(DEADLINE) * IN_TIME.0 / IN_TIME.1,
        };
        let own = u32::from(local.is_some());
        let unreachable = u32::try_from(unreachable).unwrap_or(u32::MAX);
        let mut search = Search {
            asker,
            query,
            plan,
            outstanding: BTreeMap::new(),
            sent: 0,
            contents: BTreeSet::new(),
            shown: BTreeSet::new(),
            counts: Counts { asked: own.saturating_add(unreachable), answered: own },
            wave_until: now + WAVE_WAIT,
            until: now + patience,
            hints,
        };
        let local = local.unwrap_or_default();
        match asker {
            Asker::Member { node, number, .. } if search.plan.is_done() => {
                return search.answer_all(node, number, local, world);
            }
            Asker::Member { .. } => search.show(local, true, world),
            Asker::Child(..) => search.show(local, false, world),
        }
        self.last += 1;
        self.running.insert(self.last, search);
        self.go_on(self.last, world);
    }

    /// One that was asked answers.
    pub(super) fn on_answer(
        &mut self,
        from: NodeId,
        query: u64,
        hits: Vec<Hit>,
        done: Option<Counts>,
        world: &mut World,
    ) {
        let number = query >> QUERY_BITS;
        let search = self.running.get_mut(&number);
        let search = search.filter(|search| search.outstanding.get(&query).is_some_and(|a| a.to == from));
        // It may also be the answer to a search that has just ended.
        let Some(search) = search else {
            return world.strange(&from, "an answer that is not waited for");
        };
        search.show(hits, false, world);
        match done {
            Some(counts) => search.answered(query, counts),
            None => search.heard(query),
        }
        self.go_on(number, world);
    }

    /// A supernode is gone: it will not answer, and wants no answer.
    pub(super) fn handle_member_lost(&mut self, node: &NodeId, world: &mut World) {
        let running: Vec<u64> = self.running.keys().copied().collect();
        for number in running {
            let Some(search) = self.running.get_mut(&number) else { continue };
            if matches!(search.asker, Asker::Member { node: asker, .. } if asker == *node) {
                self.stop(number, world);
                continue;
            }
            if search.lose(number, node, world) {
                self.go_on(number, world);
            }
        }
    }

    /// The asker has had enough of this one.
    pub(super) fn on_cancel(&mut self, child: NodeId, id: RequestId, world: &mut World) {
        self.stop_where(|search| search.asker == Asker::Child(child, id), world);
    }

    /// Another supernode has had enough of this one.
    pub(super) fn on_member_cancel(&mut self, from: NodeId, query: u64, world: &mut World) {
        let this = |search: &Search| matches!(search.asker, Asker::Member { node, number, .. } if (node, number) == (from, query));
        self.stop_where(this, world);
    }

    /// The child is gone.
    pub(super) fn handle_child_lost(&mut self, child: &NodeId, world: &mut World) {
        self.stop_where(|search| search.is_of(child), world);
    }

    /// We see the net no more: our children ask again elsewhere.
    pub(super) fn handle_step_down(&mut self, world: &mut World) {
        let running: Vec<u64> = self.running.keys().copied().collect();
        for number in running {
            if let Some(Search { asker: Asker::Child(child, id), .. }) = self.stop(number, world) {
                world.tell_child(child, ToChild::Declined { id, reason: Decline::Leaving });
            }
        }
    }

    /// Next waves, silent contacts, and the ends of those whose time is over.
    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        for number in self.schedule.due(world.now.instant) {
            if let Some(search) = self.running.get_mut(&number) {
                search.replace_silent(number, world);
            }
            self.go_on(number, world);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.first()
    }

    /// Ends the search if it is over, asks the next wave if it is time.
    fn go_on(&mut self, number: u64, world: &mut World) {
        let Some(search) = self.running.get_mut(&number) else { return };
        let now = world.now.instant;
        if !search.has_enough() && search.until > now {
            let waited = search.outstanding.is_empty() || search.wave_until <= now;
            let helped = search.hints == Hints::Followed && waited && !search.contents.is_empty();
            if waited && search.hints != Hints::Awaited && !helped {
                search.hints = Hints::None;
                search.ask_next_wave(number, world);
            }
            if search.hints == Hints::Awaited || !search.outstanding.is_empty() && !helped {
                return self.schedule.set(number, search.due());
            }
        }
        if let Some(search) = self.stop(number, world) {
            search.end(world);
        }
    }

    fn stop_where(&mut self, which: impl Fn(&Search) -> bool, world: &mut World) {
        let numbers: Vec<u64> =
            self.running.iter().filter(|(_, search)| which(search)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.stop(number, world);
        }
    }

    fn stop(&mut self, number: u64, world: &mut World) -> Option<Search> {
        self.schedule.remove(number);
        let search = self.running.remove(&number)?;
        search.outstanding.iter().for_each(|(query, asked)| world.tell_mesh(asked.to, Mesh::Cancel(*query)));
        Some(search)
    }
}

impl Search {
    fn is_of(&self, child: &NodeId) -> bool {
        matches!(self.asker, Asker::Child(asker, _) if asker == *child)
    }

    fn limit(&self) -> usize {
        self.query.limit.min(MAX_RESULTS) as usize
    }

    fn has_enough(&self) -> bool {
        self.found() >= self.limit() || self.shown.len() >= MAX_HITS
    }

    /// How much there is, by the measure of the limit.
    fn found(&self) -> usize {
        match self.query.subject {
            Subject::Words(_) => self.contents.len().max(self.shown.len() / SOURCES_PER_CONTENT),
            Subject::Content(_) => self.contents.len(),
        }
    }

    fn due(&self) -> Instant {
        let wave = match self.hints {
            Hints::Awaited => None,
            Hints::Followed => Some(self.wave_until),
            Hints::None => (!self.plan.is_done()).then_some(self.wave_until),
        };
        let silences = self.outstanding.values().filter_map(|asked| asked.silent_at);
        silences.chain(wave).chain([self.until]).min().unwrap_or(self.until)
    }

    fn ask_next_wave(&mut self, number: u64, world: &mut World) {
        self.wave_until = world.now.instant + WAVE_WAIT;
        for target in self.plan.next_wave(self.found(), self.limit()) {
            self.counts.asked = self.counts.asked.saturating_add(1);
            let (scope, contacts) = match target {
                Target::Mate(node) => (Scope::Own, vec![node]),
                Target::Part(part, contacts) => (Scope::Part { part, hops: self.hops() }, contacts),
            };
            self.ask(number, scope, contacts, world);
        }
    }

    /// How often those that we ask may pass it on.
    fn hops(&self) -> u8 {
        match self.asker {
            Asker::Child(..) => MAX_HOPS,
            Asker::Member { hops, .. } => hops,
        }
    }

    /// Asks the first of these, the others in case that it says nothing.
    fn ask(&mut self, number: u64, scope: Scope, contacts: Vec<NodeId>, world: &mut World) {
        let now = world.now.instant;
        let Some(asked) = Asked::new(scope, contacts, world) else { return };
        if self.sent >> QUERY_BITS > 0 {
            return;
        }
        let query = number << QUERY_BITS | self.sent;
        self.sent += 1;
        let left = self.until.saturating_duration_since(now);
        let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        let message = Mesh::Query { number: query, query: self.query.clone(), scope, deadline_ms };
        world.tell_mesh(asked.to, message);
        self.outstanding.insert(query, asked);
    }

    fn heard(&mut self, query: u64) {
        if let Some(asked) = self.outstanding.get_mut(&query) {
            asked.silent_at = None;
        }
    }

    fn answered(&mut self, query: u64, counts: Counts) {
        let Some(asked) = self.outstanding.remove(&query) else { return };
        let most = if matches!(asked.scope, Scope::Part { .. }) { MAX_MEMBERS as u32 } else { 1 };
        // It was counted itself when it was asked.
        let others = counts.asked.clamp(1, most) - 1;
        self.counts.asked = self.counts.asked.saturating_add(others);
        self.counts.answered = self.counts.answered.saturating_add(counts.answered.min(others + 1));
    }

    /// A supernode died; whether that matters here.
    fn lose(&mut self, number: u64, node: &NodeId, world: &mut World) -> bool {
        let unreachable = u32::try_from(self.plan.remove(node)).unwrap_or(u32::MAX);
        self.counts.asked = self.counts.asked.saturating_add(unreachable);
        let lost: Vec<_> = self.outstanding.extract_if(.., |_, asked| asked.to == *node).collect();
        self.outstanding.values_mut().for_each(|asked| asked.others.retain(|other| other != node));
        let any = !lost.is_empty();
        lost.into_iter().for_each(|(_, asked)| self.ask(number, asked.scope, asked.others, world));
        any
    }

    /// Asks the next contact where one has said nothing; the first may still answer, and counts no more.
    fn replace_silent(&mut self, number: u64, world: &mut World) {
        let now = world.now.instant;
        let silent = |_: &u64, asked: &mut Asked| asked.silent_at.is_some_and(|at| at <= now);
        let silent: Vec<_> = self.outstanding.extract_if(.., silent).collect();
        for (query, asked) in silent {
            world.fell_silent(&asked.to);
            world.tell_mesh(asked.to, Mesh::Cancel(query));
            self.ask(number, asked.scope, asked.others, world);
        }
    }

    /// Shows the asker what it has not seen yet, as far as it wants it.
    fn show(&mut self, mut hits: Vec<Hit>, even_nothing: bool, world: &mut World) {
        hits.retain(|hit| self.takes(hit));
        let mut batches = batches::hits(hits);
        if even_nothing && batches.is_empty() {
            batches.push(Vec::new());
        }
        for hits in batches {
            match self.asker {
                Asker::Child(child, id) => world.tell_child(child, ToChild::Hits { id, hits }),
                Asker::Member { node, number, .. } => {
                    world.tell_mesh(node, Mesh::Answer { number, hits, done: None });
                }
            }
        }
    }

    /// Everything at once: there is nobody to ask.
    fn answer_all(&mut self, node: NodeId, number: u64, mut hits: Vec<Hit>, world: &mut World) {
        hits.retain(|hit| self.takes(hit));
        let mut batches = batches::hits(hits);
        let last = batches.pop().unwrap_or_default();
        for hits in batches {
            world.tell_mesh(node, Mesh::Answer { number, hits, done: None });
        }
        world.tell_mesh(node, Mesh::Answer { number, hits: last, done: Some(self.counts) });
    }

    fn end(&self, world: &mut World) {
        let counts = self.counts;
        match self.asker {
            Asker::Child(child, id) => {
                let Counts { asked, answered } = counts;
                let summary = SearchSummary { asked, answered, limit_reached: self.has_enough() };
                world.tell_child(child, ToChild::SearchDone { id, summary });
            }
            Asker::Member { node, number, .. } => {
                let done = Some(counts);
                world.tell_mesh(node, Mesh::Answer { number, hits: Vec::new(), done });
            }
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
