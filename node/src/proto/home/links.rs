//! The links that choosing a home needs: dialled when wanted, closed when nothing needs them any more.

use std::collections::BTreeMap;

use nearmesh_common::NodeId;

/// Whether a wanted link can be spoken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Being opened.
    Dialing,
    /// Open.
    Up,
}

/// All links that were asked for. At most three are in use at a time: home, standby, and one under way.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<NodeId, Link>);

impl Links {
    /// The state of the link to `node`, if there is one.
    pub(super) fn get(&self, node: NodeId) -> Option<Link> {
        self.0.get(&node).copied()
    }

    /// The link is being opened.
    pub(super) fn dialing(&mut self, node: NodeId) {
        self.0.insert(node, Link::Dialing);
    }

    /// The link is open. False if it is not wanted any more.
    pub(super) fn on_up(&mut self, node: NodeId) -> bool {
        match self.0.get_mut(&node) {
            Some(link) => {
                *link = Link::Up;
                true
            }
            None => false,
        }
    }

    /// The link is gone. False if nobody wanted it.
    pub(super) fn on_gone(&mut self, node: NodeId) -> bool {
        self.0.remove(&node).is_some()
    }

    /// Takes out the links that `needed` does not name.
    pub(super) fn prune(&mut self, needed: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let unneeded: Vec<_> = self.0.keys().copied().filter(|node| !needed(*node)).collect();
        for node in &unneeded {
            self.0.remove(node);
        }
        unneeded
    }
}
