//! What other supernodes say, and who in the house it concerns.

use nearmesh_common::{
    NodeId,
    wire::mesh::{Mesh, SummaryVersion},
};

use super::{
    super::{dial_back, directory::Departure, signals::Carried},
    Supernode,
};

impl Supernode {
    pub(super) fn on_mesh(&mut self, from: NodeId, message: Mesh) {
        match self.world.links.hear(&from) {
            None => return self.world.strange(&from, "it speaks without a link"),
            Some(true) => self.publishing.handle_back(),
            Some(false) => {}
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
            Mesh::Signal { from: home, to, hops, signal } => {
                self.on_member_signal(from, Carried { from: home, to, hops, signal });
            }
            Mesh::DialBack { to, token } => dial_back::on_passed(from, to, token, world),
            Mesh::Members(records) => self.membership.on_members(from, records, world),
            Mesh::Renewed(renewal) => self.membership.on_renewed(from, renewal, world),
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
            Mesh::Query { number, query, scope, deadline_ms } => {
                self.on_query(from, number, query, (scope, deadline_ms));
            }
            Mesh::Answer { number, hits, done } => {
                self.searches.on_answer(from, number, hits, done, world);
            }
            Mesh::Cancel(number) => self.searches.on_member_cancel(from, number, world),
            Mesh::Store { number, presences, hops } => {
                world.tell_mesh(from, Mesh::Here(number));
                self.on_store(from, presences, hops);
            }
            Mesh::Ping { number, alarm } => self.on_ping(from, number, alarm),
            Mesh::Here(number) => self.receipts.on_here(&from, number),
            Mesh::Gone { node, user, home, sequence, hops } => {
                self.on_gone(from, Departure { node, home, sequence }, user, hops);
            }
            Mesh::Find { number, user, hops } => self.on_find(from, number, user, hops),
            Mesh::Offer { home, contents, hops } => self.on_offer(from, home, contents, hops),
            Mesh::FindSources { number, content, hops } => {
                self.on_find_sources(from, number, content, hops);
            }
            Mesh::Sources { number, homes } => self.lookups.on_sources(from, number, homes, world),
            Mesh::Held { number, nodes } => self.lookups.on_held(from, number, nodes, world),
        }
    }
}
