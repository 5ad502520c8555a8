//! How quick each link is: as the quicker of the two machines that use it needs it.

use nearmesh_common::{NodeId, pace::Pace};

use super::OverlayTask;

impl OverlayTask {
    /// The client says how soon the end of a link must be noticed.
    pub(super) fn pace_link(&mut self, node: NodeId, pace: Pace) {
        self.paces.insert(node, pace);
        self.pace(node);
    }

    /// What a supernode's link is for changes with every group that divides, and with whoever becomes its child.
    pub(super) fn pace(&self, node: NodeId) {
        let unsaid = if self.wanted.contains(&node) { Pace::Calm } else { Pace::Slow };
        let as_node = self.paces.get(&node).copied().unwrap_or(unsaid);
        let as_supernode = self.supernode.as_ref().map_or(Pace::Slow, |machine| machine.pace(&node));
        self.node.links.want(node, as_node.min(as_supernode));
    }
}
