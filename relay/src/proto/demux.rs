//! Telling packets on the one port apart.
//!
//! | first byte | what it is |
//! |---|---|
//! | `01xxxxxx`, `11xxxxxx` | QUIC: its fixed bit is set, because greasing (RFC 9287) is off |
//! | `00xxxxxx` with the magic cookie | STUN (RFC 8489, section 5) |
//! | `1000xxxx`, longer than a channel id | relayed (`nearmesh_common::wire::relay`) |
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
    /// Nothing that is spoken here yet.
    Reserved,
}

const QUIC_FIXED_BIT: u8 = 0x40;
const STUN_ZERO_BITS: u8 = 0xc0;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// What `packet` is.
pub fn kind(packet: &[u8]) -> Kind {
    match packet.first() {
        Some(first) if first & QUIC_FIXED_BIT != 0 => Kind::Quic,
        Some(first) if first & STUN_ZERO_BITS == 0 && packet.get(4..8) == Some(&STUN_COOKIE) => Kind::Stun,
        _ => match ChannelId::of(packet) {
            Some(channel) if packet.len() > ChannelId::LENGTH => Kind::Relayed(channel),
            _ => Kind::Reserved,
        },
    }
}

/// Leaves only the QUIC packets in a receive batch and gives all others to `take`, in order: relayed packets that follow one another
/// on the same channel together, because a relay sends them on together, and each other packet by itself.
///
/// A batch is what the kernel's GRO makes: packets of `stride` bytes one after the other, the last one perhaps
/// shorter. The answer is how many bytes at the front of `batch` are QUIC now; they form a batch of the same stride.
/// Nothing is moved as long as all packets are QUIC.
pub fn keep_quic(batch: &mut [u8], stride: usize, mut take: impl FnMut(Kind, &mut [u8])) -> usize {
    let stride = if stride == 0 { batch.len() } else { stride };
    let (mut kept, mut start) = (0, 0);
    while start < batch.len() {
        let mut end = start.saturating_add(stride).min(batch.len());
        match kind(&batch[start..end]) {
            Kind::Quic => {
                if kept != start {
                    batch.copy_within(start..end, kept);
                }
                kept += end - start;
            }
            Kind::Relayed(channel) => {
                end += run(&batch[end..], stride, channel);
                take(Kind::Relayed(channel), &mut batch[start..end]);
            }
            other => take(other, &mut batch[start..end]),
        }
        start = end;
    }
    kept
}

/// Bytes of the packets at the front of `batch` that are on this channel.
fn run(batch: &[u8], stride: usize, channel: ChannelId) -> usize {
    let packets = batch.chunks(stride);
    packets.take_while(|packet| kind(packet) == Kind::Relayed(channel)).map(<[u8]>::len).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet_of(kind: Kind, size: usize, fill: u8) -> Vec<u8> {
        let mut packet = vec![fill; size];
        packet[0] = match kind {
            Kind::Quic => 0x40 | fill,
            Kind::Stun => 0x00,
            Kind::Relayed(_) => 0x80,
            Kind::Reserved => 0x90 | (fill & 0x2f),
        };
        if let Kind::Relayed(channel) = kind {
            packet[..8].copy_from_slice(&channel.to_bytes());
        }
        if kind == Kind::Stun {
            packet[4..8].copy_from_slice(&STUN_COOKIE);
        }
        packet
    }

    #[test]
    fn the_first_byte_tells_quic_from_stun_from_the_rest() {
        assert_eq!(kind(&[0xc3, 0, 0, 0, 1]), Kind::Quic, "a long header");
        assert_eq!(kind(&[0x41]), Kind::Quic, "a short header");
        assert_eq!(kind(&packet_of(Kind::Stun, 20, 0)), Kind::Stun);
        assert_eq!(kind(&[0; 20]), Kind::Reserved, "no magic cookie");
        assert_eq!(kind(&[0x00, 0x01, 0x00]), Kind::Reserved, "too short for a cookie");
        assert_eq!(kind(&[0x80; 20]), Kind::Relayed(ChannelId(0x8080_8080_8080_8080)));
        assert_eq!(kind(&[0x80; 8]), Kind::Reserved, "a channel and nothing in it");
        assert_eq!(kind(&[0x90; 20]), Kind::Reserved);
        assert_eq!(kind(&[]), Kind::Reserved);
    }

    #[test]
    fn a_batch_of_quic_alone_is_left_as_it_is() {
        let mut batch = [packet_of(Kind::Quic, 100, 1), packet_of(Kind::Quic, 60, 2)].concat();
        let before = batch.clone();
        let kept = keep_quic(&mut batch, 100, |_, _| panic!("nothing is taken out"));
        assert_eq!((kept, batch), (160, before));
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        let relayed = (1..3u64).prop_map(|bits| Kind::Relayed(ChannelId::from_random(bits << 4)));
        prop_oneof![Just(Kind::Quic), Just(Kind::Stun), Just(Kind::Reserved), relayed]
    }

    proptest! {
        #[test]
        fn a_mixed_batch_is_split_packet_by_packet(
            kinds in proptest::collection::vec(kinds(), 1..64),
            stride in 20usize..200,
            cut in 0usize..12,
        ) {
            let last = kinds.len() - 1;
            let packets: Vec<_> = kinds
                .iter()
                .enumerate()
                .map(|(i, kind)| packet_of(*kind, if i == last { stride - cut } else { stride }, i as u8))
                .collect();
            let of = |wanted: &dyn Fn(Kind) -> bool| -> Vec<Vec<u8>> {
                let each = kinds.iter().zip(&packets);
                each.filter(|(kind, _)| wanted(**kind)).map(|(_, packet)| packet.clone()).collect()
            };
            let mut batch = packets.concat();
            let mut taken = Vec::new();
            let kept = keep_quic(&mut batch, stride, |kind, run| {
                let packets = run.chunks(stride);
                assert!(packets.len() == 1 || matches!(kind, Kind::Relayed(_)), "only relayed ones come together");
                assert!(packets.clone().all(|packet| super::kind(packet) == kind));
                taken.extend(packets.map(<[u8]>::to_vec));
            });
            let quic: Vec<_> = batch[..kept].chunks(stride).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(quic, of(&|kind| kind == Kind::Quic));
            prop_assert_eq!(taken, of(&|kind| kind != Kind::Quic));
        }

        #[test]
        fn garbage_of_any_stride_never_panics_and_never_grows(
            mut batch in proptest::collection::vec(any::<u8>(), 0..2000),
            stride in any::<usize>(),
        ) {
            let length = batch.len();
            let mut taken = 0;
            let kept = keep_quic(&mut batch, stride, |_, packet| taken += packet.len());
            prop_assert_eq!(kept + taken, length);
        }
    }
}
