//! Which path the packets to a peer take, in the words for people.

use std::net::IpAddr;

use nearmesh_common::{NodeId, UserAddress, scope::Scope, signed::Signer};
use nearmesh_relay::proto::path;
use quinn::Connection;

use super::{accept::identify, connect::is_near, node::Node, people::millis};
use crate::control::api::{NodePath, PathKind, Way};

/// Most connections that are shown.
const MAX_SHOWN: usize = 32;

impl Node {
    /// The path that a connection's packets take now; none while there is no path.
    pub fn way(&self, peer: NodeId, connection: &Connection) -> Option<Way> {
        match self.sessions.beneath(peer, connection) {
            Some(session) => session.status().kind.map(|kind| self.in_words(kind)),
            None => {
                let near = self.is_near(connection.remote_address().ip());
                Some(Way { path: if near { PathKind::Lan } else { PathKind::Direct }, relay: None })
            }
        }
    }

    /// The path to a node, if there is a connection.
    pub fn path_to(&self, peer: NodeId) -> Option<NodePath> {
        let connection = self.connections.open(peer)?;
        self.describe(peer, &connection)
    }

    /// The paths to all nodes with which there are connections, each once.
    pub fn paths(&self) -> Vec<NodePath> {
        let mut all = self.connections.all();
        all.retain(|(_, connection)| connection.close_reason().is_none());
        all.sort_by_key(|(peer, _)| *peer);
        all.dedup_by_key(|(peer, _)| *peer);
        all.iter().filter_map(|(peer, connection)| self.describe(*peer, connection)).take(MAX_SHOWN).collect()
    }

    /// A kind of path in the words for people.
    pub fn in_words(&self, kind: path::PathKind) -> Way {
        match kind {
            path::PathKind::Lan => Way { path: PathKind::Lan, relay: None },
            path::PathKind::Direct => Way { path: PathKind::Direct, relay: None },
            path::PathKind::Relayed(relay) => {
                Way { path: PathKind::Relayed, relay: Some(self.name_of(relay)) }
            }
        }
    }

    fn describe(&self, peer: NodeId, connection: &Connection) -> Option<NodePath> {
        let way = self.way(peer, connection)?;
        let user = self.address_of(&identify(connection)?);
        let rtt = match self.sessions.beneath(peer, connection) {
            Some(session) => session.status().rtt,
            None => Some(connection.rtt()),
        };
        Some(NodePath { node_id: peer.into(), user, way, rtt_ms: rtt.map(millis) })
    }

    /// A node's user, if there is a connection that proves it; else its short id.
    fn name_of(&self, node: NodeId) -> String {
        let signer = self.connections.open(node).and_then(|connection| identify(&connection));
        signer.map_or_else(|| node.short().to_string(), |signer| self.address_of(&signer).to_string())
    }

    fn address_of(&self, signer: &Signer) -> UserAddress {
        UserAddress { user: signer.user.clone(), net: self.address.net.clone() }
    }

    /// Whether an address is on this machine or in a local network that this machine is in.
    fn is_near(&self, remote: IpAddr) -> bool {
        let carrier = matches!(remote, IpAddr::V4(v4) if !v4.is_private() && !v4.is_link_local());
        match Scope::of(remote) {
            Scope::Host => true,
            Scope::Site if !carrier => true,
            _ => self.whereabouts.borrow().host.iter().any(|own| is_near(own.ip(), remote)),
        }
    }
}
