//! Supernodes that do not keep to the protocol: what they do on the wire, put between their machine and the others.

use nearmesh_common::wire::mesh::Mesh;

use serde::{Deserialize, Serialize};

use super::{Net, calendar::Moment, machines::OWN_RTT, names::Peer};

/// How a peer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// It takes queries and answers none.
    DropsQueries,
    /// It seems to be next to everybody.
    ZeroRoundTrip,
}

impl Net {
    /// From now on `peer` lies.
    pub fn corrupt(&mut self, peer: Peer, lie: Lie) {
        self.lies.insert(peer, lie);
    }

    /// Whether a peer lies.
    pub fn lies(&self, peer: Peer) -> bool {
        self.lies.contains_key(&peer)
    }

    /// Whether a message is lost to a liar at one of its ends.
    pub(super) fn tampers(&self, from: Peer, to: Peer, message: &Mesh) -> bool {
        if self.lies.is_empty() {
            return false;
        }
        let drops = |peer: Peer| self.lies.get(&peer) == Some(&Lie::DropsQueries);
        match message {
            Mesh::Query { .. } => drops(to),
            Mesh::Answer { .. } => drops(from),
            _ => false,
        }
    }

    /// The round trip as `peer` measures it.
    pub(super) fn shown_rtt(&self, peer: Peer, other: Peer) -> Moment {
        match self.lies.get(&other) {
            Some(Lie::ZeroRoundTrip) => OWN_RTT,
            _ => self.rtt(peer, other),
        }
    }
}
