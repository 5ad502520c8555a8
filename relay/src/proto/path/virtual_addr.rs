//! Addresses that stand for a peer, whichever way its packets take.
//!
//! QUIC connections belong to addresses. One whose path changes beneath it is given an address that no packet on any wire
//! may have: for an IPv4 port one of 240.0.0.0/4, which is reserved (RFC 1112, section 4), for an IPv6 port one of 100::/64, whose
//! packets are discarded (RFC 6666). Only the socket knows which way is meant.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

const RESERVED_V4: u8 = 240;
const DISCARD_V6: [u16; 4] = [0x100, 0, 0, 0];
/// QUIC does not dial port 0; apart from that, ports mean nothing here.
const PORT: u16 = 1;
/// Virtual addresses of an IPv4 port: 28 bits, without the broadcast address and the first.
const COUNT_V4: u32 = (1 << 28) - 2;

/// An address that stands for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddr(SocketAddr);

/// Which IP version a port speaks, and so its virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl VirtualAddr {
    /// Number `n`. On IPv4 the numbers begin again after 2^28.
    pub fn number(n: u64, version: Version) -> Self {
        let ip = match version {
            Version::V4 => {
                let host =
                    1 + u32::try_from(n % u64::from(COUNT_V4)).expect("it is below a number of 28 bits");
                IpAddr::V4(Ipv4Addr::from(u32::from(RESERVED_V4) << 24 | host))
            }
            Version::V6 => IpAddr::V6(Ipv6Addr::from(u128::from(DISCARD_V6[0]) << 112 | u128::from(n))),
        };
        Self(SocketAddr::new(ip, PORT))
    }

    /// The virtual address that `addr` is; `None` for those that packets have.
    pub fn of(addr: SocketAddr) -> Option<Self> {
        Self::is_virtual(addr).then_some(Self(addr))
    }

    /// Whether `addr` is in the ranges of virtual addresses.
    pub fn is_virtual(addr: SocketAddr) -> bool {
        match addr {
            SocketAddr::V4(addr) => addr.ip().octets()[0] >= RESERVED_V4,
            SocketAddr::V6(addr) => addr.ip().segments()[..4] == DISCARD_V6,
        }
    }

    /// The same, for QUIC.
    pub fn addr(self) -> SocketAddr {
        self.0
    }
}

impl Version {
    /// What a port at `local` speaks.
    pub fn of(local: SocketAddr) -> Self {
        if local.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for VirtualAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_addresses_are_told_from_those_that_packets_have() {
        for version in [Version::V4, Version::V6] {
            for n in [0, 1, 12_345, u64::from(COUNT_V4) - 1, u64::from(COUNT_V4), u64::MAX] {
                let addr = VirtualAddr::number(n, version);
                assert_eq!(VirtualAddr::of(addr.addr()), Some(addr));
                assert_eq!(Version::of(addr.addr()), version);
            }
        }
        for real in ["239.255.255.255:1", "127.0.0.1:1", "[::1]:1", "[100:0:0:1::1]:1", "[2001:db8::1]:1"] {
            assert_eq!(VirtualAddr::of(real.parse().expect("an address")), None);
        }
    }

    #[test]
    fn numbers_next_to_each_other_have_different_addresses_and_none_is_broadcast() {
        let v4 = |n| VirtualAddr::number(n, Version::V4).to_string();
        assert_eq!((v4(0), v4(1)), ("240.0.0.1".into(), "240.0.0.2".into()));
        assert_eq!(v4(u64::from(COUNT_V4) - 1), "255.255.255.254");
        assert_eq!(VirtualAddr::number(5, Version::V6).to_string(), "100::5");
    }
}
