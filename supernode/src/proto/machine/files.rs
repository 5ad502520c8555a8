//! Files: what our children search for, what others ask us, and who has a content.

use std::collections::BTreeMap;

use nearmesh_common::{
    NodeId,
    wire::{
        home::{Decline, RequestId},
        mesh::{MAX_HOPS, MAX_OFFERED, Mesh, Scope},
        query::{Hit, Query, Subject},
    },
};

use super::{
    super::{
        budget::Charge,
        children::{Children, objection},
        lookup::{self, Sought},
        offers,
        placement::{Groups, Place},
        publishing::Telling,
        reach::{Reach, reach},
        registration::Registrations,
        search,
        waves::Plan,
        world::World,
    },
    Supernode,
    placing::TOLD_CONTACTS,
};
use crate::summary::Probe;

impl Supernode {
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

    // Who has a content.

    fn find_sources(&mut self, search: u64, content: u64) {
        let (place, groups) = (Place::of_content(content), self.membership.groups());
        let known = self.offers.find(content);
        if self.is_ours(place, groups) && !known.is_empty() {
            return self.on_sources_found(search, known);
        }
        let targets = self.targets(place, groups);
        let (asker, sought) = (lookup::Asker::Search(search), Sought::Content(content));
        self.lookups.begin(asker, sought, Default::default(), targets, &mut self.world);
    }

    pub(super) fn on_sources_found(&mut self, search: u64, homes: Vec<NodeId>) {
        let own = self.world.own();
        let mut asked = Vec::new();
        for home in homes.into_iter().filter(|home| *home != own) {
            if self.membership.is_member(&home) {
                asked.push((Scope::Own, vec![home]));
            } else {
                let group = self.membership.groups().of(&home.0);
                let contacts = self.membership.contacts(group, &self.world);
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
        let place = Place::of_content(content);
        if !homes.is_empty() || !self.passes_on(place, hops) {
            return self.world.tell_mesh(from, Mesh::Sources { number, homes });
        }
        let targets = self.onward_targets(place, (from, hops));
        let (asker, sought) = (lookup::Asker::Member(from, number), Sought::Content(content));
        self.lookups.begin(asker, sought, Default::default(), targets, &mut self.world);
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
                for (to, hops) in self.onward(place, hops) {
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
}

/// What our own children have.
fn local_hits(registrations: &Registrations, children: &Children, query: &Query, world: &World) -> Vec<Hit> {
    let matches = registrations.search(query).into_iter();
    let hits = matches.filter_map(|(node, found)| {
        let source = children.source(&node, world)?;
        let crate::index::Match { name, size, hash, kind, score, .. } = found;
        Some(Hit { name, size, hash, kind, score, source })
    });
    hits.collect()
}
