//! What nodes say to one another by way of their homes: to whom it goes next.

use nearmesh_common::{NodeId, wire::signal::Signal};

use super::{
    super::signals::{self, Carried, Whither},
    Supernode,
};

impl Supernode {
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
        match self.membership.route(home, &self.world) {
            Some(next) => Whither::Member(next),
            None => Whither::Nowhere,
        }
    }
}
