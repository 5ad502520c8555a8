//! Setting the scene: networks, hosts, relays, and what a node finds out about itself.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use nearmesh_common::{
    NodeId,
    nat::Nat,
    wire::signal::{Candidate, CandidateKind, RelayOffer},
};
use nearmesh_relay::proto::path::{KEEP_ALIVE, Local};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    CALL_AT, Event, Oracle, PathSim,
    kinds::{Kind, Together},
    nat::NatBox,
    owner::{Owner, PORT},
    relays::RelayNode,
    scenario::{BOTH, Scenario, Who},
    world::{INTERNET, World},
};
use crate::sim::schedule::Schedule;

/// How often a node says something to its home, and its connections to relays say something.
pub(super) const CONNECTION_KEEP_ALIVE: Duration = Duration::from_secs(10);

impl PathSim {
    /// All that is there before the first call.
    pub(super) fn new(scenario: Scenario) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        let mut world = World::new(scenario.lines, ChaCha8Rng::from_rng(&mut rng));
        let (mut relays, mut lists) = (Vec::new(), [Vec::new(), Vec::new()]);
        for who in BOTH {
            for place in &scenario.relays[who.index()] {
                let number = relays.len();
                let address = IpAddr::from([198, 51, 100, number as u8 + 1]);
                let host = world.add_host(INTERNET, address, *place);
                relays.push(RelayNode::new(number, host, (address, PORT).into()));
                lists[who.index()].push(number);
            }
        }
        let owner = |(host, list)| Owner::new(host, Kind::Open, Vec::new(), list);
        let nowhere = IpAddr::from([0, 0, 0, 0]);
        let hosts = BOTH.map(|who| world.add_host(INTERNET, nowhere, scenario.places[who.index()]));
        let [alices, bobs] = lists;
        let mut sim = Self {
            together: scenario.together,
            schedule: Schedule::new(),
            world,
            owners: [owner((hosts[0], alices)), owner((hosts[1], bobs))],
            relays,
            rng,
            signals_off: false,
            networks_made: 0,
            lives: 0,
            digest: blake3::Hasher::new(),
            oracle: Oracle::default(),
            scenario,
        };
        sim.settle_both();
        sim.plan();
        sim
    }

    fn plan(&mut self) {
        let ms = Duration::from_millis;
        self.schedule.at(CALL_AT, Event::Call(Who::Alice));
        if self.scenario.both_call {
            let late = ms(self.rng.random_range(0..100));
            self.schedule.at(CALL_AT + late, Event::Call(Who::Bob));
        }
        for who in BOTH {
            self.schedule.at(ms(110), Event::Data(who));
            self.schedule.at(ms(10), Event::KeepAlive(who));
        }
        for (index, (at, _)) in self.scenario.disturbances.clone().into_iter().enumerate() {
            self.schedule.at(at, Event::Disturb(index));
        }
    }

    fn settle_both(&mut self) {
        let kinds = self.scenario.kinds;
        match self.together {
            Together::Apart => BOTH.into_iter().for_each(|who| self.settle(who, kinds[who.index()])),
            Together::Lan => {
                self.settle(Who::Alice, kinds[0]);
                let networks = self.owners[0].networks.clone();
                let address = next_door(self.world.address(self.owners[0].host));
                let inside = self.world.network_of(self.owners[0].host);
                self.world.move_host(self.owners[1].host, inside, address);
                (self.owners[1].networks, self.owners[1].kind) = (networks, kinds[0]);
                self.note_addresses(Who::Bob);
            }
            Together::SameCgn { hairpin } => {
                let mut behaviour = Kind::PortRestricted.boxes(self.scenario.lifetime)[0];
                behaviour.hairpin = hairpin;
                let address = self.public_address();
                let door = NatBox::new(behaviour, address, ChaCha8Rng::from_rng(&mut self.rng));
                let provider = self.world.add_network(INTERNET, door);
                for who in BOTH {
                    self.settle_behind(who, Kind::PortRestricted, provider);
                    let owner = self.owner(who);
                    owner.kind = Kind::Cgn;
                    owner.networks.push(provider);
                    self.note_addresses(who);
                }
            }
        }
    }

    /// Puts one side into a new place of that kind.
    pub(super) fn settle(&mut self, who: Who, kind: Kind) {
        self.settle_behind(who, kind, INTERNET);
    }

    fn settle_behind(&mut self, who: Who, kind: Kind, outermost: usize) {
        let boxes = kind.boxes(self.scenario.lifetime);
        let is_firewall = kind == Kind::Firewall;
        let mut networks = Vec::new();
        let mut network = outermost;
        let public = self.public_address();
        for (depth, behaviour) in boxes.iter().rev().enumerate() {
            let outside = if network == INTERNET { public } else { self.shared_address(depth) };
            let door = NatBox::new(*behaviour, outside, ChaCha8Rng::from_rng(&mut self.rng));
            network = self.world.add_network(network, door);
            networks.insert(0, network);
        }
        self.networks_made += 1;
        let private = IpAddr::from([10, 0, self.networks_made, 2]);
        let address = if boxes.is_empty() || is_firewall { public } else { private };
        if kind == Kind::Forwarded
            && let Some(door) = self.world.door(network)
        {
            door.forwarded = Some((30_000, (private, PORT).into()));
        }
        let owner = &mut self.owners[who.index()];
        (owner.kind, owner.networks) = (kind, networks);
        self.world.move_host(owner.host, network, address);
        self.note_addresses(who);
    }

    /// A fresh address on the internet.
    pub(super) fn public_address(&mut self) -> IpAddr {
        self.networks_made += 1;
        IpAddr::from([203, 0, 113, self.networks_made])
    }

    fn shared_address(&mut self, depth: usize) -> IpAddr {
        self.networks_made += 1;
        IpAddr::from([100, 64 + depth as u8, 0, self.networks_made])
    }

    /// Remembers where `who` may be looked for.
    pub(super) fn note_addresses(&mut self, who: Who) {
        let owner = &self.owners[who.index()];
        let (networks, own) = (owner.networks.clone(), self.world.address(owner.host));
        let doors = networks.iter().filter_map(|network| self.world.door(*network).map(|door| door.outside));
        let all: BTreeSet<IpAddr> = doors.chain([own]).collect();
        self.owner(who).addresses.extend(all);
    }

    /// What a node finds out about itself: from its interfaces, its router, and two supernodes.
    pub(super) fn local(&mut self, who: Who) -> Local {
        let now = self.now();
        let owner = &self.owners[who.index()];
        let (host, kind, list) = (owner.host, owner.kind, owner.relays.clone());
        let inside = self.world.address(host);
        let mut candidates = vec![candidate(CandidateKind::Host, (inside, PORT).into())];
        if let Some(door) = owner.networks.last().and_then(|network| self.world.door(*network))
            && let Some((port, _)) = door.forwarded
        {
            candidates.push(candidate(CandidateKind::Mapped, (door.outside, port).into()));
        }
        let mut seen = Vec::new();
        for relay in list.iter().filter(|relay| self.relays[**relay].alive).take(2) {
            seen.extend(self.world.seen_at(host, PORT, self.relays[*relay].address, now));
        }
        seen.reverse();
        for address in seen {
            let new = candidate(CandidateKind::ServerReflexive, address);
            if address.ip() != inside && !candidates.contains(&new) {
                candidates.push(new);
            }
        }
        let relays = list.iter().map(|relay| self.relay_offer(who, *relay)).collect();
        let home = list.first().map_or(NodeId([0; 32]), |relay| self.relays[*relay].node);
        // A node that is reachable would not need a session: it does not know that it is.
        let nat = if kind == Kind::Open {
            Nat { filtering: Default::default(), ..kind.verdict() }
        } else {
            kind.verdict()
        };
        Local { home, candidates, nat, relays, keep_alive: KEEP_ALIVE }
    }

    /// A relay as this side knows it. It has measured most of them.
    pub(super) fn relay_offer(&mut self, who: Who, relay: usize) -> RelayOffer {
        let way = self.world.way(self.owners[who.index()].host, self.relays[relay].host);
        let rtt = self.rng.random_bool(0.7).then_some(way * 2);
        let rtt_us = rtt.and_then(|rtt| u32::try_from(rtt.as_micros()).ok());
        RelayOffer { node: self.relays[relay].node, addresses: vec![self.relays[relay].address], rtt_us }
    }
}

fn candidate(kind: CandidateKind, address: std::net::SocketAddr) -> Candidate {
    Candidate { kind, address }
}

fn next_door(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            IpAddr::from([a, b, c, d + 1])
        }
        IpAddr::V6(_) => address,
    }
}
