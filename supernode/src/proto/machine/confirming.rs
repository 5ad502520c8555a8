//! Who is silent, and what becomes of that which it was sent.

use nearmesh_common::{
    NodeId,
    wire::mesh::{MAX_HOPS, Mesh},
};

use super::{
    super::{budget::Charge, lookup::Target, placement::Place, reach::contacts_for},
    Supernode,
    users::Outgoing,
};

impl Supernode {
    /// One did not answer; `news` if it did before.
    pub(super) fn on_silenced(&mut self, node: NodeId, news: bool) {
        if news && self.membership.is_member(&node) {
            self.handle_lost();
            self.membership.handle_silent(&node, &mut self.world);
            let asked = self.rollcall.handle_silence(self.membership.members(), &mut self.world);
            self.ping(asked);
        }
        self.send_otherwise(&node);
    }

    /// A member fell silent, or its link ended.
    pub(super) fn handle_lost(&mut self) {
        self.publishing.handle_lost(self.membership.members().len(), &mut self.world);
    }

    pub(super) fn ping(&mut self, nodes: Vec<NodeId>) {
        let alarm = self.publishing.is_alarmed(self.world.now.instant);
        nodes.into_iter().for_each(|node| self.receipts.ping(node, alarm, &mut self.world));
    }

    pub(super) fn on_ping(&mut self, from: NodeId, number: u32, alarm: bool) {
        if !self.world.charge(&from, Charge::Ping, 1) {
            return;
        }
        self.world.tell_mesh(from, Mesh::Here(number));
        self.rollcall.on_ping(from);
        if alarm {
            let asked = self.rollcall.on_alarm(self.membership.members(), &mut self.world);
            self.ping(asked);
        }
    }

    /// Presences that this one has not confirmed go to those who take its place.
    pub(super) fn send_otherwise(&mut self, node: &NodeId) {
        let mut outgoing = Outgoing::new();
        for (presences, hops) in self.receipts.take_back(node) {
            for stored in presences {
                for to in self.instead_of(node, Place::of_user(&stored.user), hops) {
                    self.hand_on(self.world.own(), &stored, to, &mut outgoing);
                }
            }
        }
        self.send_stores(outgoing);
    }

    /// To whom goes what was sent to this one: the holders that come after it, or another contact.
    fn instead_of(&self, node: &NodeId, place: Place, hops: u8) -> Vec<(NodeId, u8)> {
        match self.is_ours(place, self.membership.groups()) {
            true => self.successors(node, place).into_iter().map(|holder| (holder, 0)).collect(),
            false => {
                let next = self.next_ones(place, hops.max(1)).into_iter().find(|next| next != node);
                next.map(|next| (next, hops.max(1))).into_iter().collect()
            }
        }
    }

    /// Whom a lookup may ask that met silent ones; `hops` as it gave them.
    pub(super) fn more_targets(&self, place: Place, hops: u8) -> Vec<Target> {
        let groups = self.membership.groups();
        if self.is_ours(place, groups) {
            let mut targets = self.targets(place, groups);
            targets.retain(|target| !self.world.links.is_silent(&target.node));
            targets.iter_mut().for_each(|target| target.hops = target.hops.min(hops));
            return targets;
        }
        let nodes = if hops == 0 { Vec::new() } else { self.next_ones(place, hops) };
        nodes.into_iter().map(|node| Target { node, hops }).collect()
    }

    /// Who can pass on what is for another group, as far as they are not silent: mates only what may be passed on twice.
    fn next_ones(&self, place: Place, hops: u8) -> Vec<NodeId> {
        let groups = self.membership.groups();
        let mut nodes = match hops {
            MAX_HOPS => self.go_betweens(place, groups),
            _ => contacts_for(place, groups, &self.membership, &self.world),
        };
        nodes.retain(|node| !self.world.links.is_silent(node));
        nodes
    }
}
