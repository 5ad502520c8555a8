//! A scenario as it is written down.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::Expectation;
use crate::scale::{Kind, Lie, Setup};

/// Why a scenario cannot be played.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("read {path}: {error}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is not a scenario.
    #[error("understand {path}: {error}")]
    Form {
        /// Which.
        path: String,
        /// Why.
        error: toml::de::Error,
    },
}

/// A file that holds a scenario of some kind.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    path: String,
    table: toml::Table,
}

/// A net, what befalls it, what is measured, what must hold.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A word, for file names.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// What is simulated.
    pub net: NetForm,
    /// How the net comes about.
    pub growth: Growth,
    /// What goes on while it is measured.
    pub workload: Workload,
    /// What befalls it meanwhile.
    #[serde(default, rename = "event")]
    pub events: Vec<Event>,
    /// What must hold.
    #[serde(default, rename = "expect")]
    pub expectations: Vec<Expectation>,
}

/// The net's size and nature; see [`Setup`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetForm {
    /// Peers that serve from the start.
    pub supernodes: u32,
    /// Ordinary nodes.
    pub nodes: u32,
    /// Children that a supernode takes.
    pub capacity: u32,
    /// Files of a sharing node, on average.
    pub files: u32,
    /// The part of all nodes that share nothing.
    pub free_riders: f64,
    /// The part of all packets that is lost.
    pub loss: f64,
    /// The part of all nodes that others can reach.
    pub reachable: f64,
    /// Results that a search asks for.
    pub limit: u32,
    /// Whether nodes that others can reach become supernodes by themselves.
    pub promote: bool,
}

/// How the net comes about: supernodes first, doubling and doubling, then nodes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Seconds in which the supernodes start.
    pub supernodes: f64,
    /// Seconds between those and the first node: a net that just divided itself anew tells everything to both divisions.
    #[serde(default)]
    pub pause: f64,
    /// Seconds in which the nodes start, after that.
    pub nodes: f64,
    /// Seconds after that before anything is measured.
    pub settle: f64,
}

impl Growth {
    /// When the first node starts.
    pub fn nodes_from(&self) -> f64 {
        self.supernodes + self.pause
    }

    /// When it is measured.
    pub fn whole(&self) -> f64 {
        self.nodes_from() + self.nodes + self.settle
    }
}

/// What goes on while it is measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// For how many seconds.
    pub seconds: f64,
    /// Questions a second in the whole net, for each thousand nodes.
    pub questions: f64,
    /// Of which kinds, by weight.
    #[serde(default)]
    pub mix: Mix,
    /// Mean seconds of a node's session; absent: nodes stay.
    pub session: Option<f64>,
    /// Mean seconds of a node's absence.
    #[serde(default = "five_minutes")]
    pub absence: f64,
    /// Mean seconds of a supernode's life; one that dies comes back after a minute. Absent: they stay.
    pub supernode_life: Option<f64>,
    /// Nodes that wait for an event to start them.
    #[serde(default)]
    pub waiting: u32,
}

/// Kinds of questions by weight.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Mix(pub BTreeMap<Kind, f64>);

/// Something that befalls the net.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Seconds after measuring began.
    pub at: f64,
    /// What.
    #[serde(rename = "do")]
    pub act: Act,
}

/// What befalls a net.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// This part of the supernodes dies in the same second.
    Kill(f64),
    /// This part of the net is cut off from the rest.
    Split(f64),
    /// It is one net again.
    Heal(bool),
    /// So many of the waiting nodes start, within so many seconds.
    Crowd {
        /// How many.
        nodes: u32,
        /// Seconds.
        over: f64,
    },
    /// This part of the supernodes leaves politely, one after another.
    Leave {
        /// Which part.
        share: f64,
        /// Seconds from the first to the last.
        over: f64,
    },
    /// This part of the supernodes begins to lie.
    Corrupt {
        /// Which part.
        share: f64,
        /// How.
        lie: Lie,
    },
    /// What was counted so far is forgotten: figures begin anew.
    Measure(bool),
}

impl Default for NetForm {
    fn default() -> Self {
        let setup = Setup::default();
        Self {
            supernodes: setup.supernodes,
            nodes: setup.nodes,
            capacity: setup.capacity,
            files: setup.files,
            free_riders: setup.free_riders,
            loss: setup.loss,
            reachable: setup.reachable,
            limit: setup.limit,
            promote: setup.promote,
        }
    }
}

impl Default for Mix {
    fn default() -> Self {
        let all = [
            (Kind::Rare, 3.0),
            (Kind::RareHash, 1.0),
            (Kind::Popular, 2.0),
            (Kind::Nothing, 1.0),
            (Kind::Lookup, 3.0),
        ];
        Self(all.into())
    }
}

impl ScenarioFile {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`ScenarioError`] tells.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScenarioError::Read { path: shown.clone(), error })?;
        let table = text.parse().map_err(|error| ScenarioError::Form { path: shown.clone(), error })?;
        Ok(Self { path: shown, table })
    }

    /// All of it.
    ///
    /// # Errors
    /// [`ScenarioError::Form`].
    pub fn whole<T: DeserializeOwned>(self) -> Result<T, ScenarioError> {
        let Self { path, table } = self;
        table.try_into().map_err(|error| ScenarioError::Form { path, error })
    }

    /// Whether it has the table that marks a scenario of another kind.
    pub(crate) fn has(&self, kind: &str) -> bool {
        self.table.contains_key(kind)
    }

    /// Takes that table out.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, kind: &str) -> Result<Option<T>, ScenarioError> {
        let taken = self.table.remove(kind).map(toml::Value::try_into).transpose();
        taken.map_err(|error| ScenarioError::Form { path: self.path.clone(), error })
    }
}

impl Scenario {
    /// Reads one from a file.
    ///
    /// # Errors
    /// As [`ScenarioError`] tells.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        ScenarioFile::read(path)?.whole()
    }

    /// As the simulator takes it.
    pub fn setup(&self, seed: u64) -> Setup {
        /// Messages are all measured in a net of fewer supernodes than this.
        const SMALL: u32 = 300;
        let net = &self.net;
        Setup {
            seed,
            supernodes: net.supernodes,
            nodes: net.nodes,
            capacity: net.capacity,
            files: net.files,
            free_riders: net.free_riders,
            loss: net.loss,
            reachable: net.reachable,
            measure_every: if net.supernodes < SMALL { 1 } else { 16 },
            limit: net.limit,
            promote: net.promote,
        }
    }
}

fn five_minutes() -> f64 {
    300.0
}
