//! The rules of a gateway, for `nft`. Each was measured with a client of RFC 5780 before it was written down here, and
//! is measured again by the `lab` test.
//!
//! A gateway has the interfaces `wan` and `lan`. (nft 1.0.6 wants each `}` on a line of its own.)

use std::{fmt::Write, net::Ipv4Addr};

use super::nat::NatKind;

/// How long a NAT of the kind [`NatKind::ShortTimeout`] remembers a mapping, in seconds.
pub const SHORT_TIMEOUT_S: u32 = 3;
/// How long the maps of the endpoint-independent filters remember one, in seconds: RFC 4787's recommendation (REQ-5).
const MAP_TIMEOUT_S: u32 = 300;
/// The first port of a sequential NAT, and how many it has: many more than one node uses at a time (guess).
const SEQUENTIAL_PORTS: (u16, u16) = (40_000, 512);
/// How far the next generation begins after the one before.
const SEQUENTIAL_STEP: u16 = 100;
/// The first port that a later generation maps to, how many each has, and after how many they begin anew.
const OTHER_PORTS: (u16, u16, u16) = (20_000, 1000, 20);

/// What one gateway does.
#[derive(Clone, Debug)]
pub(super) struct Ruleset {
    /// Its own kind, not a carrier's.
    pub(super) kind: NatKind,
    pub(super) hairpin: bool,
    /// Its address outside.
    pub(super) wan: Ipv4Addr,
    /// Counts what made it choose other ports. The first keeps the hosts' own where its kind does.
    pub(super) generation: u8,
}

impl Ruleset {
    /// One that uses everything the kernel must have.
    pub(super) fn trial() -> Self {
        Self { kind: NatKind::Restricted, hairpin: true, wan: Ipv4Addr::LOCALHOST, generation: 0 }
    }

    /// Whether it keeps maps of its own, beside those of the kernel.
    pub(super) fn learns(&self) -> bool {
        let open = matches!(self.kind, NatKind::FullCone | NatKind::Restricted | NatKind::SymmetricOpen);
        open || self.hairpin
    }
}

/// The rules as a script that replaces all there are, and forgets what the maps have learnt.
pub(super) fn text(rules: &Ruleset) -> String {
    let mut text = "flush ruleset\n".to_owned();
    if rules.kind != NatKind::Open {
        firewall(rules, &mut text);
    }
    if !rules.kind.is_public() {
        nat(rules, &mut text);
    }
    text
}

/// A script that makes it forget only what the maps have learnt.
pub(super) const FORGET: &str = "flush map ip nat inside\nflush set ip nat contacted\n";

fn firewall(rules: &Ruleset, text: &mut String) {
    let forward = match rules.kind {
        NatKind::Firewall => {
            "type filter hook forward priority 0; policy drop;\n\
             iifname \"lan\" oifname \"wan\" accept\n\
             ct state established,related accept\n"
        }
        NatKind::UdpBlocked => {
            "type filter hook forward priority 0; policy drop;\n\
             ct state established,related accept\n\
             iifname \"lan\" oifname \"wan\" tcp dport 443 ct state new accept\n"
        }
        _ => "type filter hook forward priority 0; policy accept;\n",
    };
    // Without this guard an early packet of a peer makes an entry of its own, which takes the port of our mapping.
    let input = match rules.kind {
        NatKind::Leaky => "type filter hook input priority 0; policy accept;\n",
        _ => {
            "type filter hook input priority 0; policy accept;\n\
             iifname \"wan\" ct state established,related accept\n\
             iifname \"wan\" drop\n"
        }
    };
    table(text, "fw", &[("chain forward", forward.to_owned()), ("chain input", input.to_owned())]);
}

fn nat(rules: &Ruleset, text: &mut String) {
    let mut parts = Vec::new();
    if rules.learns() {
        let timeout = format!("flags dynamic,timeout; timeout {MAP_TIMEOUT_S}s;\n");
        parts.push(("map inside", format!("type inet_service : ipv4_addr . inet_service; {timeout}")));
        parts.push(("set contacted", format!("type ipv4_addr . inet_service; {timeout}")));
        parts.push(("chain learn", learn()));
        parts.push(("chain prerouting", prerouting(rules)));
    }
    parts.push(("chain postrouting", postrouting(rules)));
    table(text, "nat", &parts);
}

/// After the source was translated, so that a mapping with another port than the host's own is learnt too.
fn learn() -> String {
    "type filter hook postrouting priority srcnat + 10;\n\
     oifname \"wan\" meta l4proto udp update @inside { udp sport : ct original ip saddr . ct original proto-src }\n\
     oifname \"wan\" meta l4proto udp update @contacted { ip daddr . udp sport }\n"
        .to_owned()
}

fn prerouting(rules: &Ruleset) -> String {
    let mut chain = "type nat hook prerouting priority dstnat;\n".to_owned();
    let mut translate = |which: &str| {
        writeln!(chain, "{which} dnat ip to udp dport map @inside").expect("a string takes everything");
    };
    match rules.kind {
        NatKind::FullCone | NatKind::SymmetricOpen => translate("iifname \"wan\" meta l4proto udp"),
        NatKind::Restricted => translate("iifname \"wan\" meta l4proto udp ip saddr . udp dport @contacted"),
        _ => {}
    }
    if rules.hairpin {
        translate(&format!("iifname \"lan\" ip daddr {} meta l4proto udp", rules.wan));
    }
    chain
}

fn postrouting(rules: &Ruleset) -> String {
    let wan = rules.wan;
    let mut chain = "type nat hook postrouting priority srcnat;\n".to_owned();
    let udp = match (rules.kind, rules.generation) {
        (NatKind::Symmetric | NatKind::SymmetricOpen, _) => "masquerade random,fully-random".to_owned(),
        (NatKind::AddressDependent, seed) => {
            let hash =
                format!("jhash ip saddr . udp sport . ip daddr mod 20000 seed {} offset 40000", seed + 1);
            format!("snat ip to {wan} : {hash}")
        }
        (NatKind::Sequential, generation) => sequential(wan, generation),
        (_, 0) => "masquerade".to_owned(),
        (_, generation) => {
            let (first, count, ranges) = OTHER_PORTS;
            let begin = first + count * (u16::from(generation) % ranges);
            format!("masquerade to :{begin}-{}", begin + count - 1)
        }
    };
    chain += &format!("oifname \"wan\" meta l4proto udp {udp}\noifname \"wan\" masquerade\n");
    if rules.hairpin {
        chain +=
            &format!("iifname \"lan\" oifname \"lan\" ct status dnat meta l4proto udp snat ip to {wan}\n");
    }
    chain
}

/// By a map, because a bare number would have its two bytes swapped on this side.
fn sequential(wan: Ipv4Addr, generation: u8) -> String {
    let (first, count) = SEQUENTIAL_PORTS;
    let begin = SEQUENTIAL_STEP * u16::from(generation);
    let port = |index: u16| format!("{index} : {}", first + (begin + index) % count);
    let ports: Vec<String> = (0..count).map(port).collect();
    format!("snat ip to {wan} : numgen inc mod {count} map {{ {} }}", ports.join(", "))
}

fn table(text: &mut String, name: &str, parts: &[(&str, String)]) {
    *text += &format!("table ip {name} {{\n");
    for (head, body) in parts {
        *text += &format!("{head} {{\n{body}}}\n");
    }
    *text += "}\n";
}
