//! The first frame of a stream, and what is said on the short-lived ones.

use serde::{Deserialize, Serialize};

use super::{file::MAX_NAME_BYTES, relay::RelayRequest};
use crate::ContentHash;

/// Most ranges in one request: several sources and holes in a partial file, not a byte-by-byte probe.
pub const MAX_RANGES: usize = 64;

/// Most bytes of one measurement (guess: a quarter of a second at 1 MB/s tells slow lines from others).
pub const MAX_MEASURED_BYTES: u32 = 256 * 1024;

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Open {
    /// The long-lived stream of [`LinkMessage`](super::LinkMessage)s.
    Link,
    /// Send me these ranges: [`RangesReply`], then encoded content.
    Ranges(RangesRequest),
    /// I have a file for you: [`OfferReply`]. The receiver fetches it with `Ranges`.
    Offer(Offer),
    /// Forward packets between me and another (see [`super::relay`]).
    Relay(RelayRequest),
    /// Do not close this connection, which is yours, before I end this stream: answered with [`Kept`].
    Keep,
    /// Say the same: answered with a [`Pong`].
    Ping,
    /// To the authority: a ticket for another node of the user that asks, answered with [`InviteReply`].
    Invite,
    /// Count what I send on this stream, and in which time it comes: answered with [`MeasureReply`], and then with [`Measured`] at
    /// its end.
    Measure,
}

/// Some bytes, from `start` up to but not including `end`; both multiples of the chunk group, except at the end of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// First byte that is not wanted.
    pub end: u64,
}

/// Ranges of one content. Other ranges of the same content may be asked of other sources at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangesRequest {
    /// Which content.
    pub hash: ContentHash,
    /// Ascending, not overlapping, at most [`MAX_RANGES`]. Empty asks only what the source has.
    pub ranges: Vec<ByteRange>,
}

/// What a source answers before any content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangesReply {
    /// The content follows, for those of the ranges that are also in `available`.
    Content {
        /// Bytes of the whole content.
        size: u64,
        /// What this source holds, verified; one range over everything for a complete file. At most
        /// [`MAX_RANGES`], the longest ones.
        available: Vec<ByteRange>,
    },
    /// Nothing follows.
    Unavailable(Unavailable),
}

/// Why a source does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unavailable {
    /// This node does not share that content (any more).
    NotShared,
    /// The file changed on disk since it was hashed; it will be hashed again.
    Changed,
    /// All upload slots are taken: ask later.
    Busy,
    /// The request is out of bounds.
    BadRange,
}

/// A file that somebody wants to give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name: a wish, never a path.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
}

/// The answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferReply {
    /// Accepted; sent again as it comes in.
    Receiving {
        /// Bytes verified so far.
        received: u64,
    },
    /// All of it is in the inbox, under this name.
    Stored {
        /// The safe name it got.
        name: Box<str>,
    },
    /// Not taken.
    Declined(OfferDecline),
}

/// Why an offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferDecline {
    /// No room on the disk.
    NoRoom,
    /// Too many offers at once.
    TooMany,
    /// Fetching or writing it failed.
    Failed,
}

/// The answer to `Keep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept;

/// The answer to a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The address from which the ping came, as seen here.
    pub observed: std::net::SocketAddr,
}

/// The answer to `Measure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MeasureReply {
    /// Send up to [`MAX_MEASURED_BYTES`].
    Go,
    /// Not now.
    Busy,
}

/// What came of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// How many bytes came after the first piece.
    pub bytes: u32,
    /// In which time, from the first piece to the last.
    pub micros: u32,
}

/// The answer to `Invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InviteReply {
    /// The ticket, as text.
    Ticket(Box<str>),
    /// Asked of a node that is not the authority.
    NotTheAuthority,
}

impl Offer {
    /// Whether the name keeps its bound.
    pub fn within_bounds(&self) -> bool {
        self.name.len() <= MAX_NAME_BYTES
    }
}
