//! Between a node and a relay, on one stream for each reservation.
//!
//! The opener's first frame is [`Open::Relay`](super::Open::Relay): both ends of a pair say it to the same relay,
//! each naming the other. As soon as both are there, the relay gives each a channel. From then on it forwards, between the
//! addresses of the two QUIC connections on which the streams are, every UDP packet that begins with the sender's channel id, with
//! the receiver's channel id in its place. The reservation lives as long as both streams do; the
//! relay ends it when it is idle, over its bounds, or too old, and says so on the streams.
//!
//! An address is forwarded to only when its owner has proved to receive there: by the QUIC handshake, or, after its NAT has
//! given it another, by repeating on the stream the cookie of a [`proof_request`] that the relay sent there.

use std::fmt;

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
    /// I still need it: prolong it by its life, and give it its bytes anew.
    Renew,
    /// I received this cookie at the address from which I speak now.
    Proof(Cookie),
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
        /// Bytes that may be forwarded in each second; `u64::MAX` if as many as there are.
        rate: u64,
        /// Bytes that may be forwarded in all before a renewal.
        bytes: u64,
        /// Milliseconds until it must be renewed.
        life_ms: u32,
    },
    /// Renewed, by either end: so many milliseconds until it must be again.
    Renewed(u32),
    /// Most of its bytes are used up: renew it.
    RunningLow,
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
    /// The same end has asked for the same again.
    Replaced,
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

    /// The channel on which a packet came, if it is a relayed one.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let id = u64::from_be_bytes(*packet.first_chunk::<{ Self::LENGTH }>()?);
        (id >> 60 == 0x8).then_some(Self(id))
    }

    /// As it stands in a packet.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        self.0.to_be_bytes()
    }
}

/// What proves that its bearer receives where it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cookie(pub [u8; 16]);

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// Bytes of a [`proof_request`]: the channel, one byte, the cookie.
pub const PROOF_REQUEST_LENGTH: usize = ChannelId::LENGTH + 1 + 16;
/// What follows the channel in it: like no QUIC packet and no path probe.
const PROOF_REQUEST: u8 = 0xb0;

/// The packet with which a relay asks whether its client receives at an address.
pub fn proof_request(channel: ChannelId, cookie: Cookie) -> [u8; PROOF_REQUEST_LENGTH] {
    let mut packet = [PROOF_REQUEST; PROOF_REQUEST_LENGTH];
    packet[..ChannelId::LENGTH].copy_from_slice(&channel.to_bytes());
    packet[ChannelId::LENGTH + 1..].copy_from_slice(&cookie.0);
    packet
}

/// What such a packet asks, if it is one.
pub fn read_proof_request(packet: &[u8]) -> Option<(ChannelId, Cookie)> {
    let packet: &[u8; PROOF_REQUEST_LENGTH] = packet.try_into().ok()?;
    let cookie = packet.last_chunk().copied().map(Cookie)?;
    (packet[ChannelId::LENGTH] == PROOF_REQUEST).then_some((ChannelId::of(packet)?, cookie))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_read_from_a_packet_that_begins_with_one() {
        let channel = ChannelId::from_random(u64::MAX);
        let packet = [&channel.to_bytes()[..], b"opaque"].concat();
        assert_eq!(packet[0] >> 4, 0x8);
        assert_eq!(ChannelId::of(&packet), Some(channel));
        assert_eq!(ChannelId::of(&packet[..7]), None, "too short");
        assert_eq!(ChannelId::of(&[0x90; 20]), None, "something else");
    }

    #[test]
    fn a_proof_request_is_told_from_what_peers_send_each_other() {
        let (channel, cookie) = (ChannelId::from_random(7), Cookie([0xb0; 16]));
        let packet = proof_request(channel, cookie);
        assert_eq!(read_proof_request(&packet), Some((channel, cookie)));
        for first in [0x40, 0x90] {
            let mut other = packet;
            other[ChannelId::LENGTH] = first;
            assert_eq!(read_proof_request(&other), None);
        }
        assert_eq!(read_proof_request(&packet[..PROOF_REQUEST_LENGTH - 1]), None);
    }
}
