//! The addresses that this machine has.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use if_addrs::{IfOperStatus, Interface};
use nearmesh_common::presence::MAX_ADDRESSES;
use tracing::debug;

/// An address that every route table has an opinion on (RFC 5737 documentation range). Nothing is ever sent to it.
const ANYWHERE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// The same for IPv6 (RFC 3849).
const ANYWHERE_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// The addresses of a socket bound to `listen`: itself, or, if it is bound to every interface, that of each, the one
/// that the machine would use on its way out first. At most [`MAX_ADDRESSES`].
pub fn of_socket(listen: SocketAddr) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![listen];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error: io::Error| {
        debug!(%error, "the interfaces' addresses cannot be read");
        Vec::new()
    });
    let up = interfaces.iter().filter(|interface| interface.oper_status != IfOperStatus::Down);
    let mut ips = useful(up.map(Interface::ip).filter(|ip| ip.is_ipv4() == listen.is_ipv4()).collect());
    if let Some(way_out) = source_address(listen) {
        ips.retain(|ip| *ip != way_out);
        ips.insert(0, way_out);
    }
    if ips.is_empty() {
        ips.push(if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    ips.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, listen.port())).collect()
}

/// Leaves those by which others can reach the machine: not those that mean "here", as long as there are others.
fn useful(ips: Vec<IpAddr>) -> Vec<IpAddr> {
    let least = ips.iter().map(|ip| locality(*ip)).min();
    ips.into_iter().filter(|ip| Some(locality(*ip)) == least).collect()
}

/// 0 for an address with which others can do something, 1 for the link's own, 2 for the machine's own.
fn locality(ip: IpAddr) -> u8 {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_loopback() { 2 } else { u8::from(link_local) }
}

/// The address that the system would send from. Connecting a UDP socket sends nothing.
fn source_address(listen: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(listen.ip(), 0)).ok()?;
    socket.connect(if listen.is_ipv4() { ANYWHERE_V4 } else { ANYWHERE_V6 }).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_on_one_address_is_reached_there() {
        let listen = "127.0.0.1:4711".parse().unwrap();
        assert_eq!(of_socket(listen), [listen]);
    }

    #[test]
    fn a_socket_on_every_interface_is_reached_somewhere_on_its_port() {
        let addresses = of_socket("0.0.0.0:4711".parse().unwrap());
        assert!(!addresses.is_empty() && addresses.len() <= MAX_ADDRESSES);
        assert!(addresses.iter().all(|address| address.port() == 4711 && address.is_ipv4()));
        assert!(addresses.iter().all(|address| !address.ip().is_unspecified()));
    }

    #[test]
    fn addresses_that_mean_here_count_only_where_there_are_no_others() {
        let of = |ips: &[&str]| useful(ips.iter().map(|ip| ip.parse().unwrap()).collect());
        let is = |ips: &[&str]| -> Vec<IpAddr> { ips.iter().map(|ip| ip.parse().unwrap()).collect() };
        assert_eq!(
            of(&["127.0.0.1", "169.254.7.7", "10.0.0.2", "192.0.2.9"]),
            is(&["10.0.0.2", "192.0.2.9"])
        );
        assert_eq!(of(&["::1", "fe80::1"]), is(&["fe80::1"]));
        assert_eq!(of(&["127.0.0.1"]), is(&["127.0.0.1"]));
        assert_eq!(of(&[]), is(&[]));
    }
}
