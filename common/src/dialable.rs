//! Which addresses that others name are worth sending to.

use std::net::{IpAddr, SocketAddr};

/// Whether a packet sent to `addr` can reach one host, and not a group of them, nobody, or something that only this machine
/// means by it (RFC 6890). Loopback and private addresses can: the node may be on this machine or in this network.
pub fn is_dialable(addr: SocketAddr) -> bool {
    let one_host = match addr.ip() {
        IpAddr::V4(ip) => {
            let first = ip.octets()[0];
            first != 0 && first < 224
        }
        IpAddr::V6(ip) => {
            let discard = ip.segments()[..4] == [0x100, 0, 0, 0];
            let v4 = ip.to_ipv4_mapped().is_some();
            !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() || discard || v4)
        }
    };
    one_host && addr.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_can_be_dialled_and_groups_or_nobody_cannot() {
        for good in
            ["192.0.2.1:4000", "10.0.0.1:1", "127.0.0.1:9", "[2001:db8::1]:4000", "[fd00::1]:1", "[::1]:9"]
        {
            assert!(is_dialable(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "192.0.2.1:0",
            "0.0.0.0:4000",
            "0.1.2.3:4000",
            "224.0.0.1:4000",
            "240.0.0.1:4000",
            "255.255.255.255:4000",
            "[::]:4000",
            "[ff02::1]:4000",
            "[fe80::1]:4000",
            "[100::1]:4000",
            "[::ffff:224.0.0.1]:4000",
        ] {
            assert!(!is_dialable(bad.parse().unwrap()), "{bad}");
        }
    }
}
