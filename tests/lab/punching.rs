//! What hosts behind two NATs do to reach one another, and what becomes of it.

use std::net::{SocketAddr, UdpSocket};

use rustix::net::{AddressFamily, SocketType, ipproto::ICMP, socket};
use tests::lab::{Gateway, Host, Internet, NatKind};

use crate::observer::{Observers, PATIENCE, receive, send};

/// Dies after the own gateway and any before it on the way to a carrier's.
const PRIMING_TTL: u32 = 2;
/// RFC 792.
const TIME_EXCEEDED: u8 = 11;
const IP_HEADER_BYTES: usize = 20;

/// A socket behind a NAT, and where the first observer sees it.
struct Peer {
    host: Host,
    socket: UdpSocket,
    seen: SocketAddr,
}

impl Peer {
    fn new(home: &Gateway, name: &str, observers: &Observers) -> Self {
        let host = home.host(name);
        let socket = host.udp(0);
        let seen = observers.see(&socket, 0, 0).unwrap();
        Self { host, socket, seen }
    }

    fn prime(&self, other: &Self) {
        self.socket.set_ttl(PRIMING_TTL).unwrap();
        send(&self.socket, b"priming", other.seen);
        self.socket.set_ttl(64).unwrap();
    }
}

/// Whether each hears the other, when the packet of `first` has been lost or refused before `second` begins.
fn punch(observers: &Observers, first: &Peer, second: &Peer) -> bool {
    send(&first.socket, b"first", second.seen);
    let refused = next(observers, second);
    assert!(refused.is_none_or(|(packet, _)| packet == b"first"));
    send(&second.socket, b"second", first.seen);
    let Some((packet, from)) = next(observers, first) else { return false };
    assert_eq!(packet, b"second");
    send(&first.socket, b"answer", from);
    next(observers, second).is_some_and(|(packet, _)| packet == b"answer")
}

/// What has come to a peer, and who sent it. An observer's packet, which every NAT lets in, tells when all has come that
/// will: no peer is further away than an observer.
fn next(observers: &Observers, peer: &Peer) -> Option<(Vec<u8>, SocketAddr)> {
    observers.send((0, 0), b"that is all", peer.seen);
    let packets = std::iter::from_fn(|| receive(&peer.socket, PATIENCE));
    let mut before = packets.take_while(|(packet, _)| packet != b"that is all").collect::<Vec<_>>();
    assert!(before.len() <= 1, "{before:?}");
    before.pop()
}

#[test]
fn port_restricted_nats_are_punched_and_a_symmetric_one_is_not() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let home = |kind: NatKind| internet.site(&kind.to_string(), kind);
    let [alice, bob] =
        ["alice", "bob"].map(|name| Peer::new(&home(NatKind::PortRestricted), name, &observers));
    assert!(punch(&observers, &alice, &bob));
    let carol = Peer::new(&home(NatKind::Symmetric), "carol", &observers);
    let dave = Peer::new(&home(NatKind::PortRestricted), "dave", &observers);
    assert!(!punch(&observers, &carol, &dave) && !punch(&observers, &dave, &carol));
    let erin = Peer::new(&home(NatKind::Restricted), "erin", &observers);
    assert!(
        punch(&observers, &erin, &carol),
        "an address-restricted NAT lets another port of carol's address in"
    );
}

#[test]
fn a_leaky_nat_must_be_primed_before_the_peers_packet_comes() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let leaky = |name| Peer::new(&internet.site(name, NatKind::Leaky), name, &observers);
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(leaky);
    assert!(!punch(&observers, &alice, &bob), "alice's packet takes the place of bob's mapping");
    carol.prime(&dave);
    dave.prime(&carol);
    assert!(punch(&observers, &carol, &dave));
}

#[test]
fn a_packet_with_a_ttl_of_two_dies_between_the_gateways() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let (left, right) = (internet.site("left", NatKind::FullCone), internet.site("right", NatKind::FullCone));
    let (alice, bob) = (Peer::new(&left, "alice", &observers), Peer::new(&right, "bob", &observers));
    // A socket for anything can be read like one for UDP.
    let errors =
        alice.host.run(|| UdpSocket::from(socket(AddressFamily::INET, SocketType::RAW, Some(ICMP)).unwrap()));
    alice.prime(&bob);
    let (packet, _) = receive(&errors, PATIENCE).unwrap();
    let error = (packet[IP_HEADER_BYTES], packet[IP_HEADER_BYTES + 1]);
    send(&alice.socket, b"whole", bob.seen);
    assert_eq!(receive(&bob.socket, PATIENCE).unwrap().0, b"whole");
    let carried = internet.carried(&left, &right);
    assert_eq!((carried.expired, carried.packets), (1, 1), "it went through its own gateway, and no further");

    assert_eq!(error, (TIME_EXCEEDED, 0), "and the sender hears of it");
}

#[test]
fn homes_behind_one_carrier_reach_each_other_only_if_it_hairpins() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    for (hairpin, nat) in [(false, NatKind::PortRestricted.into()), (true, NatKind::PortRestricted.hairpin())]
    {
        let carrier = internet.carrier("isp", nat);
        let home = |name| Peer::new(&carrier.home(name, NatKind::PortRestricted), name, &observers);
        let (alice, bob) = (home("alice"), home("bob"));
        assert_eq!(alice.seen.ip(), bob.seen.ip());
        assert_eq!(punch(&observers, &alice, &bob), hairpin);
    }
}

#[test]
fn hosts_of_one_lan_reach_each_other_within_it_and_by_a_hairpin() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    for (hairpin, nat) in [(false, NatKind::FullCone.into()), (true, NatKind::FullCone.hairpin())] {
        let home = internet.site("home", nat);
        let (alice, bob) = (Peer::new(&home, "alice", &observers), Peer::new(&home, "bob", &observers));
        send(&alice.socket, b"outside", bob.seen);
        let within = SocketAddr::new(bob.host.address().into(), bob.socket.local_addr().unwrap().port());
        send(&alice.socket, b"within", within);
        let (mut packet, mut from) = receive(&bob.socket, PATIENCE).unwrap();
        if hairpin {
            assert_eq!((packet.as_slice(), from), (&b"outside"[..], alice.seen));
            (packet, from) = receive(&bob.socket, PATIENCE).unwrap();
        }
        assert_eq!((packet.as_slice(), from.ip()), (&b"within"[..], alice.host.address().into()));
    }
}
