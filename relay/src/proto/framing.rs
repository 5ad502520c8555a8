//! What stands before packets that go through a relay: the 8-byte id of a channel.

use nearmesh_common::wire::relay::ChannelId;

/// Bytes of UDP payload that one send call may carry: 65,535 less an IPv4 and a UDP header.
pub const MAX_SEND: usize = 65_507;

/// Puts `channel` before each packet of a batch: `contents` are packets of `segment` bytes one after the other, the last one
/// perhaps shorter. What was in `framed` is replaced.
pub fn frame(contents: &[u8], segment: usize, channel: ChannelId, framed: &mut Vec<u8>) {
    framed.clear();
    for packet in contents.chunks(segment.max(1)) {
        framed.extend_from_slice(&channel.to_bytes());
        framed.extend_from_slice(packet);
    }
}

/// How many framed packets of `segment` bytes, id included, one send call takes where the system takes `most`.
pub fn packets_per_send(segment: usize, most: usize) -> usize {
    (MAX_SEND / segment.max(1)).clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_send_call_stays_below_the_largest_udp_payload() {
        assert_eq!(packets_per_send(1460, 64), 44);
        assert_eq!(packets_per_send(1208, 64), 54);
        assert_eq!(packets_per_send(200, 64), 64);
        assert_eq!(packets_per_send(1460, 1), 1, "a system without GSO");
        assert_eq!(packets_per_send(100_000, 64), 1);
    }

    proptest! {
        #[test]
        fn every_packet_of_a_batch_is_framed(
            contents in proptest::collection::vec(any::<u8>(), 1..3000),
            segment in 1usize..400,
            bits in any::<u64>(),
        ) {
            let channel = ChannelId::from_random(bits);
            let mut framed = vec![7; 5];
            frame(&contents, segment, channel, &mut framed);
            let packets: Vec<_> = framed.chunks(segment + ChannelId::LENGTH).collect();
            prop_assert!(packets.iter().all(|packet| ChannelId::of(packet) == Some(channel)));
            let stripped: Vec<u8> = packets.iter().flat_map(|packet| packet[ChannelId::LENGTH..].to_vec()).collect();
            prop_assert_eq!(stripped, contents);
        }
    }
}
