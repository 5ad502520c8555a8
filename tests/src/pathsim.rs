//! The path simulator: two machines that look for paths to each other, over a simulated internet with NATs, loss and relays that die, under
//! virtual time; and an [`Oracle`] that knows what is possible.
//!
//! A run follows from its [`Scenario`], and that from its seed. The machines are the very ones that run on sockets. While
//! the two are busy, each sends a packet every [`DATA_PAUSE`] by the route that its machine has chosen; what arrives, and how
//! long nothing did, is what the oracle judges.

mod build;
pub mod kinds;
pub mod nat;
mod oracle;
mod outputs;
mod owner;
mod relays;
mod run;
pub mod scenario;
pub mod tally;
mod trouble;
pub mod world;

use std::time::Duration;

use kinds::{Expected, expected};
use nearmesh_common::{
    NodeId,
    wire::{
        relay::ChannelId,
        signal::{SessionId, SignalBody},
    },
};
use nearmesh_relay::proto::path::{Event as Said, PathKind, Route};
use oracle::Ending;
pub use oracle::{CONNECTED_WITHIN, DIRECT_WITHIN, LONGEST_STALL, Oracle};
use owner::Owner;
use rand_chacha::ChaCha8Rng;
use relays::RelayNode;
use scenario::{BOTH, Scenario, Who};
use world::{Packet, World};

use crate::sim::schedule::Schedule;

/// When alice calls.
pub const CALL_AT: Duration = Duration::from_millis(100);
/// How often a busy side sends.
pub const DATA_PAUSE: Duration = Duration::from_millis(50);

/// What is in a packet.
#[derive(Clone, Debug)]
enum Payload {
    /// A path probe.
    Probe(Vec<u8>),
    /// A packet of the end-to-end connection.
    Data,
    /// One of these, by way of a relay.
    Relayed(ChannelId, Box<Payload>),
    /// The end's own connection to the relay.
    ToRelay,
}

/// A packet, and who sent it by which route.
#[derive(Clone, Debug)]
struct Marked {
    who: Option<(Who, Route)>,
    payload: Payload,
}

#[derive(Debug)]
enum Event {
    Call(Who),
    Wake(Who),
    Arrive(Packet<Marked>),
    Signal { to: Who, session: SessionId, body: SignalBody },
    Undelivered(Who),
    Request { who: Who, relay: usize, life: u64, tries: u32 },
    Opened { who: Who, relay: usize, life: u64, route: Route },
    Alone { who: Who, relay: usize, life: u64 },
    Gone { who: Who, relay: usize, life: u64 },
    Draining { who: Who, relay: usize },
    Migrated { who: Who, relay: usize, from: std::net::SocketAddr },
    Measured { who: Who, relay: usize, rtt: Option<Duration> },
    Renewed(Who),
    Sockets(Who, u16),
    Data(Who),
    KeepAlive(Who),
    NetworkChanged(Who),
    Disturb(usize),
    RelayStops(usize),
    ShouldBeLeft(usize),
    Over(usize),
}

/// One run.
pub struct PathSim {
    scenario: Scenario,
    schedule: Schedule<Event>,
    world: World,
    owners: [Owner; 2],
    relays: Vec<RelayNode>,
    together: kinds::Together,
    rng: ChaCha8Rng,
    signals_off: bool,
    networks_made: u8,
    lives: u64,
    digest: blake3::Hasher,
    /// What is true.
    pub oracle: Oracle,
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What was possible at the end.
    pub expected: Expected,
    /// Where both were then.
    pub places: [kinds::Kind; 2],
    /// What each side used then.
    pub kinds: [Option<PathKind>; 2],
    /// What was seen.
    pub oracle: Oracle,
    /// What was said to the users.
    pub events: [Vec<(Duration, Said)>; 2],
    /// Follows from everything the machines did.
    pub digest: String,
    /// Both round trips of the relay that alice used last, and of the best one.
    pub relay_sums: Option<(Duration, Duration)>,
}

impl Outcome {
    /// Whether both sides use a direct path.
    pub fn is_direct(&self) -> bool {
        self.kinds.iter().all(|kind| matches!(kind, Some(PathKind::Lan | PathKind::Direct)))
    }
}

impl PathSim {
    /// Runs a scenario to its end.
    pub fn run(scenario: Scenario) -> Outcome {
        let mut sim = Self::new(scenario);
        let last = sim.scenario.disturbances.iter().map(|(at, what)| *at + what.lasts()).max();
        let end = last.unwrap_or_default() + sim.scenario.settle;
        sim.run_until(end);
        sim.finish()
    }

    fn run_until(&mut self, end: Duration) {
        let mut at_once = 0;
        let mut before = Duration::ZERO;
        while let Some(event) = self.schedule.next(end) {
            at_once = if self.now() == before { at_once + 1 } else { 0 };
            before = self.now();
            if at_once > 10_000 {
                self.oracle.complain(before, format!("time stands still: {event:?}"));
                return;
            }
            self.happen(event);
        }
    }

    fn now(&self) -> Duration {
        self.schedule.now()
    }

    fn finish(mut self) -> Outcome {
        let now = self.now();
        let [alice, bob] = [self.owners[0].kind, self.owners[1].kind];
        let unreachable = |(_, said): &(Duration, Said)| *said == Said::Unreachable;
        let ending = Ending {
            expected: expected(alice, bob, self.together),
            kinds: BOTH.map(|who| self.owners[who.index()].kind_in_use()),
            relay_sums: self.relay_sums(),
            told_unreachable: self.owners.iter().any(|owner| owner.events.iter().any(unreachable)),
        };
        self.oracle.judge(&self.scenario, &ending, now);
        let places = [alice, bob];
        let [alice, bob] = self.owners;
        Outcome {
            expected: ending.expected,
            places,
            kinds: ending.kinds,
            oracle: self.oracle,
            events: [alice.events, bob.events],
            digest: self.digest.finalize().to_hex().to_string(),
            relay_sums: ending.relay_sums,
        }
    }

    fn relay_sums(&self) -> Option<(Duration, Duration)> {
        let Some(PathKind::Relayed(node)) = self.owners[0].kind_in_use() else { return None };
        let sum = |relay: &RelayNode| {
            let ways = self.owners.iter().map(|owner| self.world.way(owner.host, relay.host));
            ways.sum::<Duration>() * 2
        };
        let used = self.relays.iter().find(|relay| relay.node == node)?;
        let usable = self.relays.iter().filter(|relay| relay.alive && !relay.draining);
        Some((sum(used), usable.map(sum).min()?))
    }

    fn relay_of(&self, node: NodeId) -> Option<usize> {
        self.relays.iter().position(|relay| relay.node == node)
    }

    fn owner(&mut self, who: Who) -> &mut Owner {
        &mut self.owners[who.index()]
    }

    fn note_direct(&mut self) {
        let direct = |owner: &Owner| owner.in_use.is_some_and(|route| route.is_direct());
        if self.owners.iter().all(direct) {
            let now = self.now();
            self.oracle.first_direct.get_or_insert(now);
        }
    }
}
