//! What happens, and what the two machines are told of it.

use std::{net::SocketAddr, time::Duration};

use nearmesh_common::{
    Now,
    wire::{
        relay::ChannelId,
        signal::{ProbeKey, SessionId, SignalBody},
    },
};
use nearmesh_relay::proto::path::{Input, Route, Session, Setup};
use rand::RngExt;

use super::{
    DATA_PAUSE, Event, Marked, PathSim, Payload,
    build::CONNECTION_KEEP_ALIVE,
    kinds::Kind,
    owner::PORT,
    scenario::{BOTH, Who},
    world::{Arrived, Outgoing},
};

/// A relay ends a reservation to which the other end does not come.
const ALONE: Duration = Duration::from_secs(10);
/// A request to a relay is repeated so often, after [`REQUEST_AGAIN`].
const REQUEST_TRIES: u32 = 16;
const REQUEST_AGAIN: Duration = Duration::from_millis(500);
/// The owner says `Heard` so often.
const HEARD_PAUSE: Duration = Duration::from_millis(100);

impl PathSim {
    pub(super) fn moment(&self) -> Now {
        self.schedule.moment()
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Call(who) => self.call(who),
            Event::Wake(who) => {
                let now = self.now();
                if self.owner(who).wake.take_if(|at| *at <= now).is_some() {
                    self.tell(who, Input::Timeout);
                }
            }
            Event::Arrive(packet) => {
                let now = self.now();
                if let Some(arrived) = self.world.arrive(packet, now) {
                    self.arrive(arrived);
                }
            }
            Event::Signal { to, session, body } => self.signal(to, session, body),
            Event::Undelivered(who) => self.tell(who, Input::Undelivered),
            Event::Request { who, relay, life, tries } => self.request(who, relay, life, tries),
            Event::Opened { who, relay, life, route } if self.holds(who, relay, life) => {
                let relay = self.relays[relay].node;
                self.tell(who, Input::RelayOpen { relay, route });
            }
            Event::Alone { who, relay, life } if !self.relays[relay].is_open() => self.gone(who, relay, life),
            Event::Gone { who, relay, life } => self.gone(who, relay, life),
            Event::Draining { who, relay } if self.owner(who).reservations.contains_key(&relay) => {
                let relay = self.relays[relay].node;
                self.tell(who, Input::RelayDraining { relay });
            }
            Event::Opened { .. } | Event::Alone { .. } | Event::Draining { .. } => {}
            Event::Migrated { who, relay, from } => self.relays[relay].migrate(who, from),
            Event::Measured { who, relay, rtt } => {
                let relay = self.relays[relay].node;
                self.tell(who, Input::RelayMeasured { relay, rtt });
            }
            Event::Renewed(who) => self.renewed(who),
            Event::Sockets(who, count) => {
                let sockets = self.owner(who).open_sockets(count);
                self.tell(who, Input::Sockets(sockets));
            }
            Event::Data(who) => self.send_data(who),
            Event::KeepAlive(who) => self.keep_alive(who),
            Event::NetworkChanged(who) => self.network_changed(who),
            Event::Disturb(index) => self.disturb(index),
            Event::RelayStops(relay) => self.stop_relay(relay),
            Event::ShouldBeLeft(relay) => self.should_be_left(relay),
            Event::Over(index) => self.over(index),
        }
    }

    /// Gives the machine an input, does what it wants, and sets its timer.
    pub(super) fn tell(&mut self, who: Who, input: Input) {
        let now = self.moment();
        self.trace_input(who, &input);
        if let Some(machine) = self.owner(who).machine.as_mut() {
            machine.handle(input, now);
        }
        self.obey(who);
        self.set_timer(who);
    }

    fn trace_input(&self, who: Who, input: &Input) {
        if !self.scenario.trace {
            return;
        }
        let at = self.now().as_secs_f64();
        match input {
            Input::Timeout | Input::Heard { .. } => {}
            Input::Probe { route, .. } => println!("{at:9.4} {who:?} gets a probe by {route}"),
            other => println!("{at:9.4} {who:?} is told {other:?}"),
        }
    }

    fn set_timer(&mut self, who: Who) {
        let now = self.moment();
        let next = self.owner(who).machine.as_ref().and_then(|machine| machine.poll_timeout(now));
        let next = next.map(|at| self.schedule.offset(at));
        if next != self.owner(who).wake
            && let Some(at) = next
        {
            self.schedule.at(at, Event::Wake(who));
        }
        self.owner(who).wake = next;
    }

    fn call(&mut self, who: Who) {
        if self.owner(who).machine.is_some() {
            return;
        }
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        let home = self.owner(who.other()).relays[0];
        let peer_relay = self.scenario.home_known.then(|| self.relay_offer(who, home));
        let setup = Setup { session: SessionId(id), key: ProbeKey([7; 32]), peer_relay };
        let (local, seed, now) = (self.local(who), self.rng.random(), self.moment());
        self.owner(who).machine = Some(Session::call(setup, local, seed, now));
        let busy = self.owner(who).busy;
        self.tell(who, Input::Busy(busy));
    }

    fn signal(&mut self, to: Who, session: SessionId, body: SignalBody) {
        let now = self.moment();
        let machine = self.owner(to).machine.as_ref();
        let known = machine.map(|machine| (machine.id() == session, machine.yields_to(session, now)));
        match (known, body) {
            (Some((true, _)), body) => self.tell(to, Input::Signal(body)),
            (Some((false, false)), _) => {}
            (yields, SignalBody::Call { key, offer, .. }) => {
                if yields.is_some() {
                    self.drop_machine(to);
                }
                let setup = Setup { session, key, peer_relay: None };
                let (local, seed) = (self.local(to), self.rng.random());
                self.owner(to).machine = Some(Session::answer(setup, offer, local, seed, now));
                let busy = self.owner(to).busy;
                self.tell(to, Input::Busy(busy));
            }
            _ => {}
        }
    }

    /// The older session gives way to a new one.
    fn drop_machine(&mut self, who: Who) {
        let reservations: Vec<usize> = self.owner(who).reservations.keys().copied().collect();
        for relay in reservations {
            self.leave_relay(who, relay);
        }
        self.owner(who).reset();
    }

    fn arrive(&mut self, arrived: Arrived<Marked>) {
        if let Some(relay) = self.relays.iter().position(|relay| relay.host == arrived.host) {
            return self.arrive_at_relay(relay, arrived);
        }
        let Some(who) = BOTH.into_iter().find(|who| self.owners[who.index()].host == arrived.host) else {
            return;
        };
        let Arrived { from, to, payload: Marked { who: sender, payload }, .. } = arrived;
        match payload {
            Payload::Relayed(channel, inner) => {
                self.take_in(who, Route::Relayed { relay: from, channel }, *inner);
            }
            other => {
                let Some(route) = self.owner(who).direct(from, to) else { return };
                if let Some((sender, sent_by)) = sender {
                    self.oracle.on_reached(sender, sent_by);
                }
                self.oracle.on_came(who, route);
                self.take_in(who, route, other);
            }
        }
    }

    fn take_in(&mut self, who: Who, route: Route, payload: Payload) {
        match payload {
            Payload::Probe(packet) => self.tell(who, Input::Probe { route, packet }),
            Payload::Data => self.take_data(who, route),
            Payload::Relayed(..) | Payload::ToRelay => {}
        }
    }

    fn take_data(&mut self, who: Who, route: Route) {
        let now = self.now();
        let owner = self.owner(who);
        if !owner.accepted.contains(&route) {
            self.oracle.refused += 1;
            return;
        }
        let due = owner.heard.get(&route).is_none_or(|last| *last + HEARD_PAUSE <= now);
        if owner.busy {
            self.oracle.on_data(who, now);
        }
        if due {
            self.owner(who).heard.insert(route, now);
            self.tell(who, Input::Heard { route });
        }
    }

    fn arrive_at_relay(&mut self, relay: usize, arrived: Arrived<Marked>) {
        let node = &self.relays[relay];
        if !node.alive {
            return;
        }
        let Marked { who, payload } = arrived.payload;
        match payload {
            Payload::Relayed(channel, inner) => {
                if let Some(seat) = node.forward(channel, arrived.from) {
                    let payload = Payload::Relayed(seat.channel, inner);
                    let out =
                        Outgoing { port: PORT, to: seat.from, ttl: None, payload: Marked { who, payload } };
                    self.launch(arrived.host, out);
                }
            }
            Payload::ToRelay => {
                let Some((who, _)) = who else { return };
                if node.seat(who).is_some_and(|seat| seat.from != arrived.from) {
                    let way = self.world.way(self.owners[who.index()].host, arrived.host);
                    let at = self.now() + way * 2;
                    self.schedule.at(at, Event::Migrated { who, relay, from: arrived.from });
                }
            }
            Payload::Probe(_) | Payload::Data => {}
        }
    }

    /// Sends a packet on its way.
    pub(super) fn launch(&mut self, host: usize, out: Outgoing<Marked>) {
        let now = self.now();
        if let Some((packet, delay)) = self.world.send(host, out, now) {
            self.schedule.at(now + delay, Event::Arrive(packet));
        }
    }

    /// Sends by a route of `who`'s.
    pub(super) fn send_by(&mut self, who: Who, route: Route, payload: Payload, ttl: Option<u8>) {
        let owner = &self.owners[who.index()];
        let Some(port) = owner.sockets.get(&route.socket()).copied() else { return };
        let host = owner.host;
        let payload = match route {
            Route::Direct { .. } => payload,
            Route::Relayed { channel, .. } => Payload::Relayed(channel, Box::new(payload)),
        };
        let payload = Marked { who: Some((who, route)), payload };
        self.launch(host, Outgoing { port, to: route.next_hop(), ttl, payload });
    }

    fn send_data(&mut self, who: Who) {
        let next = self.now() + DATA_PAUSE;
        self.schedule.at(next, Event::Data(who));
        let owner = self.owner(who);
        if let Some(route) = owner.in_use.filter(|_| owner.busy) {
            self.send_by(who, route, Payload::Data, None);
        }
    }

    fn keep_alive(&mut self, who: Who) {
        let next = self.now() + CONNECTION_KEEP_ALIVE;
        self.schedule.at(next, Event::KeepAlive(who));
        let owner = self.owner(who);
        let mut relays: Vec<usize> = owner.reservations.keys().copied().collect();
        relays.extend(owner.relays.first());
        for relay in relays {
            self.nudge(who, relay);
        }
    }

    /// Something on the connection to a relay.
    pub(super) fn nudge(&mut self, who: Who, relay: usize) {
        let to = self.relays[relay].address;
        let mark = Some((who, Route::Relayed { relay: to, channel: ChannelId(0) }));
        let host = self.owner(who).host;
        let payload = Marked { who: mark, payload: Payload::ToRelay };
        self.launch(host, Outgoing { port: PORT, to, ttl: None, payload });
    }

    fn request(&mut self, who: Who, relay: usize, life: u64, tries: u32) {
        if !self.holds(who, relay, life) {
            return;
        }
        let now = self.now();
        let owner = &self.owners[who.index()];
        let session = owner.machine.as_ref().map(Session::id);
        let works = self.relays[relay].alive && !self.world.outage && owner.kind != Kind::Blocked;
        let to = self.relays[relay].address;
        let from = if works { self.world.seen_at(owner.host, PORT, to, now) } else { None };
        let (Some(session), Some(from)) = (session, from) else {
            let event = match tries {
                REQUEST_TRIES.. => Event::Gone { who, relay, life },
                _ => Event::Request { who, relay, life, tries: tries + 1 },
            };
            return self.schedule.at(now + REQUEST_AGAIN, event);
        };
        if self.relays[relay].take(who, session, from, life) {
            BOTH.into_iter().for_each(|who| self.open(who, relay));
        } else {
            self.schedule.at(now + ALONE, Event::Alone { who, relay, life });
        }
    }

    /// Both ends are there: one of them is told.
    fn open(&mut self, who: Who, relay: usize) {
        let node = &self.relays[relay];
        let Some(seat) = node.seat(who) else { return };
        let route = Route::Relayed { relay: node.address, channel: seat.channel };
        let way = self.world.way(self.owners[who.index()].host, node.host);
        self.schedule.at(self.schedule.now() + way, Event::Opened { who, relay, life: seat.life, route });
    }

    fn holds(&self, who: Who, relay: usize, life: u64) -> bool {
        self.owners[who.index()].reservations.get(&relay) == Some(&life)
    }

    fn gone(&mut self, who: Who, relay: usize, life: u64) {
        if self.holds(who, relay, life) {
            self.leave_relay(who, relay);
            let relay = self.relays[relay].node;
            self.tell(who, Input::RelayLost { relay });
        }
    }

    /// One end leaves; the other is told.
    pub(super) fn leave_relay(&mut self, who: Who, relay: usize) {
        self.owner(who).reservations.remove(&relay);
        let other = who.other();
        let left = self.relays[relay].leave(who);
        if let Some(seat) = self.relays[relay].seat(other).filter(|_| left && self.relays[relay].alive) {
            let host = self.relays[relay].host;
            let ways = self.owners.iter().map(|owner| self.world.way(owner.host, host)).sum::<Duration>();
            let gone = Event::Gone { who: other, relay, life: seat.life };
            self.schedule.at(self.schedule.now() + ways, gone);
        }
    }

    /// The node asked supernodes where it is.
    fn renewed(&mut self, who: Who) {
        let alive: Vec<bool> = self.relays.iter().map(|relay| relay.alive && !relay.draining).collect();
        let owner = self.owner(who);
        owner.relays.retain(|relay| alive[*relay]);
        if owner.relays.is_empty() {
            // A member finds another home as long as there is one.
            owner.relays.extend((0..alive.len()).find(|relay| alive[*relay]));
        }
        if self.owner(who).machine.is_some() {
            let local = self.local(who);
            self.tell(who, Input::Local(local));
        }
    }

    pub(super) fn address_of(&self, relay: usize) -> SocketAddr {
        self.relays[relay].address
    }
}
