//! An ordinary node in a few hundred bytes: what it says to supernodes is what `nearmesh::proto::Client` would say.
//!
//! It scouts, asks for a list, measures sixteen supernodes of it, attaches to the nearest with room, publishes, keeps a standby, refreshes its
//! presence, measures a few again, is as quick on its home's link as that says, fails over, and follows redirects, with the waits of the real machine. What differs: it remembers
//! sixteen supernodes instead of 200, a round of measurements is one event (its packets are counted all the same), it
//! moves on one measurement, as they do not vary here, and it leaves its old home at once where the real one stays findable there for two seconds.

use std::time::Duration;

use nearmesh::proto::COMPARED;
use nearmesh_common::pace::Pace;

use super::{
    calendar::Moment,
    names::{NOBODY, Peer},
};
use crate::workload::places::Place;

/// Supernodes remembered; as many as one survey of the real machine measures.
pub(super) const KNOWN: usize = 16;
/// As `nearmesh::proto`: how long an answer may take.
pub(super) const ANSWER_WAIT: Duration = Duration::from_millis(1500);
/// How long opening a link may take.
pub(super) const DIAL_WAIT: Duration = Duration::from_secs(4);
/// Supernodes tried in one round.
pub(super) const MAX_TRIES: u8 = 8;
/// Over how long orphans without a standby spread their return.
pub(super) const REJOIN_SPREAD: Duration = Duration::from_millis(800);
/// How long without a standby until it looks again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// The same after one failed.
pub(super) const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// When a survey is over if somebody answered.
pub(super) const SETTLE: Duration = Duration::from_millis(500);
/// When it is over if nobody did.
pub(super) const SILENCE: Duration = Duration::from_secs(2);
/// How long until what a home put off is published again, at most (the real machine: 1 s and more).
pub(super) const PUT_OFF: Duration = Duration::from_secs(2);
/// The first wait after a round that led nowhere, and the longest.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a node is doing about its home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// It does not run.
    #[default]
    Away,
    /// Nothing is under way; no home.
    Resting,
    /// Which of the remembered supernodes lives?
    Scouting,
    /// `busy` was asked for a list.
    Listing,
    /// Which is nearest?
    Surveying,
    /// `busy` was asked for a place.
    Attaching,
    /// `busy` said that too many come at once.
    Waiting,
    /// At home.
    Settled,
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) stage: Stage,
    /// When the stage ends by itself.
    pub(super) until: Moment,
    /// The wake that is planned; 0 for none.
    pub(super) planned: Moment,
    pub(super) refresh_at: Moment,
    pub(super) survey_at: Moment,
    pub(super) list_at: Moment,
    pub(super) standby_at: Moment,
    /// When the rest of the journal is told again, if the home put it off.
    pub(super) publish_at: Moment,
    pub(super) home: Peer,
    pub(super) standby: Peer,
    pub(super) busy: Peer,
    pub(super) known: [Peer; KNOWN],
    /// A bit for each of `known` that said it is full.
    pub(super) full: u16,
    pub(super) tries: u8,
    /// Who turned it away first, and how many did.
    pub(super) turned_away: (Peer, u8),
    /// When the home last named others to go to.
    pub(super) sent_away: Moment,
    pub(super) failures: u8,
    /// How quick the home wants its link.
    pub(super) pace: Pace,
    /// Those that the survey at home compares with home and standby.
    pub(super) compared: [Peer; COMPARED],
    /// The standby confirmed.
    pub(super) kept: bool,
    /// It is a supernode, and its own child.
    pub(super) serves: bool,
    /// It has seen a list.
    pub(super) informed: bool,
    /// Others can reach it.
    pub(super) reachable: bool,
    /// On the far side of a partition.
    pub(super) island: bool,
    /// Changes of its journal that the home holds, and has in all.
    pub(super) registered: u32,
    pub(super) files: u32,
    /// Wall clock of the last presence.
    pub(super) sequence: u64,
    /// When it started (0 while it is away), lost its last home, and came to the present one.
    pub(super) since: Moment,
    pub(super) homeless_since: Moment,
    pub(super) home_since: Moment,
    /// When the home held all of its journal.
    pub(super) whole_since: Moment,
    pub(super) place: Place,
}

impl Child {
    pub(super) fn new(place: Place, files: u32) -> Self {
        Self {
            stage: Stage::Away,
            until: 0,
            planned: 0,
            refresh_at: 0,
            survey_at: 0,
            list_at: 0,
            standby_at: 0,
            publish_at: 0,
            home: NOBODY,
            standby: NOBODY,
            busy: NOBODY,
            known: [NOBODY; KNOWN],
            full: 0,
            tries: 0,
            turned_away: (NOBODY, 0),
            sent_away: 0,
            failures: 0,
            pace: Pace::HOME,
            compared: [NOBODY; COMPARED],
            kept: false,
            serves: false,
            informed: false,
            reachable: true,
            island: false,
            registered: 0,
            files,
            sequence: 0,
            since: 0,
            homeless_since: 0,
            home_since: 0,
            whole_since: 0,
            place,
        }
    }

    /// The process ends: only what is on its disk stays.
    pub(super) fn forget_all(&mut self) {
        let fresh = Self::new(self.place, self.files);
        *self = Self {
            known: self.known,
            informed: self.informed,
            reachable: self.reachable,
            island: self.island,
            sequence: self.sequence,
            planned: self.planned,
            ..fresh
        };
    }

    pub(super) fn runs(&self) -> bool {
        self.stage != Stage::Away
    }

    pub(super) fn is_home(&self) -> bool {
        self.home != NOBODY
    }

    /// The known supernodes, each with whether it said that it is full.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (Peer, bool)> {
        let full = self.full;
        let known = self.known.into_iter().enumerate();
        known.filter(|(_, peer)| *peer != NOBODY).map(move |(at, peer)| (peer, full & (1 << at) != 0))
    }

    pub(super) fn is_full(&mut self, peer: Peer) {
        if let Some(at) = self.known.iter().position(|known| *known == peer) {
            self.full |= 1 << at;
        }
    }

    /// Takes a supernode among the known, in a free place or that of `instead`.
    pub(super) fn learn(&mut self, peer: Peer, full: bool, instead: usize) {
        let at = self.known.iter().position(|known| *known == peer);
        let at = at.or_else(|| self.known.iter().position(|known| *known == NOBODY)).unwrap_or(instead);
        self.known[at] = peer;
        self.full = self.full & !(1 << at) | u16::from(full) << at;
    }

    pub(super) fn forget(&mut self, peer: Peer) {
        if let Some(at) = self.known.iter().position(|known| *known == peer) {
            self.known[at] = NOBODY;
            self.full &= !(1 << at);
        }
    }

    /// When it wants to be called.
    pub(super) fn due(&self) -> Option<Moment> {
        let waits =
            [self.until, self.refresh_at, self.survey_at, self.list_at, self.standby_at, self.publish_at];
        waits.into_iter().filter(|at| *at != 0).min()
    }
}
