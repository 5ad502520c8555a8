//! What goes wrong.

use std::time::Duration;

use nearmesh_relay::proto::path::Input;
use rand::RngExt;

use super::{
    Event, LONGEST_STALL, PathSim,
    kinds::{Kind, Together},
    scenario::{BOTH, Disturbance, Who},
};

/// A node whose home died is attached to its standby within so long.
const NEW_HOME: Duration = Duration::from_secs(2);
/// Relays that must be left when one dies: one to use and one to fall back on.
const ENOUGH_RELAYS: usize = 3;

impl PathSim {
    pub(super) fn disturb(&mut self, index: usize) {
        let (at, what) = self.scenario.disturbances[index];
        if self.scenario.trace {
            println!("{:9.4} {what:?}", at.as_secs_f64());
        }
        match what {
            Disturbance::RelayDies => {
                if let Some(relay) = self.victim() {
                    self.kill(relay);
                }
            }
            Disturbance::RelayDrains => {
                if let Some(relay) = self.victim() {
                    self.drain(relay);
                    self.schedule.at(at + what.lasts(), Event::RelayStops(relay));
                }
            }
            Disturbance::Flush(who) => self.flush(who),
            Disturbance::NewAddress(who) => self.new_address(who),
            Disturbance::Move(who, kind) => {
                self.settle(who, kind);
                self.together = Together::Apart;
                self.notice_later(who);
            }
            Disturbance::Outage(_) => self.world.outage = true,
            Disturbance::NoSignals(_) => self.signals_off = true,
            Disturbance::Idle(_) => self.set_busy(false),
        }
        if what.lasts() > Duration::ZERO {
            self.schedule.at(at + what.lasts(), Event::Over(index));
        }
    }

    pub(super) fn over(&mut self, index: usize) {
        match self.scenario.disturbances[index].1 {
            Disturbance::Outage(_) => self.world.outage = false,
            Disturbance::NoSignals(_) => self.signals_off = false,
            Disturbance::Idle(_) => self.set_busy(true),
            _ => {}
        }
    }

    fn set_busy(&mut self, busy: bool) {
        let now = self.now();
        for who in BOTH {
            self.owner(who).busy = busy;
            self.tell(who, Input::Busy(busy));
        }
        self.oracle.on_idle(!busy, now);
    }

    /// The relay by which alice sends, or else one that she holds.
    fn victim(&self) -> Option<usize> {
        let serving = self.relays.iter().filter(|relay| relay.alive && !relay.draining).count();
        if serving < ENOUGH_RELAYS {
            return None;
        }
        let alice = &self.owners[0];
        let in_use = alice.in_use.filter(|route| !route.is_direct());
        let used =
            in_use.and_then(|route| self.relays.iter().position(|relay| relay.address == route.next_hop()));
        used.or_else(|| alice.reservations.keys().copied().find(|relay| self.relays[*relay].is_open()))
    }

    fn kill(&mut self, relay: usize) {
        self.relays[relay].alive = false;
        let now = self.now();
        for who in BOTH {
            if let Some(seat) = self.relays[relay].seat(who) {
                let noticed = now + Duration::from_millis(self.rng.random_range(3000..12_000));
                self.schedule.at(noticed, Event::Gone { who, relay, life: seat.life });
            }
            self.find_home(who, relay);
        }
    }

    /// A node that knew the relay that is gone finds out, and has another home if it was that.
    fn find_home(&mut self, who: Who, gone: usize) {
        let now = self.now();
        let owner = self.owner(who);
        if owner.relays.first() == Some(&gone) {
            owner.home_from = now + NEW_HOME;
        }
        if owner.relays.contains(&gone) {
            self.schedule.at(now + NEW_HOME, Event::Renewed(who));
        }
    }

    fn drain(&mut self, relay: usize) {
        self.relays[relay].draining = true;
        let now = self.now();
        for who in BOTH {
            let way = self.world.way(self.owners[who.index()].host, self.relays[relay].host);
            self.schedule.at(now + way, Event::Draining { who, relay });
            self.schedule.at(now + way + LONGEST_STALL, Event::ShouldBeLeft(relay));
            self.find_home(who, relay);
        }
    }

    /// It said two seconds ago that it will stop.
    pub(super) fn should_be_left(&mut self, relay: usize) {
        let now = self.now();
        for who in BOTH {
            let in_use = self.owner(who).in_use.map(|route| route.next_hop());
            if in_use == Some(self.relays[relay].address) {
                self.oracle.complain(now, format!("{who:?} still uses the relay that drains"));
            }
        }
    }

    pub(super) fn stop_relay(&mut self, relay: usize) {
        self.relays[relay].alive = false;
        let now = self.now();
        for who in BOTH {
            if let Some(seat) = self.relays[relay].seat(who) {
                let way = self.world.way(self.owners[who.index()].host, self.relays[relay].host);
                self.schedule.at(now + way, Event::Gone { who, relay, life: seat.life });
            }
        }
    }

    fn flush(&mut self, who: Who) {
        for network in self.owner(who).networks.clone() {
            if let Some(door) = self.world.door(network) {
                door.flush();
            }
        }
    }

    fn new_address(&mut self, who: Who) {
        let (host, kind, networks) = {
            let owner = self.owner(who);
            (owner.host, owner.kind, owner.networks.clone())
        };
        self.flush(who);
        let address = self.public_address();
        if let Some(door) = networks.last().and_then(|network| self.world.door(*network)) {
            door.outside = address;
        }
        if matches!(kind, Kind::Open | Kind::Firewall) {
            let inside = self.world.network_of(host);
            self.world.move_host(host, inside, address);
            self.notice_later(who);
        }
        self.note_addresses(who);
    }

    /// The system tells the node of its new address after a while.
    fn notice_later(&mut self, who: Who) {
        let wait = Duration::from_millis(self.rng.random_range(100..800));
        self.schedule.at(self.schedule.now() + wait, Event::NetworkChanged(who));
    }

    pub(super) fn network_changed(&mut self, who: Who) {
        let relays: Vec<usize> = self.owner(who).reservations.keys().copied().collect();
        for relay in relays {
            self.nudge(who, relay);
        }
        self.tell(who, Input::NetworkChanged);
        let at = self.now() + Duration::from_millis(300);
        self.schedule.at(at, Event::Renewed(who));
    }
}
