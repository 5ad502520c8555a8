//! A host in a site's LAN.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Child, Command},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{cable, gateway::Gateway, namespace::Namespace, nursery, tools};
use crate::process::Place;

/// Its only one.
const DEVICE: &str = "eth0";

/// A host. Copies are the same one. It is a [`Place`] for processes.
#[derive(Clone, Debug)]
pub struct Host(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    namespace: Namespace,
    attached: Mutex<Attached>,
}

#[derive(Clone, Debug)]
struct Attached {
    gateway: Gateway,
    address: Ipv4Addr,
}

impl Host {
    pub(super) fn new(gateway: &Gateway, name: &str) -> Self {
        let namespace = Namespace::new().expect("a namespace for the host");
        tools::set_if_there(&namespace, &tools::WITHOUT_IPV6).expect("the kernel takes its parameters");
        tools::ip(&namespace, "link set lo up\n").expect("a loopback comes up");
        let attached = attach(&namespace, gateway);
        Self(Arc::new(Parts { name: name.to_owned(), namespace, attached: Mutex::new(attached) }))
    }

    /// What it was called.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its address in its LAN: a public one where its site has no NAT.
    pub fn address(&self) -> Ipv4Addr {
        self.attached().address
    }

    /// The gateway of its LAN.
    pub fn gateway(&self) -> Gateway {
        self.attached().gateway.clone()
    }

    /// Runs a function in its namespace, on a thread of its own that ends then: to make sockets, which may be used from
    /// any thread afterwards. A tokio runtime that the caller is in is there too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.namespace.run(work).expect("a namespace can be entered")
    }

    /// A UDP socket on this port of all its addresses, now and later; 0 for any. It blocks; for tokio:
    /// `set_nonblocking(true)`, then `tokio::net::UdpSocket::from_std`.
    pub fn udp(&self, port: u16) -> UdpSocket {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        self.run(|| UdpSocket::bind(any)).expect("the port is free")
    }

    /// A command that will run in it. It must be started on a thread that outlives it, or by [`Place::spawn`].
    pub fn command(&self, program: &str) -> Command {
        let found = tools::find(program).unwrap_or_else(|| program.into());
        let mut command = Command::new(found);
        self.enter(&mut command);
        command
    }

    /// Unplugs it and plugs it in somewhere else, where it gets an address of that LAN. Its sockets stay open.
    pub fn move_to(&self, gateway: &Gateway) {
        // One end of a cable does not stay without the other.
        tools::ip(&self.0.namespace, &format!("link del {DEVICE}\n")).expect("a cable is unplugged");
        let mut attached = self.attached();
        *attached = attach(&self.0.namespace, gateway);
    }

    /// Gives it another address of the LAN that it is in.
    pub fn change_address(&self) {
        let mut attached = self.attached();
        attached.address = attached.gateway.next_address();
        configure(&self.0.namespace, &attached);
    }

    /// Takes its link down, and with it all routes.
    pub fn link_down(&self) {
        tools::ip(&self.0.namespace, &format!("link set {DEVICE} down\n")).expect("a link goes down");
    }

    /// Takes its link up again, with the address that it had.
    pub fn link_up(&self) {
        configure(&self.0.namespace, &self.attached());
    }

    fn attached(&self) -> MutexGuard<'_, Attached> {
        self.0.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place for Host {
    fn enter(&self, command: &mut Command) {
        self.0.namespace.enter(command);
    }

    fn spawn(&self, command: Command) -> io::Result<Child> {
        nursery::spawn(command)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attached = self.attached();
        write!(f, "{} ({} at {})", self.0.name, attached.address, attached.gateway)
    }
}

fn attach(namespace: &Namespace, gateway: &Gateway) -> Attached {
    let address = gateway.plug(namespace, DEVICE);
    let attached = Attached { gateway: gateway.clone(), address };
    configure(namespace, &attached);
    attached
}

fn configure(namespace: &Namespace, attached: &Attached) {
    cable::configure(namespace, DEVICE, attached.address, attached.gateway.lan()).expect("a host is set up");
}
