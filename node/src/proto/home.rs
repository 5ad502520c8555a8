//! Choosing a home by measured round trip, and never being without one for long.
//!
//! A node that knows little first *scouts*: it measures a few remembered supernodes and asks the first that answers
//! for a fresh list. Then it *surveys*: it measures at least five supernodes, and *attaches* to the nearest with
//! room. A full one names alternatives, which are tried in turn; where nobody has room and too many come at once, it says when
//! to come again. The next best on another machine becomes the
//! *standby*, on a link that stays open. When the home's link breaks, `Attach` goes to the standby at once; without a
//! standby the node waits a random moment and surveys again, so that the children of a dead supernode do not arrive
//! all at once. At home it surveys every few minutes, a few supernodes only, and moves only for a clear and lasting gain; or when the home itself names others,
//! because it has too many children or steps down (`leaving`).
//!
//! Invariant: every step under way has an end in time; what is not answered by then has failed. A node that serves as a
//! supernode is its own home and needs no standby: where its own process is, its index is.

mod leaving;
mod links;
mod standby;
mod steps;
mod survey;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use leaving::SENT_ON;
use links::{Link, Links};
use nearmesh_common::{NodeId, Now, pace::Pace, wire::NodeAddress};
use rand_chacha::ChaCha8Rng;
use standby::Standby;
pub use steps::{COMPARED, TURNED_AWAY};
use survey::Survey;
pub use survey::{ROUNDS, ROUNDS_AT_HOME};

use super::{
    backoff::{Backoff, jitter},
    host_cache::HostCache,
};

/// How long an attach or a list may take on an open link (guess: the slowest access networks answer in 1 s).
const ANSWER_WAIT: Duration = Duration::from_millis(1500);
/// How long a node that becomes a supernode stays with the home it has, before it is its own child (guess: by then its supernode has found those whom it
/// has to tell where its node is; before, nobody would hear of the move).
pub const OWN_AFTER: Duration = Duration::from_secs(10);
/// How often a node at home measures others; the first time after half of it at most.
pub const SURVEY_EVERY: Duration = Duration::from_secs(300);
/// When it measures once more if another seemed clearly nearer than its home: twice in five minutes, as iroh's rule asks.
const CONFIRM_AFTER: Duration = Duration::from_secs(120);
/// How long a home that we left is kept until the new one has all our files (guess: a million of them, at the 20,000 a second that it takes).
const PART_WITHIN: Duration = Duration::from_secs(60);
/// How long it is kept after that: others hear within half a second what the new home has (its summary's changes are gathered for 200 ms), and nearly
/// every search that asked it before is over by then. Meanwhile both count the node as their child.
const PART_AFTER: Duration = Duration::from_secs(2);
/// How often it asks its home for a fresh list (as FastTrack's clients; a hundred children cost 0.07 kB/s).
pub const LIST_EVERY: Duration = Duration::from_secs(2 * 60 * 60);

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Open a link.
    Dial(NodeAddress),
    /// Close a link.
    Close(NodeId),
    /// Measure, with so many answers.
    Probe(NodeAddress, u32),
    /// The end of a link must be noticed so soon from now on. A link begins at [`Pace::Calm`].
    Pace(NodeId, Pace),
    /// Ask for a list.
    List(NodeId),
    /// Ask to be taken as a child.
    Attach(NodeId),
    /// Ask for a warm place.
    Standby(NodeId),
    /// Tell an old home where we are now.
    Detach(NodeId),
    /// An attachment elsewhere was given up and may have been taken: sign for the present home again.
    Reassure,
    /// There is no home any more.
    HomeLost,
    /// The standby is another one.
    StandbyChanged,
}

/// What choosing needs from the others.
pub(super) struct Scene<'a> {
    pub(super) hosts: &'a mut HostCache,
    pub(super) rng: &'a mut ChaCha8Rng,
    pub(super) now: Now,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is under way; at home.
    Settled,
    /// Nothing is under way; no home.
    Resting { until: Instant },
    /// Which of the remembered supernodes lives?
    Scouting(Survey),
    /// One that lives was asked for a list.
    Listing { from: NodeId, until: Instant },
    /// Which one is nearest?
    Surveying {
        survey: Survey,
        /// The home asked us to go.
        leaving: bool,
    },
    /// A supernode said when to come again. The link to it stays open.
    Waiting { to: NodeId, until: Instant },
    /// Asking for a place.
    Attaching { to: NodeId, until: Instant },
    /// Left for good.
    Left,
}

/// The choice of a home.
#[derive(Debug)]
pub(super) struct Homing {
    own: NodeAddress,
    serving: bool,
    stage: Stage,
    home: Option<NodeId>,
    /// The home before, which stays one until a moment after the new home has all our files, or until then: a move hides nothing.
    parting: Option<(NodeId, Instant)>,
    standby: Standby,
    links: Links,
    backoff: Backoff,
    tries: u32,
    /// Who turned us away first, and how many did, while there is no home.
    turned_away: Option<(NodeId, u8)>,
    /// When the home last named others to go to.
    sent_away: Option<Instant>,
    survey_at: Option<Instant>,
    list_at: Option<Instant>,
    actions: VecDeque<Action>,
}

impl Homing {
    /// A node without a home, which begins to look for one at `now`.
    pub(super) fn new(own: NodeAddress, serving: bool, now: Now) -> Self {
        Self {
            own,
            serving,
            stage: Stage::Resting { until: now.instant },
            home: None,
            parting: None,
            standby: Standby::default(),
            links: Links::default(),
            backoff: Backoff::default(),
            tries: 0,
            turned_away: None,
            sent_away: None,
            survey_at: None,
            list_at: None,
            actions: VecDeque::new(),
        }
    }

    /// The present home.
    pub(super) fn home(&self) -> Option<NodeId> {
        self.home
    }

    /// The home before, while others still find us there.
    pub(super) fn former(&self) -> Option<NodeId> {
        self.parting.map(|(old, _)| old)
    }

    /// The standby that confirmed.
    pub(super) fn standby(&self) -> Option<NodeId> {
        self.standby.kept()
    }

    /// What is to be done next.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Settled => self.survey_at,
            Stage::Resting { until }
            | Stage::Listing { until, .. }
            | Stage::Waiting { until, .. }
            | Stage::Attaching { until, .. } => Some(*until),
            Stage::Scouting(survey) | Stage::Surveying { survey, .. } => Some(survey.poll_timeout()),
            Stage::Left => return None,
        };
        let standby = self.home.and_then(|_| self.standby.poll_timeout());
        let parting = self.parting.filter(|_| self.may_part()).map(|(_, until)| until);
        stage.into_iter().chain(standby).chain(parting).min()
    }

    /// This node became a supernode, or is one no longer.
    pub(super) fn handle_serving(&mut self, serving: bool, own: NodeAddress, scene: &mut Scene<'_>) {
        self.own = own;
        if serving == self.serving || matches!(self.stage, Stage::Left) {
            return;
        }
        self.serving = serving;
        self.tries = 0;
        if self.home.is_some() && matches!(self.stage, Stage::Attaching { .. }) {
            // Whom we asked for a place may have told others that we are there.
            self.actions.push_back(Action::Reassure);
        }
        if serving {
            self.clear_standby();
            match self.home {
                Some(_) => {
                    self.stage = Stage::Settled;
                    self.survey_at = Some(scene.now.instant + OWN_AFTER);
                }
                None => self.attach(self.own.node, scene),
            }
        } else if self.home.is_some_and(|home| home != self.own.node) {
            self.settle_or_rest(scene);
        } else {
            if self.home.is_some() {
                self.lose_home(scene);
            }
            self.seek(scene);
        }
        self.prune();
    }

    /// New candidates came while there was nothing to go on.
    pub(super) fn handle_candidates(&mut self, scene: &mut Scene<'_>) {
        if matches!(self.stage, Stage::Resting { .. }) && self.home.is_none() && !self.serving {
            self.seek(scene);
        }
    }

    /// Leaves: every link is closed, nothing is begun any more.
    pub(super) fn handle_leave(&mut self) {
        self.home = None;
        self.parting = None;
        self.standby = Standby::default();
        self.stage = Stage::Left;
        self.prune();
    }

    /// A link is open.
    pub(super) fn on_link_up(&mut self, node: NodeId, scene: &mut Scene<'_>) {
        if !self.links.on_up(node) {
            self.actions.push_back(Action::Close(node));
            return;
        }
        let answer_by = scene.now.instant + ANSWER_WAIT;
        let mut attaching = false;
        match &mut self.stage {
            Stage::Listing { from, until } if *from == node => {
                *until = answer_by;
                self.actions.push_back(Action::List(node));
            }
            Stage::Attaching { to, until } if *to == node => {
                *until = answer_by;
                attaching = true;
                self.actions.push_back(Action::Attach(node));
            }
            _ => {}
        }
        if self.standby.on_link_up(node, answer_by) && !attaching {
            self.actions.push_back(Action::Standby(node));
        }
    }

    /// A link is gone, or could not be opened.
    pub(super) fn on_link_gone(&mut self, node: NodeId, scene: &mut Scene<'_>) {
        if !self.links.on_gone(node) {
            return;
        }
        scene.hosts.handle_failed(node, scene.now);
        self.parting.take_if(|(old, _)| *old == node);
        if self.standby.node() == Some(node) {
            self.standby_failed(scene);
        }
        match self.stage {
            Stage::Attaching { to, .. } if to == node => self.attempt_failed(scene),
            Stage::Listing { from, .. } if from == node => self.survey(&[], scene),
            Stage::Waiting { to, .. } if to == node => self.attempt_failed(scene),
            _ => {}
        }
        if self.home == Some(node) {
            self.lose_home(scene);
        }
        self.prune();
    }

    /// A measurement was noted in the cache.
    pub(super) fn on_probed(&mut self, node: NodeId, answered: bool, scene: &mut Scene<'_>) {
        match &mut self.stage {
            Stage::Scouting(survey) => {
                survey.on_probed(node, answered);
                if answered {
                    self.list(node, scene);
                } else if survey.is_over(scene.now) {
                    self.rest(scene);
                }
            }
            Stage::Surveying { survey, leaving } => {
                survey.on_probed(node, answered);
                let (began, leaving) = (survey.began(), *leaving);
                if survey.is_over(scene.now) {
                    self.decide(began, leaving, scene);
                }
            }
            _ => {}
        }
        self.prune();
    }

    /// A list came, and is in the cache.
    pub(super) fn on_listed(&mut self, from: NodeId, scene: &mut Scene<'_>) {
        let awaited = match self.stage {
            Stage::Listing { from: asked, .. } => asked == from,
            Stage::Settled => self.home == Some(from) && !self.serving,
            _ => false,
        };
        if awaited {
            self.survey(&[], scene);
            self.prune();
        }
    }

    /// The home has all our files: the one before will soon be needed no more.
    pub(super) fn on_registered(&mut self, now: Now) {
        if let Some((_, until)) = &mut self.parting {
            *until = (*until).min(now.instant + PART_AFTER);
        }
    }

    /// Who asks for a place may be asking the old home, or ask a third one with a presence that must stay the newest.
    fn may_part(&self) -> bool {
        !matches!(self.stage, Stage::Attaching { .. })
    }

    fn part(&mut self) {
        if let Some((old, _)) = self.parting.take() {
            self.actions.push_back(Action::Detach(old));
        }
    }

    /// A supernode took us in. True if that makes it the new home.
    pub(super) fn on_attached(&mut self, from: NodeId, scene: &mut Scene<'_>) -> bool {
        match self.stage {
            Stage::Attaching { to, .. } if to == from => {}
            _ => return false,
        }
        self.parting.take_if(|(old, _)| *old == from);
        if let Some(old) = self.home.replace(from).filter(|old| *old != from) {
            self.part();
            self.parting = Some((old, scene.now.instant + PART_WITHIN));
            self.actions.push_back(Action::Pace(old, Pace::Calm));
        }
        if from != self.own.node {
            self.actions.push_back(Action::Pace(from, Pace::HOME));
        }
        self.stage = Stage::Settled;
        self.tries = 0;
        self.backoff.reset();
        (self.turned_away, self.sent_away) = (None, None);
        // Whoever just came was told enough; and those who came together do not ask together.
        let first = jitter(scene.rng, LIST_EVERY / 2, LIST_EVERY);
        self.list_at.get_or_insert(scene.now.instant + first);
        self.survey_at = Some(scene.now.instant + jitter(scene.rng, SURVEY_EVERY / 4, SURVEY_EVERY / 2));
        if self.standby.node() == Some(from) {
            self.clear_standby();
        }
        self.look_for_standby(scene);
        self.prune();
        true
    }

    /// A supernode is full, or steps down, and named others, which are in the cache.
    pub(super) fn on_redirect(&mut self, from: NodeId, alternatives: &[NodeId], scene: &mut Scene<'_>) {
        if self.links.get(from).is_none() || from == self.own.node {
            return;
        }
        scene.hosts.on_full(from, scene.now);
        if self.standby.node() == Some(from) && self.home != Some(from) {
            self.standby_failed(scene);
        }
        match self.stage {
            Stage::Attaching { to, .. } if to == from => {
                self.tries += 1;
                match self.ask_again(from, scene) {
                    Some(first) => self.attach(first, scene),
                    None => self.try_alternatives(alternatives, scene),
                }
            }
            _ if self.home == Some(from) => self.leave_home(alternatives, scene),
            _ => {}
        }
        self.prune();
    }

    /// A supernode does not take us.
    pub(super) fn on_refused(&mut self, from: NodeId, scene: &mut Scene<'_>) {
        if self.links.get(from).is_none() {
            return;
        }
        scene.hosts.handle_failed(from, scene.now);
        if self.standby.node() == Some(from) {
            self.standby_failed(scene);
        }
        match self.stage {
            Stage::Attaching { to, .. } if to == from => self.attempt_failed(scene),
            _ if self.home == Some(from) => self.lose_home(scene),
            _ => {}
        }
        self.prune();
    }

    /// A supernode keeps a place warm for us.
    pub(super) fn on_standby_kept(&mut self, from: NodeId) {
        if self.standby.on_kept(from) {
            self.actions.push_back(Action::StandbyChanged);
        }
    }

    /// The home says how quick the link to it should be. Slower than usual it is not made: it is we who must notice its end.
    pub(super) fn on_pace(&mut self, from: NodeId, pace: Pace) {
        if self.home == Some(from) {
            self.actions.push_back(Action::Pace(from, pace.min(Pace::HOME)));
        }
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, scene: &mut Scene<'_>) {
        let now = scene.now.instant;
        if self.may_part() && self.parting.is_some_and(|(_, until)| until <= now) {
            self.part();
        }
        match &self.stage {
            Stage::Resting { until } if *until <= now => self.seek(scene),
            Stage::Scouting(survey) if survey.is_over(scene.now) => self.rest(scene),
            Stage::Listing { from, until } if *until <= now => {
                scene.hosts.handle_failed(*from, scene.now);
                self.survey(&[], scene);
            }
            Stage::Surveying { survey, leaving } if survey.is_over(scene.now) => {
                let (began, leaving) = (survey.began(), *leaving);
                self.decide(began, leaving, scene);
            }
            Stage::Waiting { to, until } if *until <= now => {
                let to = *to;
                self.attach(to, scene);
            }
            Stage::Attaching { to, until } if *until <= now => {
                let silent = *to;
                scene.hosts.handle_failed(silent, scene.now);
                if self.standby.node() == Some(silent) {
                    self.standby_failed(scene);
                }
                self.attempt_failed(scene);
            }
            Stage::Settled if self.survey_at.is_some_and(|at| at <= now) => self.survey_again(scene),
            _ => {}
        }
        if self.home.is_some() && self.standby.is_due(scene.now) {
            self.standby_is_due(scene);
        }
        self.prune();
    }
}
