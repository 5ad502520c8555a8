//! The simulated internet: networks within networks, a box at the door of each, and how packets get from one host to another.
//!
//! A packet first climbs, through the boxes of its sender, at the moment it is sent; what it meets at the other side it meets when it
//! arrives. Between the two lie delay, jitter and loss.

use std::{net::SocketAddr, time::Duration};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::nat::NatBox;

/// A host, by number.
pub type HostId = usize;

/// The internet itself.
pub(super) const INTERNET: usize = 0;
/// TTL of ordinary packets.
const TTL: u8 = 64;

/// A network. The first one is the internet.
#[derive(Debug)]
struct Network {
    /// The network outside, and the box at the door.
    door: Option<(usize, NatBox)>,
}

/// A host: one address.
#[derive(Debug)]
struct Host {
    network: usize,
    address: std::net::IpAddr,
    /// Where on earth: a point on a circle of so many milliseconds.
    place: u64,
}

/// How good the lines are.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// The part of all packets over the internet that is lost.
    pub loss: f64,
    /// Each packet is late by up to so much.
    pub jitter: Duration,
}

/// What a host sends.
#[derive(Clone, Debug)]
pub struct Outgoing<P> {
    /// From which of its ports.
    pub port: u16,
    /// To where.
    pub to: SocketAddr,
    /// With which TTL, if not the usual one.
    pub ttl: Option<u8>,
    /// What.
    pub payload: P,
}

/// A packet on its way between the sender's boxes and the receiver's.
#[derive(Clone, Debug)]
pub struct Packet<P> {
    /// As it is seen there.
    pub from: SocketAddr,
    /// To where.
    pub to: SocketAddr,
    ttl: u8,
    /// In which network it goes down again.
    network: usize,
    /// What is in it.
    pub payload: P,
}

/// A packet that arrived.
#[derive(Clone, Debug)]
pub struct Arrived<P> {
    /// At which host.
    pub host: HostId,
    /// From which address, as seen there.
    pub from: SocketAddr,
    /// At which of its ports.
    pub to: SocketAddr,
    /// What was in it.
    pub payload: P,
}

/// All networks and hosts.
#[derive(Debug)]
pub struct World {
    networks: Vec<Network>,
    hosts: Vec<Host>,
    lines: Lines,
    rng: ChaCha8Rng,
    /// While set, nothing crosses the internet.
    pub outage: bool,
}

impl World {
    /// The internet, empty.
    pub fn new(lines: Lines, rng: ChaCha8Rng) -> Self {
        Self { networks: vec![Network { door: None }], hosts: Vec::new(), lines, rng, outage: false }
    }

    /// A network behind `door`, which opens into `outside`.
    pub fn add_network(&mut self, outside: usize, door: NatBox) -> usize {
        self.networks.push(Network { door: Some((outside, door)) });
        self.networks.len() - 1
    }

    /// A host.
    pub fn add_host(&mut self, network: usize, address: std::net::IpAddr, place: u64) -> HostId {
        self.hosts.push(Host { network, address, place });
        self.hosts.len() - 1
    }

    /// The host is in another network from now on.
    pub fn move_host(&mut self, host: HostId, network: usize, address: std::net::IpAddr) {
        self.hosts[host].network = network;
        self.hosts[host].address = address;
    }

    /// A host's own address.
    pub fn address(&self, host: HostId) -> std::net::IpAddr {
        self.hosts[host].address
    }

    /// The network it is in.
    pub fn network_of(&self, host: HostId) -> usize {
        self.hosts[host].network
    }

    /// The box at the door of a network.
    pub fn door(&mut self, network: usize) -> Option<&mut NatBox> {
        self.networks[network].door.as_mut().map(|(_, door)| door)
    }

    /// The network outside.
    pub fn outside(&self, network: usize) -> Option<usize> {
        self.networks[network].door.as_ref().map(|(outside, _)| *outside)
    }

    /// One way between two hosts, without jitter.
    pub fn way(&self, a: HostId, b: HostId) -> Duration {
        let apart = self.hosts[a].place.abs_diff(self.hosts[b].place);
        Duration::from_micros(2000 + apart * 1000)
    }

    /// Sends a packet: what is under way then, and how long it will be. `None` if it goes nowhere.
    pub fn send<P>(
        &mut self,
        host: HostId,
        out: Outgoing<P>,
        now: Duration,
    ) -> Option<(Packet<P>, Duration)> {
        let packet = self.leave(host, out, now)?;
        let delay = self.delay(host, &packet)?;
        Some((packet, delay))
    }

    /// A packet arrives in the network to which it climbed, and goes down from there.
    pub fn arrive<P>(&mut self, mut packet: Packet<P>, now: Duration) -> Option<Arrived<P>> {
        loop {
            if let Some(host) = self.host_at(packet.network, packet.to) {
                return Some(Arrived { host, from: packet.from, to: packet.to, payload: packet.payload });
            }
            let below = self.below(packet.network, packet.to)?;
            let (_, door) = self.networks[below].door.as_mut()?;
            let (inside, seen) = door.inbound(packet.from, packet.to.port(), now)?;
            packet.ttl = packet.ttl.checked_sub(1).filter(|left| *left > 0)?;
            (packet.network, packet.from, packet.to) = (below, seen, inside);
        }
    }

    /// The address by which `host` is seen at `to`; it has then sent something there.
    pub fn seen_at(&mut self, host: HostId, port: u16, to: SocketAddr, now: Duration) -> Option<SocketAddr> {
        let packet = self.leave(host, Outgoing { port, to, ttl: None, payload: () }, now)?;
        Some(packet.from)
    }

    /// Up through the sender's boxes.
    fn leave<P>(&mut self, host: HostId, out: Outgoing<P>, now: Duration) -> Option<Packet<P>> {
        let Outgoing { port, to, ttl, payload } = out;
        let from = SocketAddr::new(self.hosts[host].address, port);
        let network = self.hosts[host].network;
        let mut packet = Packet { from, to, ttl: ttl.unwrap_or(TTL), network, payload };
        while !self.is_local(&packet) {
            if packet.network == INTERNET {
                return None;
            }
            self.climb(&mut packet, now)?;
        }
        Some(packet)
    }

    /// One router up.
    fn climb<P>(&mut self, packet: &mut Packet<P>, now: Duration) -> Option<()> {
        let (outside, door) = self.networks[packet.network].door.as_mut()?;
        let to_itself = packet.to.ip() == door.outside
            && door.behaviour.mapping != nearmesh_common::nat::Mapping::NoTranslation;
        packet.ttl = packet.ttl.checked_sub(1).filter(|left| *left > 0)?;
        if door.behaviour.blocked || to_itself && !door.behaviour.hairpin {
            return None;
        }
        let from = door.outbound(packet.from, packet.to, now);
        packet.to = door.real_remote(packet.from, packet.to);
        packet.from = from;
        packet.network = *outside;
        if to_itself {
            return Some(());
        }
        // The internet has a router of its own.
        if packet.network == INTERNET {
            packet.ttl = packet.ttl.checked_sub(1).filter(|left| *left > 0)?;
        }
        Some(())
    }

    fn is_local<P>(&self, packet: &Packet<P>) -> bool {
        self.host_at(packet.network, packet.to).is_some() || self.below(packet.network, packet.to).is_some()
    }

    fn host_at(&self, network: usize, to: SocketAddr) -> Option<HostId> {
        self.hosts.iter().position(|host| host.network == network && host.address == to.ip())
    }

    fn below(&self, network: usize, to: SocketAddr) -> Option<usize> {
        self.networks.iter().position(|below| {
            below.door.as_ref().is_some_and(|(outside, door)| *outside == network && door.outside == to.ip())
        })
    }

    fn delay<P>(&mut self, from: HostId, packet: &Packet<P>) -> Option<Duration> {
        if packet.network != INTERNET {
            return Some(Duration::from_micros(self.rng.random_range(200..900)));
        }
        if self.outage || self.rng.random_bool(self.lines.loss) {
            return None;
        }
        let to = self.hosts.iter().position(|host| self.is_within(host, packet))?;
        let jitter = self.rng.random_range(Duration::ZERO..=self.lines.jitter);
        Some(self.way(from, to) + jitter)
    }

    /// Whether `host` may be where the packet goes: only its place matters.
    fn is_within<P>(&self, host: &Host, packet: &Packet<P>) -> bool {
        let mut network = host.network;
        loop {
            if network == packet.network {
                return host.address == packet.to.ip();
            }
            match &self.networks[network].door {
                Some((outside, door)) if *outside == packet.network => return door.outside == packet.to.ip(),
                Some((outside, _)) => network = *outside,
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nearmesh_common::nat::{Filtering, Mapping};
    use rand::SeedableRng;

    use super::{super::nat::Behaviour, *};

    fn a(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn door(outside: &str) -> NatBox {
        let behaviour = Behaviour {
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressAndPortDependent,
            leaky: false,
            hairpin: false,
            blocked: false,
            step: None,
            lifetime: Duration::from_secs(30),
        };
        NatBox::new(behaviour, outside.parse().unwrap(), ChaCha8Rng::seed_from_u64(1))
    }

    /// Alice behind two boxes, bob on the internet.
    fn world() -> (World, HostId, HostId) {
        let lines = Lines { loss: 0.0, jitter: Duration::ZERO };
        let mut world = World::new(lines, ChaCha8Rng::seed_from_u64(1));
        let provider = world.add_network(INTERNET, door("203.0.113.1"));
        let home = world.add_network(provider, door("100.64.0.2"));
        let alice = world.add_host(home, "10.0.0.2".parse().unwrap(), 10);
        let bob = world.add_host(INTERNET, "192.0.2.1".parse().unwrap(), 40);
        (world, alice, bob)
    }

    fn pass(world: &mut World, from: HostId, to: &str, ttl: Option<u8>) -> Option<Arrived<()>> {
        let out = Outgoing { port: 4000, to: a(to), ttl, payload: () };
        let (packet, _) = world.send(from, out, Duration::ZERO)?;
        world.arrive(packet, Duration::ZERO)
    }

    #[test]
    fn a_packet_goes_out_through_both_boxes_and_its_answer_comes_back() {
        let (mut world, alice, bob) = world();
        assert!(pass(&mut world, bob, "203.0.113.1:4000", None).is_none());
        let there = pass(&mut world, alice, "192.0.2.1:4000", None).unwrap();
        assert_eq!((there.host, there.from), (bob, a("203.0.113.1:4000")));
        assert_eq!(pass(&mut world, bob, "203.0.113.1:4000", None).unwrap().host, alice);
        assert_eq!(world.way(alice, bob), Duration::from_millis(32));
    }

    #[test]
    fn a_short_ttl_opens_the_own_boxes_that_it_passes_and_no_other() {
        let (mut world, alice, bob) = world();
        assert!(
            pass(&mut world, alice, "192.0.2.1:4000", Some(2)).is_none(),
            "it dies at the provider's box"
        );
        assert!(pass(&mut world, bob, "203.0.113.1:4000", None).is_none());
        assert!(pass(&mut world, alice, "192.0.2.1:4000", Some(3)).is_none(), "it dies on the internet");
        assert!(pass(&mut world, bob, "203.0.113.1:4000", None).is_some());
    }
}
