//! Many children, and more than there is room for: what the parts that care for that have to do with one another.

use nearmesh_common::{
    NodeId,
    presence::Presence,
    wire::home::{Neighbourhood, ToChild},
};

use super::{
    super::{
        alternatives,
        door::Elsewhere,
        neighbourhood::{neighbourhood, of_all},
        placement::Groups,
    },
    REMIND_EVERY, Supernode,
};

impl Supernode {
    /// How full this supernode is, and the whole net.
    pub fn neighbourhood(&self) -> Neighbourhood {
        let record = &self.membership.own_record().content;
        let capacity = if record.serving { record.capacity } else { 0 };
        let children = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        let candidates = u32::try_from(self.candidates().count()).unwrap_or(u32::MAX);
        let others = self.membership.records().skip(1).map(|record| &record.content);
        let others = others.filter(|other| other.serving).map(|other| (other.children, other.capacity));
        let known = neighbourhood((children, capacity), candidates, others);
        if self.membership.groups() == Groups::ONE { known } else { of_all(known, self.membership.net()) }
    }

    /// The children that strangers can reach.
    fn candidates(&self) -> impl Iterator<Item = NodeId> {
        let presences = self.children.presences().filter(|presence| self.is_candidate(presence));
        presences.map(|presence| presence.node)
    }

    fn is_candidate(&self, child: &Presence) -> bool {
        child.reach.is_reachable() && child.node != self.world.own()
    }

    /// Tells one of them, who cannot know it yet.
    pub(super) fn tell_neighbourhood(&mut self, child: NodeId) {
        if self.children.presence(&child).is_some_and(|presence| self.is_candidate(&presence.content)) {
            let around = self.telling.seen().unwrap_or_else(|| self.neighbourhood());
            self.telling.handle_told(&around);
            self.world.tell_child(child, ToChild::Neighbourhood(around));
        }
    }

    pub(super) fn handle_load(&mut self) {
        let (children, capacity) = (self.children.len(), self.children.capacity());
        self.membership.handle_load(children, &mut self.world);
        self.shedding.handle_load(children, capacity, self.world.now.instant);
        self.telling.handle_load(children, capacity, self.world.now.instant);
        if let Some(pace) = self.pacing.handle_load(children) {
            let own = self.world.own();
            for child in self.children.nodes().filter(|child| *child != own).collect::<Vec<_>>() {
                self.world.tell_child(child, ToChild::Pace(pace));
            }
        }
    }

    /// Where else there is a place, as far as we hear.
    pub(super) fn elsewhere(&self) -> Elsewhere {
        alternatives::elsewhere(self.membership.records().skip(1))
    }

    /// Names others to a node that should go there.
    pub(super) fn redirect(&mut self, node: NodeId) {
        let some: Vec<_> = self.membership.sample(alternatives::DRAWN_FROM, &mut self.world.rng).collect();
        let roomy = some.iter().filter(|other| other.content.has_room()).count();
        let others = if roomy >= alternatives::NAMED {
            alternatives::alternatives(some.into_iter(), &mut self.world.rng)
        } else {
            alternatives::alternatives(self.membership.records().skip(1), &mut self.world.rng)
        };
        self.world.tell_child(node, ToChild::Redirect(others));
    }

    /// Hands some of the children on that are too many, if others have room.
    pub(super) fn shed(&mut self) {
        let room = self.elsewhere() == Elsewhere::Room && self.takes_children();
        let own = self.world.own();
        let children: Vec<_> = self.children.nodes().filter(|child| *child != own).collect();
        // We are a child of our own, and take a place like any other.
        let excess = self.children.len().saturating_sub(self.children.capacity() as usize);
        let too_many = if room { excess } else { 0 };
        for child in self.shedding.chosen(children, too_many, self.world.now.instant, &mut self.world.rng) {
            self.redirect(child);
        }
    }

    pub(super) fn look_around(&mut self) {
        let candidates: Vec<_> = self.candidates().collect();
        let around = self.neighbourhood();
        self.telling.handle_look(around, &candidates, &mut self.world);
    }

    /// Names the alternatives to every child, and again after a while to those who did not find a place by then.
    pub(super) fn send_children_away(&mut self) {
        let own = self.world.own();
        let children: Vec<_> = self.children.nodes().filter(|child| *child != own).collect();
        for child in &children {
            self.redirect(*child);
        }
        self.remind_at = (!children.is_empty()).then(|| self.world.now.instant + REMIND_EVERY);
    }
}
