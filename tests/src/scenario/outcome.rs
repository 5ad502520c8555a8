//! What came of a run, in figures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Checked;
use crate::scale::{OutcomeFigures, State, Summary, Trouble};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// Everything random follows from it.
    pub seed: u64,
    /// Supernodes of the beginning.
    pub supernodes: u32,
    /// Ordinary nodes.
    pub nodes: u32,
    /// Identifies the run: the same seed gives the same.
    pub digest: String,
    /// Questions by kind.
    pub questions: BTreeMap<String, OutcomeFigures>,
    /// Milliseconds that nodes were without a home.
    pub homeless_ms: Summary,
    /// Bytes a second that a supernode sends and receives, by kind.
    pub volume: BTreeMap<String, VolumeRate>,
    /// The same in all, in KB/s.
    pub signalling: Signalling,
    /// Against the law 2 sqrt(N) + 1 % N: query messages of a sweep beyond one for each supernode that answers.
    pub law: Law,
    /// What happened that should not.
    pub trouble: Trouble,
    /// After each event, seconds until 99.9 % of the running nodes were whole again.
    pub recovery: BTreeMap<String, f64>,
    /// Nodes that became supernodes or ceased to be, as a part of those that run.
    pub switched: f64,
    /// Nodes that were asked to come again later.
    pub put_off: u64,
    /// Supernodes in the end, as a part of what load asks for: children over 65 % of the capacity.
    pub provision: f64,
    /// The children of the supernode that has most in the end, as a part of all nodes.
    pub largest: f64,
    /// The end.
    pub state: State,
    /// Virtual seconds that were measured.
    pub measured: f64,
    /// The net over time.
    pub samples: Vec<Sample>,
    /// Of the wrong answers, the first few.
    pub wrong: Vec<String>,
    /// What the machine took for it.
    pub machine: Machine,
    /// The bounds.
    pub checked: Vec<Checked>,
}

/// Messages of one kind, for one supernode.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct VolumeRate {
    /// Messages a second.
    pub messages: f64,
    /// Bytes a second on the wire.
    pub bytes: f64,
}

/// What a supernode sends and receives, in KB/s (1000 bytes).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Signalling {
    /// Messages with their packets, sent.
    pub sent: f64,
    /// Received.
    pub received: f64,
    /// Acknowledgements, each way.
    pub acks: f64,
    /// Packets that keep links alive, sent.
    pub keep_alive: f64,
    /// The same, received.
    pub kept_alive: f64,
    /// STUN measurements of its own and others' children, sent.
    pub probes: f64,
    /// All of it, sent.
    pub total_sent: f64,
    /// All of it, received.
    pub total_received: f64,
}

/// A sweep of the whole net against the design's law.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Law {
    /// What it allows beyond one for each supernode that answers.
    pub allowed: f64,
    /// The mean of what was said.
    pub mean: f64,
    /// The most.
    pub max: f64,
    /// The mean beyond what is allowed; negative if it holds.
    pub excess: f64,
}

/// The net at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Seconds since measuring began; before, negative.
    pub at: f64,
    /// Running nodes.
    pub running: u32,
    /// Those at a living home.
    pub homed: u32,
    /// Supernodes.
    pub supernodes: u32,
    /// Messages a second, since the sample before.
    pub messages: f64,
}

/// What the machine took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Machine {
    /// Events.
    pub events: u64,
    /// Seconds.
    pub seconds: f64,
    /// Megabytes at the most.
    pub memory: f64,
}

impl Outcome {
    /// Whether every bound holds.
    pub fn holds(&self) -> bool {
        self.checked.iter().all(|checked| checked.holds)
    }
}
