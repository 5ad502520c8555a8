//! A node behind a NAT that is modelled after RFC 4787, a few supernodes outside, and virtual time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now,
    nat::{Filtering, Mapping},
    wire::home::{DialBack, DialBackAnswer, DialBackBy, DialBackOutcome},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::super::{super::start, Contacts, Discovery, Input, Observer, Output, Report, Socket, Token};

const RTT: Duration = Duration::from_millis(40);
const MAIN_PORT: u16 = 7117;
pub const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
pub const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// Which port a new mapping gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    Preserved,
    Random,
    Counted(i8),
}

/// What stands before alice.
#[derive(Clone, Debug)]
pub struct Box {
    pub mapping: Mapping,
    pub filtering: Filtering,
    pub ports: Ports,
    pub hairpin: bool,
    pub lifetime: Duration,
    /// No UDP passes.
    pub blocked: bool,
    /// The node's own port was opened to everybody on request.
    pub forwarded: bool,
    pub outside: IpAddr,
}

impl Box {
    pub fn new(mapping: Mapping, filtering: Filtering) -> Self {
        let stable = mapping.is_stable();
        Self {
            mapping,
            filtering,
            ports: if stable { Ports::Preserved } else { Ports::Random },
            hairpin: false,
            lifetime: Duration::from_secs(300),
            blocked: false,
            forwarded: false,
            outside: if mapping == Mapping::NoTranslation { INSIDE } else { OUTSIDE },
        }
    }
}

struct Mapped {
    port: u16,
    last: Instant,
    sent_to: BTreeMap<SocketAddr, Instant>,
}

enum Event {
    Input(Input),
    /// A packet with a token reaches the outside of the NAT.
    Token {
        from: SocketAddr,
        to: SocketAddr,
        token: Token,
    },
}

pub struct World {
    pub alice: Discovery,
    pub now: Now,
    pub nat: Box,
    pub loss: f64,
    /// Where supernodes are, each with whether alice is linked to it.
    pub supernodes: BTreeMap<NodeId, (SocketAddr, bool)>,
    pub reports: Vec<(Now, Report)>,
    /// Supernodes say that they pass dial-backs on, and do not.
    pub dial_backs_vanish: bool,
    mappings: BTreeMap<(u16, Option<SocketAddr>), Mapped>,
    next_port: u16,
    /// Other ports of supernodes, which answer STUN.
    second_ports: BTreeSet<SocketAddr>,
    contacts: Contacts,
    events: BTreeMap<(Instant, u64), Event>,
    numbers: u64,
    rng: StdRng,
}

impl World {
    /// Alice behind `nat`, with so many supernodes outside; the first two are her home and her standby.
    pub fn new(nat: Box, supernodes: u8, seed: u64) -> Self {
        let supernodes = (1..=supernodes).map(|number| {
            let address = SocketAddr::from(([198, 51, 100, number], 7117));
            (NodeId([number; 32]), (address, number <= 2))
        });
        let now = start();
        let mut world = Self {
            alice: Discovery::new(vec![SocketAddr::new(INSIDE, MAIN_PORT)], StdRng::seed_from_u64(seed), now),
            now,
            nat,
            loss: 0.0,
            supernodes: supernodes.collect(),
            reports: Vec::new(),
            dial_backs_vanish: false,
            mappings: BTreeMap::new(),
            next_port: 40_000,
            second_ports: BTreeSet::new(),
            contacts: Contacts::default(),
            events: BTreeMap::new(),
            numbers: 0,
            rng: StdRng::seed_from_u64(seed ^ 0x5eed),
        };
        world.contact_links();
        world.tell_observers();
        world
    }

    /// Hands alice an input, now.
    pub fn tell(&mut self, input: Input) {
        self.alice.handle(input, self.now);
        self.carry_out();
    }

    /// Says again who may be asked.
    pub fn tell_observers(&mut self) {
        let observer = |(node, (address, linked)): (&NodeId, &(SocketAddr, bool))| {
            let linked = *linked && !self.nat.blocked;
            Observer { node: *node, address: *address, linked }
        };
        let observers = self.supernodes.iter().map(observer).collect();
        self.tell(Input::Observers(observers));
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.instant + by;
        loop {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let timeout = self.alice.poll_timeout();
            let Some(at) = [event, timeout].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            match self.events.first_entry().filter(|entry| entry.key().0 <= at) {
                Some(entry) => {
                    let event = entry.remove();
                    self.happen(event);
                }
                None => self.tell(Input::Timeout),
            }
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.instant));
    }

    /// What alice knows.
    pub fn report(&self) -> Report {
        self.reports.last().map(|(_, report)| report.clone()).unwrap_or_default()
    }

    /// The NAT forgets everything and is at another address.
    pub fn rebind(&mut self, outside: IpAddr) {
        self.nat.outside = outside;
        self.mappings.clear();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(input) => self.tell(input),
            Event::Token { from, to, token } => {
                if self.inbound(from, to) == Some(MAIN_PORT) {
                    let contact = self.contacts.contains(from, self.now.instant);
                    self.tell(Input::DialBack { token, contact });
                }
            }
        }
    }

    fn carry_out(&mut self) {
        // Links are never silent for long.
        self.contact_links();
        while let Some(output) = self.alice.poll_output() {
            match output {
                Output::Probe { id, socket, to, answer_at } => {
                    let observed = self.probe(socket, to, answer_at);
                    let after = if observed.is_some() { RTT } else { Duration::from_secs(1) };
                    self.after(after, Event::Input(Input::Probed { id, observed }));
                }
                Output::Ask { of, request } => self.dial_back(of, request),
                Output::Send { socket, to, token } => self.send_token(socket, to, token),
                Output::Close(sockets) => {
                    let ports: Vec<u16> = sockets.into_iter().map(port).collect();
                    self.mappings.retain(|(inside, _), _| !ports.contains(inside));
                }
                Output::Report(report) => self.reports.push((self.now, report)),
            }
        }
    }

    fn contact_links(&mut self) {
        let linked: Vec<_> =
            self.supernodes.values().filter(|(_, linked)| *linked).map(|(at, _)| *at).collect();
        for address in linked {
            self.outbound(Socket::Main, address);
        }
    }

    /// A STUN probe with its repetitions.
    fn probe(
        &mut self,
        socket: Socket,
        to: SocketAddr,
        answer_at: Option<(Socket, u16)>,
    ) -> Option<SocketAddr> {
        (0..6).find_map(|_| {
            let seen = self.outbound(socket, to)?;
            let answers =
                self.second_ports.contains(&to) || self.supernodes.values().any(|(at, _)| *at == to);
            if !answers || self.lost() || self.lost() {
                return None;
            }
            let (back, awaited) = match answer_at {
                Some((awaited, port)) => (SocketAddr::new(seen.ip(), port), awaited),
                None => (seen, socket),
            };
            (self.inbound(to, back) == Some(port(awaited))).then_some(seen)
        })
    }

    fn dial_back(&mut self, of: NodeId, request: DialBack) {
        let asked = self.supernodes[&of].0;
        let Some(to) = self.outbound(Socket::Main, asked) else { return };
        let sender = match request.by {
            DialBackBy::OtherPort => Some(asked),
            DialBackBy::OtherNode { not } => {
                let others = self.supernodes.iter().filter(|(node, _)| **node != of && Some(**node) != not);
                others.map(|(_, (address, _))| *address).next()
            }
        };
        let port = self.rng.random_range(30_000..60_000);
        let outcome = match (sender, request.by) {
            (None, _) => DialBackOutcome::Nobody,
            (Some(_), DialBackBy::OtherPort) => DialBackOutcome::SentFrom(port),
            (Some(_), DialBackBy::OtherNode { .. }) => DialBackOutcome::PassedOn,
        };
        if let Some(sender) = sender.filter(|_| !self.dial_backs_vanish) {
            let from = SocketAddr::new(sender.ip(), port);
            self.second_ports.insert(from);
            if !self.lost() {
                self.after(RTT, Event::Token { from, to, token: Token(request.token) });
            }
        }
        let answer = DialBackAnswer { token: request.token, outcome };
        self.after(RTT, Event::Input(Input::Answered { of, answer }));
    }

    /// A packet of alice's to an address that may be one of her own outside.
    fn send_token(&mut self, socket: Socket, to: SocketAddr, token: Token) {
        let Some(from) = self.outbound(socket, to) else { return };
        if to.ip() == self.nat.outside && self.nat.hairpin && !self.lost() {
            self.after(Duration::from_millis(1), Event::Token { from, to, token });
        }
    }

    /// A packet leaves; as whom it is seen.
    fn outbound(&mut self, socket: Socket, to: SocketAddr) -> Option<SocketAddr> {
        if self.nat.blocked {
            return None;
        }
        if socket == Socket::Main {
            self.contacts.note(to, self.now.instant);
        }
        let inside = port(socket);
        let key = (
            inside,
            match self.nat.mapping {
                Mapping::AddressDependent => Some(SocketAddr::new(to.ip(), 0)),
                Mapping::AddressAndPortDependent => Some(to),
                _ => None,
            },
        );
        let (now, lifetime) = (self.now.instant, self.nat.lifetime);
        self.mappings.retain(|_, mapped| now.saturating_duration_since(mapped.last) <= lifetime);
        let next = match self.nat.ports {
            Ports::Preserved => inside,
            Ports::Random => self.rng.random_range(20_000..60_000),
            Ports::Counted(step) => self.next_port.wrapping_add_signed(i16::from(step)),
        };
        let mapped = self.mappings.entry(key).or_insert_with(|| {
            self.next_port = next;
            Mapped { port: next, last: now, sent_to: BTreeMap::new() }
        });
        mapped.last = now;
        mapped.sent_to.insert(to, now);
        let forwarded = self.nat.forwarded && socket == Socket::Main;
        Some(SocketAddr::new(self.nat.outside, if forwarded { MAIN_PORT } else { mapped.port }))
    }

    /// A packet comes to the NAT; to which of alice's ports it gets.
    fn inbound(&mut self, from: SocketAddr, to: SocketAddr) -> Option<u16> {
        if self.nat.blocked || to.ip() != self.nat.outside {
            return None;
        }
        if self.nat.forwarded && to.port() == MAIN_PORT {
            return Some(MAIN_PORT);
        }
        let (now, lifetime) = (self.now.instant, self.nat.lifetime);
        let alive = |at: &Instant| now.saturating_duration_since(*at) <= lifetime;
        let passes = |mapped: &Mapped| match self.nat.filtering {
            Filtering::AddressDependent => {
                mapped.sent_to.iter().any(|(to, at)| to.ip() == from.ip() && alive(at))
            }
            Filtering::AddressAndPortDependent => mapped.sent_to.get(&from).is_some_and(alive),
            _ => true,
        };
        let mut mappings = self.mappings.iter();
        let found = mappings.find(|(_, mapped)| mapped.port == to.port() && alive(&mapped.last));
        found.filter(|(_, mapped)| passes(mapped)).map(|((inside, _), _)| *inside)
    }

    fn lost(&mut self) -> bool {
        self.rng.random_bool(self.loss)
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.numbers += 1;
        self.events.insert((self.now.instant + wait, self.numbers), event);
    }
}

fn port(socket: Socket) -> u16 {
    match socket {
        Socket::Main => MAIN_PORT,
        Socket::Extra(number) => 50_000 + u16::from(number),
    }
}
