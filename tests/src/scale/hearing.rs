//! What a light node makes of what supernodes say.

use std::time::Duration;

use nearmesh::proto::{LIST_EVERY, SENT_ON, TURNED_AWAY, promotion::Input};
use nearmesh_common::{
    codec,
    pace::Pace,
    presence::REFRESH,
    signed::Signed,
    supernode_record::SupernodeRecord,
    wire::{
        file::JournalMark,
        home::{ToChild, ToHome},
    },
};
use rand::RngExt;

use super::{
    Net,
    calendar::nanos,
    child::{KNOWN, MAX_TRIES, PUT_OFF, Stage},
    names::{self, NOBODY, Peer},
};

impl Net {
    /// A supernode speaks.
    pub(super) fn child_hears(&mut self, peer: Peer, from: Peer, message: ToChild) {
        match message {
            ToChild::Attached { journal, .. } => self.on_attached(peer, from, journal.revision),
            ToChild::Redirect(records) => self.on_redirect(peer, from, &records),
            ToChild::StandbyKept => {
                let child = &mut self.children[peer as usize];
                if child.standby == from && !child.kept {
                    (child.kept, child.standby_at) = (true, 0);
                }
            }
            ToChild::Pace(pace) => {
                let child = &mut self.children[peer as usize];
                if child.home == from {
                    child.pace = pace.min(Pace::HOME);
                }
            }
            ToChild::Refused(_) => self.on_refused(peer, from),
            ToChild::Later { millis } => self.on_later(peer, from, Duration::from_millis(millis.into())),
            ToChild::Neighbourhood(around) => self.tell_role(peer, Input::Neighbourhood(around)),
            ToChild::Published(mark) => self.on_published(peer, from, mark.revision),
            ToChild::Supernodes(records) => self.on_listed(peer, from, &records),
            answer => self.on_answer(peer, from, answer),
        }
        self.prune(peer);
        self.plan_child(peer);
    }

    fn on_attached(&mut self, peer: Peer, from: Peer, held: u64) {
        let now = self.calendar.now();
        let first_list = now + self.jitter(LIST_EVERY / 2, LIST_EVERY);
        let child = &mut self.children[peer as usize];
        if child.stage != Stage::Attaching || child.busy != from {
            return;
        }
        let old = std::mem::replace(&mut child.home, from);
        child.pace = Pace::HOME;
        child.home_since = now;
        child.whole_since = 0;
        child.registered = u32::try_from(held).unwrap_or(0).min(child.files);
        (child.failures, child.list_at) = (0, if child.list_at == 0 { first_list } else { child.list_at });
        if child.standby == from {
            (child.standby, child.kept, child.standby_at) = (NOBODY, false, 0);
        }
        child.refresh_at = now + nanos(REFRESH);
        let waited = now - child.homeless_since;
        let was_homeless = child.homeless_since != 0;
        child.homeless_since = 0;
        (child.turned_away, child.sent_away) = ((NOBODY, 0), 0);
        if was_homeless {
            self.waits.note(now, waited);
            self.tell_role(peer, Input::Home(true));
        }
        if old != NOBODY && old != from {
            let presence = self.presence(peer, from, true);
            self.say(peer, old, ToHome::Detach(presence));
            self.refresh(peer);
        }
        self.children[peer as usize].survey_at = 0;
        self.settle_or_rest(peer);
        self.publish(peer);
    }

    fn on_redirect(&mut self, peer: Peer, from: Peer, records: &[Signed<SupernodeRecord>]) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        if from == peer {
            return;
        }
        child.is_full(from);
        self.learn(peer, records, KNOWN / 2);
        let child = &mut self.children[peer as usize];
        child.is_full(from);
        if child.standby == from && child.home != from {
            self.standby_failed(peer);
        }
        let child = &mut self.children[peer as usize];
        if child.stage == Stage::Attaching && child.busy == from {
            child.tries += 1;
            if child.is_home() || child.tries >= MAX_TRIES {
                return self.settle_or_rest(peer);
            }
            let (first, times) = child.turned_away;
            child.turned_away = if times == 0 { (from, 1) } else { (first, times + 1) };
            if child.turned_away.1 >= TURNED_AWAY {
                child.turned_away = (NOBODY, 0);
                return self.attach(peer, first);
            }
            // The alternatives are measured first.
            return self.survey(peer);
        }
        if child.home == from && child.serves {
            self.attach_to_own(peer);
        } else if child.home == from && child.stage != Stage::Attaching {
            let before = std::mem::replace(&mut child.sent_away, now);
            let again = before != 0 && before + nanos(SENT_ON) > now;
            let standby = (child.kept && child.standby != NOBODY).then_some(child.standby);
            let roomy = standby.filter(|standby| !child.candidates().any(|known| known == (*standby, true)));
            let next = match again {
                false => roomy.or_else(|| self.nearest(peer, from, false)),
                true => {
                    self.nearest_with_room((peer, from), records).or_else(|| self.nearest(peer, from, false))
                }
            };
            if let Some(next) = next.or(standby).or_else(|| self.nearest(peer, from, true)) {
                self.attach(peer, next);
            }
        }
    }

    /// Of those whose records say so.
    fn nearest_with_room(
        &self,
        (peer, from): (Peer, Peer),
        records: &[Signed<SupernodeRecord>],
    ) -> Option<Peer> {
        let records =
            records.iter().filter_map(|record| codec::decode::<SupernodeRecord>(&record.payload).ok());
        let roomy = records.filter(|record| record.serving && record.has_room());
        let named =
            roomy.map(|record| names::peer(&record.node)).filter(|known| ![peer, from].contains(known));
        let live = named.filter(|known| self.answers(peer, *known));
        live.min_by_key(|known| (self.shown_rtt(peer, *known), *known))
    }

    /// Too many come at once: again after `wait`, unless another has room.
    fn on_later(&mut self, peer: Peer, from: Peer, wait: Duration) {
        let child = &mut self.children[peer as usize];
        if child.stage != Stage::Attaching || child.busy != from {
            return;
        }
        if child.is_home() {
            return self.settle_or_rest(peer);
        }
        child.is_full(from);
        match self.nearest(peer, from, false) {
            Some(other) => self.attach(peer, other),
            None => {
                self.put_off += 1;
                self.enter(peer, Stage::Waiting, nanos(wait));
            }
        }
    }

    fn on_refused(&mut self, peer: Peer, from: Peer) {
        let child = &mut self.children[peer as usize];
        child.forget(from);
        if child.standby == from {
            self.standby_failed(peer);
        }
        let child = &self.children[peer as usize];
        if child.stage == Stage::Attaching && child.busy == from {
            self.attempt_failed(peer);
        } else if child.home == from {
            self.lose_home(peer);
        }
    }

    fn on_listed(&mut self, peer: Peer, from: Peer, records: &[Signed<SupernodeRecord>]) {
        self.learn(peer, records, KNOWN);
        let child = &mut self.children[peer as usize];
        child.informed = true;
        match child.stage {
            Stage::Listing if child.busy == from => self.survey(peer),
            Stage::Settled if child.home == from && !child.serves => self.survey(peer),
            _ => {}
        }
    }

    fn on_published(&mut self, peer: Peer, from: Peer, revision: u64) {
        let child = &mut self.children[peer as usize];
        if child.home != from {
            return;
        }
        let held = u32::try_from(revision).unwrap_or(u32::MAX).min(child.files);
        let moved = std::mem::replace(&mut child.registered, held) != held;
        if moved || held == child.files {
            self.publish(peer);
        } else {
            let wait = self.jitter(PUT_OFF / 2, PUT_OFF);
            self.children[peer as usize].publish_at = self.calendar.now() + wait;
        }
    }

    /// Tells the home the rest of the journal.
    pub(super) fn publish(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let child = &mut self.children[peer as usize];
        if child.registered >= child.files {
            if child.whole_since == 0 {
                child.whole_since = now;
            }
            return;
        }
        let (home, registered) = (child.home, child.registered);
        let after = JournalMark { revision: u64::from(registered), ..self.journal(peer) };
        let (upto, changes) = self.changes(peer, registered);
        self.say(peer, home, ToHome::Publish { after, upto, changes });
    }

    /// Takes at most `most` of the records, at random.
    pub(super) fn learn(&mut self, peer: Peer, records: &[Signed<SupernodeRecord>], most: usize) {
        let mut order: Vec<usize> = (0..records.len()).collect();
        for at in 0..most.min(records.len()) {
            let other = self.rng.random_range(at..order.len());
            order.swap(at, other);
            let Ok(record) = codec::decode::<SupernodeRecord>(&records[order[at]].payload) else { continue };
            let known = names::peer(&record.node);
            if known == peer || !record.serving || known as usize >= self.children.len() {
                continue;
            }
            let instead = self.farthest(peer);
            self.children[peer as usize].learn(known, !record.has_room(), instead);
        }
    }
}
