//! What a router does to an IPv4 packet (RFC 791, RFC 792).

use std::net::Ipv4Addr;

const HEADER_BYTES: usize = 20;
const TTL: usize = 8;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;
const ICMP: u8 = 1;
/// What an error says of the packet it is about: its header and 8 bytes more (RFC 792).
const QUOTED_BYTES: usize = 8;
/// The time to live of the router's own packets (RFC 1700).
const OWN_TTL: u8 = 64;

/// Why a packet does not get further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// Its time to live is over.
    TimeExceeded,
    /// It is longer than this many bytes, and must not be cut.
    TooBig(u16),
}

/// From where to where, if these bytes are an IPv4 packet.
pub(super) fn addresses(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let whole = packet.len() >= HEADER_BYTES && packet[0] >> 4 == 4 && packet.len() >= header_bytes(packet);
    whole.then(|| (address(packet, SOURCE), address(packet, DESTINATION)))
}

/// Takes so many hops from its time to live; says no if it does not have as many left.
pub(super) fn pass(packet: &mut [u8], hops: u8) -> bool {
    if packet[TTL] <= hops {
        return false;
    }
    packet[TTL] -= hops;
    write_checksum(packet);
    true
}

/// Whether it is an error message: those are never complained about (RFC 1122, section 3.2.2).
fn is_error(packet: &[u8]) -> bool {
    let begin = header_bytes(packet);
    // Echo requests and answers are no errors.
    packet[9] == ICMP && packet.get(begin).is_some_and(|kind| !matches!(kind, 0 | 8))
}

/// What the router at `router` tells the sender of a packet.
pub(super) fn complain(packet: &[u8], router: Ipv4Addr, complaint: Complaint) -> Option<Vec<u8>> {
    if is_error(packet) {
        return None;
    }
    let quoted = &packet[..packet.len().min(header_bytes(packet) + QUOTED_BYTES)];
    let (kind, code, mtu) = match complaint {
        Complaint::TimeExceeded => (11, 0, 0),
        Complaint::TooBig(mtu) => (3, 4, mtu),
    };
    let length = HEADER_BYTES + 8 + quoted.len();
    let mut error = vec![0x45, 0];
    error.extend(u16::try_from(length).ok()?.to_be_bytes());
    error.extend([0, 0, 0, 0, OWN_TTL, ICMP, 0, 0]);
    error.extend(router.octets());
    error.extend(&packet[SOURCE..SOURCE + 4]);
    write_checksum(&mut error);
    let mut message = vec![kind, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    error.extend(message);
    Some(error)
}

fn header_bytes(packet: &[u8]) -> usize {
    usize::from(packet[0] & 0x0f) * 4
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
}

fn write_checksum(packet: &mut [u8]) {
    packet[CHECKSUM..CHECKSUM + 2].fill(0);
    let sum = checksum(&packet[..header_bytes(packet)]);
    packet[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it was folded")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10.1.2.3 sends 10.4.5.6 a UDP packet with a TTL of 2.
    fn packet() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 2, 17, 0, 0, 10, 1, 2, 3, 10, 4, 5, 6];
        write_checksum(&mut packet);
        packet.extend([0x1f; 12]);
        packet
    }

    #[test]
    fn a_hop_leaves_a_good_checksum() {
        let mut packet = packet();
        assert!(pass(&mut packet, 1));
        assert_eq!(packet[TTL], 1);
        assert_eq!(checksum(&packet[..HEADER_BYTES]), 0, "a header with its checksum sums up to nothing");
        assert!(!pass(&mut packet, 1));
    }

    #[test]
    fn the_sender_hears_which_packet_died() {
        let packet = packet();
        let router = Ipv4Addr::new(21, 0, 0, 1);
        let error = complain(&packet, router, Complaint::TimeExceeded).unwrap();
        assert_eq!(addresses(&error), Some((router, Ipv4Addr::new(10, 1, 2, 3))));
        assert_eq!((error[20], error[21], checksum(&error[20..])), (11, 0, 0));
        assert_eq!(error[28..], packet[..28]);
        assert_eq!(complain(&error, router, Complaint::TimeExceeded), None, "no errors about errors");
    }

    #[test]
    fn what_is_no_whole_packet_has_no_addresses() {
        assert_eq!(addresses(&packet()[..19]), None);
        assert_eq!(addresses(&[0x60; 40]), None);
        assert_eq!(addresses(&[0x4f; 40]), None, "its header would be longer");
    }
}
