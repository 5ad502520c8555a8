//! Where the router is.

use std::{fs, net::Ipv4Addr};

/// The kernel's routes, as a table of hexadecimal numbers (proc(5), /proc/net/route).
const ROUTES: &str = "/proc/net/route";
/// The flag of a route that goes through a router (RTF_GATEWAY).
const THROUGH_A_ROUTER: u32 = 2;

/// The router that packets to everywhere go through; where the system does not say so, the address that most routers of a home network
/// have.
pub(super) fn default_gateway(own: Ipv4Addr) -> Ipv4Addr {
    let told = fs::read_to_string(ROUTES).ok().and_then(|routes| parse(&routes));
    told.unwrap_or_else(|| {
        let [a, b, c, _] = own.octets();
        Ipv4Addr::new(a, b, c, 1)
    })
}

/// The default route of the lowest metric.
fn parse(routes: &str) -> Option<Ipv4Addr> {
    let defaults = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else { return None };
        let through = u32::from_str_radix(flags, 16).ok()? & THROUGH_A_ROUTER != 0;
        let everywhere = destination == "00000000" && mask == "00000000";
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        // The kernel prints the four bytes as one number of its own byte order.
        (everywhere && through).then(|| (metric.parse().unwrap_or(u32::MAX), gateway.to_ne_bytes()))
    });
    defaults.min().map(|(_, gateway)| gateway.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\tFE00000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_of_the_lowest_metric_is_taken() {
        assert_eq!(parse(TABLE), Some(Ipv4Addr::new(10, 0, 0, 254)));
    }

    #[test]
    fn a_table_without_a_default_route_or_of_garbage_names_no_router() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("Iface\neth0 zz zz zz\neth0"), None);
    }
}
