//! Searching for the user: hits come in from many supernodes and leave as numbered results.
//!
//! Sources of the same content become one result. A result waits a moment for more sources and better ones before it, then it
//! is shown and keeps its number; sources that come later are remembered for `get`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use nearmesh_common::{
    ContentHash, NetName, UserAddress,
    wire::{
        file::Kind,
        query::{Filter, Hit, MAX_QUERY_BYTES, MAX_RESULTS, Query, Source, Subject},
    },
};
use tokio::time::{Instant, sleep_until};

use super::{
    asking::Asker,
    events::{Gone, Sink, events},
};
use crate::{
    control::api::{self, ApiError, Events, SearchEvent, SearchRequest, SearchResult, Searched},
    proto::{Event, Question},
};

/// How long a result waits for more sources and better results: shorter than a person notices (100 to 200 ms).
const GATHER: Duration = Duration::from_millis(150);
/// Sources remembered for one result: more than a download uses.
const MAX_SOURCES: usize = 64;

/// A result, with what `get` needs.
#[derive(Clone, Debug)]
pub struct Found {
    /// The name of its best hit.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// The content.
    pub hash: ContentHash,
    kind: Kind,
    score: u16,
    /// Who has it.
    pub sources: Vec<Source>,
}

/// What one search has shown, by number less one.
type Shown = Arc<Mutex<Vec<Found>>>;

/// The results of the search that began last. One that began earlier and is still under way keeps its own.
#[derive(Clone, Default)]
pub struct LastResults(Arc<Mutex<Shown>>);

impl LastResults {
    /// The result with this number.
    pub fn numbered(&self, number: u32) -> Option<Found> {
        let shown = self.shown();
        let shown = shown.lock().expect("no holder panics");
        shown.get((number as usize).checked_sub(1)?).cloned()
    }

    /// The result with this content.
    pub fn of(&self, hash: ContentHash) -> Option<Found> {
        let shown = self.shown();
        let shown = shown.lock().expect("no holder panics");
        shown.iter().find(|found| found.hash == hash).cloned()
    }

    fn begin(&self) -> Shown {
        let shown = Shown::default();
        *self.0.lock().expect("no holder panics") = Arc::clone(&shown);
        shown
    }

    fn shown(&self) -> Shown {
        Arc::clone(&self.0.lock().expect("no holder panics"))
    }
}

/// Searches, and remembers the results in `last`.
///
/// # Errors
/// If the request is out of bounds.
pub fn search(
    asker: Asker,
    net: NetName,
    last: LastResults,
    request: SearchRequest,
) -> Result<Events<SearchEvent>, ApiError> {
    let query = query_of(request)?;
    Ok(events(move |sink| async move {
        let limit = query.limit;
        let mut asked = asker.ask(Question::Search(query)).await?;
        let mut gathering = Gathering::new(net, limit, &last);
        let mut show_at: Option<Instant> = None;
        loop {
            let event = tokio::select! {
                event = asked.next() => event?,
                () = sleep_until(show_at.unwrap_or_else(Instant::now)), if show_at.is_some() => {
                    show_at = None;
                    if gathering.show(&sink).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
            };
            match event {
                Some(Event::Hits { hits, .. }) => {
                    gathering.take(hits);
                    show_at = show_at.or(Some(Instant::now() + GATHER));
                }
                Some(Event::SearchDone { summary, .. }) => {
                    let done = Searched {
                        asked: summary.asked,
                        answered: summary.answered,
                        limit_reached: summary.limit_reached,
                    };
                    if gathering.show(&sink).await.is_ok() {
                        let _ = sink.put(SearchEvent::Done(done)).await;
                    }
                    return Ok(());
                }
                Some(_) => {}
                None => return Err(super::asking::going_down()),
            }
        }
    }))
}

/// All sources of one content that the net knows now, up to a bound.
///
/// # Errors
/// If the net does not answer.
pub async fn sources_of(asker: &Asker, hash: ContentHash) -> Result<Vec<Hit>, ApiError> {
    let limit = MAX_SOURCES as u32;
    let query = Query { subject: Subject::Content(hash), filter: Filter::default(), limit };
    let mut asked = asker.ask(Question::Search(query)).await?;
    let mut found = Vec::new();
    while let Some(event) = asked.next().await? {
        match event {
            Event::Hits { hits, .. } => found.extend(hits.into_iter().filter(|hit| hit.hash == hash)),
            Event::SearchDone { .. } => break,
            _ => {}
        }
    }
    found.truncate(MAX_SOURCES);
    Ok(found)
}

struct Gathering {
    net: NetName,
    limit: usize,
    shown: Shown,
    /// Results that are not shown yet.
    waiting: BTreeMap<ContentHash, Found>,
}

impl Gathering {
    fn new(net: NetName, limit: u32, last: &LastResults) -> Self {
        Self { net, limit: limit as usize, shown: last.begin(), waiting: BTreeMap::new() }
    }

    fn take(&mut self, hits: Vec<Hit>) {
        let mut shown = self.shown.lock().expect("no holder panics");
        for hit in hits {
            if let Some(found) = shown.iter_mut().find(|found| found.hash == hit.hash) {
                found.add(hit);
            } else if let Some(found) = self.waiting.get_mut(&hit.hash) {
                found.add(hit);
            } else if shown.len() + self.waiting.len() < self.limit {
                self.waiting.insert(hit.hash, Found::from(hit));
            }
        }
    }

    /// Shows what has waited.
    async fn show(&mut self, sink: &Sink<SearchEvent>) -> Result<(), Gone> {
        for result in self.ready() {
            sink.put(SearchEvent::Result(result)).await?;
        }
        Ok(())
    }

    /// What has waited, best first: by match, then by number of sources.
    fn ready(&mut self) -> Vec<SearchResult> {
        let mut batch: Vec<Found> = std::mem::take(&mut self.waiting).into_values().collect();
        batch.sort_by(|a, b| {
            let rank = |found: &Found| (found.score, found.sources.len());
            rank(b).cmp(&rank(a)).then_with(|| a.name.cmp(&b.name))
        });
        let mut shown = self.shown.lock().expect("no holder panics");
        let numbered = batch.into_iter().map(|found| {
            shown.push(found.clone());
            result(&self.net, u32::try_from(shown.len()).unwrap_or(u32::MAX), found)
        });
        numbered.collect()
    }
}

impl From<Hit> for Found {
    fn from(hit: Hit) -> Self {
        let Hit { name, size, hash, kind, score, source } = hit;
        Self { name, size, hash, kind, score, sources: vec![source] }
    }
}

impl Found {
    fn add(&mut self, hit: Hit) {
        if hit.score > self.score {
            self.score = hit.score;
            self.name = hit.name;
        }
        let known = self.sources.iter().any(|source| source.node == hit.source.node);
        if !known && self.sources.len() < MAX_SOURCES {
            self.sources.push(hit.source);
        }
    }
}

fn query_of(request: SearchRequest) -> Result<Query, ApiError> {
    if request.words.len() > MAX_QUERY_BYTES {
        return Err(ApiError::usage(format!("the query has more than {MAX_QUERY_BYTES} bytes")));
    }
    if !(1..=MAX_RESULTS).contains(&request.limit) {
        return Err(ApiError::usage(format!("--limit must be between 1 and {MAX_RESULTS}")));
    }
    let filter = Filter { min_size: request.min_size, max_size: request.max_size, kind: request.kind };
    Ok(Query { subject: Subject::Words(request.words.into()), filter, limit: request.limit })
}

fn result(net: &NetName, number: u32, found: Found) -> SearchResult {
    SearchResult {
        number,
        name: found.name.into(),
        size: found.size,
        hash: found.hash.into(),
        kind: found.kind,
        sources: sources(net, &found.sources),
    }
}

/// Sources as the control API shows them.
pub fn sources(net: &NetName, sources: &[Source]) -> Vec<api::Source> {
    let shown = |source: &Source| api::Source {
        user: UserAddress { user: source.user.clone(), net: net.clone() },
        node_id: source.node.into(),
    };
    sources.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use nearmesh_common::{NodeId, nat::Reach};

    use super::*;

    fn hit(content: u8) -> Hit {
        let node = NodeId([content; 32]);
        Hit {
            name: format!("file {content}").into(),
            size: 1,
            hash: ContentHash([content; 32]),
            kind: Kind::Document,
            score: 0,
            source: Source {
                user: "alice".parse().unwrap(),
                node,
                addresses: Vec::new().into(),
                home: node,
                reach: Reach::default(),
            },
        }
    }

    fn numbers(results: Vec<SearchResult>) -> Vec<(u32, String)> {
        results.into_iter().map(|result| (result.number, result.name)).collect()
    }

    #[test]
    fn two_searches_at_once_show_each_everything_and_the_later_ones_numbers_count() {
        let last = LastResults::default();
        let begin = || Gathering::new("lab".parse().unwrap(), 10, &last);
        let mut first = begin();
        first.take(vec![hit(1), hit(2)]);
        let mut second = begin();
        let both = [(1, "file 1".to_owned()), (2, "file 2".to_owned())];
        assert_eq!(numbers(first.ready()), both);
        second.take(vec![hit(2), hit(1)]);
        assert_eq!(numbers(second.ready()), both, "the first has shown them, not this one");
        first.take(vec![hit(3)]);
        assert_eq!(numbers(first.ready()), [(3, "file 3".to_owned())]);
        assert_eq!(last.numbered(2).map(|found| found.hash), Some(ContentHash([2; 32])));
        assert!(last.numbered(3).is_none() && last.numbered(0).is_none(), "only the first has a third");
        assert!(last.of(ContentHash([1; 32])).is_some() && last.of(ContentHash([3; 32])).is_none());
    }
}
