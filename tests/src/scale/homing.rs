//! A light node's steps towards a home, and at home.

use std::time::Duration;

use nearmesh::proto::{
    COMPARED, LIST_EVERY, OWN_AFTER, ROUNDS, ROUNDS_AT_HOME, SURVEY_EVERY, promotion::Input,
};
use nearmesh_common::wire::home::ToHome;
use nearmesh_relay::proto::stun_client::FIRST_WAIT;
use rand::RngExt;

use super::{
    Net,
    calendar::{Moment, nanos},
    child::{
        AFTER_FAILURE, ANSWER_WAIT, BACKOFF, DIAL_WAIT, LOOK_AGAIN, MAX_TRIES, REJOIN_SPREAD, SETTLE,
        SILENCE, Stage,
    },
    links::Role,
    names::{NOBODY, Peer},
};

impl Net {
    /// The node's process starts, or it became a supernode.
    pub(super) fn begin_homing(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        child.since = now.max(1);
        child.homeless_since = child.since;
        child.stage = Stage::Resting;
        child.until = now.max(1);
        self.plan_child(peer);
    }

    /// The planned wake has come.
    pub(super) fn wake_child(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        if child.planned != now {
            return;
        }
        child.planned = 0;
        if !child.runs() {
            return;
        }
        if child.until != 0 && child.until <= now {
            child.until = 0;
            self.stage_over(peer);
        }
        self.routine(peer, now);
        self.prune(peer);
        self.plan_child(peer);
    }

    /// What a node at home does from time to time.
    fn routine(&mut self, peer: Peer, now: Moment) {
        let child = &mut self.children[peer as usize];
        if child.refresh_at != 0 && child.refresh_at <= now {
            self.refresh(peer);
        }
        let child = &mut self.children[peer as usize];
        if child.list_at != 0 && child.list_at <= now {
            child.list_at = now + nanos(LIST_EVERY);
            let home = child.home;
            self.say(peer, home, ToHome::ListSupernodes);
        }
        let child = &mut self.children[peer as usize];
        if child.survey_at != 0 && child.survey_at <= now {
            child.survey_at = 0;
            if child.serves && child.home != peer {
                self.attach_to_own(peer);
            } else if child.stage == Stage::Settled {
                self.survey(peer);
            }
        }
        let child = &mut self.children[peer as usize];
        if child.publish_at != 0 && child.publish_at <= now {
            child.publish_at = 0;
            self.publish(peer);
        }
        let child = &mut self.children[peer as usize];
        if child.standby_at != 0 && child.standby_at <= now {
            child.standby_at = 0;
            match child.standby {
                NOBODY => self.look_for_standby(peer),
                silent => {
                    self.children[peer as usize].forget(silent);
                    self.standby_failed(peer);
                }
            }
        }
    }

    fn stage_over(&mut self, peer: Peer) {
        let child = &mut self.children[peer as usize];
        match child.stage {
            Stage::Away | Stage::Settled => {}
            Stage::Resting => self.seek(peer),
            Stage::Scouting => match self.nearest(peer, NOBODY, true) {
                Some(live) => self.list(peer, live),
                None => self.rest(peer),
            },
            Stage::Listing => {
                let silent = child.busy;
                child.forget(silent);
                self.survey(peer);
            }
            Stage::Surveying => self.decide(peer),
            Stage::Waiting => {
                let to = child.busy;
                self.attach(peer, to);
            }
            Stage::Attaching => {
                let silent = child.busy;
                child.forget(silent);
                if child.standby == silent {
                    self.standby_failed(peer);
                }
                self.attempt_failed(peer);
            }
        }
    }

    fn seek(&mut self, peer: Peer) {
        let child = &mut self.children[peer as usize];
        (child.tries, child.turned_away) = (0, (NOBODY, 0));
        if self.children[peer as usize].serves {
            return self.attach(peer, peer);
        }
        if self.children[peer as usize].informed {
            return self.survey(peer);
        }
        let (nearest, asked) = (self.nearest(peer, NOBODY, true), self.count_probes(peer));
        if asked == 0 {
            return self.rest(peer);
        }
        let takes = nearest.map_or(nanos(SILENCE), |live| self.rtt(peer, live) * u64::from(ROUNDS));
        self.enter(peer, Stage::Scouting, takes);
    }

    /// The node became a supernode: it is its own child at once if it has no other home, or else a little later.
    pub(super) fn attach_to_own_later(&mut self, peer: Peer) {
        let own_at = self.calendar.now() + nanos(OWN_AFTER);
        let child = &mut self.children[peer as usize];
        if !child.is_home() {
            return self.attach_to_own(peer);
        }
        let moving = child.stage == Stage::Attaching;
        (child.standby, child.kept, child.standby_at) = (NOBODY, false, 0);
        (child.stage, child.until, child.busy, child.survey_at) = (Stage::Settled, 0, NOBODY, own_at);
        if moving {
            self.refresh(peer);
        }
        self.plan_child(peer);
    }

    /// It is its own child from now on.
    pub(super) fn attach_to_own(&mut self, peer: Peer) {
        let child = &mut self.children[peer as usize];
        (child.standby, child.kept, child.standby_at, child.tries) = (NOBODY, false, 0, 0);
        self.attach(peer, peer);
        self.prune(peer);
        self.plan_child(peer);
    }

    fn list(&mut self, peer: Peer, from: Peer) {
        self.children[peer as usize].busy = from;
        let wait = self.open(peer, from);
        self.enter(peer, Stage::Listing, wait);
        if self.speaks(peer, from) {
            self.say(peer, from, ToHome::ListSupernodes);
        }
    }

    pub(super) fn survey(&mut self, peer: Peer) {
        let at_home = self.children[peer as usize].is_home();
        let rounds = u64::from(if at_home { ROUNDS_AT_HOME } else { ROUNDS });
        let targets: Vec<Peer> = if at_home {
            self.choose_compared(peer)
        } else {
            self.children[peer as usize].candidates().map(|(known, _)| known).collect()
        };
        if targets.is_empty() {
            return self.settle_or_rest(peer);
        }
        let (mut slowest, mut silent, mut heard) = (0, false, false);
        for known in targets {
            let rtt = self.rtt(peer, known);
            // Whose answer takes longer is asked again.
            self.traffic.note_probes(rounds * if rtt > nanos(FIRST_WAIT) { 2 } else { 1 });
            if self.answers(peer, known) {
                heard = true;
                slowest = slowest.max(rtt * rounds);
            } else {
                silent = true;
            }
        }
        let takes = match (heard, silent) {
            (false, _) => nanos(SILENCE),
            (true, true) => nanos(SETTLE),
            (true, false) => slowest.min(nanos(SETTLE)),
        };
        self.enter(peer, Stage::Surveying, takes);
    }

    /// Whom a node at home measures, as the real machine chooses: the nearest, and some at random. The links to home and
    /// standby tell their round trips.
    fn choose_compared(&mut self, peer: Peer) -> Vec<Peer> {
        let child = &self.children[peer as usize];
        let others = child.candidates().filter(|(known, _)| *known != child.home && *known != child.standby);
        let mut others: Vec<_> =
            others.map(|(known, full)| (full, self.shown_rtt(peer, known), known)).collect();
        others.sort_unstable();
        let nearest = COMPARED.div_ceil(2);
        for at in nearest..COMPARED.min(others.len()) {
            let other = self.rng.random_range(at..others.len());
            others.swap(at, other);
        }
        let chosen: Vec<Peer> = others.into_iter().take(COMPARED).map(|(.., known)| known).collect();
        let compared = &mut self.children[peer as usize].compared;
        *compared = [NOBODY; COMPARED];
        compared.iter_mut().zip(&chosen).for_each(|(place, known)| *place = *known);
        chosen
    }

    /// Of those that were measured the one that is clearly nearer than the home, and has room.
    fn clearly_nearer(&self, peer: Peer, home: Peer) -> Option<Peer> {
        let child = &self.children[peer as usize];
        let measured = child.candidates().filter(|(known, full)| {
            !full && *known != home && (child.compared.contains(known) || child.standby == *known)
        });
        let answering = measured.map(|(known, _)| known).filter(|known| self.answers(peer, *known));
        let nearest = answering.min_by_key(|known| (self.shown_rtt(peer, *known), *known));
        nearest.filter(|near| self.shown_rtt(peer, *near) * 3 < self.rtt(peer, home) * 2)
    }

    fn decide(&mut self, peer: Peer) {
        let home = self.children[peer as usize].home;
        let target = match home {
            NOBODY => self.nearest(peer, NOBODY, true),
            home => self.clearly_nearer(peer, home),
        };
        match target {
            Some(target) => self.attach(peer, target),
            None => self.settle_or_rest(peer),
        }
    }

    pub(super) fn attach(&mut self, peer: Peer, to: Peer) {
        self.children[peer as usize].busy = to;
        let wait = self.open(peer, to);
        self.enter(peer, Stage::Attaching, wait);
        if self.speaks(peer, to) {
            self.send_attach(peer, to);
        }
    }

    fn send_attach(&mut self, peer: Peer, to: Peer) {
        let presence = self.presence(peer, to, true);
        let journal = self.journal(peer);
        self.say(peer, to, ToHome::Attach { presence, journal });
    }

    pub(super) fn attempt_failed(&mut self, peer: Peer) {
        let child = &mut self.children[peer as usize];
        child.tries += 1;
        if child.is_home() {
            self.refresh(peer);
            return self.settle_or_rest(peer);
        }
        if child.tries >= MAX_TRIES {
            return self.rest(peer);
        }
        let standby = (child.kept && child.standby != NOBODY).then_some(child.standby);
        match standby.or_else(|| self.nearest(peer, NOBODY, true)) {
            Some(next) => self.attach(peer, next),
            None => self.rest(peer),
        }
    }

    pub(super) fn lose_home(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        child.home = NOBODY;
        child.homeless_since = now;
        child.whole_since = 0;
        if self.roles.contains_key(&peer) {
            self.tell_role(peer, Input::Home(false));
        }
        let child = &mut self.children[peer as usize];
        (child.refresh_at, child.survey_at, child.list_at, child.tries) = (0, 0, 0, 0);
        child.publish_at = 0;
        let attaching = (child.stage == Stage::Attaching).then_some(child.busy);
        let standby = (child.kept && child.standby != NOBODY).then_some(child.standby);
        match standby {
            Some(standby) if attaching != Some(standby) => self.attach(peer, standby),
            _ if attaching.is_some() => {}
            _ => {
                let wait = self.rng.random_range(0..nanos(REJOIN_SPREAD));
                self.enter(peer, Stage::Resting, wait);
            }
        }
    }

    pub(super) fn settle_or_rest(&mut self, peer: Peer) {
        let child = &mut self.children[peer as usize];
        if !child.is_home() {
            return self.rest(peer);
        }
        let now = self.calendar.now();
        child.tries = 0;
        child.stage = Stage::Settled;
        child.until = 0;
        child.busy = NOBODY;
        let new = child.home_since + nanos(SURVEY_EVERY / 4) > now;
        let most = if new { SURVEY_EVERY / 2 } else { SURVEY_EVERY };
        let least = if new { SURVEY_EVERY / 4 } else { SURVEY_EVERY * 3 / 4 };
        let wait = self.jitter(least, most);
        let child = &mut self.children[peer as usize];
        if child.serves && child.home == peer {
            child.survey_at = 0;
        } else if child.survey_at == 0 {
            child.survey_at = now + wait;
        }
        if child.standby == NOBODY && child.standby_at == 0 {
            self.look_for_standby(peer);
        }
    }

    fn rest(&mut self, peer: Peer) {
        let child = &mut self.children[peer as usize];
        let limit = (BACKOFF.0 * (1 << child.failures.min(6))).min(BACKOFF.1);
        child.failures = child.failures.saturating_add(1);
        child.full = 0;
        if child.known.iter().all(|known| *known == NOBODY) {
            child.informed = false;
            self.recall_ticket(peer);
        }
        let wait = self.jitter(limit / 4, limit);
        self.enter(peer, Stage::Resting, wait);
    }

    fn look_for_standby(&mut self, peer: Peer) {
        let child = &self.children[peer as usize];
        if !child.is_home() || child.standby != NOBODY || self.children[peer as usize].serves {
            return;
        }
        let now = self.calendar.now();
        match self.nearest(peer, child.home, true) {
            Some(second) => {
                let wait = self.open(peer, second);
                let child = &mut self.children[peer as usize];
                (child.standby, child.kept, child.standby_at) = (second, false, now + wait);
                if self.speaks(peer, second) {
                    self.say(peer, second, ToHome::Standby);
                }
            }
            None => {
                let wait = self.jitter(LOOK_AGAIN / 2, LOOK_AGAIN);
                self.children[peer as usize].standby_at = now + wait;
            }
        }
    }

    pub(super) fn standby_failed(&mut self, peer: Peer) {
        let wait = self.jitter(AFTER_FAILURE / 4, AFTER_FAILURE);
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        (child.standby, child.kept, child.standby_at) = (NOBODY, false, now + wait);
    }

    /// A link is open.
    pub(super) fn child_link_up(&mut self, peer: Peer, other: Peer) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        let busy = child.busy == other;
        match child.stage {
            Stage::Listing if busy => {
                child.until = now + nanos(ANSWER_WAIT);
                self.say(peer, other, ToHome::ListSupernodes);
            }
            Stage::Attaching if busy => {
                child.until = now + nanos(ANSWER_WAIT);
                self.send_attach(peer, other);
            }
            _ if child.standby == other && !child.kept => {
                child.standby_at = now + nanos(ANSWER_WAIT);
                self.say(peer, other, ToHome::Standby);
            }
            _ => {}
        }
        self.prune(peer);
        self.plan_child(peer);
    }

    /// A link is gone, or could not be opened.
    pub(super) fn child_link_gone(&mut self, peer: Peer, other: Peer) {
        let child = &mut self.children[peer as usize];
        if !child.runs() {
            return;
        }
        child.forget(other);
        if child.standby == other {
            self.standby_failed(peer);
        }
        let child = &self.children[peer as usize];
        match child.stage {
            Stage::Attaching if child.busy == other => self.attempt_failed(peer),
            Stage::Listing if child.busy == other => self.survey(peer),
            _ => {}
        }
        if self.children[peer as usize].home == other {
            self.lose_home(peer);
        }
        self.prune(peer);
        self.plan_child(peer);
    }

    /// Which of the known to give up for another: one that is neither home nor standby, and far.
    pub(super) fn farthest(&self, peer: Peer) -> usize {
        let child = &self.children[peer as usize];
        let others = child.known.iter().enumerate();
        let others = others
            .filter(|(_, known)| **known != child.home && **known != child.standby && **known != NOBODY);
        others.max_by_key(|(_, known)| self.rtt(peer, **known)).map_or(0, |(at, _)| at)
    }

    /// The nearest known supernode that answers, among those with room if there are any (or if only they will do).
    pub(super) fn nearest(&self, peer: Peer, except: Peer, full_too: bool) -> Option<Peer> {
        let child = &self.children[peer as usize];
        let live = child
            .candidates()
            .filter(|(known, full)| *known != except && (full_too || !full) && self.answers(peer, *known));
        live.min_by_key(|(known, full)| (*full, self.shown_rtt(peer, *known), *known)).map(|(known, _)| known)
    }

    fn count_probes(&mut self, peer: Peer) -> u64 {
        let asked = self.children[peer as usize].candidates().count() as u64;
        self.traffic.note_probes(asked * u64::from(ROUNDS));
        asked
    }

    /// Wants a link; for how long its answer is waited for.
    fn open(&mut self, peer: Peer, to: Peer) -> u64 {
        if self.speaks(peer, to) {
            return nanos(ANSWER_WAIT);
        }
        self.dial(peer, Role::Client, to);
        nanos(DIAL_WAIT)
    }

    pub(super) fn enter(&mut self, peer: Peer, stage: Stage, wait: u64) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        child.stage = stage;
        child.until = now + wait.max(1);
    }

    /// Closes the links that nothing needs.
    pub(super) fn prune(&mut self, peer: Peer) {
        let child = &self.children[peer as usize];
        let busy =
            matches!(child.stage, Stage::Listing | Stage::Attaching | Stage::Waiting).then_some(child.busy);
        let needed = [Some(child.home), Some(child.standby), busy];
        if self.children[peer as usize].serves {
            return;
        }
        for (other, side) in self.sides[peer as usize].all() {
            if side.serves(Role::Client) && !needed.contains(&Some(other)) {
                self.close(peer, Role::Client, other);
            }
        }
    }

    pub(super) fn plan_child(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        let Some(at) = child.due().filter(|_| child.runs()) else { return };
        let at = at.max(now + 1);
        if child.planned == 0 || at < child.planned || child.planned <= now {
            child.planned = at;
            self.calendar.at(at, super::Event::WakeChild(peer));
        }
    }

    pub(super) fn jitter(&mut self, least: Duration, most: Duration) -> u64 {
        self.rng.random_range(nanos(least)..=nanos(most))
    }
}
