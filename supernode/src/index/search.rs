//! Answering a query.
//!
//! The rarest word is walked through, the others follow galloping. What they have in common goes to a pool of
//! different contents, twice as many as were asked for; the best of them win. First comes the last word as a
//! whole; only when that does not fill the pool, as a prefix: either the words that begin with it are
//! intersected one by one, or, where those are many, the records that hold the other words are read.

use std::cmp::Reverse;

use nearmesh_common::{ContentHash, wire::query::Filter};
use smallvec::SmallVec;

use super::{
    MAX_SOURCES, Match, Terms, cursor::intersect, postings::Postings, records::Record, store::Store,
};

/// Contents that are looked at for each that is wanted, so that the better matches win (guess).
const POOL_FACTOR: usize = 2;
/// Most steps along the rarest word's postings in one query; beyond, what lies further on is missed. A fifth of the
/// size goal of 5 million records; 40 ms where a condition turns every one of them away (measured).
const MAX_STEPS: usize = 1 << 20;
/// Most records that are read in one query, of contents that are not in the pool: 2 to 3 ms at 300 ns.
const MAX_READ: usize = 8192;
/// Most files of one content that are looked at for more sources (guess).
const MAX_SOURCES_READ: usize = 500;
/// Records that are fetched together (guess: twice what a core can have under way).
const BATCH: usize = 32;
/// What reading a record costs, in steps along postings (estimate: 300 ns to 10 ns).
const READ_COST: usize = 30;
/// What beginning a walk costs, in the same (estimate: 200 ns).
const WALK_COST: usize = 20;
/// Words that begin with a prefix, whose postings are summed up before a guess has to do.
const MAX_PREFIX_WORDS: usize = 4096;

/// Files that hold all the words, best first: at most `limit` contents, of each at most [`MAX_SOURCES`] files.
pub(super) fn by_words(store: &Store, terms: &Terms, filter: &Filter, limit: usize) -> Vec<Match> {
    let mut pool = Pool::new(store, terms, filter, limit);
    if pool.fill().is_some() { pool.best(limit) } else { Vec::new() }
}

/// Files with this very content, at most `limit`.
pub(super) fn by_content(store: &Store, hash: &ContentHash, filter: &Filter, limit: usize) -> Vec<Match> {
    let found = store
        .records
        .with_content(hash)
        .filter(|at| store.found(*at).is_some_and(|record| filter.admits(record.size(), record.kind())));
    found.take(limit).map(|at| store.describe(at, u16::MAX)).collect()
}

/// The first record of each content that matches, with its score.
struct Pool<'a> {
    store: &'a Store,
    terms: &'a Terms,
    filter: &'a Filter,
    room: usize,
    found: Vec<(u16, u32)>,
    seen: Seen,
    steps: usize,
    reads: usize,
}

impl<'a> Pool<'a> {
    fn new(store: &'a Store, terms: &'a Terms, filter: &'a Filter, limit: usize) -> Self {
        let room = limit * POOL_FACTOR;
        let seen = Seen::new(room);
        Self { store, terms, filter, room, found: Vec::new(), seen, steps: MAX_STEPS, reads: MAX_READ }
    }

    /// `None` as soon as a word does not occur at all.
    fn fill(&mut self) -> Option<()> {
        let Store { arena, vocabulary, .. } = self.store;
        let mut whole = Vec::with_capacity(self.terms.whole().len() + 1);
        for word in self.terms.whole() {
            whole.push(vocabulary.get(word, arena)?);
        }
        if let Some(last) = vocabulary.get(self.terms.last(), arena) {
            self.walk(&whole, Some(last), 0);
        }
        if !self.is_full() {
            self.fill_by_prefix(&whole);
        }
        Some(())
    }

    fn fill_by_prefix(&mut self, whole: &[&Postings]) {
        let Store { arena, vocabulary, .. } = self.store;
        if let Some(rarest) = whole.iter().map(|postings| postings.len()).min()
            && self.is_cheaper_to_read(rarest)
        {
            let kept = MAX_READ / 2;
            self.walk(whole, None, kept);
            if self.reads > kept {
                return;
            }
        }
        for postings in vocabulary.beginning_with(self.terms.last(), arena) {
            if self.is_full() || self.steps == 0 || self.reads == 0 {
                return;
            }
            self.walk(whole, Some(postings), 0);
        }
    }

    /// Whether reading the records with the rarest other word costs less than walking through all words that
    /// begin with the prefix. If words were independent of each other, every (records / sum)th of those would
    /// have one.
    fn is_cheaper_to_read(&self, rarest: usize) -> bool {
        let Store { arena, vocabulary, children, .. } = self.store;
        let (mut sum, mut cost) = (0, 0);
        for postings in vocabulary.beginning_with(self.terms.last(), arena).take(MAX_PREFIX_WORDS) {
            sum += postings.len();
            cost += postings.len() + WALK_COST;
            if cost > READ_COST * rarest.min(self.room * (children.live() / sum.max(1) + 1)) {
                return true;
            }
        }
        false
    }

    /// Takes what all of `whole` and `last` have in common, and leaves `reads` for later.
    fn walk(&mut self, whole: &[&Postings], last: Option<&Postings>, reads: usize) {
        let mut lists: SmallVec<[&Postings; 4]> = whole.iter().copied().chain(last).collect();
        lists.sort_by_key(|postings| postings.len());
        let arena = &self.store.arena;
        let mut batch: SmallVec<[u32; BATCH]> = SmallVec::new();
        self.steps = intersect(&lists, arena, self.steps, |record| {
            batch.push(record);
            if batch.len() == BATCH {
                self.offer(&batch, reads);
                batch.clear();
            }
            !self.is_full() && self.reads > reads
        });
        self.offer(&batch, reads);
    }

    /// Step by step for all at once: the processor fetches many records in the time of one.
    fn offer(&mut self, batch: &[u32], reads: usize) {
        let admitted: SmallVec<[(u32, &Record); BATCH]> =
            batch.iter().filter_map(|at| Some((*at, self.admit(*at)?))).collect();
        let texts: SmallVec<[(&str, &str); BATCH]> =
            admitted.iter().map(|(_, record)| record.texts(&self.store.arena)).collect();
        for ((at, record), (name, tag_words)) in admitted.into_iter().zip(texts) {
            if self.is_full() || self.reads <= reads {
                return;
            }
            let Some(place) = self.seen.place(record, self.store) else { continue };
            self.reads -= 1;
            if let Some(score) = self.terms.score(name, tag_words) {
                self.seen.places[place] = at;
                self.found.push((score, at));
            }
        }
    }

    /// A record that is found and passes the filter.
    fn admit(&self, at: u32) -> Option<&'a Record> {
        let record = self.store.found(at)?;
        self.filter.admits(record.size(), record.kind()).then_some(record)
    }

    fn score(&self, record: &Record) -> Option<u16> {
        let (name, tag_words) = record.texts(&self.store.arena);
        self.terms.score(name, tag_words)
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.room
    }

    /// The best contents, each with the files that match.
    fn best(mut self, limit: usize) -> Vec<Match> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_unstable_by_key(|(score, at)| (Reverse(*score), *at));
        let mut matches = Vec::with_capacity(found.len().min(limit));
        for (score, at) in found.into_iter().take(limit) {
            let begin = matches.len();
            matches.push(self.store.describe(at, score));
            self.add_sources(at, &mut matches);
            matches[begin..].sort_by_key(|found| Reverse(found.score));
        }
        matches
    }

    fn add_sources(&self, first: u32, matches: &mut Vec<Match>) {
        let hash = self.store.records.get(first).hash();
        let mut room = MAX_SOURCES - 1;
        for at in self.store.records.with_content(&hash).take(MAX_SOURCES_READ) {
            if room == 0 {
                return;
            }
            if at != first
                && let Some(score) = self.admit(at).and_then(|record| self.score(record))
            {
                matches.push(self.store.describe(at, score));
                room -= 1;
            }
        }
    }
}

/// Which contents are in the pool: open addressing, at most half full.
struct Seen {
    places: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl Seen {
    fn new(most: usize) -> Self {
        Self { places: vec![FREE; (most * 2).next_power_of_two()] }
    }

    /// Where the record's content may be noted; `None` if it is in the pool.
    fn place(&self, record: &Record, store: &Store) -> Option<usize> {
        let hash = record.hash();
        let mut place = usize::from(hash.0[0]) | usize::from(hash.0[1]) << 8;
        loop {
            place %= self.places.len();
            match self.places[place] {
                FREE => return Some(place),
                other if store.records.get(other).hash() == hash => return None,
                _ => place += 1,
            }
        }
    }
}
