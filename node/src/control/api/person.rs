//! Finding a person, and reaching them.

use std::{net::SocketAddr, path::PathBuf};

use nearmesh_common::{ContentHash, NodeId, UnixMillis, UserAddress};
use serde::{Deserialize, Serialize};

use super::{AsText, Way};

/// Where a user is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// Who.
    pub user: UserAddress,
    /// Whether one of the nodes is up.
    pub online: bool,
    /// The user's nodes that the net knows, as their signed presences say.
    pub nodes: Vec<UserNode>,
}

/// A node of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserNode {
    /// The node.
    pub node_id: AsText<NodeId>,
    /// Where it is reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// Its home supernode.
    pub home: AsText<NodeId>,
    /// When it signed what is said here.
    pub seen: UnixMillis,
    /// Since when it has been up.
    pub since: UnixMillis,
    /// Whether it is up.
    pub online: bool,
    /// The way there and back, if it was measured.
    pub rtt_ms: Option<f64>,
    /// The path to it, if there is a connection now.
    #[serde(flatten)]
    pub way: Option<Way>,
}

/// Whom to ping, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingRequest {
    /// Whom.
    pub user: UserAddress,
    /// Pings to each node, 1 or more.
    pub count: u32,
}

/// What a ping yields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PingEvent {
    /// Packets take another path now.
    Path(PathChange),
    /// One came back.
    Reply(PingReply),
    /// That was all.
    Done(PingSummary),
}

/// A ping that came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PingReply {
    /// From which node.
    pub node_id: AsText<NodeId>,
    /// From where; nothing if it was relayed.
    pub address: Option<SocketAddr>,
    /// Which path it took.
    #[serde(flatten)]
    pub way: Way,
    /// The way there and back.
    pub rtt_ms: f64,
    /// Milliseconds since the first attempt to reach the user.
    pub at_ms: f64,
}

/// The path to a node changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathChange {
    /// To which.
    pub node_id: AsText<NodeId>,
    /// Which it is now; nothing while there is none.
    #[serde(flatten)]
    pub way: Option<Way>,
    /// The way there and back, if it was measured.
    pub rtt_ms: Option<f64>,
    /// Milliseconds since the first attempt to reach the user.
    pub at_ms: f64,
}

/// How a ping went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingSummary {
    /// Pings sent.
    pub sent: u32,
    /// Of those, answered.
    pub received: u32,
}

/// A file for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// Which file, absolute.
    pub path: PathBuf,
    /// For whom.
    pub user: UserAddress,
}

/// What sending yields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendEvent {
    /// So far.
    Progress(SendProgress),
    /// It is in the other's inbox.
    Done(Sent),
}

/// How far a file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendProgress {
    /// Bytes in the file.
    pub size: u64,
    /// Of those, verified at the other end.
    pub received: u64,
}

/// A file that has arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Whose inbox.
    pub user: UserAddress,
    /// On which node.
    pub node_id: AsText<NodeId>,
    /// The safe name that it got there.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The content.
    pub hash: AsText<ContentHash>,
}
