//! What children say, and who in the house it concerns.

use nearmesh_common::{
    NodeId,
    presence::Presence,
    signed::{Signed, Verified},
    wire::{
        NodeAddress,
        file::{Change, JournalMark},
        home::{Decline, MAX_LATER_MILLIS, Refusal, RequestId, ToChild, ToHome},
    },
};

use super::{
    super::{
        budget::Charge,
        children::{Admission, MAX_OPEN_QUESTIONS},
        dial_back,
        door::Word,
        placement::Place,
        publishing::Telling,
        relays,
    },
    Supernode,
};

impl Supernode {
    pub(super) fn on_child(&mut self, from: NodeId, message: ToHome) {
        if !self.world.links.contains(&from) {
            return self.world.strange(&from, "it speaks without a link");
        }
        match message {
            ToHome::Attach { presence, journal } => self.on_attach(from, presence, journal),
            ToHome::Standby => self.on_standby(from),
            ToHome::Refresh(presence) => self.on_refresh(from, presence),
            ToHome::Detach(presence) => self.on_detach(from, presence),
            ToHome::Publish { after, upto, changes } => self.on_publish(from, after, upto, &changes),
            ToHome::Search { id, query } => self.on_search(from, id, query),
            ToHome::Cancel(id) => self.searches.on_cancel(from, id, &mut self.world),
            ToHome::Lookup { id, user } => self.on_lookup(from, id, user),
            ToHome::ListSupernodes => self.on_list_supernodes(from),
            ToHome::Signal { home, signal } => self.on_child_signal(from, home, signal),
            ToHome::ListRelays => self.on_list_relays(from),
            ToHome::DialBack(request) => {
                let members = self.membership.members().collect();
                dial_back::on_asked(from, request, members, &mut self.world);
            }
            ToHome::Crl(crl) => self.on_crl(from, crl),
        }
    }

    /// A batch that comes when there is too much is answered with what is held: the child sends it again after a while.
    fn on_publish(&mut self, from: NodeId, after: JournalMark, upto: u64, changes: &[Change]) {
        if !self.children.contains(&from) {
            return self.world.strange(&from, "files of a node that is no child");
        }
        let own = from == self.world.own();
        let held = match own || self.door.may_publish(changes.len(), self.world.now.instant) {
            true => {
                self.offer(changes);
                self.registrations.on_publish(from, after, upto, changes, &mut self.world)
            }
            false => {
                self.world.counters.put_off += 1;
                self.registrations.mark(&from)
            }
        };
        match held {
            Some(mark) => self.world.tell_child(from, ToChild::Published(mark)),
            None => self.world.strange(&from, "files of a node that has no registration"),
        }
        self.summaries.handle_changed(&self.world);
    }

    fn offer(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Add(entry) = change {
                self.offers.handle_content(entry.hash, self.world.now.instant);
            }
        }
    }

    fn on_list_supernodes(&mut self, from: NodeId) {
        if !self.world.charge(&from, Charge::List, 1) {
            return;
        }
        let list = match self.children.contains(&from) {
            true => self.membership.short_list(&self.world.links, &mut self.world.rng),
            false => self.membership.list(&from, &self.world.links),
        };
        self.world.tell_child(from, ToChild::Supernodes(list));
    }

    fn on_list_relays(&mut self, from: NodeId) {
        if !self.children.contains(&from) {
            return self.world.strange(&from, "relays for a node that is no child");
        }
        let own = self.world.own();
        let children = self.children.presences().filter_map(|presence| relays::as_relay(presence, own));
        let members = self.membership.records().map(|record| &record.content);
        let members = members
            .filter(|record| record.node != own)
            .map(|record| NodeAddress { node: record.node, addresses: record.addresses.clone() });
        relays::on_list(from, children.chain(members), &mut self.world);
    }

    pub(super) fn on_crl(&mut self, from: NodeId, crl: Box<[u8]>) {
        let known = self.crl.as_ref() == Some(&crl);
        if !known && self.world.charge(&from, Charge::Crl, 1) {
            self.world.offer_crl(crl);
        }
    }

    fn on_attach(&mut self, from: NodeId, presence: Signed<Presence>, journal: JournalMark) {
        self.membership.handle_asks_for_place(&from, &mut self.world);
        if !self.takes_children() && from != self.world.own() {
            if self.membership.records().nth(1).is_some() {
                return self.redirect(from);
            }
            return self.world.tell_child(from, ToChild::Refused(Refusal::NotASupernode));
        }
        if !self.world.charge(&from, Charge::Presence, 1) {
            return self.world.tell_child(from, ToChild::Refused(Refusal::Presence));
        }
        let known = self.children.contains(&from) || from == self.world.own();
        match if known { Word::Enter } else { self.may_enter(from) } {
            Word::Enter => {}
            Word::Elsewhere => return self.redirect(from),
            Word::Later(wait) => {
                self.world.counters.put_off += 1;
                let millis = u32::try_from(wait.as_millis()).unwrap_or(MAX_LATER_MILLIS);
                return self.world.tell_child(from, ToChild::Later { millis });
            }
        }
        let listed = self.directory.sequence_of(&from);
        match self.children.on_attach(from, presence, listed, &mut self.world) {
            Admission::Refused => self.world.tell_child(from, ToChild::Refused(Refusal::Presence)),
            Admission::Taken(presence) => self.take_child(from, *presence, journal),
        }
    }

    fn may_enter(&mut self, node: NodeId) -> Word {
        let places = (self.children.len(), self.children.capacity());
        let elsewhere = self.elsewhere();
        self.door.ask(node, places, elsewhere, self.world.now.instant, &mut self.world.rng)
    }

    fn take_child(&mut self, from: NodeId, presence: Verified<Presence>, journal: JournalMark) {
        let journal = self.registrations.on_attached(from, journal, &self.world);
        self.handle_load();
        let home = self.membership.own_record().signed.clone();
        self.world.tell_child(from, ToChild::Attached { journal, home });
        self.pacing.handle_attached(from, &mut self.world);
        if let Some(crl) = self.crl.clone() {
            self.world.tell_child(from, ToChild::Crl(crl));
        }
        let telling = self.publishing.handle_attached(from, Place::of_user(&presence.signer.user));
        self.publish(&presence, telling);
        self.summaries.handle_changed(&self.world);
        self.tell_neighbourhood(from);
    }

    fn on_standby(&mut self, from: NodeId) {
        if !self.takes_children() {
            self.world.tell_child(from, ToChild::Refused(Refusal::NotASupernode));
        } else if self.children.on_standby(from) {
            self.world.tell_child(from, ToChild::StandbyKept);
        } else {
            self.redirect(from);
        }
    }

    fn on_refresh(&mut self, from: NodeId, presence: Signed<Presence>) {
        if !self.children.contains(&from) {
            return self.world.strange(&from, "a presence of a node that is no child");
        }
        if !self.world.charge(&from, Charge::Presence, 1) {
            return;
        }
        let before = self.children.presence(&from).map(|presence| presence.content.clone());
        if let Some(presence) = self.children.on_refresh(from, presence, &mut self.world) {
            let changed = before.is_none_or(|before| says_otherwise(&before, &presence.content));
            let place = Place::of_user(&presence.signer.user);
            let telling = self.publishing.handle_refreshed(from, place, changed);
            self.publish(&presence, telling);
            self.tell_neighbourhood(from);
        }
    }

    fn on_detach(&mut self, from: NodeId, presence: Signed<Presence>) {
        let Some(last) = self.children.presence(&from).cloned() else { return };
        let own = self.world.own();
        match self.children.on_detach(from, presence, &mut self.world) {
            Some(moved) if moved.content.home != own => {
                // Its new home told the holders; if it has just come itself, perhaps not all of them. (A node that is killed in this very moment,
                // before it signs anew there, is believed to be there until this expires.)
                self.publish_last(&moved, Telling::Once { choice: 0 });
            }
            farewell => self.publish_gone(&last, farewell.as_ref()),
        }
        self.registrations.drop_child(&from, &self.world);
        self.forget_child(&from);
    }

    /// Whether the child may ask one more; it is told if not.
    pub(super) fn may_ask(&mut self, from: NodeId, id: RequestId, objection: Option<Decline>) -> bool {
        let open = self.searches.count_of(&from) + self.lookups.count_of(&from);
        let reason = if !self.children.contains(&from) {
            Some(Decline::NotAttached)
        } else if !self.membership.is_serving() {
            Some(Decline::Leaving)
        } else if open >= MAX_OPEN_QUESTIONS
            || !self.world.charge(&from, Charge::Question, 1)
            || !self.door.may_ask(self.world.now.instant)
        {
            Some(Decline::TooMany)
        } else {
            objection
        };
        if let Some(reason) = reason {
            self.world.counters.declined += 1;
            self.world.tell_child(from, ToChild::Declined { id, reason });
        }
        reason.is_none()
    }
}

/// Whether a presence differs from the one before in more than its time.
fn says_otherwise(before: &Presence, after: &Presence) -> bool {
    let Presence { sequence, since, expires, .. } = *after;
    Presence { sequence, since, expires, ..before.clone() } != *after
}
