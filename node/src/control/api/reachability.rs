//! How the node is reached, in the words of RFC 4787.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// How the node is reached, and what stands before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reachability {
    /// One plain sentence.
    pub verdict: String,
    /// The same for programs.
    pub reach: Reach,
    /// Which outside address the NAT gives (RFC 4787, section 4.1): `none` (nothing is translated), `endpoint-independent`,
    /// `address-dependent`, `address-and-port-dependent`.
    pub mapping: Option<String>,
    /// Whose packets come in (RFC 4787, section 5): `endpoint-independent` (everybody's), `address-dependent`,
    /// `address-and-port-dependent`.
    pub filtering: Option<String>,
    /// How far consecutive ports of a NAT that counts them lie apart.
    pub port_step: Option<i8>,
    /// Whether two nodes behind the NAT reach each other by its outside addresses (RFC 4787, section 6).
    pub hairpinning: Option<bool>,
    /// A silence that the NAT was seen to survive, in milliseconds: its mappings live at least so long. 120,000 at most.
    pub mapping_lifetime_ms: Option<u64>,
    /// How often something is sent on a silent path to a peer, in milliseconds.
    pub keep_alive_ms: u64,
    /// The machine's own addresses with the node's port.
    pub host: Vec<SocketAddr>,
    /// The node's address as supernodes see it, where it is none of its own; several if they do not agree.
    pub server_reflexive: Vec<SocketAddr>,
    /// What the router was asked for, and gave.
    pub port_mapping: PortMapping,
    /// Whether the node relays for others.
    pub relays: bool,
}

/// Whether others can reach the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Not known.
    Unknown,
    /// Everybody can, at any time.
    Reachable,
    /// Those can who are expected.
    Behind,
    /// No UDP comes back.
    Blocked,
}

/// What the router was asked for, and gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PortMapping {
    /// It is not asked.
    Off,
    /// It is being asked.
    Asking,
    /// It offers none.
    None,
    /// It sends on to the node what comes to `address`.
    Mapped {
        /// How it was asked: `PCP`, `NAT-PMP` or `UPnP`.
        protocol: String,
        /// Outside.
        address: SocketAddr,
        /// Whether the internet knows that address, as far as supernodes see; otherwise the router is behind another NAT itself.
        public: bool,
    },
}
