//! What is asked, held against the truth, and what it cost.
//!
//! Every message that a question causes is attributed to it: queries and answers by their number, requests to the directory by asker
//! and number, the rest by what is being handled while it is said.

use std::time::Duration;

use nearmesh_common::{
    ContentHash, NodeId, codec,
    presence::Presence,
    wire::{
        LinkMessage,
        home::{Decline, DirectoryEntry, RequestId, ToChild, ToHome},
        mesh::Mesh,
        query::{Filter, Query, Subject},
    },
};
use rand::RngExt;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::{
    Net,
    calendar::{Moment, nanos},
    child::{Child, Stage},
    names::{self, NOBODY, Peer},
    outcome::Outcome,
};
use crate::workload::FileId;

/// A node that moved, or whose home just learnt of its files, may for so long be shown where it was.
pub const STALE: Duration = Duration::from_secs(2);
/// A question that was not answered by then has failed (the real machine: 15 s).
const PATIENCE: Duration = Duration::from_secs(15);
/// After so long it is asked again, where its home had no time or leaves (as the real machine does).
const REST: Duration = Duration::from_millis(500);
/// No cause: the message belongs to no question.
pub(super) const NO_CAUSE: u32 = 0;

/// What somebody wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file that only one node has, by its words.
    Rare,
    /// The same, by its hash.
    RareHash,
    /// A file that fifty nodes have and more, by its words.
    Popular,
    /// Words that nobody has.
    Nothing,
    /// Where a user is.
    Lookup,
}

/// A question under way.
#[derive(Debug)]
struct Asked {
    kind: Kind,
    question: ToHome,
    asker: Peer,
    home: Peer,
    home_since: Moment,
    target: Peer,
    wanted: Option<ContentHash>,
    /// Where the target was, if it should be found.
    target_home: Peer,
    target_since: Moment,
    at: Moment,
    first_hit: Option<Moment>,
    sources: FxHashSet<(ContentHash, NodeId)>,
    numbers: Vec<(Peer, u64)>,
    /// Results that the home has passed on.
    shown: u64,
    /// The same when its second wave went out.
    first_wave: u64,
    cost: Cost,
    waves: u32,
    last_wave: Moment,
    queried: FxHashSet<Peer>,
}

/// What a question caused between supernodes.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    messages: u64,
    bytes: u64,
    queries: u64,
    finds: u64,
}

/// The questions under way and what came of the others.
#[derive(Default)]
pub struct Asking {
    open: FxHashMap<u32, Asked>,
    /// Which question a supernode's own number of a query or request belongs to.
    numbers: FxHashMap<(Peer, u64), u32>,
    last: u32,
    /// By kind.
    pub outcomes: std::collections::BTreeMap<Kind, Outcome>,
}

impl Asking {
    /// Questions that are not answered yet.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// To which question an outgoing message belongs; `handling` is the question whose message is being handled.
    pub(super) fn cause(
        &mut self,
        (from, to): (Peer, Peer),
        message: &LinkMessage,
        handling: u32,
        now: Moment,
    ) -> u32 {
        let cause = match message {
            LinkMessage::Mesh(Mesh::Query { number, .. }) => {
                let cause = self.known_or(from, *number, handling);
                if let Some(asked) = self.open.get_mut(&cause) {
                    asked.cost.queries += 1;
                    if from == asked.home && (asked.waves == 0 || asked.last_wave != now) {
                        asked.first_wave = if asked.waves == 1 { asked.shown } else { asked.first_wave };
                        (asked.waves, asked.last_wave) = (asked.waves + 1, now);
                    }
                }
                cause
            }
            LinkMessage::Mesh(Mesh::Answer { number, hits, .. }) => {
                let cause = self.numbers.get(&(to, *number)).copied().unwrap_or(handling);
                if let Some(asked) = self.open.get_mut(&cause).filter(|_| !hits.is_empty()) {
                    asked.queried.extend(hits.iter().map(|hit| names::peer(&hit.source.home)));
                }
                cause
            }
            LinkMessage::Mesh(Mesh::Find { number, .. }) => {
                let cause = self.known_or(from, *number, handling);
                if let Some(asked) = self.open.get_mut(&cause) {
                    asked.cost.finds += 1;
                }
                cause
            }
            LinkMessage::ToChild(ToChild::Hits { id, hits }) => {
                if let Some(asked) = self.open.get_mut(&(id.0 as u32)) {
                    asked.shown += hits.len() as u64;
                }
                return NO_CAUSE;
            }
            LinkMessage::Mesh(Mesh::Held { .. } | Mesh::Cancel(_)) => handling,
            _ => return NO_CAUSE,
        };
        if let Some(asked) = self.open.get_mut(&cause) {
            asked.cost.messages += 1;
        }
        cause
    }

    /// The question for which `from` uses this number; if it is new, the one that is being handled.
    fn known_or(&mut self, from: Peer, number: u64, handling: u32) -> u32 {
        let key = (from, number);
        if let Some(known) = self.numbers.get(&key) {
            return *known;
        }
        if let Some(asked) = self.open.get_mut(&handling) {
            asked.numbers.push(key);
            self.numbers.insert(key, handling);
        }
        handling
    }

    /// It took so many bytes.
    pub(super) fn note_bytes(&mut self, cause: u32, bytes: u64) {
        if let Some(asked) = self.open.get_mut(&cause) {
            asked.cost.bytes += bytes;
        }
    }

    fn close(&mut self, id: u32) -> Option<Asked> {
        let asked = self.open.remove(&id)?;
        for key in &asked.numbers {
            self.numbers.remove(key);
        }
        Some(asked)
    }
}

impl Net {
    /// Somebody at home asks something of this kind. Whether there was anybody, and anything to ask for.
    pub fn ask(&mut self, kind: Kind) -> bool {
        let Some(asker) = self.somebody() else { return false };
        match kind {
            Kind::Rare => self.ask_for_rare(asker, kind, |net, file| {
                let question = net.workload.word_question(file, &mut net.rng);
                // The word that no other name has comes last, and counts as a prefix there; people do not all type it last.
                let mut words = question.words;
                words.rotate_right(1);
                Subject::Words(words.join(" ").into())
            }),
            Kind::RareHash => {
                self.ask_for_rare(asker, kind, |net, file| Subject::Content(net.workload.hash(file)))
            }
            Kind::Popular => {
                let Some(file) = self.workload.clone().a_popular_file(&mut self.rng) else { return false };
                let mut words = self.workload.clone().word_question(file, &mut self.rng).words;
                words.rotate_right(1);
                self.search(asker, kind, (NOBODY, None), Subject::Words(words.join(" ").into()))
            }
            Kind::Nothing => {
                let words = self.workload.clone().vain_question(&mut self.rng).words;
                self.search(asker, kind, (NOBODY, None), Subject::Words(words.join(" ").into()))
            }
            Kind::Lookup => {
                let Some(target) = self.somebody() else { return false };
                let user = names::user(target);
                self.begin_question(kind, asker, (target, None), |id| ToHome::Lookup { id, user });
                true
            }
        }
    }

    fn ask_for_rare(
        &mut self,
        asker: Peer,
        kind: Kind,
        subject: impl Fn(&mut Self, FileId) -> Subject,
    ) -> bool {
        /// Files that are drawn until one's owner is at home.
        const DRAWS: usize = 50;
        for _ in 0..DRAWS {
            let workload = self.workload.clone();
            let Some(file) = workload.a_single_copy(&mut self.rng) else { return false };
            let Some(owner) = workload.holders_of(file).first().map(|node| node.0) else { return false };
            if self.children[owner as usize].is_home() && !self.lies(owner) {
                let subject = subject(self, file);
                return self.search(asker, kind, (owner, Some(workload.hash(file))), subject);
            }
        }
        false
    }

    fn search(
        &mut self,
        asker: Peer,
        kind: Kind,
        target: (Peer, Option<ContentHash>),
        subject: Subject,
    ) -> bool {
        let query = Query { subject, filter: Filter::default(), limit: self.limit };
        self.begin_question(kind, asker, target, |id| ToHome::Search { id, query });
        true
    }

    fn begin_question(
        &mut self,
        kind: Kind,
        asker: Peer,
        (target, wanted): (Peer, Option<ContentHash>),
        say: impl FnOnce(RequestId) -> ToHome,
    ) {
        let now = self.calendar.now();
        self.asking.last += 1;
        let id = self.asking.last;
        let from = &self.children[asker as usize];
        let steady = self.children.get(target as usize).filter(|to| is_steady(to, now));
        let (target_home, target_since) = steady.map_or((NOBODY, 0), |to| (to.home, to.home_since));
        let question = say(RequestId(u64::from(id)));
        let asked = Asked {
            kind,
            question: question.clone(),
            asker,
            home: from.home,
            home_since: from.home_since,
            target,
            wanted,
            target_home,
            target_since,
            at: now,
            first_hit: None,
            sources: FxHashSet::default(),
            numbers: Vec::new(),
            shown: 0,
            first_wave: 0,
            cost: Cost::default(),
            waves: 0,
            last_wave: 0,
            queried: FxHashSet::default(),
        };
        let home = from.home;
        self.asking.open.insert(id, asked);
        self.calendar.at(now + nanos(PATIENCE), super::Event::Impatient(id));
        self.say_because(asker, home, question, id);
    }

    /// A node that is at home, if a few draws meet one.
    fn somebody(&mut self) -> Option<Peer> {
        const DRAWS: usize = 200;
        for _ in 0..DRAWS {
            let peer = self.rng.random_range(0..self.children.len() as Peer);
            let child = &self.children[peer as usize];
            if child.stage == Stage::Settled
                && child.is_home()
                && self.is_alive(child.home)
                && !self.lies(peer)
            {
                return Some(peer);
            }
        }
        None
    }

    pub(super) fn on_answer(&mut self, _peer: Peer, _from: Peer, message: ToChild) {
        let now = self.calendar.now();
        match message {
            ToChild::Hits { id, hits } => {
                let Some(asked) = self.asking.open.get_mut(&(id.0 as u32)) else { return };
                asked.first_hit.get_or_insert(now);
                asked.sources.extend(hits.iter().map(|hit| (hit.hash, hit.source.node)));
            }
            ToChild::SearchDone { id, .. } => self.end_search(id.0 as u32, now),
            ToChild::Found { id, nodes } => self.end_lookup(id.0 as u32, &nodes, now),
            ToChild::Declined { id, reason: Decline::TooMany | Decline::Leaving } => {
                self.calendar.at(now + nanos(REST), super::Event::AskAgain(id.0 as u32));
            }
            ToChild::Declined { id, .. } => self.unanswered(id.0 as u32, "it was declined"),
            _ => {}
        }
    }

    /// Asks once more, wherever the asker is at home by now.
    pub(super) fn ask_again(&mut self, id: u32) {
        let Some(asked) = self.asking.open.get_mut(&id) else { return };
        let (asker, child) = (asked.asker, &self.children[asked.asker as usize]);
        if !child.is_home() {
            return self.calendar.at(self.calendar.now() + nanos(REST), super::Event::AskAgain(id));
        }
        (asked.home, asked.home_since) = (child.home, child.home_since);
        let (home, question) = (asked.home, asked.question.clone());
        self.say_because(asker, home, question, id);
    }

    /// A question that nobody answered.
    pub(super) fn impatient(&mut self, id: u32) {
        self.unanswered(id, "nobody answered");
    }

    fn unanswered(&mut self, id: u32, why: &str) {
        let Some(asked) = self.asking.close(id) else { return };
        // A supernode that leaves takes its own node with it.
        let leaves = asked.asker == asked.home && self.leaves(asked.home);
        let excused = leaves || self.is_excused(&asked);
        let outcome = self.asking.outcomes.entry(asked.kind).or_default();
        outcome.asked += 1;
        if excused {
            outcome.excused += 1;
        } else {
            outcome.unanswered += 1;
            outcome.due += 1;
            outcome.wrong(|| format!("{why}: {} asked {} at {}", asked.asker, asked.home, asked.at));
        }
    }

    /// Whether the asker's home did not stay what it was.
    fn is_excused(&self, asked: &Asked) -> bool {
        let asker = &self.children[asked.asker as usize];
        asker.home != asked.home || asker.home_since != asked.home_since || !self.is_alive(asked.home)
    }

    fn end_search(&mut self, id: u32, now: Moment) {
        let Some(asked) = self.asking.close(id) else { return };
        let excused = self.is_excused(&asked);
        let due = self.is_due(&asked);
        let hidden = self.hides(asked.target_home);
        let wanted = asked.wanted.map(|wanted| (wanted, names::node(self.seed, asked.target)));
        let outcome = self.asking.outcomes.entry(asked.kind).or_default();
        outcome.asked += 1;
        outcome.note(&asked, now);
        if excused {
            outcome.excused += 1;
            return;
        }
        let Some(wanted) = wanted.filter(|_| due) else { return };
        if hidden {
            outcome.hidden += 1;
            return;
        }
        outcome.due += 1;
        if asked.sources.contains(&wanted) {
            outcome.right += 1;
        } else {
            outcome.wrong(|| {
                let Asked { asker, home, target, target_home, target_since, at, cost, .. } = &asked;
                format!("{asker} at {home} did not find the file of {target} at {target_home} (there since {target_since}, asked at {at}, {cost:?})")
            });
        }
    }

    fn end_lookup(&mut self, id: u32, nodes: &[DirectoryEntry], now: Moment) {
        let Some(asked) = self.asking.close(id) else { return };
        let excused = self.is_excused(&asked);
        let due = self.is_due(&asked);
        let node = names::node(self.seed, asked.target);
        let shown = nodes.iter().filter(|entry| entry.online).find_map(|entry| {
            let presence = codec::decode::<Presence>(&entry.presence.payload).ok()?;
            (presence.node == node).then(|| names::peer(&presence.home))
        });
        let rtt = self.usual_rtt;
        let outcome = self.asking.outcomes.entry(asked.kind).or_default();
        outcome.asked += 1;
        outcome.note(&asked, now);
        outcome.relative.note((now - asked.at) * 100 / rtt);
        if excused {
            outcome.excused += 1;
        } else if !due {
            outcome.stale += 1;
        } else {
            outcome.due += 1;
            if shown == Some(asked.target_home) {
                outcome.right += 1;
            } else {
                outcome.wrong(|| {
                    let Asked { asker, home, target, target_home, target_since, at, .. } = &asked;
                    format!("{asker} at {home} was shown {target} at {shown:?}, not at {target_home} (there since {target_since}, asked at {at})")
                });
            }
        }
    }

    /// Whether what was asked for was there all the time, where the asker can reach it.
    fn is_due(&self, asked: &Asked) -> bool {
        let Some(target) = self.children.get(asked.target as usize) else { return false };
        let stayed = target.home == asked.target_home && target.home_since == asked.target_since;
        let reached = asked.target_home != NOBODY && !self.separated(asked.asker, asked.target);
        let leaves = asked.target == asked.target_home && self.leaves(asked.target);
        stayed && reached && self.is_alive(asked.target_home) && !leaves
    }
}

/// Whether a node has been registered, in one place, for long enough to be found.
fn is_steady(target: &Child, now: Moment) -> bool {
    target.is_home() && target.whole_since != 0 && target.whole_since + nanos(STALE) <= now
}

impl Outcome {
    fn note(&mut self, asked: &Asked, now: Moment) {
        self.latency.note(now - asked.at);
        if let Some(first) = asked.first_hit {
            self.first.note(first - asked.at);
        }
        let answerers = asked.queried.len() as u64;
        self.results.note(asked.sources.len() as u64);
        self.queries.note(asked.cost.queries);
        self.requests.note(asked.cost.finds);
        self.messages.note(asked.cost.messages);
        self.bytes.note(asked.cost.bytes);
        self.answerers.note(answerers);
        self.waves.note(u64::from(asked.waves));
        self.first_wave.note(if asked.waves > 1 { asked.first_wave } else { asked.shown });
        self.overhead.note(asked.cost.queries.saturating_sub(answerers));
    }
}
