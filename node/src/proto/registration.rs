//! Keeping the home's copy of our journal of shared files up to date.
//!
//! The home's `Attached` says how much of the journal it holds. We read the changes after that mark in batches and
//! publish them in order, a few batches ahead of the home's `Published`; what a home holds is never sent again, unless its mark
//! belongs to another epoch or claims more than there is: then everything is. A `Published` below what we expect means that
//! the home dropped a batch: we go back to its mark, and wait longer each time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now,
    wire::file::{Change, JournalMark},
};

/// Changes in one batch: with the longest names and tags (1.2 kB each) still below the largest frame of 1 MiB.
pub(super) const BATCH: usize = 500;
/// Batches that are published and not yet confirmed (guess: hides one round trip of 200 ms at 1,000 files a second
/// and keeps the home's queue short).
const WINDOW: usize = 4;
/// How long the home may take to confirm a batch before we begin again at its last mark (guess: a loaded index
/// takes far less).
const CONFIRM_WAIT: Duration = Duration::from_secs(20);
/// The wait after the first time the home fell back; doubles up to eight times this (guess).
const FALLBACK_WAIT: Duration = Duration::from_secs(2);
/// How often the wait doubles.
const FALLBACK_DOUBLINGS: u32 = 3;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Ask for the changes after this mark.
    Read(JournalMark),
    /// Send them home.
    Publish { to: NodeId, after: JournalMark, upto: u64, changes: Vec<Change> },
    /// The home holds this much.
    Registered(JournalMark),
}

/// The registration with the present home.
#[derive(Debug)]
pub(super) struct Registration {
    journal: JournalMark,
    session: Option<Session>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Session {
    home: NodeId,
    confirmed: u64,
    sent: u64,
    in_flight: VecDeque<u64>,
    reading: bool,
    /// When the oldest batch in flight is overdue, or a fallback's wait is over.
    wait: Option<Instant>,
    fallbacks: u32,
}

impl Registration {
    /// The journal stands at `journal`; there is no home yet.
    pub(super) fn new(journal: JournalMark) -> Self {
        Self { journal, session: None, actions: VecDeque::new() }
    }

    /// The home took us in and holds our journal up to `held`.
    pub(super) fn on_attached(&mut self, home: NodeId, held: JournalMark) {
        let from = self.usable(held);
        self.session = Some(Session {
            home,
            confirmed: from,
            sent: from,
            in_flight: VecDeque::new(),
            reading: false,
            wait: None,
            fallbacks: 0,
        });
        if from == self.journal.revision {
            self.actions.push_back(Action::Registered(self.journal));
        }
        self.read_on();
    }

    /// There is no home any more.
    pub(super) fn handle_home_lost(&mut self) {
        self.session = None;
    }

    /// The journal moved on; or was begun anew, which restarts the session.
    pub(super) fn handle_journal(&mut self, journal: JournalMark) {
        let anew = journal.epoch != self.journal.epoch || journal.revision < self.journal.revision;
        self.journal = journal;
        match &self.session {
            Some(session) if anew => self.on_attached(session.home, JournalMark::default()),
            _ => self.read_on(),
        }
    }

    /// Changes were read: send them, if they still fit where we are.
    pub(super) fn handle_changes(&mut self, after: JournalMark, upto: u64, changes: Vec<Change>, now: Now) {
        let Some(session) = &mut self.session else { return };
        if after != (JournalMark { epoch: self.journal.epoch, revision: session.sent }) {
            return;
        }
        session.reading = false;
        if upto <= after.revision {
            return;
        }
        session.sent = upto;
        session.in_flight.push_back(upto);
        session.wait.get_or_insert(now.instant + CONFIRM_WAIT);
        self.actions.push_back(Action::Publish { to: session.home, after, upto, changes });
        self.read_on();
    }

    /// The home says how far it has come.
    pub(super) fn on_published(&mut self, from: NodeId, held: JournalMark, now: Now) {
        let usable = self.usable(held);
        let Some(session) = self.session.as_mut().filter(|session| session.home == from) else { return };
        if held.epoch != self.journal.epoch && session.confirmed == 0 {
            return; // Said before it saw our new journal.
        }
        let expected = !session.in_flight.is_empty();
        if usable < session.confirmed || (usable == session.confirmed && expected) {
            return session.fall_back(usable, now);
        }
        if usable == session.confirmed {
            return;
        }
        while session.in_flight.front().is_some_and(|upto| *upto <= usable) {
            session.in_flight.pop_front();
            session.fallbacks = 0;
        }
        session.confirmed = usable;
        session.sent = session.sent.max(usable);
        session.wait = (!session.in_flight.is_empty()).then(|| now.instant + CONFIRM_WAIT);
        self.actions.push_back(Action::Registered(JournalMark { revision: usable, ..self.journal }));
        self.read_on();
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        let Some(session) = self.session.as_mut() else { return };
        if session.wait.is_none_or(|at| at > now.instant) {
            return;
        }
        if session.in_flight.is_empty() {
            session.wait = None;
            self.read_on();
        } else {
            session.fall_back(session.confirmed, now);
        }
    }

    /// What the present home holds.
    pub(super) fn registered(&self) -> Option<JournalMark> {
        self.session.as_ref().map(|session| JournalMark { revision: session.confirmed, ..self.journal })
    }

    /// Where our journal stands.
    pub(super) fn journal(&self) -> JournalMark {
        self.journal
    }

    /// What is to be done next.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.session.as_ref().and_then(|session| session.wait)
    }

    /// The part of a home's mark that holds for our journal.
    fn usable(&self, held: JournalMark) -> u64 {
        let ours = held.epoch == self.journal.epoch && held.revision <= self.journal.revision;
        if ours { held.revision } else { 0 }
    }

    fn read_on(&mut self) {
        let Some(session) = &mut self.session else { return };
        let waits_after_fallback = session.in_flight.is_empty() && session.wait.is_some();
        let room = session.in_flight.len() < WINDOW && !waits_after_fallback;
        if room && !session.reading && session.sent < self.journal.revision {
            session.reading = true;
            self.actions
                .push_back(Action::Read(JournalMark { epoch: self.journal.epoch, revision: session.sent }));
        }
    }
}

impl Session {
    fn fall_back(&mut self, to: u64, now: Now) {
        let wait = FALLBACK_WAIT * (1 << self.fallbacks.min(FALLBACK_DOUBLINGS));
        tracing::debug!(home = %self.home, to, "the home fell back; publishing again from there");
        self.fallbacks = self.fallbacks.saturating_add(1);
        self.confirmed = to;
        self.sent = to;
        self.in_flight.clear();
        self.reading = false;
        self.wait = Some(now.instant + wait);
    }
}
