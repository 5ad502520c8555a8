//! Dialling a node whose addresses are known.

use std::{net::SocketAddr, time::Duration};

use nearmesh_common::{
    NodeId, dialable::is_dialable, pace::Pace, presence::MAX_ADDRESSES, scope::Scope, wire::NodeAddress,
};
use nearmesh_relay::{DialError, Endpoint};
use thiserror::Error;
use tokio::{task::JoinSet, time::timeout};
use tracing::debug;

/// How long an address may take to answer before the next one is tried beside it (RFC 8305 section 5: 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The same for an address that is only good within one network: either it answers at once, or nobody is there (guess: as for the
/// head start in `connect`).
const NEAR_ATTEMPT_DELAY: Duration = Duration::from_millis(50);
/// How long dialling a node may take in all (guess: three round trips over a slow access network, a packet of each lost).
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no address of a node led to it.
#[derive(Debug, Error)]
pub enum UnreachedError {
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

/// Tries the addresses in order, each a little after the one before, and takes the first that answers.
///
/// # Errors
/// If none does.
pub async fn dial(
    endpoint: &Endpoint,
    peer: &NodeAddress,
    pace: Pace,
) -> Result<quinn::Connection, UnreachedError> {
    timeout(DIAL_TIMEOUT, dial_staggered(endpoint, peer, pace))
        .await
        .unwrap_or(Err(UnreachedError::TimedOut(peer.node)))
}

async fn dial_staggered(
    endpoint: &Endpoint,
    peer: &NodeAddress,
    pace: Pace,
) -> Result<quinn::Connection, UnreachedError> {
    let node = peer.node;
    let mut attempts = JoinSet::new();
    let dialable = peer.addresses.iter().copied().filter(|address| is_dialable(*address));
    let mut addresses = dialable.take(MAX_ADDRESSES).collect::<Vec<_>>().into_iter();
    let mut last_error = UnreachedError::NoAddress(node);
    let mut next = addresses.next();
    let mut delay = ATTEMPT_DELAY;
    loop {
        if let Some(address) = next.take() {
            delay = if Scope::of(address.ip()) == Scope::Global { ATTEMPT_DELAY } else { NEAR_ATTEMPT_DELAY };
            let endpoint = endpoint.clone();
            attempts.spawn(async move { (address, endpoint.dial_at(pace, node, address).await) });
        }
        let outcome = match addresses.len() {
            0 => attempts.join_next().await,
            _ => match timeout(delay, attempts.join_next()).await {
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
                last_error = UnreachedError::Unreachable { node, address, error };
            }
            Some(Err(_)) => {}
            None if addresses.len() == 0 => return Err(last_error),
            None => {}
        }
        next = addresses.next();
    }
}
