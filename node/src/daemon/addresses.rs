//! Where this node is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nearmesh_common::presence::MAX_ADDRESSES;

/// An address that every route table has an opinion on (RFC 5737 documentation range). Nothing is ever sent to it.
const ANYWHERE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// The same for IPv6 (RFC 3849).
const ANYWHERE_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// The addresses of a socket bound to `listen`: itself, or, if it is bound to every interface, those that
/// the machine would use on its way out and towards `peers`.
pub fn of_socket(listen: SocketAddr, peers: &[SocketAddr]) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![listen];
    }
    let anywhere = if listen.is_ipv4() { ANYWHERE_V4 } else { ANYWHERE_V6 };
    let mut found = Vec::new();
    for towards in peers.iter().chain([&anywhere]) {
        if let Some(ip) = source_address(listen, *towards) {
            merge(&mut found, SocketAddr::new(ip, listen.port()));
        }
    }
    if found.is_empty() {
        let loopback: IpAddr =
            if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        found.push(SocketAddr::new(loopback, listen.port()));
    }
    found
}

/// Adds an address that is not there yet, as far as there is room; says whether it was news.
pub fn merge(addresses: &mut Vec<SocketAddr>, address: SocketAddr) -> bool {
    let news = !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES;
    if news {
        addresses.push(address);
    }
    news
}

/// The address that the system would send from. Connecting a UDP socket sends nothing.
fn source_address(listen: SocketAddr, towards: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(listen.ip(), 0)).ok()?;
    socket.connect(towards).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_on_one_address_is_reached_there() {
        let listen = "127.0.0.1:4711".parse().unwrap();
        assert_eq!(of_socket(listen, &[]), [listen]);
    }

    #[test]
    fn a_socket_on_every_interface_is_reached_where_its_peers_see_it() {
        let listen = "0.0.0.0:4711".parse().unwrap();
        let peer = "127.0.0.1:1".parse().unwrap();
        assert_eq!(of_socket(listen, &[peer])[0], "127.0.0.1:4711".parse().unwrap());
    }

    #[test]
    fn an_address_is_listed_once_and_the_list_is_bounded() {
        let mut addresses = Vec::new();
        for port in 1..100 {
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
            merge(&mut addresses, address);
            assert!(!merge(&mut addresses, address));
        }
        assert_eq!(addresses.len(), MAX_ADDRESSES);
    }
}
