//! Connections to other members: one QUIC connection serves everything two nodes have to say to each other.
//!
//! Whoever needs a peer asks for a [`Lease`]; as long as one lives, further askers share its connection, and when the last is
//! dropped the connection is closed. A connection that a peer opened belongs to that peer: it lives until the peer closes it.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::DashMap;
use nearmesh_common::{NodeId, presence::MAX_ADDRESSES, wire::NodeAddress};
use nearmesh_relay::io::endpoint::{DialError, Endpoint};
use quinn::VarInt;
use thiserror::Error;
use tokio::{task::JoinSet, time::timeout};
use tracing::debug;

/// How long an address may take to answer before the next one is tried beside it (RFC 8305 section 5: 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long dialling a node may take in all. Longer than the transport's idle timeout serves nobody.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection is closed, as the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// Nothing more to say.
    Done = 0,
    /// The peer broke the protocol.
    Misbehaved = 1,
    /// The peer's certificate was revoked.
    Revoked = 2,
    /// Another connection took this one's place.
    Replaced = 3,
    /// This node is going down.
    Leaving = 4,
    /// This peer has too many connections open.
    TooMany = 5,
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        VarInt::from_u32(code as u32)
    }
}

/// Why a node was not reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is nowhere to try.
    #[error("no address of node {} is known", .0.short())]
    NoAddress(NodeId),
    /// Every address failed; this is how the last one did.
    #[error("node {} does not answer at {address}: {error}", .node.short())]
    Unreachable {
        /// Which node.
        node: NodeId,
        /// The last address tried.
        address: SocketAddr,
        /// What happened there.
        error: DialError,
    },
    /// Nothing answered in time.
    #[error("node {} did not answer within {} s", .0.short(), DIAL_TIMEOUT.as_secs())]
    TimedOut(NodeId),
}

/// A share in a connection.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Owned>);

#[derive(Debug)]
struct Owned(quinn::Connection);

impl Lease {
    /// The connection. Do not keep it longer than the lease.
    pub fn connection(&self) -> &quinn::Connection {
        &self.0.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.close(CloseCode::Done.into(), b"done");
    }
}

/// The connections that this node opened, by peer.
#[derive(Debug)]
pub struct Connections {
    endpoint: Endpoint,
    open: DashMap<NodeId, Weak<Owned>>,
}

impl Connections {
    /// None yet, over this endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, open: DashMap::new() }
    }

    /// A lease on the connection to `peer`, and whether it was opened by this very call.
    ///
    /// # Errors
    /// If no address of the peer leads to it.
    pub async fn lease(&self, peer: &NodeAddress) -> Result<(Lease, bool), ConnectError> {
        if let Some(lease) = self.existing(peer.node) {
            return Ok((lease, false));
        }
        let connection = dial(&self.endpoint, peer).await?;
        let owned = Arc::new(Owned(connection));
        self.open.insert(peer.node, Arc::downgrade(&owned));
        self.open.retain(|_, weak| weak.strong_count() > 0);
        Ok((Lease(owned), true))
    }

    fn existing(&self, node: NodeId) -> Option<Lease> {
        let owned = self.open.get(&node)?.upgrade()?;
        owned.0.close_reason().is_none().then_some(Lease(owned))
    }
}

/// Tries the addresses in order, each a little after the one before, and takes the first that answers.
async fn dial(endpoint: &Endpoint, peer: &NodeAddress) -> Result<quinn::Connection, ConnectError> {
    timeout(DIAL_TIMEOUT, dial_staggered(endpoint, peer))
        .await
        .unwrap_or(Err(ConnectError::TimedOut(peer.node)))
}

async fn dial_staggered(endpoint: &Endpoint, peer: &NodeAddress) -> Result<quinn::Connection, ConnectError> {
    let node = peer.node;
    let mut attempts = JoinSet::new();
    let mut addresses = peer.addresses.iter().copied().take(MAX_ADDRESSES);
    let mut last_error = ConnectError::NoAddress(node);
    let mut next = addresses.next();
    loop {
        if let Some(address) = next.take() {
            let endpoint = endpoint.clone();
            attempts.spawn(async move { (address, endpoint.dial(node, address).await) });
        }
        let outcome = match addresses.len() {
            0 => attempts.join_next().await,
            _ => match timeout(ATTEMPT_DELAY, attempts.join_next()).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    next = addresses.next();
                    continue;
                }
            },
        };
        match outcome {
            Some(Ok((_, Ok(connection)))) => return Ok(connection),
            Some(Ok((address, Err(error)))) => {
                debug!(node = %node.short(), %address, %error, "dialling failed");
                last_error = ConnectError::Unreachable { node, address, error };
            }
            Some(Err(_)) => {}
            None if addresses.len() == 0 => return Err(last_error),
            None => {}
        }
        next = addresses.next();
    }
}
