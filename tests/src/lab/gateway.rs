//! A site's gateway: between a LAN, which is a bridge in the gateway's own namespace, and the internet, or another
//! gateway's LAN.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    addresses::{self, Lan},
    conntrack,
    host::Host,
    internet::Internet,
    namespace::Namespace,
    nat::{Nat, NatKind},
    paths::SiteId,
    rules::{self, Ruleset, SHORT_TIMEOUT_S},
    system, tools,
};

/// Packets that wait for the internet's thread: the default of 500 is less than a burst of quinn's (measured).
const TUN_QUEUE: u32 = 5000;
/// The first ports that a rebound NAT maps to, how many it has, and how often it changes them before it begins anew.
const REBOUND_PORTS: (u16, u16, u16) = (20_000, 1000, 20);

/// A gateway, and with it a site. Copies are the same one.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    nat: Nat,
    namespace: Namespace,
    uplink: Uplink,
    lan: Lan,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Uplink {
    Internet(Internet, SiteId),
    Carrier(Gateway),
}

#[derive(Debug)]
struct State {
    wan: Ipv4Addr,
    wan_changes: u8,
    rebinds: u16,
    hosts: u8,
    ports: u32,
}

impl Gateway {
    pub(super) fn on_internet(internet: &Internet, name: &str, nat: Nat) -> Self {
        let (home, carrier) = nat.kind.layers();
        let Some(kind) = carrier else { return Self::outermost(internet, name, nat, Lan::HOME) };
        let carrier = Nat { kind, hairpin: nat.hairpin };
        Self::outermost(internet, &format!("{name}'s carrier"), carrier, Lan::CARRIER).home(name, home)
    }

    /// A carrier's NAT, with room for several homes: see [`Self::home`].
    pub(super) fn carrier(internet: &Internet, name: &str, nat: Nat) -> Self {
        Self::outermost(internet, name, nat, Lan::CARRIER)
    }

    fn outermost(internet: &Internet, name: &str, nat: Nat, lan: Lan) -> Self {
        let namespace = gateway_namespace(nat.kind);
        let tun = namespace.run(|| system::open_tun("wan")).and_then(|tun| tun).expect("a TUN device");
        let site = internet.add(tun).expect("the internet takes one more site");
        let lan = if nat.kind.is_public() { Lan::public(site) } else { lan };
        let wan = addresses::wan(site, 0);
        let script = format!(
            "link set wan txqueuelen {TUN_QUEUE} up\naddr add {wan}/32 dev wan\nroute add default dev wan\n"
        );
        Self::finish(name, nat, namespace, Uplink::Internet(internet.clone(), site), (lan, wan), &script)
    }

    /// A home behind this gateway, which is a carrier's then.
    pub fn home(&self, name: &str, nat: impl Into<Nat>) -> Self {
        let nat = nat.into();
        assert!(!nat.kind.is_public(), "a carrier has no public addresses to give");
        let namespace = gateway_namespace(nat.kind);
        let wan = self.plug(&namespace, "wan");
        let script = format!(
            "addr add {wan}/{} dev wan\nlink set wan up\nroute add default via {}\n",
            self.0.lan.prefix,
            self.0.lan.gateway()
        );
        Self::finish(name, nat, namespace, Uplink::Carrier(self.clone()), (Lan::HOME, wan), &script)
    }

    fn finish(
        name: &str,
        nat: Nat,
        namespace: Namespace,
        uplink: Uplink,
        (lan, wan): (Lan, Ipv4Addr),
        wan_script: &str,
    ) -> Self {
        let (own, prefix) = (lan.gateway(), lan.prefix);
        let script = format!(
            "link set lo up\nlink add lan type bridge\naddr add {own}/{prefix} dev lan\nlink set lan up\n{wan_script}"
        );
        tools::ip(&namespace, &script).expect("a gateway is set up");
        let state = State { wan, wan_changes: 0, rebinds: 0, hosts: 0, ports: 0 };
        let name = name.to_owned();
        let gateway = Self(Arc::new(Parts { name, nat, namespace, uplink, lan, state: Mutex::new(state) }));
        gateway.load_rules();
        gateway
    }

    /// A new host in its LAN.
    pub fn host(&self, name: &str) -> Host {
        Host::new(self, name)
    }

    /// What it was called.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it does, not counting a carrier's NAT before it.
    pub fn nat(&self) -> Nat {
        self.0.nat
    }

    /// Its address outside, which behind a carrier is not a public one.
    pub fn wan(&self) -> Ipv4Addr {
        self.state().wan
    }

    /// The carrier's gateway that it is behind.
    pub fn behind(&self) -> Option<&Self> {
        match &self.0.uplink {
            Uplink::Internet(..) => None,
            Uplink::Carrier(carrier) => Some(carrier),
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// Makes it forget all mappings, as by a restart: the next packet of a host makes a new one, which is another where
    /// [`NatKind`] has random or sequential ports, and the same as before elsewhere.
    pub fn flush(&self) {
        self.load_rules();
        self.0.namespace.run(conntrack::flush).and_then(|done| done).expect("mappings are forgotten");
    }

    /// Makes it forget all mappings and choose other ports for the new ones, whatever its kind.
    pub fn rebind(&self) {
        assert!(!self.0.nat.kind.is_public(), "{} maps nothing", self.0.name);
        self.state().rebinds += 1;
        self.flush();
    }

    /// Gives it another address outside; all mappings are gone.
    pub fn change_address(&self) {
        assert!(!self.0.nat.kind.is_public(), "the addresses of {} are its hosts'", self.0.name);
        let old = self.wan();
        let (new, script) = match &self.0.uplink {
            Uplink::Internet(_, site) => {
                let changes = {
                    let mut state = self.state();
                    state.wan_changes += 1;
                    state.wan_changes
                };
                let new = addresses::wan(*site, changes);
                (new, format!("addr add {new}/32 dev wan\nroute replace default dev wan\n"))
            }
            Uplink::Carrier(carrier) => {
                let (new, lan) = (carrier.next_address(), carrier.0.lan);
                let (prefix, via) = (lan.prefix, lan.gateway());
                (new, format!("addr add {new}/{prefix} dev wan\nroute replace default via {via}\n"))
            }
        };
        let script = format!("addr flush dev wan\n{script}");
        tools::ip(&self.0.namespace, &script).unwrap_or_else(|error| panic!("{old} becomes {new}: {error}"));
        self.state().wan = new;
        self.flush();
    }

    /// Lays a cable from its LAN into another namespace, where the device has this name; the address for that end.
    pub(super) fn plug(&self, other: &Namespace, device: &str) -> Ipv4Addr {
        let port = {
            let mut state = self.state();
            state.ports += 1;
            state.ports
        };
        let script = format!(
            "link add p{port} type veth peer name {device} netns {}\nlink set p{port} master lan up\n",
            other.path()
        );
        tools::ip(&self.0.namespace, &script).expect("a cable is laid");
        self.next_address()
    }

    /// An address in its LAN that nobody has had.
    pub(super) fn next_address(&self) -> Ipv4Addr {
        let mut state = self.state();
        state.hosts += 1;
        self.0.lan.host(state.hosts - 1)
    }

    pub(super) fn lan(&self) -> Lan {
        self.0.lan
    }

    /// The site of the internet that it belongs to.
    pub(super) fn site(&self) -> SiteId {
        match &self.0.uplink {
            Uplink::Internet(_, site) => *site,
            Uplink::Carrier(carrier) => carrier.site(),
        }
    }

    fn load_rules(&self) {
        let Nat { kind, hairpin } = self.0.nat;
        let (wan, rebinds) = {
            let state = self.state();
            (state.wan, state.rebinds)
        };
        let (first, count, changes) = REBOUND_PORTS;
        let begin = first + count * (rebinds % changes);
        let ports = (rebinds > 0).then(|| begin..=begin + count - 1);
        let rules = rules::text(&Ruleset { kind, hairpin, wan, ports });
        tools::nft(&self.0.namespace, &rules).expect("the rules are good");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.0.name, self.0.nat, self.wan())
    }
}

fn gateway_namespace(kind: NatKind) -> Namespace {
    let namespace = Namespace::new().expect("a namespace for the gateway");
    let short = SHORT_TIMEOUT_S.to_string();
    let mut parameters = vec![
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        ("net/ipv6/conf/all/disable_ipv6", "1"),
        ("net/ipv6/conf/default/disable_ipv6", "1"),
        // Or what is bridged in a LAN would go through the gateway's rules, where Docker has loaded br_netfilter.
        ("net/bridge/bridge-nf-call-iptables", "0"),
    ];
    if kind == NatKind::ShortTimeout {
        parameters.push(("net/netfilter/nf_conntrack_udp_timeout", &short));
        parameters.push(("net/netfilter/nf_conntrack_udp_timeout_stream", &short));
    }
    tools::set(&namespace, &parameters).expect("the kernel takes its parameters");
    namespace
}
