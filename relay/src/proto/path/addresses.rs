//! Which addresses of a peer may be probed at all, and which are in our own network.
//!
//! A peer's offer is its word. Whatever it says, we never send to an address that means everybody, nobody or ourselves, nor into
//! a range that our own side has no part in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nearmesh_common::wire::signal::{Candidate, CandidateKind};

/// Bits of an IPv4 address that a local network shares (guess: the usual size).
const LAN_BITS_V4: u32 = 24;
/// Of an IPv6 address (RFC 4291, section 2.5.4).
const LAN_BITS_V6: u32 = 64;

/// What decides which of the peer's addresses make sense from here.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    hosts: Vec<SocketAddr>,
}

impl Surroundings {
    /// Of a node with these candidates.
    pub(super) fn new(own: &[Candidate]) -> Self {
        let hosts = own.iter().filter(|candidate| candidate.kind == CandidateKind::Host);
        Self { hosts: hosts.map(|candidate| canonical(candidate.address)).collect() }
    }

    /// Whether a probe may be sent to `address`.
    pub(super) fn may_probe(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let same_family = self.hosts.is_empty() || self.have(|own| own.is_ipv4() == ip.is_ipv4());
        port != 0
            && same_family
            && is_unicast(ip)
            && (!ip.is_loopback() || self.have(|own| own.is_loopback()))
            && (!is_link_local(ip) || self.have(is_link_local))
            && !self.hosts.contains(&canonical(address))
    }

    /// Whether `address` is in a local network that is ours too, as far as one can tell.
    pub(super) fn is_lan(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let private = match ip {
            IpAddr::V4(ip) => ip.is_private(),
            IpAddr::V6(ip) => ip.is_unique_local(),
        };
        private || ip.is_loopback() || is_link_local(ip) || self.have(|own| same_subnet(own, ip))
    }

    fn have(&self, condition: impl Fn(IpAddr) -> bool) -> bool {
        self.hosts.iter().any(|host| condition(host.ip()))
    }
}

/// The same address in its shortest form: no IPv4 within IPv6.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether `address` may be one by which the internet knows somebody.
pub(super) fn is_public(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let shared = matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64);
    is_unicast(ip) && !shared && !Surroundings::default().is_lan(address)
}

fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        // 0/8 is "this network", 240/4 reserved (our virtual addresses among it), with the broadcast address at its end.
        IpAddr::V4(ip) => !ip.is_multicast() && ip.octets()[0] != 0 && ip.octets()[0] < 240,
        // 100::/64 is where packets are discarded (RFC 6666): our virtual addresses.
        IpAddr::V6(ip) => {
            !ip.is_multicast() && !ip.is_unspecified() && ip.segments()[..4] != [0x100, 0, 0, 0]
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn same_subnet(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (Ipv4Addr::to_bits(a) ^ Ipv4Addr::to_bits(b)) >> (32 - LAN_BITS_V4) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (Ipv6Addr::to_bits(a) ^ Ipv6Addr::to_bits(b)) >> (128 - LAN_BITS_V6) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_home() -> Surroundings {
        let hosts = ["10.0.0.2:4000", "[2001:db8:1::2]:4000"];
        let candidate = |text: &str| Candidate { kind: CandidateKind::Host, address: text.parse().unwrap() };
        Surroundings::new(&hosts.map(candidate))
    }

    fn may(text: &str) -> bool {
        at_home().may_probe(text.parse().unwrap())
    }

    #[test]
    fn nobody_and_everybody_and_ourselves_are_never_probed() {
        for never in [
            "192.0.2.1:0",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "224.0.0.1:5",
            "239.255.255.250:1900",
            "240.0.0.1:4000",
            "255.255.255.255:9",
            "127.0.0.1:80",
            "169.254.1.1:80",
            "10.0.0.2:4000",
            "[::]:1",
            "[::1]:1",
            "[ff02::1]:1",
            "[fe80::1]:1",
            "[100::5]:1",
            "[::ffff:127.0.0.1]:1",
            "[::ffff:10.0.0.2]:4000",
        ] {
            assert!(!may(never), "{never}");
        }
        for fine in ["192.0.2.1:1", "10.0.0.2:4001", "192.168.1.7:4000", "[2001:db8::1]:7", "100.64.0.7:1"] {
            assert!(may(fine), "{fine}");
        }
    }

    #[test]
    fn loopback_and_link_local_only_for_those_who_are_there_themselves() {
        let candidate = |text: &str| Candidate { kind: CandidateKind::Host, address: text.parse().unwrap() };
        let local = Surroundings::new(&["127.0.0.1:1", "[fe80::2]:1"].map(candidate));
        assert!(local.may_probe("127.0.0.1:2".parse().unwrap()));
        assert!(local.may_probe("[fe80::1]:2".parse().unwrap()));
    }

    #[test]
    fn private_addresses_and_the_own_subnet_are_the_lan() {
        let lan = |text: &str| at_home().is_lan(text.parse().unwrap());
        assert!(lan("192.168.7.7:1") && lan("[fd00::1]:1") && lan("[2001:db8:1::7]:1"));
        assert!(!lan("203.0.113.1:1") && !lan("[2001:db8:2::7]:1") && !lan("100.64.0.7:1"));
        assert!(is_public("203.0.113.1:1".parse().unwrap()) && !is_public("100.64.0.7:1".parse().unwrap()));
    }
}
