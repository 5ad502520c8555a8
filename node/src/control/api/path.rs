//! The way that packets take between two nodes.

use std::fmt;

use nearmesh_common::{NodeId, UserAddress};
use serde::{Deserialize, Serialize};

use super::AsText;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Within a local network, or this machine.
    Lan,
    /// Straight over the internet.
    Direct,
    /// Through another node.
    Relayed,
}

/// A path, in the words for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Its kind.
    pub path: PathKind,
    /// Who relays, if somebody does: `hub@lab` where that is known, else the node's short id.
    pub relay: Option<String>,
}

/// The path to a node with which there is a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodePath {
    /// The node.
    pub node_id: AsText<NodeId>,
    /// Whose it is.
    pub user: UserAddress,
    /// Which path it is.
    #[serde(flatten)]
    pub way: Way,
    /// The way there and back, if it was measured.
    pub rtt_ms: Option<f64>,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path, &self.relay) {
            (PathKind::Lan, _) => f.write_str("lan"),
            (PathKind::Direct, _) => f.write_str("direct"),
            (PathKind::Relayed, Some(relay)) => write!(f, "relayed by {relay}"),
            (PathKind::Relayed, None) => f.write_str("relayed"),
        }
    }
}
