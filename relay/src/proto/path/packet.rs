//! Path probes as bytes: pings that ask whether a route works, and pongs that prove it.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | `0x90`, which no QUIC, STUN or relayed packet begins with |
//! | 1..9 | the session's [`Tag`] |
//! | 9 | 1 = ping, 2 = pong; the highest bit is set by the callee |
//! | 10..14 | a ping's sequence number, big endian |
//! | 14..22 | a nonce: the pong repeats the ping's |
//! | 22..41 | in a pong, where the ping came from: 4 or 6, the address in 16 bytes, the port; zeros in a ping or for a relayed route |
//! | 41..57 | the first half of the keyed BLAKE3 hash of all before |
//!
//! Ping and pong are equally long, so that nothing is amplified. Each side marks its own, so that no probe is taken
//! for the peer's when somebody throws it back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nearmesh_common::wire::signal::{ProbeKey, SessionId};

/// What every probe begins with.
pub const FIRST_BYTE: u8 = 0x90;
/// How long every probe is.
pub const LENGTH: usize = 57;

const KIND: usize = 9;
const SEQUENCE: usize = 10;
const NONCE: usize = 14;
const FAMILY: usize = 22;
const ADDRESS: usize = 23;
const PORT: usize = 39;
const MAC: usize = 41;

const PING: u8 = 1;
const PONG: u8 = 2;
const FROM_CALLEE: u8 = 0x80;

/// By which a probe finds its session: the first bytes of the [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 8]);

impl Tag {
    /// The tag of `session`.
    pub fn of(session: &SessionId) -> Self {
        let mut tag = [0; 8];
        tag.copy_from_slice(&session.0[..8]);
        Self(tag)
    }

    /// The tag in `packet`, if that may be a probe: nothing is proven yet.
    pub fn in_packet(packet: &[u8]) -> Option<Self> {
        if packet.len() != LENGTH || packet[0] != FIRST_BYTE {
            return None;
        }
        packet[1..KIND].try_into().ok().map(Self)
    }
}

/// Who began the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This one.
    Caller,
    /// The other one.
    Callee,
}

/// What a pong must repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nonce(pub(super) u64);

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Does this way work?
    Ping {
        /// Counts the sender's pings: each is taken once.
        sequence: u32,
        /// To be repeated.
        nonce: Nonce,
    },
    /// It does.
    Pong {
        /// The ping's.
        nonce: Nonce,
        /// Where the ping came from, unless through a relay.
        observed: Option<SocketAddr>,
    },
}

/// Makes and checks the probes of one session.
#[derive(Debug)]
pub(super) struct Seal {
    tag: Tag,
    key: ProbeKey,
    side: Side,
}

impl Seal {
    /// For the probes that `side` of `session` sends, and those that it gets.
    pub(super) fn new(session: &SessionId, key: ProbeKey, side: Side) -> Self {
        Self { tag: Tag::of(session), key, side }
    }

    /// `probe` as our side sends it.
    pub(super) fn encode(&self, probe: &Probe) -> Vec<u8> {
        let mut packet = vec![0; LENGTH];
        packet[0] = FIRST_BYTE;
        packet[1..KIND].copy_from_slice(&self.tag.0);
        let nonce = match probe {
            Probe::Ping { sequence, nonce } => {
                packet[KIND] = PING;
                packet[SEQUENCE..NONCE].copy_from_slice(&sequence.to_be_bytes());
                nonce
            }
            Probe::Pong { nonce, observed } => {
                packet[KIND] = PONG;
                if let Some(address) = observed {
                    write_address(&mut packet, *address);
                }
                nonce
            }
        };
        if self.side == Side::Callee {
            packet[KIND] |= FROM_CALLEE;
        }
        packet[NONCE..FAMILY].copy_from_slice(&nonce.0.to_be_bytes());
        let hash = blake3::keyed_hash(&self.key.0, &packet[..MAC]);
        packet[MAC..].copy_from_slice(&hash.as_bytes()[..LENGTH - MAC]);
        packet
    }

    /// The peer's probe in `packet`, if it is one of this session's.
    pub(super) fn decode(&self, packet: &[u8]) -> Option<Probe> {
        if Tag::in_packet(packet) != Some(self.tag) {
            return None;
        }
        let hash = blake3::keyed_hash(&self.key.0, &packet[..MAC]);
        let mut claimed = *hash.as_bytes();
        claimed[..LENGTH - MAC].copy_from_slice(&packet[MAC..]);
        // This comparison of blake3's takes the same time whatever differs.
        if hash != claimed {
            return None;
        }
        let theirs = if self.side == Side::Caller { FROM_CALLEE } else { 0 };
        let nonce = Nonce(u64::from_be_bytes(packet[NONCE..FAMILY].try_into().ok()?));
        match packet[KIND] ^ theirs {
            PING => {
                let sequence = u32::from_be_bytes(packet[SEQUENCE..NONCE].try_into().ok()?);
                Some(Probe::Ping { sequence, nonce })
            }
            PONG => Some(Probe::Pong { nonce, observed: read_address(packet) }),
            _ => None,
        }
    }
}

fn write_address(packet: &mut [u8], address: SocketAddr) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            packet[FAMILY] = 4;
            packet[ADDRESS..ADDRESS + 4].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            packet[FAMILY] = 6;
            packet[ADDRESS..PORT].copy_from_slice(&ip.octets());
        }
    }
    packet[PORT..MAC].copy_from_slice(&address.port().to_be_bytes());
}

fn read_address(packet: &[u8]) -> Option<SocketAddr> {
    let octets: [u8; 16] = packet[ADDRESS..PORT].try_into().ok()?;
    let ip = match packet[FAMILY] {
        4 => IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
        6 => IpAddr::V6(Ipv6Addr::from(octets)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([packet[PORT], packet[PORT + 1]])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seals() -> (Seal, Seal) {
        let (session, key) = (SessionId([7; 16]), ProbeKey([9; 32]));
        (Seal::new(&session, key, Side::Caller), Seal::new(&session, key, Side::Callee))
    }

    #[test]
    fn what_alice_says_bob_reads_and_both_kinds_are_equally_long() {
        let (alice, bob) = seals();
        let nonce = Nonce(0x0123_4567_89ab_cdef);
        let ping = Probe::Ping { sequence: 5, nonce };
        assert_eq!(bob.decode(&alice.encode(&ping)), Some(ping));
        for observed in [None, Some("192.0.2.1:4000"), Some("[2001:db8::1]:65535")] {
            let observed = observed.map(|text| text.parse().unwrap());
            let pong = Probe::Pong { nonce, observed };
            let packet = bob.encode(&pong);
            assert_eq!(alice.decode(&packet), Some(pong));
            assert_eq!(packet.len(), alice.encode(&ping).len());
        }
    }

    #[test]
    fn a_probe_thrown_back_at_its_sender_is_nothing() {
        let (alice, _) = seals();
        assert_eq!(alice.decode(&alice.encode(&Probe::Ping { sequence: 1, nonce: Nonce(1) })), None);
    }

    #[test]
    fn another_key_or_session_is_nothing() {
        let (alice, _) = seals();
        let packet = alice.encode(&Probe::Ping { sequence: 1, nonce: Nonce(1) });
        let other_key = Seal::new(&SessionId([7; 16]), ProbeKey([8; 32]), Side::Callee);
        let other_session = Seal::new(&SessionId([6; 16]), ProbeKey([9; 32]), Side::Callee);
        assert_eq!((other_key.decode(&packet), other_session.decode(&packet)), (None, None));
        assert_eq!(Tag::in_packet(&packet), Some(Tag([7; 8])));
    }

    proptest! {
        #[test]
        fn one_changed_bit_anywhere_makes_it_nothing(bit in 0usize..LENGTH * 8) {
            let (alice, bob) = seals();
            let mut packet = alice.encode(&Probe::Ping { sequence: 77, nonce: Nonce(88) });
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(bob.decode(&packet), None);
        }

        #[test]
        fn garbage_never_panics(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
            let (alice, _) = seals();
            prop_assert_eq!(alice.decode(&packet), None);
        }
    }
}
