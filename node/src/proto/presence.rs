//! Signing where this node is.
//!
//! A new record is signed for each attachment, when the home or how the node is reached changes, and every
//! [`REFRESH`]. Its sequence is the wall clock's, or one more than the last one where the clock has not moved on or went back,
//! so that a holder always takes the newest.

use std::{net::SocketAddr, time::Instant};

use nearmesh_common::{
    NodeId, Now, UnixMillis,
    nat::Reach,
    presence::{LIFETIME, MAX_ADDRESSES, Presence, REFRESH},
    signed::{Keyring, Signed},
};

/// How others reach this node, by its own knowledge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Where, best first; of more than [`MAX_ADDRESSES`] the first are told.
    pub addresses: Vec<SocketAddr>,
    /// Whether, and how.
    pub reach: Reach,
    /// Whether it relays for others.
    pub relays: bool,
}

/// The author of this node's presences.
#[derive(Debug)]
pub(super) struct Presences {
    since: UnixMillis,
    last: UnixMillis,
    reached: Reached,
    refresh_at: Option<Instant>,
}

impl Presences {
    /// The node is up since `now`.
    pub(super) fn new(reached: Reached, now: Now) -> Self {
        let mut presences =
            Self { since: now.wall, last: UnixMillis(0), reached: Reached::default(), refresh_at: None };
        presences.handle_reached(reached);
        presences
    }

    /// Whether that is news.
    pub(super) fn handle_reached(&mut self, mut reached: Reached) -> bool {
        reached.addresses.truncate(MAX_ADDRESSES);
        let changed = reached != self.reached;
        self.reached = reached;
        changed
    }

    /// Where this node is reached.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.reached.addresses
    }

    /// Signs that this node is at `home`, or that it has left the net.
    pub(super) fn sign(
        &mut self,
        keyring: &dyn Keyring,
        home: NodeId,
        online: bool,
        now: Now,
    ) -> Signed<Presence> {
        self.last = now.wall.max(UnixMillis(self.last.0.saturating_add(1)));
        self.refresh_at = online.then(|| now.instant + REFRESH);
        keyring.seal(&Presence {
            node: keyring.node(),
            sequence: self.last,
            since: self.since.min(self.last),
            expires: self.last.after(LIFETIME),
            addresses: self.reached.addresses.clone(),
            home,
            reach: self.reached.reach,
            relays: self.reached.relays,
            online,
        })
    }

    /// Whether the last record is due for renewal.
    pub(super) fn is_due(&self, now: Now) -> bool {
        self.refresh_at.is_some_and(|at| at <= now.instant)
    }

    /// No home, nothing to renew.
    pub(super) fn pause(&mut self) {
        self.refresh_at = None;
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.refresh_at
    }
}
