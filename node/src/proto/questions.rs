//! What the user asks: searches and lookups.
//!
//! A question waits until there is a home, goes there, and is answered as the answers come. When the home fails in
//! between it is asked once more at the next one; the user sees each result once. A home that has been asked too much lately, or that steps
//! down while we look for another one, is asked again a little later. A question that is not answered in time has failed, and says so: each is ended exactly once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{
    ContentHash, NodeId, Now, UnixMillis,
    signed::Keyring,
    wire::{
        home::{Decline, DirectoryEntry, RequestId, ToHome},
        query::{Hit, Query, SearchSummary, Subject},
    },
};

use super::{Event, Failure, Question};

/// Questions at the same time (guess: a person has a few windows, a script a few processes).
pub(super) const MAX_QUESTIONS: usize = 64;
/// How long a question waits for a home: a scouting round, a list and a survey over slow links.
const HOME_WAIT: Duration = Duration::from_secs(10);
/// How long a home may take to end a search; its own deadline towards other supernodes is shorter.
const SEARCH_WAIT: Duration = Duration::from_secs(15);
/// How long a home may take to answer a lookup: two round trips between supernodes, one retry.
const LOOKUP_WAIT: Duration = Duration::from_secs(8);
/// How long a question rests after the home said that there were too many, or that it leaves (guess: a home grants 20 a second).
const REST: Duration = Duration::from_millis(500);
/// For how long it is asked again and again before the user is told.
const RESTS: Duration = Duration::from_secs(10);
/// Results passed on for one question: twenty sources for each of the most contents (guess), 80 bytes each.
const MAX_HITS: usize = 10_000;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    /// Say it to the home.
    Send(NodeId, ToHome),
    /// Tell the user.
    Tell(Event),
}

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct Questions {
    home: Option<NodeId>,
    asked: BTreeMap<RequestId, Asked>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Asked {
    question: Question,
    until: Instant,
    /// How often it was sent to a home, not counting those that had too many.
    sent: u32,
    /// Until when a home that has too many is asked again.
    patient_until: Instant,
    /// It rests and will be sent again at `until`.
    resting: bool,
    /// What was passed on: each content with its sources.
    seen: BTreeMap<ContentHash, BTreeSet<NodeId>>,
    hits: usize,
}

impl Questions {
    /// The user asks.
    pub(super) fn handle_ask(&mut self, id: RequestId, question: Question, now: Now) {
        if self.asked.len() >= MAX_QUESTIONS || self.asked.contains_key(&id) {
            return self.fail(id, Failure::Declined(Decline::TooMany));
        }
        let until = now.instant + HOME_WAIT;
        let patient_until = now.instant + RESTS;
        let asked =
            Asked { question, until, sent: 0, patient_until, resting: false, seen: BTreeMap::new(), hits: 0 };
        self.asked.insert(id, asked);
        self.send(id, now);
    }

    /// The user has had enough.
    pub(super) fn handle_cancel(&mut self, id: RequestId) {
        let Some(asked) = self.asked.remove(&id) else { return };
        if let (Some(home), Question::Search(_), 1..) = (self.home, &asked.question, asked.sent) {
            self.actions.push_back(Action::Send(home, ToHome::Cancel(id)));
        }
    }

    /// There is a home (or another one): ask there whatever is open.
    pub(super) fn handle_home(&mut self, home: NodeId, now: Now) {
        if self.home.is_some() {
            self.handle_home_lost(now);
        }
        self.home = Some(home);
        let open: Vec<_> = self.asked.keys().copied().collect();
        for id in open {
            self.send(id, now);
        }
    }

    /// The home failed: what was asked once may be asked once more.
    pub(super) fn handle_home_lost(&mut self, now: Now) {
        self.home = None;
        for asked in self.asked.values_mut() {
            asked.until = now.instant + HOME_WAIT;
            asked.resting = false;
        }
        let twice: Vec<_> =
            self.asked.iter().filter(|(_, asked)| asked.sent > 1).map(|(id, _)| *id).collect();
        for id in twice {
            self.fail(id, Failure::NoAnswer);
        }
    }

    /// Results: those that answer the question and were not seen yet are passed on.
    pub(super) fn on_hits(&mut self, id: RequestId, mut hits: Vec<Hit>) {
        let Some(asked) = self.asked.get_mut(&id) else { return };
        hits.retain(|hit| asked.takes(hit));
        if !hits.is_empty() {
            self.actions.push_back(Action::Tell(Event::Hits { id, hits }));
        }
    }

    /// A search ended.
    pub(super) fn on_search_done(&mut self, id: RequestId, summary: SearchSummary) {
        let search = |asked: &Asked| matches!(asked.question, Question::Search(_));
        if self.asked.get(&id).is_some_and(search) {
            self.asked.remove(&id);
            self.actions.push_back(Action::Tell(Event::SearchDone { id, summary }));
        }
    }

    /// A user's nodes, by the home's word: only what verifies is passed on, the newest of each node.
    pub(super) fn on_found(
        &mut self,
        id: RequestId,
        nodes: Vec<DirectoryEntry>,
        keyring: &dyn Keyring,
        wall: UnixMillis,
    ) {
        let Some(asked) = self.asked.get(&id) else { return };
        let Question::Lookup(user) = &asked.question else { return };
        let mut newest = BTreeMap::new();
        for entry in nodes {
            let Some((node, sequence, checked)) = check(entry, user.as_str(), keyring, wall) else {
                tracing::debug!(%user, "dropped a presence that does not hold");
                continue;
            };
            if newest.get(&node).is_none_or(|(known, _)| *known < sequence) {
                newest.insert(node, (sequence, checked));
            }
        }
        self.asked.remove(&id);
        let nodes = newest.into_values().map(|(_, entry)| entry).collect();
        self.actions.push_back(Action::Tell(Event::Found { id, nodes }));
    }

    /// The home does not answer this one.
    pub(super) fn on_declined(&mut self, id: RequestId, reason: Decline, now: Now) {
        let Some(asked) = self.asked.get_mut(&id) else { return };
        let passes = matches!(reason, Decline::TooMany | Decline::Leaving);
        if passes && now.instant < asked.patient_until {
            asked.resting = true;
            asked.sent = asked.sent.saturating_sub(1);
            asked.until = now.instant + REST;
        } else {
            self.fail(id, Failure::Declined(reason));
        }
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        let late: Vec<_> =
            self.asked.iter().filter(|(_, asked)| asked.until <= now.instant).map(|(id, _)| *id).collect();
        for id in late {
            self.handle_late(id, now);
        }
    }

    /// What is to be done next.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.asked.values().map(|asked| asked.until).min()
    }

    fn handle_late(&mut self, id: RequestId, now: Now) {
        if self.asked.get(&id).is_some_and(|asked| asked.resting) {
            return self.send(id, now);
        }
        let searching =
            self.asked.get(&id).is_some_and(|asked| matches!(asked.question, Question::Search(_)));
        if let (true, Some(home)) = (searching, self.home) {
            self.actions.push_back(Action::Send(home, ToHome::Cancel(id)));
        }
        self.fail(id, Failure::NoAnswer);
    }

    fn send(&mut self, id: RequestId, now: Now) {
        let (Some(home), Some(asked)) = (self.home, self.asked.get_mut(&id)) else { return };
        asked.sent += 1;
        asked.resting = false;
        let message = match &asked.question {
            Question::Search(query) => {
                asked.until = now.instant + SEARCH_WAIT;
                ToHome::Search { id, query: query.clone() }
            }
            Question::Lookup(user) => {
                asked.until = now.instant + LOOKUP_WAIT;
                ToHome::Lookup { id, user: user.clone() }
            }
        };
        self.actions.push_back(Action::Send(home, message));
    }

    fn fail(&mut self, id: RequestId, reason: Failure) {
        self.asked.remove(&id);
        self.actions.push_back(Action::Tell(Event::Failed { id, reason }));
    }
}

impl Asked {
    /// Whether the user wants to see this hit; it counts as shown then. Beyond as many contents as were asked for, only
    /// more sources of these are of use.
    fn takes(&mut self, hit: &Hit) -> bool {
        let Question::Search(query) = &self.question else { return false };
        let enough = self.seen.len() >= query.limit as usize && !self.seen.contains_key(&hit.hash);
        if enough || self.hits >= MAX_HITS || !answers(query, hit) {
            return false;
        }
        let new = self.seen.entry(hit.hash).or_default().insert(hit.source.node);
        self.hits += usize::from(new);
        new
    }
}

/// Whether a hit can be one for this query, as far as it shows.
fn answers(query: &Query, hit: &Hit) -> bool {
    let subject = match &query.subject {
        Subject::Words(_) => true,
        Subject::Content(hash) => *hash == hit.hash,
    };
    subject && query.filter.admits(hit.size, hit.kind)
}

/// The entry, if `user`'s node signed it. An expired one still says where the node was, so it is kept, as offline.
fn check(
    mut entry: DirectoryEntry,
    user: &str,
    keyring: &dyn Keyring,
    wall: UnixMillis,
) -> Option<(NodeId, UnixMillis, DirectoryEntry)> {
    let verified = keyring.verify(entry.presence.clone(), wall).ok()?;
    if verified.signer.user.as_str() != user {
        return None;
    }
    let last_moment = UnixMillis(verified.content.expires.0.saturating_sub(1));
    let expired = last_moment < wall;
    let presence = verified.admit(wall.min(last_moment)).ok()?.content;
    entry.online &= presence.online && !expired;
    Some((presence.node, presence.sequence, entry))
}
