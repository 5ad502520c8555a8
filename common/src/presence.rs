//! Presence: the signed record that says where one node of `user@net` is now.
//!
//! The node signs a new one when it attaches to a home, when its addresses change, and every
//! [`REFRESH`]; each carries a higher `sequence`, so that an old one never replaces a newer. Holders drop a record
//! whose `expires` has passed. Whoever asks verifies again: it trusts no holder.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    NodeId, UnixMillis,
    nat::Reach,
    signed::{Content, Verified},
};

/// Most addresses of one node (guess: v4 and v6 of four interfaces, twice).
pub const MAX_ADDRESSES: usize = 16;
/// How long a presence is good for without being refreshed.
///
/// It ends what nobody ended by a word: a node and its home that die in the same moment. So it can be long, and spares
/// the supernodes traffic (the arithmetic is in the supernode's `publishing`).
pub const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How often a node refreshes it: a third of its life, so that two may get lost.
pub const REFRESH: Duration = Duration::from_secs(10 * 60);
/// How far into the future a sequence or expiry may lie beyond what it should: clocks of home machines differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The node; must be the signer.
    pub node: NodeId,
    /// When it was signed: a later one replaces an earlier one.
    pub sequence: UnixMillis,
    /// Since when the node has been up without a break.
    pub since: UnixMillis,
    /// When it stops being true.
    pub expires: UnixMillis,
    /// Where the node can be reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// The supernode it is attached to.
    pub home: NodeId,
    /// Whether and how others can reach it, as it measured.
    pub reach: Reach,
    /// Whether it relays for others.
    pub relays: bool,
    /// False in the last record of a node that leaves on purpose.
    pub online: bool,
}

/// Why a verified record is still not taken as a presence.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PresenceError {
    /// Signed by a node about another node.
    #[error("it was signed by another node than the one it is about")]
    NotItsOwn,
    /// Its time has passed.
    #[error("it has expired")]
    Expired,
    /// Dated further ahead than clocks differ.
    #[error("it is dated in the future")]
    FromTheFuture,
    /// Too many addresses.
    #[error("it has more than {MAX_ADDRESSES} addresses")]
    TooManyAddresses,
}

impl Content for Presence {
    const CONTEXT: &'static str = "nearmesh presence 2";
}

impl Verified<Presence> {
    /// Checks what a signature alone does not say.
    ///
    /// # Errors
    /// As [`PresenceError`] tells.
    pub fn admit(self, wall: UnixMillis) -> Result<Self, PresenceError> {
        let presence = &self.content;
        if presence.node != self.signer.node {
            return Err(PresenceError::NotItsOwn);
        }
        if presence.expires <= wall {
            return Err(PresenceError::Expired);
        }
        let newest = wall.after(CLOCK_SKEW);
        if presence.sequence > newest || presence.expires > newest.after(LIFETIME) {
            return Err(PresenceError::FromTheFuture);
        }
        if presence.addresses.len() > MAX_ADDRESSES {
            return Err(PresenceError::TooManyAddresses);
        }
        Ok(self)
    }
}
