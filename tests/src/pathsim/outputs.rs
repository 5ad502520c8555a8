//! What a machine wants is done.

use std::time::Duration;

use nearmesh_common::wire::signal::SignalBody;
use nearmesh_relay::proto::path::{Event as Said, Output, Route};
use rand::RngExt;

use super::{Event, PathSim, Payload, kinds::Kind, scenario::Who};

/// How long the owner takes to ask supernodes, and to open sockets.
const RENEWAL: Duration = Duration::from_millis(300);
const OPENING_SOCKETS: Duration = Duration::from_millis(20);
/// How late a signal may be: it waits in queues; a few wait long.
const SIGNAL_JITTER: Duration = Duration::from_millis(40);
const LATE_SIGNAL: (f64, Duration) = (0.05, Duration::from_millis(300));
/// The part of all signals that come twice.
const TWICE: f64 = 0.03;
/// A home takes so long to say that it cannot deliver.
const UNDELIVERED: Duration = Duration::from_millis(300);

impl PathSim {
    /// Does everything that the machine of `who` wants now.
    pub(super) fn obey(&mut self, who: Who) {
        while let Some(output) = self.owner(who).machine.as_mut().and_then(|machine| machine.poll_output()) {
            self.trace_output(who, &output);
            self.digest.update(&[who as u8]);
            self.digest.update(&self.schedule.now().as_micros().to_be_bytes());
            if let Output::Send { packet, .. } = &output {
                self.digest.update(packet);
            } else {
                self.digest.update(format!("{output:?}").as_bytes());
            }
            self.obey_one(who, output);
        }
    }

    fn trace_output(&self, who: Who, output: &Output) {
        if !self.scenario.trace {
            return;
        }
        let at = self.now().as_secs_f64();
        match output {
            Output::Send { route, packet, ttl } => {
                println!("{at:9.4} {who:?} sends {} bytes by {route}, TTL {ttl:?}", packet.len());
            }
            other => println!("{at:9.4} {who:?} wants {other:?}"),
        }
    }

    fn obey_one(&mut self, who: Who, output: Output) {
        let now = self.now();
        match output {
            Output::Signal(body) => self.send_signal(who, body),
            Output::Send { route, packet, ttl } => self.send_probe(who, route, packet, ttl),
            Output::OpenRelay(offer) => {
                let Some(relay) = self.relay_of(offer.node) else {
                    return self.oracle.complain(now, format!("{who:?} opens an unknown relay"));
                };
                self.open_relay(who, relay);
            }
            Output::CloseRelay(node) => {
                if let Some(relay) = self.relay_of(node) {
                    self.leave_relay(who, relay);
                }
            }
            Output::Nudge(node) => {
                if let Some(relay) = self.relay_of(node) {
                    self.nudge(who, relay);
                }
            }
            Output::Measure(offer) => {
                if let Some(relay) = self.relay_of(offer.node) {
                    self.measure(who, relay);
                }
            }
            Output::Renew => self.schedule.at(now + RENEWAL, Event::Renewed(who)),
            Output::OpenSockets(count) => {
                self.schedule.at(now + OPENING_SOCKETS, Event::Sockets(who, count));
            }
            Output::KeepSocket(kept) => self.owner(who).keep_socket(kept),
            Output::Accept { route, .. } => {
                self.owner(who).accepted.insert(route);
            }
            Output::Forget(route) => {
                self.owner(who).accepted.remove(&route);
            }
            Output::Use(route) => self.use_route(who, route),
            Output::Event(said) => {
                self.owner(who).events.push((now, said));
                if matches!(said, Said::Ended(_)) {
                    self.owner(who).reset();
                }
            }
        }
    }

    fn use_route(&mut self, who: Who, route: Option<Route>) {
        self.owner(who).in_use = route;
        let now = self.now();
        let Some(route) = route else { return };
        let open = self.relays.iter().any(|relay| {
            let own =
                relay.seat(who).map(|seat| Route::Relayed { relay: relay.address, channel: seat.channel });
            own == Some(route)
        });
        self.oracle.on_use(who, route, open, now);
        self.note_direct();
    }

    fn send_probe(&mut self, who: Who, route: Route, packet: Vec<u8>, ttl: Option<u8>) {
        let now = self.now();
        self.oracle.on_sent(who, now);
        let to = route.next_hop();
        let peer = &self.owners[who.other().index()].addresses;
        let at_relay = !route.is_direct() && (0..self.relays.len()).any(|relay| self.address_of(relay) == to);
        if !at_relay && !peer.contains(&to.ip()) {
            self.oracle.complain(now, format!("{who:?} sends to {to}, where bob and alice never were"));
        }
        self.send_by(who, route, Payload::Probe(packet), ttl);
    }

    fn open_relay(&mut self, who: Who, relay: usize) {
        self.lives += 1;
        let life = self.lives;
        let owner = self.owner(who);
        owner.reservations.insert(relay, life);
        let is_home = owner.relays.first() == Some(&relay);
        let way = self.world.way(self.owners[who.index()].host, self.relays[relay].host);
        let mut wait = if is_home { way } else { way * 3 };
        if self.rng.random_bool((self.scenario.lines.loss * 3.0).min(1.0)) {
            wait += Duration::from_millis(300);
        }
        self.schedule.at(self.schedule.now() + wait, Event::Request { who, relay, life, tries: 0 });
    }

    fn measure(&mut self, who: Who, relay: usize) {
        let owner = &self.owners[who.index()];
        let rtt = self.world.way(owner.host, self.relays[relay].host) * 2;
        let works = self.relays[relay].alive && !self.world.outage && owner.kind != Kind::Blocked;
        let now = self.now();
        if works {
            let rtt = rtt + Duration::from_micros(self.rng.random_range(0..500));
            self.schedule.at(now + rtt, Event::Measured { who, relay, rtt: Some(rtt) });
        } else {
            self.schedule.at(now + Duration::from_secs(1), Event::Measured { who, relay, rtt: None });
        }
    }

    fn send_signal(&mut self, who: Who, body: SignalBody) {
        let now = self.now();
        let to = who.other();
        let Some(session) = self.owner(who).machine.as_ref().map(|machine| machine.id()) else { return };
        let cut_off = self.owners.iter().any(|owner| owner.kind == Kind::Blocked) || self.world.outage;
        if cut_off || self.rng.random_bool(self.scenario.signal_loss) {
            return;
        }
        let homeless = self.owners.iter().any(|owner| owner.home_from > now || owner.relays.is_empty());
        if self.signals_off || homeless {
            if self.rng.random_bool(0.5) {
                self.schedule.at(now + UNDELIVERED, Event::Undelivered(who));
            }
            return;
        }
        let homes = [who, to].map(|who| self.relays[self.owners[who.index()].relays[0]].host);
        let hosts = [who, to].map(|who| self.owners[who.index()].host);
        let way = self.world.way(hosts[0], homes[0])
            + self.world.way(homes[0], homes[1])
            + self.world.way(homes[1], hosts[1]);
        let copies = if self.rng.random_bool(TWICE) { 2 } else { 1 };
        for _ in 0..copies {
            let mut wait = way + self.rng.random_range(Duration::ZERO..SIGNAL_JITTER);
            if self.rng.random_bool(LATE_SIGNAL.0) {
                wait += LATE_SIGNAL.1;
            }
            self.schedule.at(now + wait, Event::Signal { to, session, body: body.clone() });
        }
    }
}
