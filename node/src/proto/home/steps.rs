//! The steps of choosing: what follows when one is done or has failed.

use std::time::{Duration, Instant};

use nearmesh_common::{NodeId, wire::NodeAddress};

use super::{
    ANSWER_WAIT, Action, CONFIRM_AFTER, Homing, LIST_EVERY, Link, OWN_AFTER, SURVEY_EVERY, Scene, Stage,
    Survey, jitter,
    survey::{ROUNDS, ROUNDS_AT_HOME},
};

/// Supernodes measured to find one that lives (guess: half of a cache that is a week old is dead).
const SCOUTED: usize = 8;
/// Supernodes measured before choosing; the design asks for at least 5. Of 16 taken at random the nearest is in the nearest
/// sixth of all with a probability of 95 %.
pub(super) const SURVEYED: usize = 16;
/// Supernodes that a node at home compares with its own, whose links tell their round trips: 100 children that do so make a supernode
/// send 0.1 kB/s of answers, repeated ones not counted.
pub const COMPARED: usize = 4;
/// Known and usable supernodes that make a fresh list unnecessary.
const ENOUGH: usize = 5;
/// How long opening a link may take (guess: three round trips over a slow access network, a packet of each lost).
const DIAL_WAIT: Duration = Duration::from_secs(4);
/// How old a measurement may be to attach without measuring again: a round takes that long at most (guess).
const FRESH: Duration = Duration::from_secs(10);
/// Supernodes tried in one round, redirects included, before backing off (guess).
const MAX_TRIES: u32 = 8;
/// How many supernodes turn a node without a home away before it asks the first of them again, who then takes it whatever others claim,
/// unless it stops or is at its limit (guess: where a crowd comes at once what is heard of others' room is a few seconds old, and each try costs one).
pub const TURNED_AWAY: u8 = 3;
/// Over how long the children of a dead supernode that have no standby spread their return: findable again within
/// two seconds leaves one for the survey and the attachment.
const REJOIN_SPREAD: Duration = Duration::from_millis(800);

impl Homing {
    /// Begins a round: with what is known if that is enough, else by scouting.
    pub(super) fn seek(&mut self, scene: &mut Scene<'_>) {
        self.tries = 0;
        self.turned_away = None;
        if self.serving {
            return self.attach(self.own.node, scene);
        }
        if scene.hosts.knows_enough(ENOUGH, scene.now) && !scene.hosts.has_untried(scene.now) {
            return self.survey(&[], scene);
        }
        let scouts = scene.hosts.scouts(SCOUTED, scene.rng, scene.now);
        if scouts.is_empty() {
            return self.rest(scene);
        }
        self.stage = Stage::Scouting(self.probe(scouts, scene));
    }

    pub(super) fn list(&mut self, from: NodeId, scene: &mut Scene<'_>) {
        match self.open(from, scene) {
            Some(until) => {
                if self.links.get(from) == Some(Link::Up) {
                    self.actions.push_back(Action::List(from));
                }
                self.stage = Stage::Listing { from, until };
            }
            None => self.rest(scene),
        }
    }

    pub(super) fn survey(&mut self, first: &[NodeId], scene: &mut Scene<'_>) {
        let present: Vec<_> = first.iter().copied().chain(self.home).chain(self.standby.node()).collect();
        let number = if self.home.is_some() { present.len() + COMPARED } else { SURVEYED };
        let targets = scene.hosts.to_survey(&present, number, scene.rng, scene.now);
        if targets.is_empty() {
            return self.settle_or_rest(scene);
        }
        self.stage = Stage::Surveying { survey: self.probe(targets, scene), leaving: false };
    }

    pub(super) fn survey_again(&mut self, scene: &mut Scene<'_>) {
        let now = scene.now.instant;
        self.survey_at = Some(now + jitter(scene.rng, SURVEY_EVERY * 3 / 4, SURVEY_EVERY));
        let Some(home) = self.home else { return };
        if self.serving && home != self.own.node {
            self.survey_at = Some(now + OWN_AFTER);
            return self.attach(self.own.node, scene);
        }
        if self.list_at.is_none_or(|at| at <= now) {
            self.list_at = Some(now + LIST_EVERY);
            self.actions.push_back(Action::List(home));
        } else if !self.serving {
            self.survey(&[], scene);
        }
    }

    /// What the survey that began at `since` says: where to attach, whether to move, who is standby. Who did not answer it
    /// may be dead, however near it once was.
    pub(super) fn decide(&mut self, since: Instant, leaving: bool, scene: &mut Scene<'_>) {
        let target = match self.home {
            Some(_) if leaving => return self.leave_for_nearest(since, scene),
            None => scene.hosts.nearest(since, None, scene.rng, scene.now),
            Some(home) => {
                let nearer = scene.hosts.clearly_nearer(home, scene.now);
                // Whoever is so for certain is asked at once, and if it is full, not again any sooner than others.
                if nearer.is_none() && scene.hosts.seems_nearer(home, scene.now) {
                    let confirm = scene.now.instant + jitter(scene.rng, CONFIRM_AFTER / 2, CONFIRM_AFTER);
                    self.survey_at = self.survey_at.map(|at| at.min(confirm));
                }
                nearer
            }
        };
        match target {
            Some(node) => self.attach(node, scene),
            None => self.settle_or_rest(scene),
        }
    }

    pub(super) fn attach(&mut self, to: NodeId, scene: &mut Scene<'_>) {
        match self.open(to, scene) {
            Some(until) => {
                if self.links.get(to) == Some(Link::Up) {
                    self.actions.push_back(Action::Attach(to));
                }
                self.stage = Stage::Attaching { to, until };
            }
            None => self.settle_or_rest(scene),
        }
    }

    /// The one we asked is full. At home that is reason enough to stay; else one of its alternatives may be near.
    pub(super) fn try_alternatives(&mut self, alternatives: &[NodeId], scene: &mut Scene<'_>) {
        if self.home.is_some() || self.tries >= MAX_TRIES {
            return self.settle_or_rest(scene);
        }
        let fresh = self.fresh(scene);
        if let Some(node) = fresh.filter(|node| scene.hosts.has_room(*node, scene.now)) {
            return self.attach(node, scene);
        }
        let unmeasured = alternatives.iter().copied().filter(|node| scene.hosts.rtt(*node).is_none());
        let unmeasured: Vec<_> = unmeasured.take(SURVEYED).collect();
        match fresh.filter(|_| unmeasured.is_empty()) {
            Some(node) => self.attach(node, scene),
            None => self.survey(&unmeasured, scene),
        }
    }

    /// Another one has turned us away: whom to ask again, if these are enough.
    pub(super) fn ask_again(&mut self, by: NodeId, scene: &Scene<'_>) -> Option<NodeId> {
        if self.home.is_some() || self.tries >= MAX_TRIES {
            return None;
        }
        let (first, times) = self.turned_away.take().map_or((by, 1), |(first, times)| (first, times + 1));
        if times < TURNED_AWAY {
            self.turned_away = Some((first, times));
            return None;
        }
        scene.hosts.address(first).map(|_| first)
    }

    pub(super) fn attempt_failed(&mut self, scene: &mut Scene<'_>) {
        self.tries += 1;
        if self.home.is_some() {
            self.actions.push_back(Action::Reassure);
            return self.settle_or_rest(scene);
        }
        if self.serving || self.tries >= MAX_TRIES {
            return self.settle_or_rest(scene);
        }
        match self.standby.kept().or_else(|| self.fresh(scene)) {
            Some(node) => self.attach(node, scene),
            None => self.survey(&[], scene),
        }
    }

    /// The nearest of those that are known to have been alive a moment ago.
    pub(super) fn fresh(&self, scene: &mut Scene<'_>) -> Option<NodeId> {
        let since = scene.now.instant.checked_sub(FRESH)?;
        scene.hosts.nearest(since, self.home, scene.rng, scene.now)
    }

    pub(super) fn lose_home(&mut self, scene: &mut Scene<'_>) {
        self.home = None;
        self.actions.push_back(Action::HomeLost);
        self.tries = 0;
        let under_way = match self.stage {
            Stage::Attaching { to, .. } => Some(to),
            _ => None,
        };
        match self.standby.kept().filter(|_| !self.serving) {
            Some(standby) if under_way != Some(standby) => self.attach(standby, scene),
            _ if under_way.is_some() => {}
            _ => {
                let wait = jitter(scene.rng, Duration::ZERO, REJOIN_SPREAD);
                self.stage = Stage::Resting { until: scene.now.instant + wait };
            }
        }
    }

    pub(super) fn settle_or_rest(&mut self, scene: &mut Scene<'_>) {
        if self.home.is_none() {
            return self.rest(scene);
        }
        self.tries = 0;
        self.stage = Stage::Settled;
        if self.standby.node().is_none() {
            self.look_for_standby(scene);
        }
    }

    pub(super) fn rest(&mut self, scene: &mut Scene<'_>) {
        self.stage = Stage::Resting { until: scene.now.instant + self.backoff.next(scene.rng) };
    }

    /// Wants a link to `node`; until when its answer is due. `None` if nothing is known of it.
    pub(super) fn open(&mut self, node: NodeId, scene: &Scene<'_>) -> Option<Instant> {
        let now = scene.now.instant;
        match self.links.get(node) {
            Some(Link::Up) => return Some(now + ANSWER_WAIT),
            Some(Link::Dialing) => return Some(now + DIAL_WAIT),
            None => {}
        }
        let own = (node == self.own.node).then(|| self.own.clone());
        let address = own.or_else(|| scene.hosts.address(node))?;
        self.links.dialing(node);
        self.actions.push_back(Action::Dial(address));
        Some(now + DIAL_WAIT)
    }

    pub(super) fn probe(&mut self, targets: Vec<NodeAddress>, scene: &Scene<'_>) -> Survey {
        let survey = Survey::new(targets.iter().map(|target| target.node), scene.now);
        let rounds = if self.home.is_some() { ROUNDS_AT_HOME } else { ROUNDS };
        self.actions.extend(targets.into_iter().map(|target| Action::Probe(target, rounds)));
        survey
    }

    /// Closes the links that no step needs.
    pub(super) fn prune(&mut self) {
        let busy = match self.stage {
            Stage::Listing { from: node, .. }
            | Stage::Waiting { to: node, .. }
            | Stage::Attaching { to: node, .. } => Some(node),
            _ => None,
        };
        let needed = [self.home, busy, self.standby.node(), self.parting.map(|(old, _)| old)];
        let closed = self.links.prune(|node| needed.contains(&Some(node)));
        self.actions.extend(closed.into_iter().map(Action::Close));
    }
}
