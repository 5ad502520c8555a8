//! Who has which address.
//!
//! The internet of a lab is 21.0.0.0/8, which looks like any other public address to a program (those kept for
//! documentation do not) and is not routed on the real one. Site n has 21.x.y.0/24: its gateway's WAN addresses, and in
//! the upper half the hosts of a site without NAT. Behind a NAT everybody is 192.168.1.0/24, so that the addresses of two
//! homes are the same, as they often are; behind a carrier, 100.64.0.0/24 (RFC 6598).

use std::net::Ipv4Addr;

use super::paths::SiteId;

const INTERNET: u8 = 21;
/// Most sites of an internet: the addresses would be enough for 65,535; the rest of the machine is not (guess).
pub const MAX_SITES: usize = 1000;
/// The address of every router in the middle.
pub(super) const MIDDLE: Ipv4Addr = Ipv4Addr::new(INTERNET, 255, 255, 254);
/// Where a public LAN begins in its site's network.
const PUBLIC_LAN: u8 = 128;

/// A network with room for about a hundred hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lan {
    first: Ipv4Addr,
    pub(super) prefix: u8,
}

impl Lan {
    /// That of a home behind a NAT.
    pub(super) const HOME: Self = Self { first: Ipv4Addr::new(192, 168, 1, 0), prefix: 24 };
    /// That behind a carrier's NAT.
    pub(super) const CARRIER: Self = Self { first: Ipv4Addr::new(100, 64, 0, 0), prefix: 24 };

    /// That of a site whose hosts have public addresses.
    pub(super) fn public(site: SiteId) -> Self {
        Self { first: nth(network(site), PUBLIC_LAN), prefix: 25 }
    }

    /// The gateway's own address in it.
    pub(super) fn gateway(self) -> Ipv4Addr {
        nth(self.first, 1)
    }

    /// The address of its host number `index`, counted from 0.
    pub(super) fn host(self, index: u8) -> Ipv4Addr {
        assert!(index < 100, "a LAN has addresses for a hundred hosts");
        nth(self.first, index + 2)
    }
}

/// A site's WAN address, after its gateway has changed it so many times.
pub(super) fn wan(site: SiteId, changes: u8) -> Ipv4Addr {
    assert!(changes < PUBLIC_LAN - 2, "a site has 126 WAN addresses");
    nth(network(site), changes + 1)
}

/// Which site an address belongs to.
pub(super) fn site_of(address: Ipv4Addr) -> Option<SiteId> {
    let [internet, high, low, _] = address.octets();
    (internet == INTERNET).then(|| SiteId(u16::from_be_bytes([high, low])))
}

fn network(site: SiteId) -> Ipv4Addr {
    let [high, low] = site.0.to_be_bytes();
    Ipv4Addr::new(INTERNET, high, low, 0)
}

fn nth(first: Ipv4Addr, n: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + u32::from(n))
}
