//! Reaching a node: the ways there are, which of them are tried, and in which order.
//!
//! A connection that is there is used, whoever opened it. Else the addresses of the node are dialled, unless the node says that this
//! leads nowhere. Where it leads nowhere soon, the node is asked by way of its home: by a node that can be dialled, to dial; by any
//! other, to look for a path together. Whatever comes first is the connection.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use nearmesh_common::{
    NodeId,
    nat::Reach,
    pace::Pace,
    presence::Presence,
    wire::{NodeAddress, query::Source},
};
use nearmesh_relay::{DialError, PeerPathError};
use thiserror::Error;
use tokio::time::sleep;

use super::{
    connections::Lease,
    dialling::{UnreachedError, dial},
    node::Node,
};

/// How long plain dialling has before other ways are tried beside it (RFC 8305: 250 ms, and a round trip at 50 ms).
const HEAD_START: Duration = Duration::from_millis(300);
/// The same if only addresses in our own network are dialled. Most home networks have the same few numbers, so that often nobody is there
/// (guess: a handshake between two slow machines).
const NEAR_HEAD_START: Duration = Duration::from_millis(50);

/// A node that is to be reached, and what is known of how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which node must answer.
    pub node: NodeId,
    /// Where to try, best first.
    pub addresses: Vec<SocketAddr>,
    /// The supernode through which it can be asked, if it has to be.
    pub home: Option<NodeId>,
    /// Whether it can be dialled, by its own word.
    pub reach: Reach,
    /// How soon the end of a connection to it must be noticed, if it is dialled.
    pub pace: Pace,
}

/// Why a node was not reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// None of its addresses led to it.
    #[error(transparent)]
    Unreached(#[from] UnreachedError),
    /// Its home does not know it.
    #[error("node {} is not at its home any more", .0.short())]
    NotAtHome(NodeId),
    /// It was asked to dial, and did not.
    #[error("node {} was asked to dial, and did not come", .0.short())]
    DidNotDial(NodeId),
    /// It was called, and nothing came back, neither from it nor from its home.
    #[error("node {} does not answer by way of its home", .0.short())]
    NoAnswer(NodeId),
    /// It answered, but packets pass neither directly nor through a relay.
    #[error("no path to node {}: packets pass neither directly nor through a relay", .0.short())]
    NoPath(NodeId),
    /// It looks for paths to too many others already.
    #[error("node {} is busy with too many others", .0.short())]
    Busy(NodeId),
    /// It was called over a path, and did not let us in.
    #[error("node {} did not connect: {error}", .node.short())]
    Handshake {
        /// Which node.
        node: NodeId,
        /// Why.
        error: DialError,
    },
    /// This node has no home by which to call it.
    #[error("this node has no home yet by which others can be called")]
    NoHome,
    /// This node looks for paths to too many others already.
    #[error(transparent)]
    Crowded(PeerPathError),
}

impl From<NodeAddress> for Target {
    fn from(NodeAddress { node, addresses }: NodeAddress) -> Self {
        Self { node, addresses, home: None, reach: Reach::Unknown, pace: Pace::Quick }
    }
}

impl From<&Presence> for Target {
    fn from(presence: &Presence) -> Self {
        let addresses = presence.addresses.clone();
        Self {
            node: presence.node,
            addresses,
            home: Some(presence.home),
            reach: presence.reach,
            pace: Pace::Quick,
        }
    }
}

impl From<&Source> for Target {
    fn from(source: &Source) -> Self {
        let addresses = source.addresses.to_vec();
        Self { node: source.node, addresses, home: Some(source.home), reach: source.reach, pace: Pace::Quick }
    }
}

impl Node {
    /// A connection to a peer, shared with whoever else uses it. Streams that the peer opens on it are served.
    ///
    /// # Errors
    /// If no way leads to the peer.
    pub async fn connect(self: &Arc<Self>, peer: &Target) -> Result<Lease, ConnectError> {
        if let Some(lease) = self.connections.leased(peer.node) {
            return Ok(lease);
        }
        let _turn = self.connections.turn(peer.node).await;
        if let Some(lease) = self.connections.leased(peer.node) {
            return Ok(lease);
        }
        if let Some(lease) = self.connections.keep(peer.node).await {
            return Ok(lease);
        }
        let Some(home) = peer.home else { return self.dial(peer).await };
        let may_lead = self.dialable(peer);
        let head_start = match peer.reach {
            _ if may_lead.addresses.is_empty() => Duration::ZERO,
            Reach::Behind(_) | Reach::Blocked => NEAR_HEAD_START,
            Reach::Reachable | Reach::Unknown => HEAD_START,
        };
        let asking = async {
            sleep(head_start).await;
            self.ask(peer, home).await
        };
        either(self.dial(&may_lead), asking).await
    }

    /// Has the peer dial, if this node can be dialled; calls it, if it cannot; does both, if nobody knows yet.
    async fn ask(self: &Arc<Self>, peer: &Target, home: NodeId) -> Result<Lease, ConnectError> {
        let reach = self.whereabouts.borrow().reach;
        match reach {
            Reach::Reachable => match self.have_dialled(peer, home).await {
                Err(ConnectError::DidNotDial(_)) => self.call(peer, home).await,
                outcome => outcome,
            },
            Reach::Behind(_) | Reach::Blocked => self.call(peer, home).await,
            Reach::Unknown => {
                let calling = async {
                    sleep(HEAD_START).await;
                    self.call(peer, home).await
                };
                either(self.have_dialled(peer, home), calling).await
            }
        }
    }

    async fn dial(self: &Arc<Self>, peer: &Target) -> Result<Lease, ConnectError> {
        let address = NodeAddress { node: peer.node, addresses: peer.addresses.clone() };
        let connection = dial(&self.endpoint, &address, peer.pace).await?;
        Ok(self.adopt(peer.node, connection))
    }

    /// The peer with those of its addresses at which it may hear us: of one that strangers do not reach, those in our own network.
    fn dialable(&self, peer: &Target) -> Target {
        let mut peer = peer.clone();
        if matches!(peer.reach, Reach::Behind(_) | Reach::Blocked) {
            let own = self.whereabouts.borrow().host.clone();
            peer.addresses.retain(|address| own.iter().any(|own| is_near(own.ip(), address.ip())));
        }
        peer
    }

    /// Takes over a connection that this node opened, and serves the streams that the peer opens on it.
    pub fn adopt(self: &Arc<Self>, peer: NodeId, connection: quinn::Connection) -> Lease {
        let lease = self.connections.adopt(peer, connection.clone());
        self.close_if_revoked(&connection);
        if let Some(signer) = super::accept::identify(&connection) {
            let own = lease.downgrade();
            let node = Arc::clone(self);
            tokio::spawn(async move {
                super::accept::serve_streams(&node, &signer, &connection, Some(&own)).await;
            });
        }
        lease
    }
}

/// Whether two addresses are likely to be in one network. What it spans is not known here: the usual /24 and /64 (guess).
pub fn is_near(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        _ => false,
    }
}

/// Whichever succeeds first; if neither does, how the second failed, or the first if that got further than having no address.
async fn either(
    first: impl Future<Output = Result<Lease, ConnectError>>,
    second: impl Future<Output = Result<Lease, ConnectError>>,
) -> Result<Lease, ConnectError> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    tokio::select! {
        outcome = &mut first => match outcome {
            Ok(lease) => Ok(lease),
            Err(ConnectError::Unreached(UnreachedError::NoAddress(_))) => second.await,
            Err(error) => second.await.map_err(|_| error),
        },
        outcome = &mut second => match outcome {
            Ok(lease) => Ok(lease),
            Err(error) => match first.await {
                Err(ConnectError::Unreached(UnreachedError::NoAddress(_))) => Err(error),
                outcome => outcome,
            },
        },
    }
}
