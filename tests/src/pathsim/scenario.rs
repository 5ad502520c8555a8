//! What happens in one run: who is where, how good the lines are, and what goes wrong when. All of it follows from the seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    kinds::{KINDS, Kind, Together},
    world::Lines,
};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// She calls.
    Alice,
    /// He answers, unless both call.
    Bob,
}

/// Both.
pub const BOTH: [Who; 2] = [Who::Alice, Who::Bob];

impl Who {
    /// As an index.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Alice => Self::Bob,
            Self::Bob => Self::Alice,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Disturbance {
    /// The relay by which alice sends, or else the first chosen one, dies without a word.
    RelayDies,
    /// The same says that it will stop, and stops five seconds later.
    RelayDrains,
    /// All boxes before this side forget their flows and give other ports.
    Flush(Who),
    /// The outermost box gets another address, and forgets its flows.
    NewAddress(Who),
    /// The machine is carried into another network.
    Move(Who, Kind),
    /// Nothing crosses the internet for so long.
    Outage(Duration),
    /// The homes carry no signals for so long.
    NoSignals(Duration),
    /// Nothing is under way for so long.
    Idle(Duration),
}

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// From which everything follows.
    pub seed: u64,
    /// Where both are at first.
    pub kinds: [Kind; 2],
    /// And to each other.
    pub together: Together,
    /// The lines.
    pub lines: Lines,
    /// Where on the circle of milliseconds both are.
    pub places: [u64; 2],
    /// Relays of each side, its home first: their places.
    pub relays: [Vec<u64>; 2],
    /// Whether the caller knows the address of the callee's home.
    pub home_known: bool,
    /// Both call at the same time.
    pub both_call: bool,
    /// The part of all signals that is lost.
    pub signal_loss: f64,
    /// How long a flow lives in the boxes.
    pub lifetime: Duration,
    /// What goes wrong, and when.
    pub disturbances: Vec<(Duration, Disturbance)>,
    /// How long the run goes on after the last of them.
    pub settle: Duration,
    /// Print what the machines are told and want.
    pub trace: bool,
}

/// Disturbances begin so late, and lie so far apart.
const CALM: Duration = Duration::from_secs(20);
/// How long a run goes on: all that was lost is found again. The rounds of punching that follow a change come within
/// the first half of it.
const SETTLE: Duration = Duration::from_secs(60);
/// How long where a leaky NAT may be spoilt: a path that dies because the other's address changed spoils it, whoever was
/// careful before. What is spoilt recovers after 30 s without a packet, which are granted a minute after the loss; and
/// the second try of guessing, which spoils nothing, begins 30 s after the first.
const LEAKY_SETTLE: Duration = Duration::from_secs(150);

impl Scenario {
    /// A quiet one: these places, good lines, three relays, nothing goes wrong.
    pub fn quiet(seed: u64, alice: Kind, bob: Kind) -> Self {
        Self {
            seed,
            kinds: [alice, bob],
            together: Together::Apart,
            lines: Lines { loss: 0.0, jitter: Duration::from_millis(2) },
            places: [0, 30],
            relays: [vec![5, 60], vec![40, 20]],
            home_known: true,
            both_call: false,
            signal_loss: 0.0,
            lifetime: Duration::from_secs(60),
            disturbances: Vec::new(),
            settle: Duration::from_secs(20),
            trace: false,
        }
    }

    /// Anything.
    pub fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5ce7_a210);
        let mut kinds = [any_kind(&mut rng), any_kind(&mut rng)];
        let together = match rng.random_range(0..20) {
            0 => Together::Lan,
            1 => Together::SameCgn { hairpin: rng.random_bool(0.5) },
            _ => Together::Apart,
        };
        match together {
            Together::Lan => kinds[1] = kinds[0],
            Together::SameCgn { .. } => kinds = [Kind::Cgn; 2],
            Together::Apart => {}
        }
        let loss = *[0.0, 0.0, 0.001, 0.01, 0.01, 0.03].choose(&mut rng).expect("not empty");
        let jitter = Duration::from_millis(*[0, 1, 5, 30].choose(&mut rng).expect("not empty"));
        let mut places = |most: usize| -> Vec<u64> {
            (0..rng.random_range(2..=most)).map(|_| rng.random_range(0..120)).collect()
        };
        let (places_of_two, relays) = ([places(2)[0], places(2)[0]], [places(4), places(4)]);
        let mut scenario = Self {
            kinds,
            together,
            lines: Lines { loss, jitter },
            places: places_of_two,
            relays,
            home_known: rng.random_bool(0.7),
            both_call: rng.random_bool(0.1),
            signal_loss: *[0.0, 0.05, 0.2].choose(&mut rng).expect("not empty"),
            lifetime: Duration::from_secs(*[25, 60, 180].choose(&mut rng).expect("not empty")),
            settle: SETTLE,
            ..Self::quiet(seed, Kind::Open, Kind::Open)
        };
        scenario.disturb(&mut rng);
        if scenario.meets(Kind::Leaky) {
            scenario.settle = LEAKY_SETTLE;
        }
        scenario
    }

    /// Whether one of the two is, or comes, into such a place.
    fn meets(&self, kind: Kind) -> bool {
        let moved =
            |(_, what): &(Duration, Disturbance)| matches!(what, Disturbance::Move(_, to) if *to == kind);
        self.kinds.contains(&kind) || self.disturbances.iter().any(moved)
    }

    /// Nothing but a little loss is wrong with the lines, and signals arrive.
    pub fn is_fair(&self) -> bool {
        self.signal_loss == 0.0 && self.lines.loss <= 0.01
    }

    fn disturb(&mut self, rng: &mut ChaCha8Rng) {
        let mut at = CALM;
        for _ in 0..rng.random_range(0..=3) {
            at += Duration::from_millis(rng.random_range(0..8000));
            let disturbance = self.any_disturbance(rng);
            self.disturbances.push((at, disturbance));
            at += disturbance.lasts() + CALM;
        }
    }

    fn any_disturbance(&self, rng: &mut ChaCha8Rng) -> Disturbance {
        let who = if rng.random_bool(0.5) { Who::Alice } else { Who::Bob };
        let seconds =
            |rng: &mut ChaCha8Rng, most: u64| Duration::from_millis(rng.random_range(500..most * 1000));
        let apart = self.together == Together::Apart && self.kinds.iter().all(|kind| *kind != Kind::Blocked);
        match rng.random_range(0..10) {
            0..3 => Disturbance::RelayDies,
            3 => Disturbance::RelayDrains,
            4 => Disturbance::Flush(who),
            5 if apart => Disturbance::NewAddress(who),
            6 if apart => Disturbance::Move(who, any_kind(rng)),
            7 => Disturbance::Outage(seconds(rng, 8)),
            8 => Disturbance::NoSignals(seconds(rng, 15)),
            9 => Disturbance::Idle(Duration::from_secs(rng.random_range(20..90))),
            _ => Disturbance::Flush(who),
        }
    }
}

impl Disturbance {
    /// How long it goes on.
    pub fn lasts(self) -> Duration {
        match self {
            Self::Outage(time) | Self::NoSignals(time) | Self::Idle(time) => time,
            Self::RelayDrains => Duration::from_secs(5),
            _ => Duration::ZERO,
        }
    }
}

fn any_kind(rng: &mut ChaCha8Rng) -> Kind {
    if rng.random_bool(0.01) {
        return Kind::Blocked;
    }
    *KINDS.choose(rng).expect("not empty")
}
