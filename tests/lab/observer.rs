//! A client of RFC 5780's kind: tells a NAT's behaviour by what observers with two addresses and two ports each see of a
//! socket behind it, and which of them get an answer through.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nearmesh_common::{
    Now, UnixMillis,
    nat::{Filtering, Mapping},
};
use nearmesh_relay::proto::{
    stun::{Decision, Responder},
    stun_client::{Input, Output, StunProbe},
};
use rand::{SeedableRng, rngs::StdRng};
use tests::lab::{Host, Internet, NatKind};

/// For what should come.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// For what should not, after something that came the same way later has come.
const GRACE: Duration = Duration::from_millis(20);
const PORTS: [u16; 2] = [3478, 3479];

/// Four sockets: `sockets[address][port]`, on an open site.
pub struct Observers {
    pub hosts: [Host; 2],
    sockets: [[UdpSocket; 2]; 2],
}

impl Observers {
    pub fn new(internet: &Internet) -> Self {
        let site = internet.site("observers", NatKind::Open);
        let hosts = ["observer 1", "observer 2"].map(|name| site.host(name));
        let sockets = hosts.each_ref().map(|host| PORTS.map(|port| host.udp(port)));
        Self { hosts, sockets }
    }

    pub fn address(&self, host: usize, port: usize) -> SocketAddr {
        SocketAddrV4::new(self.hosts[host].address(), PORTS[port]).into()
    }

    pub fn send(&self, (host, port): (usize, usize), packet: &[u8], to: SocketAddr) {
        send(&self.sockets[host][port], packet, to);
    }

    /// From where an observer sees a socket; `None` if nothing comes through, or nothing back.
    pub fn see(&self, socket: &UdpSocket, host: usize, port: usize) -> Option<SocketAddr> {
        let observer = &self.sockets[host][port];
        let mut responder = Responder::new(0);
        let mut probe =
            StunProbe::new(self.address(host, port), 1, StdRng::from_rng(&mut rand::rng()), now());
        loop {
            while let Some(output) = probe.poll_output() {
                match output {
                    Output::Send { to, packet } => send(socket, &packet, to),
                    Output::Done(measured) => return measured.map(|measured| measured.observed),
                }
            }
            while let Some((request, from)) = receive(observer, Duration::from_millis(1)) {
                if let Decision::Answer(answer, to) = responder.handle(&request, from, now()) {
                    send(observer, &answer, to);
                }
            }
            match receive(socket, Duration::from_millis(1)) {
                Some((packet, from)) => probe.handle(Input::Received { from, packet: &packet }, now()),
                None => probe.handle(Input::Timeout, now()),
            }
        }
    }

    /// RFC 5780, section 4.3.
    pub fn mapping(&self, socket: &UdpSocket, own: Ipv4Addr) -> Mapping {
        let port = socket.local_addr().unwrap().port();
        let Some(first) = self.see(socket, 0, 0) else { return Mapping::Unknown };
        let others = [(0, 1), (1, 0), (1, 1)].map(|(host, port)| self.see(socket, host, port).unwrap());
        if first == SocketAddr::from((own, port)) {
            Mapping::NoTranslation
        } else if others == [first; 3] {
            Mapping::EndpointIndependent
        } else if others[0] == first && others[1] == others[2] {
            Mapping::AddressDependent
        } else {
            Mapping::AddressAndPortDependent
        }
    }

    /// RFC 5780, section 4.4, for a socket that has sent nothing before.
    pub fn filtering(&self, socket: &UdpSocket) -> Filtering {
        let Some(mapped) = self.see(socket, 0, 0) else { return Filtering::Unknown };
        if self.gets_through(socket, (1, 1), mapped) {
            Filtering::EndpointIndependent
        } else if self.gets_through(socket, (0, 1), mapped) {
            Filtering::AddressDependent
        } else {
            Filtering::AddressAndPortDependent
        }
    }

    /// Whether an observer that was not asked gets a packet through to the mapping that the first one sees. A packet of
    /// the first one, sent after it, tells when it should have come.
    pub fn gets_through(&self, socket: &UdpSocket, (host, port): (usize, usize), mapped: SocketAddr) -> bool {
        send(&self.sockets[host][port], b"unasked", mapped);
        send(&self.sockets[0][0], b"asked", mapped);
        let arrived = |wait| receive(socket, wait).map(|(packet, _)| packet);
        match arrived(PATIENCE).as_deref() {
            Some(b"unasked") => {
                assert_eq!(arrived(PATIENCE).as_deref(), Some(&b"asked"[..]));
                true
            }
            Some(b"asked") => arrived(GRACE).is_some(),
            other => panic!("not what was sent: {other:?}"),
        }
    }
}

/// One packet, and who sent it, if one comes in this time. Answers of ICMP are no packets.
pub fn receive(socket: &UdpSocket, wait: Duration) -> Option<(Vec<u8>, SocketAddr)> {
    let until = Instant::now() + wait;
    let mut buffer = [0; 1500];
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        socket.set_read_timeout(Some(left)).unwrap();
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => return Some((buffer[..length].to_vec(), from)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}"),
        }
    }
}

pub fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr) {
    assert_eq!(socket.send_to(packet, to).unwrap(), packet.len());
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Now { instant: Instant::now(), wall: UnixMillis(u64::try_from(wall).unwrap()) }
}
