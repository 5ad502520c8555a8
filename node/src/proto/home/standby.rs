//! The second supernode: a link that is kept open, so that attaching takes one round trip when the home dies.

use std::time::{Duration, Instant};

use nearmesh_common::{NodeId, Now};

use super::{Action, Homing, Link, Scene, jitter};

/// How long a node goes without a standby before it looks again (guess: a small net grows by a supernode a minute).
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// How long after a standby failed it looks for the next: its home may have died with it.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The standby.
#[derive(Debug, Default)]
pub(super) enum Standby {
    /// Never looked for.
    #[default]
    Unneeded,
    /// None was found, or it failed.
    Missing {
        /// When to look again.
        until: Instant,
    },
    /// Asked for a place.
    Asking {
        /// Whom.
        node: NodeId,
        /// When its answer is due.
        until: Instant,
    },
    /// It keeps a place.
    Kept(NodeId),
}

impl Standby {
    /// Who it is or may become.
    pub(super) fn node(&self) -> Option<NodeId> {
        match self {
            Self::Asking { node, .. } | Self::Kept(node) => Some(*node),
            Self::Unneeded | Self::Missing { .. } => None,
        }
    }

    /// Who confirmed.
    pub(super) fn kept(&self) -> Option<NodeId> {
        match self {
            Self::Kept(node) => Some(*node),
            _ => None,
        }
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Missing { until } | Self::Asking { until, .. } => Some(*until),
            Self::Unneeded | Self::Kept(_) => None,
        }
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        self.poll_timeout().is_some_and(|at| at <= now.instant)
    }

    /// The link is open: whether to ask on it now.
    pub(super) fn on_link_up(&mut self, peer: NodeId, answer_by: Instant) -> bool {
        match self {
            Self::Asking { node, until } if *node == peer => {
                *until = answer_by;
                true
            }
            _ => false,
        }
    }

    /// Whether this confirmation was awaited.
    pub(super) fn on_kept(&mut self, from: NodeId) -> bool {
        let awaited = matches!(self, Self::Asking { node, .. } if *node == from);
        if awaited {
            *self = Self::Kept(from);
        }
        awaited
    }
}

impl Homing {
    /// Asks the next best supernode to stand by, unless there is one.
    pub(super) fn look_for_standby(&mut self, scene: &mut Scene<'_>) {
        let Some(home) = self.home.filter(|_| !self.serving) else { return };
        if self.standby.node().is_some() {
            return;
        }
        let found = scene.hosts.second(home, scene.rng, scene.now);
        let opened = found.and_then(|node| Some((node, self.open(node, scene)?)));
        self.standby = match opened {
            Some((node, until)) => {
                if self.links.get(node) == Some(Link::Up) {
                    self.actions.push_back(Action::Standby(node));
                }
                Standby::Asking { node, until }
            }
            None => {
                Standby::Missing { until: scene.now.instant + jitter(scene.rng, LOOK_AGAIN / 2, LOOK_AGAIN) }
            }
        };
    }

    /// The standby does not answer, or it is time to look for one: a fresh list may name more.
    pub(super) fn standby_is_due(&mut self, scene: &mut Scene<'_>) {
        if let Some(node) = self.standby.node() {
            scene.hosts.handle_failed(node, scene.now);
            return self.standby_failed(scene);
        }
        self.look_for_standby(scene);
        if let (None, Some(home)) = (self.standby.node(), self.home) {
            self.actions.push_back(Action::List(home));
        }
    }

    /// The standby is none any more; the next is looked for a moment later.
    pub(super) fn standby_failed(&mut self, scene: &mut Scene<'_>) {
        self.clear_standby();
        self.standby = Standby::Missing {
            until: scene.now.instant + jitter(scene.rng, AFTER_FAILURE / 4, AFTER_FAILURE),
        };
    }

    /// There is no standby any more.
    pub(super) fn clear_standby(&mut self) {
        if self.standby.kept().is_some() {
            self.actions.push_back(Action::StandbyChanged);
        }
        self.standby = Standby::Unneeded;
    }
}
