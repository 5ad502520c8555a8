//! How far an address reaches.

use std::net::IpAddr;

/// Who can send to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This machine.
    Host,
    /// The same network: private (RFC 1918, RFC 4193), link-local, or behind the same carrier's NAT (RFC 6598).
    Site,
    /// Everybody.
    Global,
}

impl Scope {
    /// The scope of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() || ip.is_unspecified() => Self::Host,
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                let carrier = a == 100 && (64..128).contains(&b);
                if ip.is_private() || ip.is_link_local() || carrier { Self::Site } else { Self::Global }
            }
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Site,
            IpAddr::V6(_) => Self::Global,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_reach_as_far_as_their_rfcs_say() {
        let of = |ip: &str| Scope::of(ip.parse().unwrap());
        for ip in ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"] {
            assert_eq!(of(ip), Scope::Host, "{ip}");
        }
        for ip in ["10.0.0.2", "192.168.1.1", "172.16.0.1", "169.254.1.1", "100.64.0.2", "fd00::1", "fe80::1"]
        {
            assert_eq!(of(ip), Scope::Site, "{ip}");
        }
        for ip in ["203.0.113.5", "100.128.0.1", "2001:db8::1"] {
            assert_eq!(of(ip), Scope::Global, "{ip}");
        }
    }
}
