//! Delays, losses, rates and cuts, measured by order of magnitude: our machines are shared.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use tests::lab::{Gateway, Host, Internet, NatKind, Path};

use crate::observer::{Observers, PATIENCE, receive, send};

const MS: Duration = Duration::from_millis(1);

struct End {
    site: Gateway,
    socket: UdpSocket,
    address: SocketAddr,
}

fn end(internet: &Internet, name: &str) -> End {
    let site = internet.site(name, NatKind::Open);
    let host = site.host(name);
    let socket = host.udp(0);
    let address = SocketAddr::new(host.address().into(), socket.local_addr().unwrap().port());
    End { site, socket, address }
}

/// The smallest of a few round trips.
fn rtt(from: &End, to: &End) -> Duration {
    let round = || {
        let begun = Instant::now();
        send(&from.socket, b"there", to.address);
        let (_, back) = receive(&to.socket, PATIENCE).unwrap();
        send(&to.socket, b"back", back);
        receive(&from.socket, PATIENCE).unwrap();
        begun.elapsed()
    };
    (0..10).map(|_| round()).min().unwrap()
}

#[test]
fn sites_are_as_far_apart_as_they_are_put() {
    let Some(internet) = Internet::or_skip() else { return };
    let [near, middle, far] = ["near", "middle", "far"].map(|name| end(&internet, name));
    internet.set_rtt(&near.site, 2 * MS);
    internet.set_rtt(&middle.site, 20 * MS);
    internet.set_rtt(&far.site, 80 * MS);
    internet.change(&near.site, &far.site, |path| path.rtt = 5 * MS);
    for (a, b, apart) in [(&near, &middle, 22), (&middle, &far, 100), (&near, &far, 5)] {
        let measured = rtt(a, b);
        println!("{apart} ms apart: {measured:?}");
        assert!(
            measured >= apart * MS && measured < 2 * apart * MS + 20 * MS,
            "{apart} ms apart: {measured:?}"
        );
    }
    // While it runs.
    internet.change(&near.site, &far.site, |path| path.rtt = 50 * MS);
    assert!(rtt(&near, &far) >= 50 * MS);
}

#[test]
fn a_lossy_path_loses_about_what_it_should() {
    let Some(internet) = Internet::or_skip() else { return };
    let [alice, bob] = ["alice", "bob"].map(|name| end(&internet, name));
    internet.change(&alice.site, &bob.site, |path| *path = Path { rtt: MS, loss: 0.2, ..*path });
    for _ in 0..50 {
        (0..40).for_each(|_| send(&alice.socket, &[7; 100], bob.address));
        while receive(&bob.socket, 5 * MS).is_some() {}
    }
    let carried = internet.carried(&alice.site, &bob.site);
    println!("{carried:?}");
    assert_eq!(carried.packets + carried.lost, 2000);
    // Five times the standard deviation.
    assert!((310..490).contains(&carried.lost), "a fifth of 2000: {carried:?}");
}

#[test]
fn a_cut_separates_two_sites_and_nobody_else() {
    let Some(internet) = Internet::or_skip() else { return };
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| end(&internet, name));
    internet.cut(&alice.site, &bob.site);
    send(&alice.socket, b"cut", bob.address);
    rtt(&alice, &carol);
    rtt(&carol, &bob);
    assert_eq!(receive(&bob.socket, 20 * MS), None);
    assert_eq!(internet.carried(&alice.site, &bob.site).cut, 1);
    internet.mend(&alice.site, &bob.site);
    rtt(&alice, &bob);
}

#[test]
fn a_path_carries_no_more_than_its_rate() {
    let Some(internet) = Internet::or_skip() else { return };
    let sites = ["alice", "bob"].map(|name| internet.site(name, NatKind::Open));
    let hosts: Vec<Host> = sites.iter().map(|site| site.host("host")).collect();
    // 2 MB at 8 Mbit/s: 2 s.
    internet.change(&sites[0], &sites[1], |path| *path = Path { rate: Some(8_000_000), ..*path });
    let took = download(&hosts[0], &hosts[1], 2_000_000);
    println!("2 MB at 1 MB/s: {took:?}");
    assert!((1500 * MS..10_000 * MS).contains(&took));
    internet.change(&sites[0], &sites[1], |path| path.rate = None);
    let took = download(&hosts[0], &hosts[1], 100_000_000);
    println!("100 MB: {took:?}, {:?}", internet.carried(&sites[0], &sites[1]));
    assert!(took < 30_000 * MS);
}

/// How long a TCP transfer takes.
fn download(from: &Host, to: &Host, bytes: usize) -> Duration {
    let listener = from.run(|| TcpListener::bind("0.0.0.0:0")).unwrap();
    let address = SocketAddr::new(from.address().into(), listener.local_addr().unwrap().port());
    let begun = Instant::now();
    let mut stream = to.run(|| TcpStream::connect(address)).unwrap();
    let sender = std::thread::spawn(move || listener.accept().unwrap().0.write_all(&vec![7; bytes]).unwrap());
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    while received < bytes {
        received += stream.read(&mut buffer).unwrap();
    }
    sender.join().unwrap();
    begun.elapsed()
}

#[test]
fn where_udp_is_blocked_only_https_gets_out() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let alice = internet.site("hotel", NatKind::UdpBlocked).host("alice");
    assert_eq!(observers.see(&alice.udp(0), 0, 0), None);
    let connects = |port: u16| {
        let listener = observers.hosts[0].run(|| TcpListener::bind(("0.0.0.0", port))).unwrap();
        let to = SocketAddr::new(observers.hosts[0].address().into(), port);
        let connected = alice.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(500))).is_ok();
        drop(listener);
        connected
    };
    assert!(connects(443));
    assert!(!connects(80));
}

#[tokio::test]
async fn one_runtime_owns_sockets_everywhere() {
    let Some(internet) = Internet::or_skip() else { return };
    let hosts = [NatKind::Open, NatKind::Symmetric].map(|kind| internet.site("site", kind).host("host"));
    // Bound within the namespace, by the runtime itself.
    let [alice, bob] = hosts.each_ref().map(|host| {
        host.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:4000").unwrap();
            socket.set_nonblocking(true).unwrap();
            tokio::net::UdpSocket::from_std(socket).unwrap()
        })
    });
    bob.send_to(b"hello", (hosts[0].address(), 4000)).await.unwrap();
    let mut buffer = [0; 10];
    let (length, from) = alice.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..length], from.ip()), (&b"hello"[..], hosts[1].gateway().wan().into()));
    alice.send_to(b"hello", from).await.unwrap();
    assert_eq!(bob.recv_from(&mut buffer).await.unwrap().1, (hosts[0].address(), 4000).into());
}
