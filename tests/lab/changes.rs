//! What changes under a running program: mappings, addresses, links.

use std::time::Duration;

use nearmesh_common::nat::Mapping;
use tests::lab::{Internet, NatKind, SHORT_TIMEOUT_S};

use crate::observer::{Observers, PATIENCE, receive, send};

#[test]
fn a_flushed_symmetric_nat_maps_anew_and_the_old_mapping_is_dead() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let home = internet.site("home", NatKind::Symmetric);
    let socket = home.host("alice").udp(0);
    let before = observers.see(&socket, 0, 0).unwrap();
    assert_eq!(observers.see(&socket, 0, 0), Some(before), "it stays while nothing happens");
    home.flush();
    let after = observers.see(&socket, 0, 0).unwrap();
    assert_ne!(before, after);
    assert_eq!(before.ip(), after.ip());
    observers.send((0, 0), b"to the old one", before);
    observers.send((0, 0), b"to the new one", after);
    assert_eq!(receive(&socket, PATIENCE).unwrap().0, b"to the new one");
}

#[test]
fn every_nat_can_be_made_to_map_anew() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let nats = NatKind::ALL.into_iter().filter(|kind| !kind.is_public() && *kind != NatKind::UdpBlocked);
    for kind in nats {
        let home = internet.site("home", kind);
        let alice = home.host("alice");
        let socket = alice.udp(0);
        let mut before = observers.see(&socket, 0, 0).unwrap();
        for _ in 0..3 {
            home.rebind();
            let after = observers.see(&socket, 0, 0).unwrap();
            assert_ne!(before, after, "{kind}");
            before = after;
        }
        assert_eq!(observers.mapping(&socket, alice.address()), kind.mapping(), "{kind} stays what it is");
    }
}

#[test]
fn a_gateway_stays_who_it_is_while_hosts_come_and_go() {
    let Some(internet) = Internet::or_skip() else { return };
    let home = internet.site("home", NatKind::PortRestricted);
    let hardware_address = || {
        let table = home.host("somebody").run(|| std::fs::read_to_string("/proc/thread-self/net/arp"));
        let table = table.expect("the neighbours of a host that has just been set up");
        let gateway = table.lines().find(|line| line.ends_with("eth0"));
        gateway
            .unwrap_or_else(|| panic!("no gateway in {table:?}"))
            .split_whitespace()
            .nth(3)
            .map(str::to_owned)
    };
    let first = hardware_address();
    for _ in 0..8 {
        assert_eq!(hardware_address(), first);
    }
}

#[test]
fn a_gateway_gets_another_address() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    for kind in [NatKind::FullCone, NatKind::PortRestricted, NatKind::AddressDependent] {
        let home = internet.site("home", kind);
        let socket = home.host("alice").udp(0);
        let before = observers.see(&socket, 0, 0).unwrap();
        home.change_address();
        let after = observers.see(&socket, 0, 0).unwrap();
        assert_ne!(before.ip(), after.ip(), "{kind}");
        assert_eq!(after.ip(), home.wan());
    }
    let carrier = internet.carrier("isp", NatKind::PortRestricted);
    let home = carrier.home("home", NatKind::PortRestricted);
    let socket = home.host("alice").udp(0);
    let (before, lease) = (observers.see(&socket, 0, 0).unwrap(), home.wan());
    home.change_address();
    assert_ne!(home.wan(), lease);
    assert_eq!(observers.see(&socket, 0, 0).unwrap().ip(), before.ip(), "only the carrier's is seen");
}

#[test]
fn a_laptop_moves_and_its_socket_with_it() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let home = internet.site("home", NatKind::PortRestricted);
    let cafe = internet.site("cafe", NatKind::Symmetric);
    let office = internet.site("office", NatKind::Open);
    home.host("desktop");
    let laptop = home.host("laptop");
    let socket = laptop.udp(0);
    assert_eq!(observers.see(&socket, 0, 0).unwrap().ip(), home.wan());

    let before = laptop.address();
    laptop.change_address();
    assert_ne!(laptop.address(), before);
    assert_eq!(observers.see(&socket, 0, 0).unwrap().ip(), home.wan());

    laptop.move_to(&cafe);
    assert_eq!(observers.see(&socket, 0, 0).unwrap().ip(), cafe.wan());
    laptop.move_to(&office);
    assert_eq!(observers.see(&socket, 0, 0).unwrap().ip(), laptop.address());
    laptop.move_to(&home);
    assert_eq!(observers.see(&socket, 0, 0).unwrap().ip(), home.wan());
}

#[test]
fn a_link_goes_down_and_comes_up() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let alice = internet.site("home", NatKind::PortRestricted).host("alice");
    let socket = alice.udp(0);
    let before = observers.see(&socket, 0, 0);
    alice.link_down();
    let error = socket.send_to(b"into nothing", observers.address(0, 0)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
    alice.link_up();
    assert_eq!(observers.see(&socket, 0, 0), before);
}

#[test]
fn a_nat_with_short_timeouts_forgets() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let kept = internet.site("home", NatKind::PortRestricted).host("alice").udp(0);
    let forgotten = internet.site("home", NatKind::ShortTimeout).host("bob").udp(0);
    let seen = [&kept, &forgotten].map(|socket| observers.see(socket, 0, 0).unwrap());
    let wait = Duration::from_secs(SHORT_TIMEOUT_S.into());
    std::thread::sleep(wait / 2);
    seen.iter().for_each(|to| observers.send((0, 0), b"early", *to));
    assert_eq!(receive(&kept, PATIENCE).unwrap().0, b"early");
    assert_eq!(receive(&forgotten, PATIENCE).unwrap().0, b"early");
    std::thread::sleep(wait * 3 / 2);
    seen.iter().for_each(|to| observers.send((0, 0), b"late", *to));
    assert_eq!(receive(&kept, PATIENCE).unwrap().0, b"late");
    assert_eq!(receive(&forgotten, Duration::from_millis(100)), None);
}

#[test]
fn two_hosts_with_one_port_get_two_and_keep_them_towards_everybody() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let home = internet.site("home", NatKind::PortRestricted);
    let (alice, bob) = (home.host("alice"), home.host("bob"));
    let sockets = [alice.udp(5000), bob.udp(5000)];
    let seen = sockets.each_ref().map(|socket| observers.see(socket, 0, 0).unwrap());
    assert_eq!(seen[0].port(), 5000);
    assert_ne!(seen[0], seen[1]);
    for (socket, host) in sockets.iter().zip([&alice, &bob]) {
        assert_eq!(observers.mapping(socket, host.address()), Mapping::EndpointIndependent);
    }
    send(&sockets[0], b"last", observers.address(0, 0));
}
