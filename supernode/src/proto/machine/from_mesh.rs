//! What other supernodes say, and who in the house it concerns.

use nearmesh_common::{
    NodeId, UserName,
    presence::Presence,
    signed::Signed,
    wire::{
        home::MAX_NODES_PER_USER,
        mesh::{Mesh, SummaryVersion},
    },
};

use super::{
    super::{budget::Charge, dial_back, signals},
    Supernode, local_hits,
};

impl Supernode {
    pub(super) fn on_mesh(&mut self, from: NodeId, message: Mesh) {
        if !self.world.links.contains(&from) {
            return self.world.strange(&from, "it speaks without a link");
        }
        match message {
            Mesh::Hello { record, summary } => {
                self.membership.on_hello(from, record, &mut self.world);
                self.settle();
                self.after_hello(from, summary);
            }
            Mesh::Crl(crl) => self.on_crl(from, crl),
            message if self.membership.is_member(&from) => self.on_member(from, message),
            _ => self.world.strange(&from, "it speaks before its hello"),
        }
    }

    fn after_hello(&mut self, from: NodeId, summary: SummaryVersion) {
        if self.membership.is_mate(&from) {
            let catalogue = self.registrations.catalogue_mut();
            self.summaries.on_hello(from, summary, catalogue, &mut self.world);
        }
    }

    fn on_member(&mut self, from: NodeId, message: Mesh) {
        let world = &mut self.world;
        match message {
            Mesh::Hello { .. } | Mesh::Crl(_) => {}
            Mesh::Signal(signal) => {
                let here = self.children.contains(&signal.to);
                signals::on_member(from, here, signal, world);
            }
            Mesh::DialBack { to, token } => dial_back::on_passed(from, to, token, world),
            Mesh::Members(records) => self.membership.on_members(from, records, world),
            Mesh::AskMembers { bits, group, most, salt, known } => {
                self.membership.on_ask_members(from, (bits, group), most, (salt, known), world);
            }
            Mesh::Digest { bits, members } => self.membership.on_digest(from, bits, members, world),
            Mesh::Uses(uses) => self.membership.on_uses(from, uses, world),
            Mesh::SummaryPart { version, first, last, entries } => {
                self.summaries.on_part(from, version, (first, last), &entries, world);
            }
            Mesh::SummaryChange { from: version, added, removed } => {
                self.summaries.on_change(from, version, &added, &removed, world);
            }
            Mesh::SummaryLost => {
                self.summaries.on_lost(from, self.registrations.catalogue_mut(), world);
            }
            Mesh::Query { id, query, .. } => {
                let (registrations, children) = (&self.registrations, &self.children);
                let search = |world: &_| local_hits(registrations, children, &query, world);
                self.answers.on_query(from, id, search, world);
            }
            Mesh::Answer { id, hits, more } => self.searches.on_answer(from, id, hits, more, world),
            // A query is answered before the next message is read: there is nothing to stop.
            Mesh::Cancel(_) => {}
            Mesh::Store(presences) => self.on_store(from, presences),
            Mesh::Gone { node, .. } => self.directory.on_gone(from, &node),
            Mesh::Find { number, user } => self.on_find(from, number, &user),
            Mesh::Held { number, nodes } => self.lookups.on_held(from, number, nodes, world),
        }
    }

    fn on_store(&mut self, from: NodeId, presences: Vec<Signed<Presence>>) {
        for presence in presences {
            let pay = |world: &mut super::World| world.charge(&from, Charge::Presence, 1);
            self.directory.on_store(from, presence, pay, &mut self.world);
        }
    }

    fn on_find(&mut self, from: NodeId, number: u64, user: &UserName) {
        let mut nodes = Vec::new();
        if self.world.charge(&from, Charge::Find, 1) {
            nodes = self.directory.find(user, self.world.now.wall);
            nodes.truncate(MAX_NODES_PER_USER);
        }
        self.world.tell_mesh(from, Mesh::Held { number, nodes });
    }
}
