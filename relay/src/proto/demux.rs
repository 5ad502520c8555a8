//! Telling packets on the one port apart.
//!
//! | first byte | what it is |
//! |---|---|
//! | `01xxxxxx`, `11xxxxxx` | QUIC: its fixed bit is set, because greasing (RFC 9287) is off |
//! | `00xxxxxx` with the magic cookie | STUN (RFC 8489, section 5) |
//! | `1000xxxx`, longer than a channel id | relayed (`nearmesh_common::wire::relay`) |
//! | `1001xxxx` | a path probe: after the first byte the tag of its session |
//! | `1010xxxx` | a dial-back: then a token ([`nat`](super::nat)) |
//! | all others | reserved |

use nearmesh_common::wire::relay::ChannelId;

/// What a packet is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For quinn.
    Quic,
    /// For the STUN responder, or an answer to a probe of ours.
    Stun,
    /// Between two nodes through a relay, which may be this one.
    Relayed(ChannelId),
    /// For the machine that looks for paths to one peer.
    PathProbe,
    /// Sent to us on request, to see whether it comes in.
    DialBack,
    /// Nothing that is spoken here yet.
    Reserved,
}

const QUIC_FIXED_BIT: u8 = 0x40;
const STUN_ZERO_BITS: u8 = 0xc0;
const FIRST_FOUR: u8 = 0xf0;
const PATH_PROBE: u8 = 0x90;
const DIAL_BACK: u8 = 0xa0;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Whether each packet of a receive batch is QUIC: then nothing has to be taken out, and nobody looks further.
///
/// A batch is what the kernel's GRO makes: packets of `stride` bytes one after the other, the last one perhaps
/// shorter.
pub fn is_quic_alone(batch: &[u8], stride: usize) -> bool {
    let stride = if stride == 0 { batch.len().max(1) } else { stride };
    batch.chunks(stride).all(|packet| packet[0] & QUIC_FIXED_BIT != 0)
}

/// What `packet` is.
pub fn kind(packet: &[u8]) -> Kind {
    match packet.first() {
        Some(first) if first & QUIC_FIXED_BIT != 0 => Kind::Quic,
        Some(first) if first & FIRST_FOUR == PATH_PROBE => Kind::PathProbe,
        Some(first) if first & FIRST_FOUR == DIAL_BACK => Kind::DialBack,
        Some(first) if first & STUN_ZERO_BITS == 0 && packet.get(4..8) == Some(&STUN_COOKIE) => Kind::Stun,
        _ => match ChannelId::of(packet) {
            Some(channel) if packet.len() > ChannelId::LENGTH => Kind::Relayed(channel),
            _ => Kind::Reserved,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun() -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[4..8].copy_from_slice(&STUN_COOKIE);
        packet
    }

    #[test]
    fn the_first_byte_tells_quic_from_stun_from_the_rest() {
        assert_eq!(kind(&[0xc3, 0, 0, 0, 1]), Kind::Quic, "a long header");
        assert_eq!(kind(&[0x41]), Kind::Quic, "a short header");
        assert_eq!(kind(&stun()), Kind::Stun);
        assert_eq!(kind(&[0; 20]), Kind::Reserved, "no magic cookie");
        assert_eq!(kind(&[0x00, 0x01, 0x00]), Kind::Reserved, "too short for a cookie");
        assert_eq!(kind(&[0x8f; 20]), Kind::Relayed(ChannelId(0x8f8f_8f8f_8f8f_8f8f)));
        assert_eq!(kind(&[0x8f; 8]), Kind::Reserved, "a channel and nothing in it");
        assert_eq!(kind(&[0x90; 20]), Kind::PathProbe);
        assert_eq!(kind(&[0xb0; 20]), Kind::Reserved);
        assert_eq!(kind(&[]), Kind::Reserved);
    }

    #[test]
    fn one_packet_of_another_kind_is_noticed_in_a_batch() {
        let mut batch = vec![0x41; 300];
        assert!(is_quic_alone(&batch, 100) && is_quic_alone(&[], 100) && is_quic_alone(&[], 0));
        batch[200] = 0x80;
        assert!(!is_quic_alone(&batch, 100), "the last one");
        assert!(
            is_quic_alone(&batch, 150) && is_quic_alone(&batch, 0),
            "a byte within a packet says nothing"
        );
    }
}
