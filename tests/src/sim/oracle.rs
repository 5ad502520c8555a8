//! Who knows the truth: what each process shares, where it is registered and since when. Every answer is held
//! against it.
//!
//! The oracle asks only for what the protocol promises. A file must be found if its node and that node's home live, and the home
//! had all of the node's journal [`SETTLE`] before the question, and still has it when the answer ends; of one content a home need
//! not tell of more than [`MAX_SOURCES`] of its children. A user must be found if
//! the same holds for its attachment. The asker's home, too, must have been up for that long. What changed in between may be found or not; what was never
//! true must not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use nearmesh::proto::{Event, Question};
use nearmesh_common::{
    ContentHash, NodeId,
    presence::Presence,
    signed::Keyring,
    wire::{
        home::{DirectoryEntry, RequestId},
        query::{Hit, Query, Subject},
    },
};
use nearmesh_supernode::index::MAX_SOURCES;

use super::links::ProcessId;

/// How long the net may take to know of a change: a summary's and a presence's way to other supernodes, over the
/// longest distance, with losses.
pub const SETTLE: Duration = Duration::from_secs(5);
/// How long after a process died it may still be shown as online: as long as a home with many children takes to notice, and [`SETTLE`].
const FORGET: Duration = Duration::from_secs(25);

/// Something that must not happen, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// What the oracle knows of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    /// Its present home and since when.
    pub(super) home: Option<(ProcessId, Duration)>,
    /// Since when that home holds its whole journal.
    pub(super) registered: Option<Duration>,
    /// Whether it runs, and since when it does or does not.
    pub(super) running: bool,
    pub(super) since: Duration,
}

/// Whose files which home holds, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Registration {
    process: ProcessId,
    home: ProcessId,
    since: Duration,
}

/// A question under way.
#[derive(Debug)]
struct Asked {
    asker: ProcessId,
    question: Question,
    at: Duration,
    asker_home: Option<(ProcessId, Duration)>,
    /// What must be found, with the registration under which it must.
    due: BTreeMap<(ContentHash, NodeId), Registration>,
    got: BTreeSet<(ContentHash, NodeId)>,
}

/// How the questions went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Searches that ended.
    pub searches: u64,
    /// Files that had to be found.
    pub due: u64,
    /// Of those, the ones that were.
    pub found: u64,
    /// Lookups that ended.
    pub lookups: u64,
    /// Of those, the ones whose answer had to be online.
    pub online: u64,
    /// Questions that failed because the asker had no steady home.
    pub excused: u64,
}

/// The truth, and what was said against it.
#[derive(Default)]
pub struct Oracle {
    pub(super) truths: Vec<Truth>,
    asked: BTreeMap<RequestId, Asked>,
    /// Everything that must not have happened.
    pub violations: Vec<Violation>,
    /// How the questions went.
    pub score: Score,
}

/// What the oracle looks at besides itself.
pub(super) struct View<'a> {
    pub(super) now: Duration,
    pub(super) wall: nearmesh_common::UnixMillis,
    pub(super) processes: &'a [super::process::Process],
    pub(super) numbers: &'a BTreeMap<NodeId, ProcessId>,
}

impl Oracle {
    /// A process started or stopped.
    pub(super) fn on_running(&mut self, process: ProcessId, running: bool, now: Duration) {
        self.truths[process] = Truth { running, since: now, ..Truth::default() };
        if !running {
            self.asked.retain(|_, asked| asked.asker != process);
        }
    }

    /// A question is asked: what must be the answer?
    pub(super) fn on_ask(&mut self, asker: ProcessId, id: RequestId, question: Question, view: &View<'_>) {
        let due = match &question {
            Question::Search(query) => self.due(query, view),
            Question::Lookup(_) => BTreeMap::new(),
        };
        let asker_home = self.truths[asker].home;
        let asked = Asked { asker, question, at: view.now, asker_home, due, got: BTreeSet::new() };
        self.asked.insert(id, asked);
    }

    /// A machine said something to its user.
    pub(super) fn on_event(&mut self, process: ProcessId, event: &Event, view: &View<'_>) {
        match event {
            Event::Home(home) => {
                let home = home.as_ref().and_then(|home| view.numbers.get(&home.address.node));
                let truth = &mut self.truths[process];
                truth.home = home.map(|home| (*home, view.now));
                truth.registered = None;
            }
            Event::Registered(mark) => {
                let whole = *mark == view.processes[process].library.mark();
                let truth = &mut self.truths[process];
                truth.registered = whole.then(|| truth.registered.unwrap_or(view.now));
            }
            Event::Hits { id, hits } => self.on_hits(*id, hits, view),
            Event::SearchDone { id, .. } => self.on_search_done(*id, view),
            Event::Found { id, nodes } => self.on_found(*id, nodes, view),
            Event::Failed { id, reason } => self.on_failed(*id, reason, view),
            Event::Standby(_)
            | Event::Neighbourhood(_)
            | Event::HostCache(_)
            | Event::Relays(_)
            | Event::Signal { .. } => {}
        }
    }

    /// Questions that were neither answered nor failed.
    pub fn open_questions(&self) -> usize {
        self.asked.len()
    }

    /// Whether `process` has a living home now.
    pub(super) fn is_home(&self, process: ProcessId) -> bool {
        self.truths[process].home.is_some_and(|(home, _)| self.truths[home].running)
    }

    fn due(&self, query: &Query, view: &View<'_>) -> BTreeMap<(ContentHash, NodeId), Registration> {
        let mut due = BTreeMap::new();
        for (number, process) in view.processes.iter().enumerate() {
            let Some(stamp) = self.registration(number, view.now) else { continue };
            let matching = process.library.files.iter().filter(|file| matches(query, file));
            due.extend(matching.map(|file| ((file.hash, process.node), stamp)));
        }
        due
    }

    /// The registration of a process, if everything it shares must be found now.
    fn registration(&self, process: ProcessId, now: Duration) -> Option<Registration> {
        let truth = &self.truths[process];
        let (home, _) = truth.home?;
        let since = truth.registered?;
        let home_truth = &self.truths[home];
        let settled = since + SETTLE <= now && home_truth.since + SETTLE <= now && home_truth.since <= since;
        (truth.running && home_truth.running && settled).then_some(Registration { process, home, since })
    }

    /// Whether that registration holds still.
    fn holds(&self, registration: &Registration) -> bool {
        let truth = &self.truths[registration.process];
        let same_home = truth.home.is_some_and(|(home, _)| home == registration.home);
        let same = same_home && truth.registered == Some(registration.since);
        // A home that restarted holds nothing, even while its children have not noticed.
        let home = &self.truths[registration.home];
        truth.running && same && home.running && home.since <= registration.since
    }

    fn on_hits(&mut self, id: RequestId, hits: &[Hit], view: &View<'_>) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return self.violated(view.now, format_args!("hits for the question {id:?} that has ended"));
        };
        let Question::Search(query) = &asked.question else {
            return self.violated(view.now, format_args!("hits for a lookup"));
        };
        let mut false_hits = Vec::new();
        for hit in hits {
            let source = view.numbers.get(&hit.source.node).map(|number| &view.processes[*number]);
            let shares = |file: &super::library::SharedFile| file.hash == hit.hash && matches(query, file);
            let right = source.is_some_and(|source| {
                source.user == hit.source.user
                    && *hit.source.addresses == [source.place.address]
                    && source.library.files.iter().any(shares)
            });
            if !right || !asked.got.insert((hit.hash, hit.source.node)) {
                false_hits.push(format!("{:?} at {:?}", hit.name, hit.source));
            }
        }
        for hit in false_hits {
            self.violated(view.now, format_args!("a wrong or repeated hit: {hit}"));
        }
    }

    fn on_search_done(&mut self, id: RequestId, view: &View<'_>) {
        let Some(asked) = self.asked.remove(&id) else {
            return self.violated(view.now, format_args!("the search {id:?} ended twice"));
        };
        let Question::Search(query) = &asked.question else { return };
        let due: BTreeSet<_> = asked
            .due
            .iter()
            .filter(|(_, registration)| self.holds(registration))
            .map(|(file, _)| *file)
            .collect();
        let contents: BTreeSet<_> = asked.got.iter().map(|(hash, _)| *hash).collect();
        self.score.searches += 1;
        if contents.len() > query.limit as usize {
            let (shown, limit) = (contents.len(), query.limit);
            self.violated(view.now, format_args!("{shown} contents were shown where {limit} were asked for"));
        }
        if contents.len() >= query.limit as usize || !self.is_settled(&asked) {
            return;
        }
        let due = self.without_excess(due, &asked.got, view);
        let missing: Vec<_> = due.difference(&asked.got).copied().collect();
        self.score.due += due.len() as u64;
        self.score.found += (due.len() - missing.len()) as u64;
        for (hash, node) in missing {
            let number = view.numbers[&node];
            let text = format!(
                "{:?} asked by {} at {:?} did not find {hash:?} of {number}: {:?}",
                query.subject, asked.asker, asked.at, self.truths[number]
            );
            self.violated(view.now, format_args!("{text}"));
        }
    }

    /// What is due, without the sources that a home did not tell because it told of enough others of the same content.
    fn without_excess(
        &self,
        mut due: BTreeSet<(ContentHash, NodeId)>,
        got: &BTreeSet<(ContentHash, NodeId)>,
        view: &View<'_>,
    ) -> BTreeSet<(ContentHash, NodeId)> {
        let home = |node: &NodeId| self.truths[view.numbers[node]].home.map(|(home, _)| home);
        let mut told: BTreeMap<_, usize> = BTreeMap::new();
        for (hash, node) in got {
            *told.entry((*hash, home(node))).or_default() += 1;
        }
        let excess = |hash: &ContentHash, node: &NodeId| {
            told.get(&(*hash, home(node))).is_some_and(|told| *told >= MAX_SOURCES)
        };
        due.retain(|(hash, node)| got.contains(&(*hash, *node)) || !excess(hash, node));
        due
    }

    /// Whether the asker's home had been up for long enough to know the others when it was asked.
    fn is_settled(&self, asked: &Asked) -> bool {
        let home = self.truths[asked.asker].home;
        home.is_some_and(|(home, _)| self.truths[home].since + SETTLE <= asked.at)
    }

    fn on_found(&mut self, id: RequestId, nodes: &[DirectoryEntry], view: &View<'_>) {
        let Some(asked) = self.asked.remove(&id) else {
            return self.violated(view.now, format_args!("the lookup {id:?} ended twice"));
        };
        let Question::Lookup(user) = &asked.question else {
            return self.violated(view.now, format_args!("a search was answered as a lookup"));
        };
        self.score.lookups += 1;
        let Some(target) = view.processes.iter().position(|process| process.user == *user) else { return };
        let truth = self.truths[target].clone();
        let shown = nodes.iter().find_map(|entry| {
            let keyring: &dyn Keyring = &*view.processes[0].keyring;
            let presence: Presence = keyring.verify(entry.presence.clone(), view.wall).ok()?.content;
            (presence.node == view.processes[target].node).then_some((entry.online, presence))
        });
        let attached = truth.home.filter(|(home, since)| {
            let home_truth = &self.truths[*home];
            home_truth.running && home_truth.since + SETTLE <= asked.at && *since + SETTLE <= asked.at
        });
        if let Some((home, _)) = attached.filter(|_| truth.running && self.is_settled(&asked)) {
            self.score.online += 1;
            let right = shown.as_ref().is_some_and(|(online, presence)| {
                *online
                    && presence.home == view.processes[home].node
                    && presence.addresses == [view.processes[target].place.address]
            });
            if !right {
                self.violated(view.now, format_args!("{user} at home {home} was shown as {shown:?}"));
            }
        } else if !truth.running
            && truth.since + FORGET <= asked.at
            && shown.as_ref().is_some_and(|(online, _)| *online)
        {
            self.violated(view.now, format_args!("{user}, gone since {:?}, was shown online", truth.since));
        }
    }

    fn on_failed(&mut self, id: RequestId, reason: &impl fmt::Debug, view: &View<'_>) {
        let Some(asked) = self.asked.remove(&id) else {
            return self.violated(view.now, format_args!("the question {id:?} failed after its end"));
        };
        let steady = asked.asker_home.is_some() && self.truths[asked.asker].home == asked.asker_home;
        let home_lives = asked.asker_home.is_some_and(|(home, _)| self.truths[home].running);
        if steady && home_lives {
            let question = &asked.question;
            self.violated(view.now, format_args!("{question:?} failed at a steady home: {reason:?}"));
        } else {
            self.score.excused += 1;
        }
    }

    fn violated(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.violations.push(Violation { at, what: what.to_string() });
    }
}

fn matches(query: &Query, file: &super::library::SharedFile) -> bool {
    match &query.subject {
        Subject::Words(text) => {
            let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            file.has(&words)
        }
        Subject::Content(hash) => file.hash == *hash,
    }
}
