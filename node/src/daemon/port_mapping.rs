//! Asking the router to let everybody in at this node's port: PCP, NAT-PMP, or UPnP IGD, whichever it speaks.
//!
//! One task asks, renews in time, asks again when the machine's own address or that of the router changes, and gives the mapping back when
//! the node ends. What the router says is not believed to be reachable by itself: that takes a dial-back (`reachability`). A router that
//! hangs, lies or talks nonsense costs seconds and at most a MiB (the crates bound their answers).

mod gateway;
mod lease;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use nearmesh_common::scope::Scope;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::{node::Node, whereabouts::Whereabouts};
use lease::Lease;

/// For how long a mapping is asked for: long enough that a router's reboot is met by a renewal, short enough that a killed
/// node's does not stay for days (RFC 6886, section 3.3, recommends two hours; guess: half of that).
const LIFETIME: Duration = Duration::from_secs(3600);
/// When a router that gave nothing is asked again (guess: a person who switches it on in the router's pages looks again after minutes).
const RETRY: Duration = Duration::from_secs(300);
/// A lease is never renewed more often than this, whatever the router says.
const SHORTEST_LEASE: Duration = Duration::from_secs(60);
/// How long giving it back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);

/// What the router gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortMapping {
    /// Nobody asks: the user does not want it, or the node is bound to where no router is.
    #[default]
    Off,
    /// The router is being asked for the first time here.
    Asking,
    /// The router does not offer it.
    None,
    /// Packets to this address are sent on to the node.
    Mapped {
        /// How it was asked.
        by: Protocol,
        /// The router's own address, and the port there.
        external: SocketAddr,
    },
}

/// How a router is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// UPnP Internet Gateway Device.
    Upnp,
}

impl PortMapping {
    /// An address that the whole world can send to, as far as the router knows: one behind another NAT is none.
    pub fn external(&self) -> Option<SocketAddr> {
        match self {
            Self::Mapped { external, .. } if Scope::of(external.ip()) == Scope::Global => Some(*external),
            _ => None,
        }
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Asking => f.write_str("the router is being asked"),
            Self::None => f.write_str("the router offers none"),
            Self::Mapped { by, external } if self.external().is_none() => {
                write!(f, "{external} by {by}, but the router is behind another NAT itself")
            }
            Self::Mapped { by, external } => write!(f, "{external} by {by}"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// Whether there is somebody to ask for a socket bound to `listen`.
pub fn makes_sense(listen: SocketAddr) -> bool {
    listen.is_ipv4() && !listen.ip().is_loopback()
}

/// Asks and keeps asking, until the node stops.
pub async fn keep(node: Arc<Node>) {
    if !node.settings.port_mapping || !makes_sense(node.listen) {
        return;
    }
    let mut known = node.whereabouts();
    let mut stop = node.stop.subscribe();
    while !*stop.borrow() {
        let mut place = Place::of(&known.borrow_and_update());
        let mut lease = tokio::select! {
            lease = acquire(&node, place.own) => lease,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        loop {
            let wait = publish(&node, lease.as_ref());
            let go_on = tokio::select! {
                () = sleep(wait) => true,
                _ = known.wait_for(|known| place.is_left(known)) => false,
                _ = stop.wait_for(|stop| *stop) => false,
            };
            let renewed = match &mut lease {
                Some(lease) if go_on => lease.renew(LIFETIME).await,
                _ => false,
            };
            if !renewed {
                break;
            }
        }
        if let Some(lease) = lease {
            debug!("giving the router's mapping back");
            let _ = timeout(RELEASE_TIMEOUT, lease.release()).await;
        }
    }
    node.port_mapping.send_replace(PortMapping::Off);
}

/// Waits until the mapping was given back.
pub async fn given_back(node: &Node) {
    let mut state = node.port_mapping.subscribe();
    let _ = timeout(RELEASE_TIMEOUT, state.wait_for(|state| *state == PortMapping::Off)).await;
}

async fn acquire(node: &Node, own: SocketAddr) -> Option<Lease> {
    if *node.port_mapping.borrow() == PortMapping::Off {
        node.port_mapping.send_replace(PortMapping::Asking);
    }
    match Scope::of(own.ip()) {
        Scope::Host => None,
        Scope::Site | Scope::Global => Lease::acquire(own, LIFETIME).await,
    }
}

/// Says how it stands, and for how long.
fn publish(node: &Node, lease: Option<&Lease>) -> Duration {
    let (state, wait) = match lease {
        None => (PortMapping::None, RETRY),
        Some(lease) => {
            let state = PortMapping::Mapped { by: lease.protocol(), external: lease.external() };
            // Half of it: then one renewal may fail (RFC 6886, section 3.3).
            (state, (lease.lifetime() / 2).clamp(SHORTEST_LEASE, LIFETIME / 2))
        }
    };
    let news = node.port_mapping.send_if_modified(|before| {
        let news = *before != state;
        *before = state;
        news
    });
    if news {
        info!(%state, "port mapping");
    }
    wait
}

/// Where a mapping is of use: to the machine's own address, at a router with this one.
struct Place {
    own: SocketAddr,
    /// As whom supernodes see the node, in order; nothing until they say so.
    seen: Vec<IpAddr>,
}

impl Place {
    fn of(known: &Whereabouts) -> Self {
        let nowhere = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0);
        Self { own: known.host.first().copied().unwrap_or(nowhere), seen: seen(known) }
    }

    /// Whether the node is elsewhere now. Another router may have given it the same address as the one before.
    fn is_left(&mut self, known: &Whereabouts) -> bool {
        let now = Self::of(known);
        let first = self.seen.is_empty();
        let elsewhere = !first && !now.seen.is_empty() && now.seen != self.seen;
        if first {
            self.seen = now.seen;
        }
        now.own != self.own || elsewhere
    }
}

fn seen(known: &Whereabouts) -> Vec<IpAddr> {
    let mut seen: Vec<IpAddr> = known.server_reflexive.iter().map(SocketAddr::ip).collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_router_that_is_behind_another_nat_is_of_no_use_to_others() {
        let mapped =
            |external: &str| PortMapping::Mapped { by: Protocol::Upnp, external: external.parse().unwrap() };
        assert_eq!(mapped("203.0.113.7:7117").external(), Some("203.0.113.7:7117".parse().unwrap()));
        assert_eq!(mapped("203.0.113.7:7117").to_string(), "203.0.113.7:7117 by UPnP");
        for inner in ["100.64.0.2:7117", "192.168.178.2:7117"] {
            assert_eq!(mapped(inner).external(), None);
            assert!(mapped(inner).to_string().contains("behind another NAT"));
        }
    }

    #[test]
    fn a_mapping_is_asked_for_again_when_the_own_or_the_routers_address_changes() {
        let mut alice = Whereabouts::new(vec!["192.168.1.5:7117".parse().unwrap()]);
        let mut place = Place::of(&alice);
        alice.server_reflexive = vec!["203.0.113.7:41000".parse().unwrap()];
        assert!(!place.is_left(&alice), "that is where it was all the time");
        alice.server_reflexive = vec!["203.0.113.7:42000".parse().unwrap()];
        assert!(!place.is_left(&alice), "another port is no other router");
        alice.server_reflexive.clear();
        assert!(!place.is_left(&alice), "nobody says anything for a while");
        alice.server_reflexive = vec!["198.51.100.1:7117".parse().unwrap()];
        assert!(place.is_left(&alice));
        let mut place = Place::of(&alice);
        alice.host = vec!["192.168.1.6:7117".parse().unwrap()];
        assert!(place.is_left(&alice));
    }

    #[test]
    fn nobody_is_asked_for_a_port_on_the_loopback() {
        assert!(!makes_sense("127.0.0.1:7117".parse().unwrap()));
        assert!(makes_sense("0.0.0.0:7117".parse().unwrap()));
    }
}
