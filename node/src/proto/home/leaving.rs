//! Going elsewhere because a supernode says so: the home has too many children or steps down, or it is too early to come.

use std::time::{Duration, Instant};

use nearmesh_common::NodeId;

use super::{Homing, Scene, Stage, steps::SURVEYED};

/// When the home says again within so long that we should go, it drains, and whoever we tried since did not take us: it says so every 3 s, and one that
/// has too many children every 30.
pub const SENT_ON: Duration = Duration::from_secs(10);

impl Homing {
    /// The home names others to which we should go: to the standby if that has room, else to the nearest of the others that has. If the home has to say
    /// it again, what we knew of others was too old, and those that it names come first. Without a place to go to we stay until its link breaks.
    pub(super) fn leave_home(&mut self, alternatives: &[NodeId], scene: &mut Scene<'_>) {
        if matches!(self.stage, Stage::Attaching { .. } | Stage::Surveying { leaving: true, .. }) {
            return; // It says so again, if need be.
        }
        if self.serving {
            return self.attach(self.own.node, scene);
        }
        let standby = self.standby.kept();
        let fresh = self.fresh(scene);
        let before = self.sent_away.replace(scene.now.instant);
        let again = before.is_some_and(|before| before + SENT_ON > scene.now.instant);
        let near = [standby, fresh].into_iter().flatten().find(|node| scene.hosts.has_room(*node, scene.now));
        if let Some(node) = near.filter(|_| !again) {
            return self.attach(node, scene);
        }
        let roomy = alternatives.iter().copied().filter(|node| scene.hosts.has_room(*node, scene.now));
        let roomy: Vec<_> = roomy.take(SURVEYED).filter_map(|node| scene.hosts.address(node)).collect();
        if !roomy.is_empty() {
            self.stage = Stage::Surveying { survey: self.probe(roomy, scene), leaving: true };
        } else if let Some(node) = near.or(standby).or(fresh) {
            self.attach(node, scene);
        }
    }

    /// The others were measured.
    pub(super) fn leave_for_nearest(&mut self, since: Instant, scene: &mut Scene<'_>) {
        let nearest = scene.hosts.nearest(since, self.home, scene.rng, scene.now);
        match nearest.filter(|node| scene.hosts.has_room(*node, scene.now)) {
            Some(node) => self.attach(node, scene),
            None => self.settle_or_rest(scene),
        }
    }

    /// Too many come at once: again after `wait`, unless another has room.
    pub(in crate::proto) fn on_later(&mut self, from: NodeId, wait: Duration, scene: &mut Scene<'_>) {
        match self.stage {
            Stage::Attaching { to, .. } if to == from => {}
            _ => return,
        }
        scene.hosts.on_busy(from, wait, scene.now);
        if self.home.is_some() {
            self.settle_or_rest(scene);
        } else if let Some(other) = self.fresh(scene).filter(|node| scene.hosts.has_room(*node, scene.now)) {
            self.attach(other, scene);
        } else {
            self.stage = Stage::Waiting { to: from, until: scene.now.instant + wait };
        }
        self.prune();
    }
}
