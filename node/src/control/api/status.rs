//! How the node is, and which supernodes it knows.

use std::{net::SocketAddr, path::PathBuf};

use nearmesh_common::{NetName, NodeId, UserAddress};
use serde::{Deserialize, Serialize};

use super::{AsText, NodePath, Reachability};

/// How the node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node_id: AsText<NodeId>,
    /// Whose it is.
    pub user: UserAddress,
    /// In which net.
    pub net: NetName,
    /// What it does there.
    pub role: Role,
    /// Why, in a sentence.
    pub role_reason: String,
    /// The UDP port that it has.
    pub listen: SocketAddr,
    /// Where it is registered; a supernode is its own home.
    pub home: Option<Attachment>,
    /// Where it will be if the home fails.
    pub standby: Option<Attachment>,
    /// How many nodes are registered here.
    pub children: u32,
    /// How many supernodes it knows, itself included if it is one.
    pub supernodes: u32,
    /// How it is reached.
    pub reachability: Reachability,
    /// What it shares.
    pub shared: SharedTotal,
    /// What it forwards for others.
    pub relaying: Relaying,
    /// Where it can look for supernodes.
    pub bootstrap: Vec<Bootstrap>,
    /// How packets go to the nodes to which there are connections.
    pub paths: Vec<NodePath>,
    /// Milliseconds since it came up.
    pub uptime_ms: u64,
    /// Of the program.
    pub version: String,
    /// What its owner should know, in whole sentences. Empty when all is well.
    pub problems: Vec<String>,
}

/// What a node does in its net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is registered at a home.
    Ordinary,
    /// It also indexes for its children.
    Supernode,
}

/// A supernode to which the node is, or may soon be, attached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which.
    pub node_id: AsText<NodeId>,
    /// Where.
    pub address: Option<SocketAddr>,
    /// The way there and back.
    pub rtt_ms: Option<f64>,
}

/// How much is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedTotal {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is forwarded for pairs of nodes that cannot reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relaying {
    /// Pairs, now.
    pub sessions: u64,
    /// Bytes forwarded since it came up.
    pub bytes: u64,
    /// Packets forwarded since it came up.
    pub packets: u64,
    /// Reservations that it did not give since it came up.
    pub refused: u64,
    /// Relayed packets that it did not forward since it came up: of strangers, of moved or expired ones, beyond what it lends.
    pub dropped: u64,
}

/// A way to find supernodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Which.
    pub way: BootstrapWay,
    /// The list's path or the DNS name.
    pub place: Option<String>,
    /// How many supernodes it named when it was last asked; none if it was not needed so far.
    pub found: Option<u32>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A kind of way to find supernodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootstrapWay {
    /// What the ticket named and the host cache kept, when the node started.
    Remembered,
    /// A list in a file.
    List,
    /// A DNS name.
    Name,
    /// The local network.
    Local,
}

/// A supernode that the node knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supernode {
    /// Which.
    pub node_id: AsText<NodeId>,
    /// Where it is reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// How many nodes are registered there.
    pub children: Option<u32>,
    /// How many it takes.
    pub capacity: Option<u32>,
    /// The way there and back.
    pub rtt_ms: Option<f64>,
    /// Whether it is this node's home.
    pub home: bool,
}

/// What `nearmesh up` says when the node is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The node.
    pub node_id: AsText<NodeId>,
    /// Whose it is.
    pub user: UserAddress,
    /// The UDP port that it has.
    pub listen: SocketAddr,
    /// Where it takes orders.
    pub control_socket: PathBuf,
    /// Where it is registered, if it has found a home yet.
    pub home: Option<Attachment>,
}

impl Role {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary node",
            Self::Supernode => "supernode",
        }
    }
}
