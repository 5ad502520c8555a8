//! What a NAT does, in the terms of RFC 4787, and what follows for those who want to reach the node behind it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which outside address a NAT gives to packets of one inside address (RFC 4787, section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mapping {
    /// Not measured, or by too few observers.
    #[default]
    Unknown,
    /// The outside address is the node's own: nothing is translated.
    NoTranslation,
    /// The same towards everybody (EIM).
    EndpointIndependent,
    /// The same for one destination address, whatever the port (ADM).
    AddressDependent,
    /// Another for each destination address and port (APDM): a symmetric NAT.
    AddressAndPortDependent,
}

/// Whose packets a NAT or firewall lets in (RFC 4787, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Filtering {
    /// Not measured.
    #[default]
    Unknown,
    /// Everybody's (EIF).
    EndpointIndependent,
    /// Those of addresses that were sent to, from any port (ADF).
    AddressDependent,
    /// Only those of addresses and ports that were sent to (APDF).
    AddressAndPortDependent,
}

/// What stands between a node and the net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nat {
    /// How it maps.
    pub mapping: Mapping,
    /// How it filters.
    pub filtering: Filtering,
    /// How far the ports of consecutive mappings lie apart, where they follow one another: such a NAT can be guessed.
    pub port_step: Option<i8>,
    /// Whether two nodes behind it reach each other by its outside addresses (RFC 4787, section 6).
    pub hairpinning: Option<bool>,
}

/// Whether, and how, others can reach a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// Not known yet.
    #[default]
    Unknown,
    /// Anybody can send to its addresses at any time.
    Reachable,
    /// Only those who are expected.
    Behind(Nat),
    /// No UDP comes back.
    Blocked,
}

impl Mapping {
    /// Whether a peer can be told beforehand from which address packets to it will come.
    pub fn is_stable(self) -> bool {
        matches!(self, Self::NoTranslation | Self::EndpointIndependent)
    }
}

impl Reach {
    /// Whether one can simply dial.
    pub fn is_reachable(self) -> bool {
        self == Self::Reachable
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::NoTranslation => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        })
    }
}

impl fmt::Display for Filtering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        })
    }
}
