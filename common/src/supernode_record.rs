//! The signed record by which a supernode says that it is one, where, and how much room it has.
//!
//! Supernodes rumour these among themselves and hand lists of them to nodes. A newer `sequence` replaces an older
//! one; a record that has not been renewed for [`LIFETIME`] is forgotten.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    NodeId, UnixMillis,
    presence::{CLOCK_SKEW, MAX_ADDRESSES},
    signed::{Content, Verified},
};

/// How long a record is believed without being renewed.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How often a supernode renews it, at least: a third of its life, so that clocks may differ by the rest. A change of load renews it sooner.
pub const REFRESH: Duration = Duration::from_secs(5 * 60);

/// Most leading bits that name a group: 256 groups, which is right for up to 90,000 supernodes.
pub const MAX_GROUP_BITS: u8 = 8;

/// What a supernode says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupernodeRecord {
    // The first two are read before the rest: see `codec::peek`.
    /// The supernode; must be the signer.
    pub node: NodeId,
    /// When it was signed.
    pub sequence: UnixMillis,
    /// Where it is reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// How many children it has.
    pub children: u32,
    /// How many it takes.
    pub capacity: u32,
    /// False in the last record of a supernode that steps down.
    pub serving: bool,
    /// Into how many groups its maker sees the net divided, as a number of leading bits of ids; at most [`MAX_GROUP_BITS`].
    pub group_bits: u8,
    /// How many of its group it has links to, itself included.
    pub group_size: u16,
    /// How full these are together: their children in ten-thousandths of their capacity.
    pub group_load: u16,
}

/// Why a verified record is still not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// Signed by a node about another node.
    #[error("it was signed by another node than the one it is about")]
    NotItsOwn,
    /// Older than any record lives.
    #[error("it has expired")]
    Expired,
    /// Dated further ahead than clocks differ.
    #[error("it is dated in the future")]
    FromTheFuture,
    /// No address, or too many.
    #[error("it must have between 1 and {MAX_ADDRESSES} addresses")]
    Addresses,
    /// More groups than there can be, or a group without its maker.
    #[error("it speaks of a group that cannot be")]
    Group,
}

impl Content for SupernodeRecord {
    const CONTEXT: &'static str = "nearmesh supernode 3";
}

impl SupernodeRecord {
    /// Whether one more child finds a place.
    pub fn has_room(&self) -> bool {
        self.serving && self.children < self.capacity
    }
}

impl Verified<SupernodeRecord> {
    /// Checks what a signature alone does not say.
    ///
    /// # Errors
    /// As [`RecordError`] tells.
    pub fn admit(self, wall: UnixMillis) -> Result<Self, RecordError> {
        let record = &self.content;
        if record.node != self.signer.node {
            return Err(RecordError::NotItsOwn);
        }
        if record.sequence.after(LIFETIME) <= wall {
            return Err(RecordError::Expired);
        }
        if record.sequence > wall.after(CLOCK_SKEW) {
            return Err(RecordError::FromTheFuture);
        }
        if record.addresses.is_empty() || record.addresses.len() > MAX_ADDRESSES {
            return Err(RecordError::Addresses);
        }
        if record.group_bits > MAX_GROUP_BITS || record.group_size == 0 {
            return Err(RecordError::Group);
        }
        Ok(self)
    }
}
