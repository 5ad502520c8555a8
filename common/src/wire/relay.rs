//! Between a node and a relay, on one stream for each reservation.
//!
//! The opener's first frame is [`Open::Relay`](super::Open::Relay): both ends of a pair say it to the same relay,
//! each naming the other. As soon as both are there, the relay gives each a channel. From then on it forwards, between the
//! addresses of the two QUIC connections on which the streams are, every UDP packet that begins with the sender's channel id, with
//! the receiver's channel id in its place. The reservation lives as long as both streams do; the
//! relay ends it when it is idle, over its bounds, or too old, and says so on the streams.

use serde::{Deserialize, Serialize};

use super::signal::SessionId;
use crate::NodeId;

/// Largest frame on a reservation's stream, in bytes.
pub const MAX_RELAY_FRAME: usize = 256;

/// What a node asks of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRequest {
    /// Which session of the two; both name the same.
    pub session: SessionId,
    /// Who must be at the other end.
    pub peer: NodeId,
}

/// From a node, after its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRelay {
    /// I still need it: prolong it by its life.
    Renew,
}

/// From the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRelay {
    /// The other end has not come yet.
    Waiting,
    /// Both are here: send and receive on this channel.
    Open {
        /// The id that stands before every packet to and from this end.
        channel: ChannelId,
        /// Bytes that may be forwarded in each second.
        rate: u64,
        /// Bytes that may be forwarded in all before a renewal.
        bytes: u64,
        /// Milliseconds until it must be renewed.
        life_ms: u32,
    },
    /// Renewed, for so many milliseconds.
    Renewed(u32),
    /// This relay will stop in so many milliseconds: move to another.
    Draining(u32),
    /// Ended, or not given at all. The stream ends with it.
    Closed(RelayClosed),
}

/// Why there is no reservation (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayClosed {
    /// This node does not relay.
    NoRelay,
    /// No room for another reservation, of this member or at all.
    Full,
    /// The other end did not come in time.
    Alone,
    /// Nothing was forwarded for too long.
    Idle,
    /// Its bytes or its time are used up and it was not renewed.
    Expired,
    /// The other end is gone.
    PeerGone,
    /// This relay goes down.
    Leaving,
}

/// What stands before every relayed packet: 8 bytes, big endian. The first four bits are 1000, which no
/// QUIC or STUN packet begins with; the other 60 are random, so that nobody guesses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId(pub u64);

impl ChannelId {
    /// Bytes before every relayed packet.
    pub const LENGTH: usize = 8;

    /// A channel id made of random bits.
    pub fn from_random(bits: u64) -> Self {
        Self(bits >> 4 | 0x8 << 60)
    }
}
