//! What children say, and who in the house it concerns.

use nearmesh_common::{
    NodeId, UserName,
    presence::Presence,
    signed::{Signed, Verified},
    wire::{
        NodeAddress,
        file::{Change, JournalMark},
        home::{Decline, MAX_LATER_MILLIS, Refusal, RequestId, ToChild, ToHome},
        query::Query,
        signal::Signal,
    },
};

use super::{
    super::{
        budget::Charge,
        children::{Admission, MAX_OPEN_QUESTIONS, objection},
        dial_back,
        door::Word,
        publishing::holders,
        relays,
        signals::{self, Whither},
        waves::Plan,
    },
    Supernode, local_hits,
};
use crate::summary::Probe;

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
            ToHome::ListSupernodes => {
                if self.world.charge(&from, Charge::List, 1) {
                    self.world.tell_child(from, ToChild::Supernodes(self.membership.list()));
                }
            }
            ToHome::Signal { home, signal } => self.on_signal(from, home, signal),
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
            true => self.registrations.on_publish(from, after, upto, changes, &mut self.world),
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

    fn on_signal(&mut self, from: NodeId, home: NodeId, signal: Box<Signal>) {
        if !self.children.contains(&from) {
            return self.world.strange(&from, "a signal of a node that is no child");
        }
        let whither = match home {
            home if home == self.world.own() && self.children.contains(&signal.to) => Whither::Here,
            home if self.membership.is_member(&home) => Whither::Member(home),
            _ => Whither::Nowhere,
        };
        signals::on_child(from, whither, signal, &mut self.world);
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
        if !self.membership.is_serving() && from != self.world.own() {
            if self.membership.records().nth(1).is_some() {
                return self.redirect(from);
            }
            return self.world.tell_child(from, ToChild::Refused(Refusal::NotASupernode));
        }
        if !self.world.charge(&from, Charge::Presence, 1) {
            return self.world.tell_child(from, ToChild::Refused(Refusal::Presence));
        }
        let known = self.children.contains(&from) || from == self.world.own();
        match if known { Word::Enter } else { self.may_enter() } {
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

    fn may_enter(&mut self) -> Word {
        let places = (self.children.len(), self.children.capacity());
        let elsewhere = self.elsewhere();
        self.door.ask(places, elsewhere, self.world.now.instant, &mut self.world.rng)
    }

    fn take_child(&mut self, from: NodeId, presence: Verified<Presence>, journal: JournalMark) {
        let journal = self.registrations.on_attached(from, journal, &self.world);
        self.handle_load();
        let home = self.membership.own_record().signed.clone();
        self.world.tell_child(from, ToChild::Attached { journal, home });
        if let Some(crl) = self.crl.clone() {
            self.world.tell_child(from, ToChild::Crl(crl));
        }
        self.publish(presence);
        self.summaries.handle_changed(&self.world);
        self.tell_neighbourhood(from);
    }

    fn publish(&mut self, presence: Verified<Presence>) {
        let members = self.all_members();
        if holders(&presence.signer.user, &members).contains(&self.world.own()) {
            self.directory.store(self.world.own(), presence.clone(), &mut self.world);
        }
        self.publishing.handle_presence(presence, &members, &mut self.world);
    }

    fn on_standby(&mut self, from: NodeId) {
        if !self.membership.is_serving() {
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
        if let Some(presence) = self.children.on_refresh(from, presence, &mut self.world) {
            self.publish(presence);
            self.tell_neighbourhood(from);
        }
    }

    fn on_detach(&mut self, from: NodeId, presence: Signed<Presence>) {
        if !self.children.contains(&from) {
            return;
        }
        let own = self.world.own();
        match self.children.on_detach(from, presence, &mut self.world) {
            Some(moved) if moved.content.home != own => {
                self.publishing.handle_moved(&from, &mut self.world);
                self.directory.on_gone(own, &from);
            }
            Some(farewell) => {
                self.publishing.handle_gone(&from, Some(&farewell.signed), &mut self.world);
                if self.directory.sequence_of(&from).is_some() {
                    self.directory.store(own, farewell, &mut self.world);
                }
            }
            None => {
                self.publishing.handle_gone(&from, None, &mut self.world);
                self.directory.on_gone(own, &from);
            }
        }
        self.registrations.drop_child(&from, &self.world);
        self.forget_child(&from);
    }

    /// Whether the child may ask one more; it is told if not.
    fn may_ask(&mut self, from: NodeId, id: RequestId, objection: Option<Decline>) -> bool {
        let open = self.searches.count_of(&from) + self.lookups.count_of(&from);
        let reason = if !self.children.contains(&from) {
            Some(Decline::NotAttached)
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

    fn on_search(&mut self, from: NodeId, id: RequestId, query: Query) {
        let objection = match self.searches.has_room(&from, id) {
            true => objection(&query),
            false => Some(Decline::TooMany),
        };
        if !self.may_ask(from, id, objection) {
            return;
        }
        let probe = Probe::new(&query.subject);
        let matching = self.membership.members().filter(|member| self.summaries.may_match(member, &probe));
        let matching: Vec<_> = matching.map(|member| (self.world.links.rtt(&member), member)).collect();
        let plan = Plan::new(matching, &mut self.world.rng);
        let local = local_hits(&self.registrations, &self.children, &query, &self.world);
        self.searches.begin((from, id), query, plan, local, &mut self.world);
    }

    fn on_lookup(&mut self, from: NodeId, id: RequestId, user: UserName) {
        let objection = (!self.lookups.has_room()).then_some(Decline::TooMany);
        if !self.may_ask(from, id, objection) {
            return;
        }
        let own = self.world.own();
        let mut holders = holders(&user, &self.all_members());
        let mut known = self.directory.find(&user, self.world.now.wall);
        // A holder knows all of the user's nodes; a mere home knows only its own child.
        if holders.contains(&own) && known.iter().any(|entry| entry.online) {
            holders.clear();
        }
        holders.retain(|holder| *holder != own);
        known.extend(self.publishing.find(&user, &self.world));
        self.lookups.begin((from, id), user, known, holders, &mut self.world);
    }
}
