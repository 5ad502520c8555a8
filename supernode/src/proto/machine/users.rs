//! Users: telling the holders of our children, holding and passing on for others, asking.

use std::collections::{BTreeMap, BTreeSet};

use nearmesh_common::{
    NodeId, UserName,
    presence::Presence,
    signed::Verified,
    wire::{
        home::{Decline, MAX_NODES_PER_USER, RequestId},
        mesh::{MAX_HOPS, Mesh, Stored},
    },
};

use super::{
    super::{
        batches,
        budget::Charge,
        directory::{Departure, Whither as Move},
        lookup::{self, MAX_REQUESTS, Sought, Target},
        placement::{Groups, HOLDERS, Place},
        publishing::Telling,
        reach::contacts_for,
        world::World,
    },
    Supernode,
    placing::TOLD_CONTACTS,
};

/// Presences on their way, by the supernode that they go to and the hops that they have left.
pub(super) type Outgoing = BTreeMap<(NodeId, u8), Vec<Stored>>;

impl Supernode {
    // Telling the holders.

    pub(super) fn publish(&mut self, presence: &Verified<Presence>, telling: Telling) {
        let mut outgoing = Outgoing::new();
        self.tell_of(presence, telling, &mut outgoing);
        self.send_stores(outgoing);
    }

    fn tell_of(&mut self, presence: &Verified<Presence>, telling: Telling, outgoing: &mut Outgoing) {
        let place = Place::of_user(&presence.signer.user);
        let stored = here(presence);
        let mut told = false;
        for groups in self.divisions() {
            for (to, hops) in self.whither(place, groups, telling) {
                told = true;
                match to == self.world.own() {
                    true => self.directory.store(presence, &mut self.world),
                    false => outgoing.entry((to, hops)).or_default().push(stored.clone()),
                }
            }
        }
        if !told {
            self.publishing.handle_untold(presence.content.node);
        }
    }

    /// Our children that could not be told of, and those whose keys a new mate holds.
    pub(super) fn tell_newcomer(&mut self, newcomer: NodeId) {
        let untold = self.publishing.take_untold();
        self.tell_again(untold);
        if !self.is_mate(&newcomer) {
            return;
        }
        let division = self.division();
        let held = self.publishing.places().filter(|(_, place)| division.holders(*place).contains(&newcomer));
        let presences = held.filter_map(|(node, _)| self.children.presence(&node));
        let stored = presences.map(here).collect();
        self.send_stores(Outgoing::from([((newcomer, 0), stored)]));
    }

    /// A home died, if it was one whose end we would see: links to other groups also end when they serve nothing.
    pub(super) fn handle_home_lost(&mut self, node: &NodeId) {
        if self.is_mate(node) {
            self.directory.handle_home_lost(node, self.world.now);
        }
    }

    pub(super) fn tell_again(&mut self, children: Vec<NodeId>) {
        let mut outgoing = Outgoing::new();
        for child in children {
            if let Some(presence) = self.children.presence(&child).cloned() {
                self.tell_of(&presence, Telling::Twice, &mut outgoing);
            }
        }
        self.send_stores(outgoing);
    }

    /// A child is gone, by what it said last if it said anything.
    pub(super) fn publish_gone(&mut self, last: &Verified<Presence>, farewell: Option<&Verified<Presence>>) {
        // Whether or not we are one of those who are told.
        self.directory.on_gone(&departure_of(last), &self.world);
        if self.publishing.remove(&last.content.node).is_none() {
            return;
        }
        if let Some(farewell) = farewell {
            return self.publish_last(farewell, Telling::Twice);
        }
        let user = &last.signer.user;
        let place = Place::of_user(user);
        for groups in self.divisions() {
            self.tell_gone(departure_of(last), user, self.whither(place, groups, Telling::Twice));
        }
    }

    /// Tells what a child said that is no longer ours.
    pub(super) fn publish_last(&mut self, presence: &Verified<Presence>, telling: Telling) {
        self.publish(presence, telling);
        self.publishing.remove(&presence.content.node);
    }

    // Holding, and passing on.

    pub(super) fn on_store(&mut self, from: NodeId, presences: Vec<Stored>, hops: u8) {
        let mut outgoing = Outgoing::new();
        for stored in presences {
            if !stored.here && !self.is_kin(&from, hops) {
                self.world.strange(&from, "a stranger's word that a node is gone");
                continue;
            }
            let place = Place::of_user(&stored.user);
            if hops == 0 {
                let pay = |world: &mut World| world.charge(&from, Charge::Presence, 1);
                let teller = (from, self.holds_now(place));
                if self.directory.on_store(teller, stored.clone(), pay, &mut self.world) {
                    for to in self.as_divided_now(place) {
                        outgoing.entry(to).or_default().push(stored.clone());
                    }
                }
                continue;
            }
            if !self.world.charge(&from, Charge::Presence, 1) {
                break;
            }
            for to in self.news_onward(place, hops) {
                self.hand_on(from, &stored, to, &mut outgoing);
            }
        }
        self.send_stores(outgoing);
    }

    /// To a supernode and with so many hops left; or it is this one, which holds it.
    pub(super) fn hand_on(
        &mut self,
        from: NodeId,
        stored: &Stored,
        to: (NodeId, u8),
        outgoing: &mut Outgoing,
    ) {
        match to.0 == self.world.own() {
            true => {
                let teller = (from, self.holds_now(Place::of_user(&stored.user)));
                self.directory.on_store(teller, stored.clone(), |_| true, &mut self.world);
            }
            false => outgoing.entry(to).or_default().push(stored.clone()),
        }
    }

    /// Who also holds what was sent to us by somebody who sees the net divided as it was before: who would hold it alone would forget it with the
    /// former division.
    fn as_divided_now(&self, place: Place) -> Vec<(NodeId, u8)> {
        if self.membership.former_groups().is_none() || self.holds(place) {
            return Vec::new();
        }
        let groups = self.membership.groups();
        if self.is_ours(place, groups) {
            return self.holders(place, groups).into_iter().map(|holder| (holder, 0)).collect();
        }
        self.contact_for(place).map(|contact| (contact, 1)).into_iter().collect()
    }

    /// The best contact for a key of another group.
    fn contact_for(&self, place: Place) -> Option<NodeId> {
        let groups = self.membership.groups();
        contacts_for(place, groups, &self.membership, &self.world).into_iter().next()
    }

    pub(super) fn on_gone(&mut self, from: NodeId, departure: Departure, user: UserName, hops: u8) {
        if !self.world.charge(&from, Charge::Presence, 1) {
            return;
        }
        if !self.may_say_gone(&from, &departure.home, hops) {
            return self.world.strange(&from, "another home's word");
        }
        if hops == 0 {
            return self.directory.on_gone(&departure, &self.world);
        }
        let onward = self.news_onward(Place::of_user(&user), hops);
        self.tell_gone(departure, &user, onward);
    }

    /// To these supernodes, this one perhaps among them, with the hops that are left.
    fn tell_gone(&mut self, departure: Departure, user: &UserName, whither: Vec<(NodeId, u8)>) {
        let Departure { node, home, sequence } = departure;
        for (to, hops) in whither {
            match to == self.world.own() {
                true => self.directory.on_gone(&departure, &self.world),
                false => {
                    let gone = Mesh::Gone { node, user: user.clone(), home, sequence, hops };
                    self.world.tell_mesh(to, gone);
                }
            }
        }
    }

    /// Whether we take `from`'s word on `home`'s children. A home that is our mate tells us itself; of any other a mate may tell us, and who is nearly
    /// one, as it sees the net divided differently.
    fn may_say_gone(&self, from: &NodeId, home: &NodeId, hops: u8) -> bool {
        let groups = self.membership.groups();
        let near =
            groups.of(&home.0) == groups.of(&self.world.own().0) && self.membership.former_groups().is_none();
        home == from || !near && self.is_kin(from, hops)
    }

    /// Whether what came from `from` with so many hops left came from a mate, or from one who is nearly one.
    fn is_kin(&self, from: &NodeId, hops: u8) -> bool {
        let wider = Groups::new(self.membership.groups().bits().saturating_sub(1));
        match hops {
            0 => self.is_mate(from),
            MAX_HOPS => false,
            _ => wider.of(&from.0) == wider.of(&self.world.own().0),
        }
    }

    /// The holders of a key that was sent to our group, or the next contact if it is not ours. While the division into groups changes, the former
    /// holders as well, if it was.
    pub(super) fn onward(&self, place: Place, hops: u8) -> Vec<(NodeId, u8)> {
        let mut next = Vec::new();
        let groups = self.membership.groups();
        if !self.is_ours(place, groups) && hops > 1 {
            next.extend(self.contact_for(place).map(|contact| (contact, hops - 1)));
        }
        for groups in self.divisions().filter(|groups| self.knows_holders(place, *groups)) {
            for holder in self.holders(place, groups) {
                if next.iter().all(|(other, _)| *other != holder) {
                    next.push((holder, 0));
                }
            }
        }
        next
    }

    /// The same for what is new of a key.
    fn news_onward(&self, place: Place, hops: u8) -> Vec<(NodeId, u8)> {
        let ours = self.divisions().filter(|groups| self.is_ours(place, *groups));
        let silent: BTreeSet<_> = ours.flat_map(|groups| self.silent_holders(place, groups)).collect();
        self.onward(place, hops).into_iter().chain(silent.into_iter().map(|holder| (holder, 0))).collect()
    }

    /// Whom we tell of a key: its holders, this supernode among them if it is one, or contacts in its group.
    pub(super) fn whither(&self, place: Place, groups: Groups, telling: Telling) -> Vec<(NodeId, u8)> {
        if self.is_ours(place, groups) {
            let holders = self.holders(place, groups).into_iter().chain(self.silent_holders(place, groups));
            return holders.map(|holder| (holder, 0)).collect();
        }
        let mut contacts = self.go_betweens(place, groups);
        contacts.retain(|contact| !self.world.links.is_silent(contact));
        contacts.truncate(TOLD_CONTACTS);
        if let Telling::Once { choice } = telling
            && contacts.len() > 1
        {
            contacts.swap(0, choice);
            contacts.truncate(1);
        }
        contacts.into_iter().map(|contact| (contact, MAX_HOPS)).collect()
    }

    /// Contacts for a key of another group, the nearest first. Where all are silent mates come before them, who have contacts of their own.
    pub(super) fn go_betweens(&self, place: Place, groups: Groups) -> Vec<NodeId> {
        let links = &self.world.links;
        let contacts = contacts_for(place, groups, &self.membership, &self.world);
        if contacts.iter().any(|contact| !links.is_silent(contact)) {
            return contacts;
        }
        let mut mates: Vec<_> = self.membership.mates().filter(|mate| !links.is_silent(mate)).collect();
        mates.sort_by_key(|mate| links.rtt(mate));
        mates.truncate(TOLD_CONTACTS);
        mates.into_iter().chain(contacts).collect()
    }

    pub(super) fn send_moves(&mut self, moves: Vec<(Move, Stored)>) {
        let mut outgoing = Outgoing::new();
        for (to, stored) in moves {
            match to {
                Move::Holder(holder) => outgoing.entry((holder, 0)).or_default().push(stored),
                Move::Group(place) => {
                    if let Some(contact) = self.contact_for(place) {
                        outgoing.entry((contact, 1)).or_default().push(stored);
                    }
                }
            }
        }
        self.send_stores(outgoing);
    }

    pub(super) fn send_stores(&mut self, outgoing: Outgoing) {
        for ((to, hops), presences) in outgoing {
            for presences in batches::presences(presences) {
                self.receipts.store(to, presences, hops, &mut self.world);
            }
        }
    }

    // Asking.

    pub(super) fn on_lookup(&mut self, from: NodeId, id: RequestId, user: UserName) {
        let objection = (!self.lookups.has_room()).then_some(Decline::TooMany);
        if !self.may_ask(from, id, objection) {
            return;
        }
        let place = Place::of_user(&user);
        let mut targets = Vec::new();
        for groups in self.divisions() {
            let room = if targets.is_empty() { MAX_REQUESTS - 1 } else { MAX_REQUESTS };
            let more = self.targets(place, groups);
            let room = if self.is_ours(place, groups) { MAX_REQUESTS } else { room };
            targets.extend(more.into_iter().take(room));
        }
        let holds = self.holds_now(place);
        let known = self.directory.find(&user, holds, &self.world);
        // A holder knows all of the user's nodes; a mere home knows only its own child.
        if known.iter().any(|entry| entry.online) && self.holds(place) {
            targets.clear();
        }
        let (mut own, hearsay) = lookup::own_and_hearsay(known, holds);
        own.extend(self.children.find(&user, self.world.now.wall));
        self.lookups.begin(
            lookup::Asker::Child(from, id),
            Sought::User(user),
            (own, hearsay),
            distinct(targets),
            &mut self.world,
        );
    }

    pub(super) fn on_find(&mut self, from: NodeId, number: u64, user: UserName, hops: u8) {
        if !self.world.charge(&from, Charge::Find, 1) {
            return self.world.tell_mesh(from, Mesh::Held { number, nodes: Vec::new() });
        }
        let place = Place::of_user(&user);
        let holds = self.holds_now(place);
        let known = self.directory.find(&user, holds, &self.world);
        let sure = holds && known.iter().any(|entry| entry.online);
        if sure || !self.passes_on(place, hops) {
            let nodes = known.into_iter().take(MAX_NODES_PER_USER).collect();
            return self.world.tell_mesh(from, Mesh::Held { number, nodes });
        }
        let targets = self.onward_targets(place, (from, hops));
        self.lookups.begin(
            lookup::Asker::Member(from, number),
            Sought::User(user),
            lookup::own_and_hearsay(known, holds),
            targets,
            &mut self.world,
        );
    }

    /// Whether a question is passed on that we cannot answer. A holder alone does so only while former holders count.
    pub(super) fn passes_on(&self, place: Place, hops: u8) -> bool {
        let asks_holder = hops == 1 && self.holds(place) && self.membership.former_groups().is_none();
        hops > 0 && !asks_holder && self.lookups.has_room()
    }

    /// To whom a question of another supernode is passed on; of the holders the nearest first.
    pub(super) fn onward_targets(&self, place: Place, (from, hops): (NodeId, u8)) -> Vec<Target> {
        let own = self.world.own();
        let to_holders = self.hops_to_holders().min(hops.saturating_sub(1));
        let onward = self.onward(place, hops).into_iter();
        let onward = onward.map(|(node, hops)| Target { node, hops: hops.max(to_holders) });
        let mut targets: Vec<_> = onward.filter(|target| target.node != from && target.node != own).collect();
        // The present holders stay before the former ones.
        let present = targets.len().min(HOLDERS);
        targets[..present].sort_by_key(|target| self.world.links.rtt(&target.node));
        targets
    }

    /// How many more times holders that we ask may pass the question on. They know how the net was divided before, and whom to ask of that; who came
    /// later does not.
    fn hops_to_holders(&self) -> u8 {
        u8::from(self.membership.is_newcomer(self.world.now.instant))
    }

    /// Whom a question for this key goes to, the nearest first and newcomers last: its holders, or contacts in its group.
    pub(super) fn targets(&self, place: Place, groups: Groups) -> Vec<Target> {
        let (mut nodes, hops) = match self.is_ours(place, groups) {
            true => (self.holders(place, groups), self.hops_to_holders()),
            false => (self.go_betweens(place, groups), MAX_HOPS),
        };
        nodes.retain(|node| *node != self.world.own());
        nodes.sort_by_cached_key(|node| {
            (self.membership.standing(node, &self.world), self.world.links.rtt(node))
        });
        nodes.into_iter().take(MAX_REQUESTS).map(|node| Target { node, hops }).collect()
    }
}

/// What a holder is told of a child of ours.
fn here(presence: &Verified<Presence>) -> Stored {
    Stored { user: presence.signer.user.clone(), presence: presence.signed.clone(), here: true }
}

/// What is said of a child that left.
fn departure_of(last: &Verified<Presence>) -> Departure {
    let Presence { node, home, sequence, .. } = last.content;
    Departure { node, home, sequence }
}

/// Each node once, where it comes first.
fn distinct(targets: Vec<Target>) -> Vec<Target> {
    let mut distinct: Vec<Target> = Vec::new();
    for target in targets {
        if distinct.iter().all(|other| other.node != target.node) {
            distinct.push(target);
        }
    }
    distinct
}
