//! A site's gateway: between a LAN, which is a bridge in the gateway's own namespace, and the internet, or another
//! gateway's LAN.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    addresses::{self, Lan},
    cable, conntrack,
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
/// Far from any index that the other end may have: where both are the same, the kernel takes its time here too.
const FIRST_PORT_INDEX: u32 = 1000;
/// The hardware address of every LAN's gateway. A bridge without one of its own takes the lowest of its ports', and so another one when a host
/// comes or is gone: whoever had asked for it by ARP sends into the void then, for up to a minute.
const GATEWAY_MAC: &str = "02:00:00:00:00:01";

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
    /// The internet runs as long as one of its sites is there.
    Internet {
        _running: Internet,
        site: SiteId,
    },
    Carrier(Gateway),
}

#[derive(Debug)]
struct State {
    wan: Ipv4Addr,
    wan_changes: u8,
    generation: u8,
    hosts: u8,
    cables: u8,
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
        let script = format!("link set wan txqueuelen {TUN_QUEUE} up\n{}", on_internet(wan));
        tools::ip(&namespace, &script).expect("a WAN is set up");
        let uplink = Uplink::Internet { _running: internet.clone(), site };
        Self::finish(name, nat, namespace, uplink, (lan, wan))
    }

    /// A home behind this gateway, which is a carrier's then.
    pub fn home(&self, name: &str, nat: impl Into<Nat>) -> Self {
        let nat = nat.into();
        assert!(!nat.kind.is_public(), "a carrier has no public addresses to give");
        let namespace = gateway_namespace(nat.kind);
        let wan = self.plug(&namespace, "wan");
        cable::configure(&namespace, "wan", wan, self.0.lan).expect("a home's WAN is set up");
        Self::finish(name, nat, namespace, Uplink::Carrier(self.clone()), (Lan::HOME, wan))
    }

    fn finish(
        name: &str,
        nat: Nat,
        namespace: Namespace,
        uplink: Uplink,
        (lan, wan): (Lan, Ipv4Addr),
    ) -> Self {
        let (own, prefix) = (lan.gateway(), lan.prefix);
        let script = format!(
            "link set lo up\nlink add lan address {GATEWAY_MAC} type bridge\n\
             addr add {own}/{prefix} dev lan\nlink set lan up\n"
        );
        tools::ip(&namespace, &script).expect("a LAN is set up");
        cable::ask_again_soon(&namespace, "lan").expect("the kernel takes its parameters");
        let state = State { wan, wan_changes: 0, generation: 0, hosts: 0, cables: 0 };
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
            Uplink::Internet { .. } => None,
            Uplink::Carrier(carrier) => Some(carrier),
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// Makes it forget all mappings: the next packet of a host makes a new one, which is another where the ports are random
    /// or sequential, and the same as before elsewhere.
    pub fn flush(&self) {
        if self.rules().learns() {
            tools::nft(&self.0.namespace, rules::FORGET).expect("maps are flushed");
        }
        self.0.namespace.run(conntrack::flush).and_then(|done| done).expect("connections are forgotten");
    }

    /// Makes it forget all mappings and choose other ports for the new ones, whatever its kind.
    pub fn rebind(&self) {
        assert!(!self.0.nat.kind.is_public(), "{} maps nothing", self.0.name);
        self.count(|state| &mut state.generation);
        self.load_rules();
        self.flush();
    }

    /// Gives it another address outside; all mappings are gone.
    pub fn change_address(&self) {
        assert!(!self.0.nat.kind.is_public(), "the addresses of {} are its hosts'", self.0.name);
        let new = match &self.0.uplink {
            Uplink::Internet { site, .. } => {
                let new = addresses::wan(*site, self.count(|state| &mut state.wan_changes));
                let script = format!("addr flush dev wan\n{}", on_internet(new));
                tools::ip(&self.0.namespace, &script).expect("an address is changed");
                new
            }
            Uplink::Carrier(carrier) => {
                let new = carrier.next_address();
                cable::configure(&self.0.namespace, "wan", new, carrier.0.lan)
                    .expect("an address is changed");
                new
            }
        };
        self.state().wan = new;
        self.load_rules();
        self.flush();
    }

    /// Lays a cable from its LAN into another namespace, where the device has this name; the address for that end.
    pub(super) fn plug(&self, other: &Namespace, device: &str) -> Ipv4Addr {
        let port = self.count(|state| &mut state.cables);
        let script = format!(
            "link add p{port} index {} type veth peer name {device} netns {}\nlink set p{port} master lan up\n",
            FIRST_PORT_INDEX + u32::from(port),
            other.path()
        );
        tools::ip(&self.0.namespace, &script).expect("a cable is laid");
        self.next_address()
    }

    /// An address in its LAN that nobody has had.
    pub(super) fn next_address(&self) -> Ipv4Addr {
        self.0.lan.host(self.count(|state| &mut state.hosts) - 1)
    }

    pub(super) fn lan(&self) -> Lan {
        self.0.lan
    }

    /// The site of the internet that it belongs to.
    pub(super) fn site(&self) -> SiteId {
        match &self.0.uplink {
            Uplink::Internet { site, .. } => *site,
            Uplink::Carrier(carrier) => carrier.site(),
        }
    }

    fn load_rules(&self) {
        tools::nft(&self.0.namespace, &rules::text(&self.rules())).expect("the rules are good");
    }

    fn rules(&self) -> Ruleset {
        let Nat { kind, hairpin } = self.0.nat;
        let state = self.state();
        Ruleset { kind, hairpin, wan: state.wan, generation: state.generation }
    }

    /// The next number of some kind, from 1.
    fn count(&self, which: impl FnOnce(&mut State) -> &mut u8) -> u8 {
        let mut state = self.state();
        let number = which(&mut state);
        *number = number.checked_add(1).expect("not so many in one test");
        *number
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

fn on_internet(wan: Ipv4Addr) -> String {
    format!("addr add {wan}/32 dev wan\nroute add default dev wan\n")
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
    ];
    if kind == NatKind::ShortTimeout {
        parameters.push(("net/netfilter/nf_conntrack_udp_timeout", &short));
        parameters.push(("net/netfilter/nf_conntrack_udp_timeout_stream", &short));
    }
    // Or what is bridged in a LAN would go through the gateway's rules, where Docker has loaded br_netfilter.
    let optional =
        [("net/bridge/bridge-nf-call-iptables", "0"), tools::WITHOUT_IPV6[0], tools::WITHOUT_IPV6[1]];
    let set = tools::set(&namespace, &parameters).and_then(|()| tools::set_if_there(&namespace, &optional));
    set.expect("the kernel takes its parameters");
    namespace
}
