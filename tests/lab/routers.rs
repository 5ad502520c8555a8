//! Routers that let everybody in on request, and such that only say so.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{
    lab::{Asked, Gateway, Internet, NatKind, PortMapper, port_mapper_or_skip},
    process::{Lab, Node, eventually},
};

use crate::{
    PROGRAM,
    observer::{PATIENCE, receive, send},
    verdicts::reachability,
};

/// Where routers are asked for ports (RFC 6886, RFC 6887).
const REQUESTS: u16 = 5351;
/// Where UPnP devices are searched for.
const SEARCHES: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 1900);

#[test]
fn a_router_that_maps_ports_makes_a_node_reachable_until_it_ends() {
    let Some(internet) = Internet::or_skip() else { return };
    if !port_mapper_or_skip() {
        return;
    }
    let lab = Lab::new(PROGRAM);
    let [north, south] = ["north", "south"].map(|name| internet.site(name, NatKind::Open).host(name));
    let stranger = internet.site("elsewhere", NatKind::Open).host("stranger");
    let alice = lab.node_in("alice", &north).founds("lab", "alice", &[]);
    let bob = lab.node_in("bob", &south).joins(&alice, "bob", &["--promote", "always"]);

    let homes = [("carol", Asked::ByUpnp, "UPnP"), ("dave", Asked::ByRequest, "PCP")];
    let mut people: Vec<_> = homes
        .into_iter()
        .map(|(name, asked, protocol)| {
            let router = internet.site(name, NatKind::PortRestricted);
            let mapper = PortMapper::start(&router, asked);
            let host = router.host(name);
            let node = lab.node_in(name, &host).joins(&alice, name, &["--promote", "never"]);
            (node, host, mapper, protocol)
        })
        .collect();
    for (node, host, mapper, protocol) in &mut people {
        let (told, took) = eventually("the node is reachable", || {
            let told = reachability(node);
            (told["reach"] == "reachable" && told["port_mapping"]["state"] == "mapped").then_some(told)
        });
        println!("{protocol}: after {took:?} {}", node.ok(&["status"]).stdout);
        let address: SocketAddr = told["port_mapping"]["address"].as_str().unwrap().parse().unwrap();
        assert_eq!(address.ip(), host.gateway().wan());
        assert_eq!((&told["port_mapping"]["protocol"], &told["relays"]), (&json!(protocol), &json!(true)));
        let inside = |node: &Node| SocketAddr::new(host.address().into(), port(node));
        assert_eq!(mapper.mappings(), [(address.port(), inside(node))], "{}", mapper.log().unwrap());
        assert!(answers_stun(&stranger.udp(0), address), "somebody whom the node does not know comes in");
        assert!(presence(&alice, node).contains(&address.to_string()));

        host.change_address();
        eventually("the mapping follows the node to its new address", || {
            mapper.mappings().iter().any(|(_, to)| *to == inside(node)).then_some(())
        });
        let mapped = |told: &Value| told["port_mapping"]["address"].as_str().map(str::to_owned);
        eventually("a stranger comes in there", || {
            // By another flow: the router goes on sending the one before to where it went.
            answers_stun(&stranger.udp(0), mapped(&reachability(node))?.parse().ok()?).then_some(())
        });
        assert_eq!(node.stop(), 0);
        let left = mapper.mappings();
        assert!(left.iter().all(|(_, to)| *to != inside(node)), "{left:?}\n{}", mapper.log().unwrap());
        // PCP and NAT-PMP let nobody give back what another address was given: that ends by itself.
        assert!(left.is_empty() || *protocol != "UPnP", "{left:?}");
    }
    drop(bob);
}

#[test]
fn a_router_that_hangs_or_lies_is_believed_nothing() {
    let Some(internet) = Internet::or_skip() else { return };
    let lab = Lab::new(PROGRAM);
    let [north, south] = ["north", "south"].map(|name| internet.site(name, NatKind::Open).host(name));
    let alice = lab.node_in("alice", &north).founds("lab", "alice", &[]);
    let bob = lab.node_in("bob", &south).joins(&alice, "bob", &["--promote", "always"]);
    let [babbler, liar] = ["carol", "dave"].map(|name| internet.site(name, NatKind::PortRestricted));
    talks_nonsense(&babbler);
    gives_away_what_is_not_its_own(&liar);
    let [carol, dave] = [("carol", &babbler), ("dave", &liar)]
        .map(|(name, site)| lab.node_in(name, &site.host(name)).joins(&alice, name, &["--promote", "never"]));

    let (_, took) = eventually("the babbler is given up", || {
        (reachability(&carol)["port_mapping"]["state"] == "none").then_some(())
    });
    println!("the babbler was given up after {took:?}, at {} KiB", carol.resident_kib());
    assert!(carol.resident_kib() < 64 << 10);
    let (told, _) = eventually("the liar's NAT is recognised", || {
        let told = reachability(&dave);
        (told["reach"] == "behind").then_some(told)
    });
    let mapping = &told["port_mapping"];
    assert_eq!((&mapping["address"], &mapping["public"]), (&json!("8.8.8.8:53"), &json!(false)), "{told}");
    assert!(!presence(&alice, &dave).contains("8.8.8.8"), "nobody is sent there");
    drop(bob);
}

/// Answers everything with bytes that mean nothing, without end.
fn talks_nonsense(router: &Gateway) {
    let (requests, searches, pages) = router
        .namespace()
        .run(|| {
            let searches = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SEARCHES.1)).unwrap();
            searches.join_multicast_v4(&SEARCHES.0, &Ipv4Addr::new(192, 168, 1, 1)).unwrap();
            let pages = TcpListener::bind((Ipv4Addr::new(192, 168, 1, 1), 0)).unwrap();
            (UdpSocket::bind((Ipv4Addr::UNSPECIFIED, REQUESTS)).unwrap(), searches, pages)
        })
        .unwrap();
    let location = format!("HTTP/1.1 200 OK\r\nLOCATION: http://{}/\r\n\r\n", pages.local_addr().unwrap());
    thread::spawn(move || serve(&requests, |_| vec![0xa5; 1100]));
    thread::spawn(move || serve(&searches, |_| location.clone().into_bytes()));
    thread::spawn(move || {
        for mut page in pages.incoming().flatten() {
            thread::spawn(move || {
                let _ = page.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while page.write_all(&[b'<'; 4096]).is_ok() {}
            });
        }
    });
}

/// Gives everybody a port of somebody else's by PCP (RFC 6887, section 11.1).
fn gives_away_what_is_not_its_own(router: &Gateway) {
    let requests =
        router.namespace().run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, REQUESTS)).unwrap()).unwrap();
    thread::spawn(move || {
        serve(&requests, |request| {
            let mut answer = request.to_vec();
            answer.resize(60, 0);
            // A response, success, for an hour, in its first minute; nonce, protocol and port are the request's.
            answer[1] |= 0x80;
            answer[2..4].fill(0);
            answer[4..12].copy_from_slice(&[0, 0, 14, 16, 0, 0, 0, 60]);
            answer[12..24].fill(0);
            answer[42..44].copy_from_slice(&53_u16.to_be_bytes());
            answer[44..60].copy_from_slice(&Ipv4Addr::new(8, 8, 8, 8).to_ipv6_mapped().octets());
            answer
        });
    });
}

fn serve(socket: &UdpSocket, answer: impl Fn(&[u8]) -> Vec<u8>) {
    let mut packet = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        let _ = socket.send_to(&answer(&packet[..length]), from);
    }
}

/// Whether a STUN binding request (RFC 8489, section 5) is answered from where it was sent to.
fn answers_stun(socket: &UdpSocket, to: SocketAddr) -> bool {
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
    request[8..].copy_from_slice(&rand::random::<[u8; 12]>());
    (0..3).any(|_| {
        send(socket, &request, to);
        let answer = receive(socket, PATIENCE.min(Duration::from_secs(1)));
        answer.is_some_and(|(packet, from)| {
            from == to && packet[..2] == [1, 1] && packet[8..20] == request[8..]
        })
    })
}

fn port(node: &Node) -> u16 {
    node.listen().parse::<SocketAddr>().unwrap().port()
}

fn presence(asker: &Node, of: &Node) -> String {
    asker.json(&["lookup", of.ready["user"].as_str().unwrap()])["nodes"][0]["addresses"].to_string()
}
