//! A NAT or firewall: mapping, filtering and expiry (RFC 4787), as measured on Linux.
//!
//! Every flow has an entry, like conntrack's: the inside address, the port outside, the remote address, and the moment when it
//! expires. What a *leaky* one does besides: a packet that nobody waits for makes an entry of its own, and our own flow to
//! where it came from then has to take another port.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nearmesh_common::nat::{Filtering, Mapping};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How a box behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// [`Mapping::NoTranslation`] is a firewall.
    pub mapping: Mapping,
    /// Whom it lets in.
    pub filtering: Filtering,
    /// See the module.
    pub leaky: bool,
    /// Whether those inside reach each other by their outside addresses.
    pub hairpin: bool,
    /// Nothing gets through.
    pub blocked: bool,
    /// How far consecutive ports lie apart; random if there is no such step.
    pub step: Option<i8>,
    /// How long an answered flow lives without a packet; others live so long, or 30 s if that is less.
    pub lifetime: Duration,
}

/// How long an entry lives at most that was never answered (Linux: 30 s).
const UNANSWERED: Duration = Duration::from_secs(30);
/// Lowest port that is given out at random (Linux: 1024).
const LOWEST_PORT: u16 = 1024;

#[derive(Clone, Copy, Debug)]
struct Flow {
    port: u16,
    remote: SocketAddr,
    expires: Duration,
    /// A packet went the other way than the first one.
    answered: bool,
    began_inside: bool,
}

impl Flow {
    fn new(port: u16, remote: SocketAddr, began_inside: bool, expires: Duration) -> Self {
        Self { port, remote, expires, answered: false, began_inside }
    }

    /// A packet belongs to it.
    fn refresh(&mut self, is_answer: bool, lifetime: Duration, now: Duration) {
        self.answered |= is_answer;
        self.expires = now + if self.answered { lifetime } else { lifetime.min(UNANSWERED) };
    }
}

/// One box and its state.
#[derive(Debug)]
pub struct NatBox {
    /// What it does.
    pub behaviour: Behaviour,
    /// Its address outside. A firewall has that of the host behind it.
    pub outside: IpAddr,
    /// A port that its owner asked it to forward (UPnP, PCP), and to where.
    pub forwarded: Option<(u16, SocketAddr)>,
    /// By inside address, and the remote address as it is seen inside.
    flows: BTreeMap<(SocketAddr, SocketAddr), Flow>,
    /// By port outside and the remote's real address.
    inbound: BTreeMap<(u16, SocketAddr), (SocketAddr, SocketAddr)>,
    spoilt: BTreeMap<(SocketAddr, u16), Duration>,
    keeps_ports: bool,
    next_port: u16,
    swept: Duration,
    rng: ChaCha8Rng,
}

impl NatBox {
    /// A box without any flow.
    pub fn new(behaviour: Behaviour, outside: IpAddr, mut rng: ChaCha8Rng) -> Self {
        let next_port = rng.random_range(20_000..60_000);
        Self {
            behaviour,
            outside,
            forwarded: None,
            flows: BTreeMap::new(),
            inbound: BTreeMap::new(),
            spoilt: BTreeMap::new(),
            keeps_ports: true,
            next_port,
            swept: Duration::ZERO,
            rng,
        }
    }

    /// Forgets every flow, and gives other ports from now on.
    pub fn flush(&mut self) {
        self.flows.clear();
        self.inbound.clear();
        self.spoilt.clear();
        self.keeps_ports = false;
    }

    /// A packet goes out: from which address it comes then.
    pub fn outbound(&mut self, from: SocketAddr, to: SocketAddr, now: Duration) -> SocketAddr {
        self.sweep(now);
        let lifetime = self.behaviour.lifetime;
        if let Some(flow) = self.flows.get_mut(&(from, to)) {
            flow.refresh(!flow.began_inside, lifetime, now);
            return SocketAddr::new(self.outside, flow.port);
        }
        let port = self.port_for(from, to);
        self.insert(from, to, Flow::new(port, to, true, now + lifetime.min(UNANSWERED)));
        SocketAddr::new(self.outside, port)
    }

    /// Where a packet of `from`, as seen inside, really goes.
    pub fn real_remote(&self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        self.flows.get(&(from, to)).map_or(to, |flow| flow.remote)
    }

    /// A packet comes to `port`: to whom it goes, and from which address it seems to come; nowhere, if it is dropped.
    pub fn inbound(
        &mut self,
        from: SocketAddr,
        port: u16,
        now: Duration,
    ) -> Option<(SocketAddr, SocketAddr)> {
        self.sweep(now);
        let lifetime = self.behaviour.lifetime;
        let expires = now + lifetime.min(UNANSWERED);
        if let Some(key) = self.inbound.get(&(port, from)).copied() {
            let flow = self.flows.get_mut(&key)?;
            flow.refresh(flow.began_inside, lifetime, now);
            return Some(key);
        }
        let Some(inside) = self.admits(from, port) else {
            if self.behaviour.leaky {
                self.spoilt.insert((from, port), expires);
            }
            return None;
        };
        let mut seen = from;
        while self.flows.contains_key(&(inside, seen)) {
            // The same two already have a flow by another port: Linux then makes the remote's port another one.
            seen.set_port(self.rng.random_range(LOWEST_PORT..=u16::MAX));
        }
        self.insert(inside, seen, Flow::new(port, from, false, expires));
        Some((inside, seen))
    }

    fn insert(&mut self, inside: SocketAddr, seen: SocketAddr, flow: Flow) {
        self.inbound.insert((flow.port, flow.remote), (inside, seen));
        self.flows.insert((inside, seen), flow);
    }

    /// To whom a packet may go that belongs to no flow.
    fn admits(&self, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        if let Some((_, inside)) = self.forwarded.filter(|(forwarded, _)| *forwarded == port) {
            return Some(inside);
        }
        let mut of_port = self.flows_of(port);
        match self.behaviour.filtering {
            Filtering::EndpointIndependent => of_port.next().map(|(inside, _)| inside),
            Filtering::AddressDependent => {
                of_port.find(|(_, remote)| remote.ip() == from.ip()).map(|(inside, _)| inside)
            }
            Filtering::AddressAndPortDependent | Filtering::Unknown => None,
        }
    }

    fn flows_of(&self, port: u16) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let first = (port, SocketAddr::from(([0, 0, 0, 0], 0)));
        let range = self.inbound.range(first..).take_while(move |((of, _), _)| *of == port);
        range.map(|((_, remote), (inside, _))| (*inside, *remote))
    }

    fn port_for(&mut self, from: SocketAddr, to: SocketAddr) -> u16 {
        let wanted = match self.behaviour.mapping {
            Mapping::NoTranslation => return from.port(),
            Mapping::Unknown | Mapping::EndpointIndependent => {
                self.port_of(from, |_| true).or(self.kept(from.port()))
            }
            Mapping::AddressDependent => self.port_of(from, |remote| remote.ip() == to.ip()),
            Mapping::AddressAndPortDependent => None,
        };
        match wanted {
            Some(port) if !self.spoilt.contains_key(&(to, port)) => port,
            _ => self.free_port(),
        }
    }

    fn port_of(&self, from: SocketAddr, fits: impl Fn(SocketAddr) -> bool) -> Option<u16> {
        let first = (from, SocketAddr::from(([0, 0, 0, 0], 0)));
        let own = self.flows.range(first..).take_while(|((inside, _), _)| *inside == from);
        own.map(|(_, flow)| flow).find(|flow| fits(flow.remote)).map(|flow| flow.port)
    }

    /// The same port outside as inside, if nobody else has it.
    fn kept(&self, port: u16) -> Option<u16> {
        (self.keeps_ports && self.flows_of(port).next().is_none()).then_some(port)
    }

    fn free_port(&mut self) -> u16 {
        loop {
            let port = match self.behaviour.step {
                Some(step) => {
                    self.next_port = self.next_port.wrapping_add_signed(step.into()).max(LOWEST_PORT);
                    self.next_port
                }
                None => self.rng.random_range(LOWEST_PORT..=u16::MAX),
            };
            if self.flows_of(port).next().is_none() {
                return port;
            }
        }
    }

    /// Forgets what has expired. Four times a second is often enough for lifetimes of seconds.
    fn sweep(&mut self, now: Duration) {
        if now < self.swept + Duration::from_millis(250) {
            return;
        }
        self.swept = now;
        self.flows.retain(|_, flow| flow.expires > now);
        let flows = &self.flows;
        self.inbound.retain(|_, key| flows.contains_key(key));
        self.spoilt.retain(|_, expires| *expires > now);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const HOST: &str = "10.0.0.2:4000";

    fn a(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nat(mapping: Mapping, filtering: Filtering, leaky: bool) -> NatBox {
        let lifetime = Duration::from_secs(30);
        let behaviour =
            Behaviour { mapping, filtering, leaky, hairpin: false, blocked: false, step: None, lifetime };
        NatBox::new(behaviour, a("203.0.113.1:0").ip(), ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn a_port_restricted_nat_keeps_the_port_and_lets_in_who_was_sent_to() {
        let mut nat = nat(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent, false);
        let (bob, now) = (a("192.0.2.1:5000"), Duration::from_secs(1));
        assert_eq!(nat.inbound(bob, 4000, now), None);
        assert_eq!(nat.outbound(a(HOST), bob, now), a("203.0.113.1:4000"));
        assert_eq!(nat.inbound(bob, 4000, now), Some((a(HOST), bob)));
        assert_eq!(nat.inbound(a("192.0.2.1:5001"), 4000, now), None);
        assert_eq!(nat.inbound(bob, 4000, now + Duration::from_secs(31)), None, "expired");
    }

    #[test]
    fn what_was_never_answered_is_forgotten_sooner() {
        let mut nat = nat(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent, false);
        nat.behaviour.lifetime = Duration::from_secs(180);
        let (bob, carol, now) = (a("192.0.2.1:5000"), a("192.0.2.2:5000"), Duration::from_secs(1));
        nat.outbound(a(HOST), bob, now);
        nat.outbound(a(HOST), carol, now);
        assert_eq!(nat.inbound(bob, 4000, now), Some((a(HOST), bob)));
        let later = now + UNANSWERED + Duration::from_secs(1);
        assert_eq!(nat.inbound(carol, 4000, later), None);
        assert_eq!(nat.inbound(bob, 4000, later), Some((a(HOST), bob)));
    }

    #[test]
    fn a_leaky_one_is_spoilt_by_a_packet_that_comes_too_early() {
        let mut nat = nat(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent, true);
        let (bob, now) = (a("192.0.2.1:5000"), Duration::from_secs(1));
        assert_eq!(nat.outbound(a(HOST), a("198.51.100.1:3478"), now), a("203.0.113.1:4000"));
        assert_eq!(nat.inbound(bob, 4000, now), None);
        assert_ne!(nat.outbound(a(HOST), bob, now), a("203.0.113.1:4000"));
    }

    #[test]
    fn a_symmetric_one_has_a_port_for_each_peer_and_an_address_dependent_one_for_each_address() {
        let (one, two, now) = (a("192.0.2.1:1"), a("192.0.2.1:2"), Duration::from_secs(1));
        let filtering = Filtering::AddressAndPortDependent;
        let mut symmetric = nat(Mapping::AddressAndPortDependent, filtering, false);
        assert_ne!(symmetric.outbound(a(HOST), one, now), symmetric.outbound(a(HOST), two, now));
        let mut adm = nat(Mapping::AddressDependent, filtering, false);
        assert_eq!(adm.outbound(a(HOST), one, now), adm.outbound(a(HOST), two, now));
        assert_ne!(adm.outbound(a(HOST), one, now), adm.outbound(a(HOST), a("192.0.2.2:1"), now));
    }

    #[test]
    fn an_answer_to_a_flow_that_began_outside_leaves_by_the_port_it_came_to() {
        let mut nat = nat(Mapping::AddressAndPortDependent, Filtering::EndpointIndependent, false);
        let (server, bob, now) = (a("198.51.100.1:3478"), a("192.0.2.1:5000"), Duration::from_secs(1));
        let known = nat.outbound(a(HOST), server, now);
        let own = nat.outbound(a(HOST), bob, now);
        assert_ne!(known, own);
        let (inside, seen) = nat.inbound(bob, known.port(), now).unwrap();
        assert_eq!((inside, nat.outbound(a(HOST), seen, now)), (a(HOST), known));
        assert_eq!(nat.real_remote(a(HOST), seen), bob);
    }
}
