//! How quick each link is: as the quicker of the two machines that use it needs it.

use nearmesh_common::{NodeId, pace::Pace};

use super::OverlayTask;

impl OverlayTask {
    /// The client says how soon the end of a link must be noticed.
    pub(super) fn pace_link(&mut self, node: NodeId, pace: Pace) {
        self.paces.insert(node, pace);
        self.node.links.want(node, self.pace_of(&node));
    }

    /// What a supernode's links are for changes with every group that divides.
    pub(super) fn pace_all(&self) {
        self.node.links.want_all(|node| self.pace_of(node));
    }

    fn pace_of(&self, node: &NodeId) -> Pace {
        let as_node = self.paces.get(node).copied().unwrap_or(Pace::Calm);
        let as_supernode = self.supernode.as_ref().map_or(Pace::Calm, |machine| machine.pace(node));
        as_node.min(as_supernode)
    }
}
