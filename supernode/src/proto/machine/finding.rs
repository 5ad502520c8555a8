//! Finding users and files: what our children ask, what others ask us, and what both are told.

use std::collections::BTreeMap;

use nearmesh_common::{
    NodeId, UserName,
    presence::Presence,
    signed::Verified,
    wire::{
        home::{Decline, MAX_NODES_PER_USER, RequestId},
        mesh::{MAX_HOPS, MAX_OFFERED, Mesh, Scope, Stored},
        query::{Query, Subject},
        signal::Signal,
    },
};

use super::{
    super::{
        batches,
        budget::Charge,
        children::objection,
        directory::{Departure, Whither as Move},
        handover::Division,
        lookup::{self, MAX_REQUESTS, Sought, Target},
        offers,
        placement::{Groups, Place},
        publishing::Telling,
        reach::{Reach, contacts_for, reach},
        search,
        signals::{self, Carried, Whither},
        waves::Plan,
        world::World,
    },
    Supernode, local_hits,
};
use crate::summary::Probe;

/// Contacts in another group that are told of what changed.
const TOLD_CONTACTS: usize = 2;

/// Presences on their way, by the supernode that they go to and the hops that they have left.
type Outgoing = BTreeMap<(NodeId, u8), Vec<Stored>>;

impl Supernode {
    // Users: telling the holders.

    pub(super) fn publish(&mut self, presence: &Verified<Presence>, telling: Telling) {
        let mut outgoing = Outgoing::new();
        self.tell_of(presence, telling, &mut outgoing);
        self.send_stores(outgoing);
    }

    fn tell_of(&mut self, presence: &Verified<Presence>, telling: Telling, outgoing: &mut Outgoing) {
        let user = presence.signer.user.clone();
        let place = Place::of_user(&user);
        let stored = Stored { user, presence: presence.signed.clone(), here: true };
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
        let stored = presences.map(|Verified { signer, signed, .. }| Stored {
            user: signer.user.clone(),
            presence: signed.clone(),
            here: true,
        });
        let stored = stored.collect();
        self.send_stores(Outgoing::from([((newcomer, 0), stored)]));
    }

    /// A home died, if it was one whose end we would see: links to other groups also end when they serve nothing.
    pub(super) fn handle_home_lost(&mut self, node: &NodeId) {
        if self.is_mate(node) {
            self.directory.handle_home_lost(node, self.world.now);
        }
        self.handle_lost(1);
    }

    /// So many links ended, or fell silent.
    pub(super) fn handle_lost(&mut self, count: usize) {
        let linked = self.membership.members().count();
        (0..count).for_each(|_| self.publishing.handle_lost(linked, &mut self.world));
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
        if self.publishing.remove(&last.content.node).is_none() {
            return;
        }
        if let Some(farewell) = farewell {
            return self.publish_once(farewell);
        }
        let Verified { content: presence, signer, .. } = last;
        let (node, home, sequence) = (presence.node, presence.home, presence.sequence);
        let user = signer.user.clone();
        let place = Place::of_user(&user);
        for groups in self.divisions() {
            for (to, hops) in self.whither(place, groups, Telling::Twice) {
                match to == self.world.own() {
                    true => self.directory.on_gone(&Departure { node, home, sequence }, self.world.now),
                    false => {
                        let gone = Mesh::Gone { node, user: user.clone(), home, sequence, hops };
                        self.world.tell_mesh(to, gone);
                    }
                }
            }
        }
    }

    fn publish_once(&mut self, presence: &Verified<Presence>) {
        self.publish(presence, Telling::Twice);
        self.publishing.remove(&presence.content.node);
    }

    // Users: holding, and passing on.

    pub(super) fn on_store(&mut self, from: NodeId, presences: Vec<Stored>, hops: u8) {
        let groups = self.membership.groups();
        let mut outgoing = Outgoing::new();
        for stored in presences {
            if hops == 0 {
                let pay = |world: &mut World| world.charge(&from, Charge::Presence, 1);
                self.directory.on_store(from, stored, pay, &mut self.world);
                continue;
            }
            if !self.world.charge(&from, Charge::Presence, 1) {
                break;
            }
            for (to, hops) in self.onward(Place::of_user(&stored.user), groups, hops) {
                match to == self.world.own() {
                    true => self.directory.on_store(from, stored.clone(), |_| true, &mut self.world),
                    false => outgoing.entry((to, hops)).or_default().push(stored.clone()),
                }
            }
        }
        self.send_stores(outgoing);
    }

    pub(super) fn on_gone(&mut self, from: NodeId, departure: Departure, user: UserName, hops: u8) {
        let Departure { node, home, sequence } = departure;
        if !self.world.charge(&from, Charge::Presence, 1) {
            return;
        }
        if !self.may_say_gone(&from, &home, hops) {
            return self.world.strange(&from, "another home's word");
        }
        if hops == 0 {
            return self.directory.on_gone(&departure, self.world.now);
        }
        for (to, hops) in self.onward(Place::of_user(&user), self.membership.groups(), hops) {
            match to == self.world.own() {
                true => self.directory.on_gone(&departure, self.world.now),
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
        let own = self.world.own();
        let same = |groups: Groups, node: &NodeId| groups.of(&node.0) == groups.of(&own.0);
        let groups = self.membership.groups();
        let near = same(groups, home) && self.membership.former_groups().is_none();
        let from_kin = match hops {
            0 => self.is_mate(from),
            MAX_HOPS => false,
            _ => same(Groups::new(groups.bits().saturating_sub(1)), from),
        };
        home == from || !near && from_kin
    }

    /// The holders of a key that was sent to our group, or the next contact if it is not ours.
    fn onward(&self, place: Place, groups: Groups, hops: u8) -> Vec<(NodeId, u8)> {
        if self.is_ours(place, groups) {
            return self.holders(place, groups).into_iter().map(|holder| (holder, 0)).collect();
        }
        let contacts = contacts_for(place, groups, &self.membership, &self.world.links);
        contacts.into_iter().take(usize::from(hops > 1)).map(|contact| (contact, hops - 1)).collect()
    }

    /// Whom we tell of a key: its holders, this supernode among them if it is one, or contacts in its group.
    fn whither(&self, place: Place, groups: Groups, telling: Telling) -> Vec<(NodeId, u8)> {
        if self.is_ours(place, groups) {
            return self.holders(place, groups).into_iter().map(|holder| (holder, 0)).collect();
        }
        let mut contacts = self.go_betweens(place, groups);
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
    fn go_betweens(&self, place: Place, groups: Groups) -> Vec<NodeId> {
        let links = &self.world.links;
        let contacts = contacts_for(place, groups, &self.membership, links);
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
                    let groups = self.membership.groups();
                    let contacts = contacts_for(place, groups, &self.membership, &self.world.links);
                    for contact in contacts.into_iter().take(1) {
                        outgoing.entry((contact, 1)).or_default().push(stored.clone());
                    }
                }
            }
        }
        self.send_stores(outgoing);
    }

    fn send_stores(&mut self, outgoing: Outgoing) {
        for ((to, hops), presences) in outgoing {
            for presences in batches::presences(presences) {
                self.world.tell_mesh(to, Mesh::Store { presences, hops });
            }
        }
    }

    // Users: asking.

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
        let mut known = self.directory.find(&user, self.world.now.wall);
        // A holder knows all of the user's nodes; a mere home knows only its own child.
        if self.holds(place) && known.iter().any(|entry| entry.online) {
            targets.clear();
        }
        known.extend(self.children.find(&user, self.world.now.wall));
        self.lookups.begin(
            lookup::Asker::Child(from, id),
            Sought::User(user),
            known,
            distinct(targets),
            &mut self.world,
        );
    }

    pub(super) fn on_find(&mut self, from: NodeId, number: u64, user: UserName, hops: u8) {
        if !self.world.charge(&from, Charge::Find, 1) {
            return self.world.tell_mesh(from, Mesh::Held { number, nodes: Vec::new() });
        }
        let known = self.directory.find(&user, self.world.now.wall);
        let groups = self.membership.groups();
        let place = Place::of_user(&user);
        let answered = hops == 0 || known.iter().any(|entry| entry.online) || !self.lookups.has_room();
        if answered {
            let nodes = known.into_iter().take(MAX_NODES_PER_USER).collect();
            return self.world.tell_mesh(from, Mesh::Held { number, nodes });
        }
        let mut targets = match self.is_ours(place, groups) {
            true => self.targets(place, groups),
            false => {
                let onward = self.onward(place, groups, hops).into_iter();
                onward.map(|(node, hops)| Target { node, hops }).collect()
            }
        };
        targets.retain(|target| target.node != from);
        self.lookups.begin(
            lookup::Asker::Member(from, number),
            Sought::User(user),
            known,
            targets,
            &mut self.world,
        );
    }

    /// Whom a question for this key goes to, the nearest first: its holders, or contacts in its group.
    fn targets(&self, place: Place, groups: Groups) -> Vec<Target> {
        let (mut nodes, hops) = match self.is_ours(place, groups) {
            true => (self.holders(place, groups), 0),
            false => (self.go_betweens(place, groups), MAX_HOPS),
        };
        nodes.retain(|node| *node != self.world.own());
        nodes.sort_by_key(|node| self.world.links.rtt(node));
        nodes.into_iter().map(|node| Target { node, hops }).collect()
    }

    // Placement.

    /// The divisions of the net that count now, the present one first.
    fn divisions(&self) -> impl Iterator<Item = Groups> + use<> {
        std::iter::once(self.membership.groups()).chain(self.membership.former_groups())
    }

    fn is_ours(&self, place: Place, groups: Groups) -> bool {
        place.group(groups) == groups.of(&self.world.own().0)
    }

    /// Whether an id is one of our group's, or of our former one while that counts.
    pub(super) fn is_mate(&self, node: &NodeId) -> bool {
        let same = |groups: Groups| groups.of(&node.0) == groups.of(&self.world.own().0);
        self.divisions().any(same)
    }

    fn holds(&self, place: Place) -> bool {
        let groups = self.membership.groups();
        self.is_ours(place, groups) && self.holders(place, groups).contains(&self.world.own())
    }

    /// The holders of a key of our own group by this division, as far as we are linked to them. One that is silent may be dead: the next is taken in its
    /// place until it speaks.
    fn holders(&self, place: Place, groups: Groups) -> Vec<NodeId> {
        let own = self.world.own();
        let alive = |mate: &NodeId| !self.world.links.is_silent(mate);
        if groups == self.membership.groups() {
            return place.holders(self.membership.mates().filter(alive).chain([own]));
        }
        let group = groups.of(&own.0);
        let mates = self.membership.members().filter(|node| groups.of(&node.0) == group && alive(node));
        place.holders(mates.chain([own]))
    }

    pub(super) fn division(&self) -> Division {
        let groups = self.membership.groups();
        Division {
            groups,
            group: groups.of(&self.world.own().0),
            members: self.membership.mates().chain([self.world.own()]).collect(),
            changing: self.membership.former_groups().is_some(),
        }
    }

    // Files.

    pub(super) fn on_search(&mut self, from: NodeId, id: RequestId, query: Query) {
        let free = self.searches.has_room() && !self.searches.is_taken(&from, id);
        let objection = if free { objection(&query) } else { Some(Decline::TooMany) };
        if !self.may_ask(from, id, objection) {
            return;
        }
        let reach = reach(None, None, &self.membership, &self.world);
        let plan = self.plan(reach, &query);
        let local = local_hits(&self.registrations, &self.children, &query, &self.world);
        let asker = search::Asker::Child(from, id);
        match query.subject {
            Subject::Content(hash) if self.membership.groups() != Groups::ONE && self.lookups.has_room() => {
                let search = self.searches.begin_with_hints(asker, query, plan, local, &mut self.world);
                self.find_sources(search, offers::key(&hash));
            }
            _ => self.searches.begin(asker, query, plan, Some(local), &mut self.world),
        }
    }

    // Files: who has a content.

    fn find_sources(&mut self, search: u64, content: u64) {
        let (place, groups) = (Place::of_content(content), self.membership.groups());
        let known = self.offers.find(content);
        if self.is_ours(place, groups) && !known.is_empty() {
            return self.on_sources_found(search, known);
        }
        let targets = self.targets(place, groups);
        let (asker, sought) = (lookup::Asker::Search(search), Sought::Content(content));
        self.lookups.begin(asker, sought, Vec::new(), targets, &mut self.world);
    }

    pub(super) fn on_sources_found(&mut self, search: u64, homes: Vec<NodeId>) {
        let own = self.world.own();
        let mut asked = Vec::new();
        for home in homes.into_iter().filter(|home| *home != own) {
            if self.membership.is_member(&home) {
                asked.push((Scope::Own, vec![home]));
            } else {
                let group = self.membership.groups().of(&home.0);
                let contacts = self.membership.contacts(group, &self.world.links);
                asked.push((Scope::Home(home), contacts.into_iter().take(TOLD_CONTACTS).collect()));
            }
        }
        asked.retain(|(_, contacts): &(Scope, Vec<NodeId>)| !contacts.is_empty());
        self.searches.on_sources(search, asked, &mut self.world);
    }

    pub(super) fn on_find_sources(&mut self, from: NodeId, number: u64, content: u64, hops: u8) {
        if !self.world.charge(&from, Charge::Find, 1) {
            return self.world.tell_mesh(from, Mesh::Sources { number, homes: Vec::new() });
        }
        let homes = self.offers.find(content);
        if hops == 0 || !homes.is_empty() || !self.lookups.has_room() {
            return self.world.tell_mesh(from, Mesh::Sources { number, homes });
        }
        let onward = self.onward(Place::of_content(content), self.membership.groups(), hops);
        let own = self.world.own();
        let targets = onward.into_iter().map(|(node, hops)| Target { node, hops });
        let targets = targets.filter(|target| target.node != from && target.node != own).collect();
        let (asker, sought) = (lookup::Asker::Member(from, number), Sought::Content(content));
        self.lookups.begin(asker, sought, Vec::new(), targets, &mut self.world);
    }

    /// Tells the holders what our children have, if it is time.
    pub(super) fn tell_offers(&mut self) {
        let groups = self.membership.groups();
        let catalogue = self.registrations.catalogue();
        let due = self.offers.handle_timeout(groups, |hash| catalogue.has(hash), self.world.now.instant);
        let home = self.world.own();
        let telling = Telling::Once { choice: offers::choice(self.world.now.wall) };
        for contents in due {
            let Some(first) = contents.first() else { continue };
            if self.is_ours(Place::of_content(*first), groups) {
                self.on_offer_placed(home, &contents);
                continue;
            }
            for (to, hops) in self.whither(Place::of_content(*first), groups, telling) {
                for contents in contents.chunks(MAX_OFFERED) {
                    self.world.tell_mesh(to, Mesh::Offer { home, contents: contents.into(), hops });
                }
            }
        }
    }

    pub(super) fn on_offer(&mut self, from: NodeId, home: NodeId, contents: Vec<u64>, hops: u8) {
        let believed = match hops {
            0 => home == from || self.is_mate(&from),
            MAX_HOPS => home == from,
            _ => true,
        };
        if !believed {
            return self.world.strange(&from, "what another home offers");
        }
        if !self.world.charge(&from, Charge::Offer, contents.len()) {
            return;
        }
        let groups = self.membership.groups();
        match contents.first().map(|first| Place::of_content(*first)) {
            None => {}
            Some(_) if hops == 0 => self.offers.on_offer(home, &contents, self.world.now.instant),
            Some(place) if self.is_ours(place, groups) => self.on_offer_placed(home, &contents),
            Some(place) => {
                for (to, hops) in self.onward(place, groups, hops) {
                    self.world.tell_mesh(to, Mesh::Offer { home, contents: contents.clone(), hops });
                }
            }
        }
    }

    /// Contents of our own group, to each of their holders.
    fn on_offer_placed(&mut self, home: NodeId, contents: &[u64]) {
        let groups = self.membership.groups();
        let mut due: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for content in contents {
            let place = Place::of_content(*content);
            for holder in self.holders(place, groups).into_iter().filter(|_| self.is_ours(place, groups)) {
                due.entry(holder).or_default().push(*content);
            }
        }
        for (holder, contents) in due {
            match holder == self.world.own() {
                true => self.offers.on_offer(home, &contents, self.world.now.instant),
                false => self.world.tell_mesh(holder, Mesh::Offer { home, contents, hops: 0 }),
            }
        }
    }

    pub(super) fn on_query(&mut self, from: NodeId, number: u64, query: Query, asked: (Scope, u32)) {
        let (scope, deadline_ms) = asked;
        let Some(admitted) = self.answers.admit(from, number, scope, &mut self.world) else { return };
        let own = self.world.own();
        let (mut reach, within) = match admitted {
            Scope::Part { part, .. } if self.searches.has_room() => {
                let reach = reach(Some(part), Some(from), &self.membership, &self.world);
                (reach, Groups::new(part.bits).of(&own.0).number() == part.number)
            }
            Scope::Home(home)
                if home != own && self.searches.has_room() && self.membership.is_mate(&home) =>
            {
                (Reach { mates: vec![home], ..Reach::default() }, false)
            }
            // What we do not pass on though we were asked to is not silently left out.
            _ => (Reach { unreachable: usize::from(scope != Scope::Own), ..Reach::default() }, true),
        };
        let hops = if let Scope::Part { hops, .. } = admitted { hops.saturating_sub(1) } else { 0 };
        if hops == 0 {
            reach.unreachable += reach.parts.len();
            reach.parts.clear();
        }
        let plan = self.plan(reach, &query);
        let local = within.then(|| local_hits(&self.registrations, &self.children, &query, &self.world));
        let patience = std::time::Duration::from_millis(deadline_ms.into());
        let asker = search::Asker::Member { node: from, number, patience, hops };
        self.searches.begin(asker, query, plan, local, &mut self.world);
    }

    fn plan(&mut self, reach: Reach, query: &Query) -> (Plan, usize) {
        let probe = Probe::new(&query.subject);
        let matching = reach.mates.into_iter().filter(|mate| self.summaries.may_match(mate, &probe));
        let matching = matching.map(|mate| (self.world.links.rtt(&mate), mate)).collect();
        (Plan::new(matching, reach.parts, &mut self.world.rng), reach.unreachable)
    }

    // Signals.

    pub(super) fn on_child_signal(&mut self, from: NodeId, home: NodeId, signal: Box<Signal>) {
        if !self.children.contains(&from) {
            return self.world.strange(&from, "a signal of a node that is no child");
        }
        let whither = self.next_hop(&home, &signal);
        signals::on_child(from, home, whither, signal, &mut self.world);
    }

    pub(super) fn on_member_signal(&mut self, peer: NodeId, carried: Carried) {
        let whither = self.next_hop(&carried.to, &carried.signal);
        signals::on_member(peer, carried, whither, &mut self.world);
    }

    fn next_hop(&self, home: &NodeId, signal: &Signal) -> Whither {
        if *home == self.world.own() {
            return if self.children.contains(&signal.to) { Whither::Here } else { Whither::Nowhere };
        }
        match self.membership.route(home, &self.world.links) {
            Some(next) => Whither::Member(next),
            None => Whither::Nowhere,
        }
    }
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
