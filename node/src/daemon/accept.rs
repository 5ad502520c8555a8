//! What peers ask of this node: every stream that a peer opens, on connections either side opened.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use dashmap::DashMap;
use nearmesh_common::{
    NodeId,
    frame::{MAX_OPEN_FRAME, read_frame, write_frame},
    identity::peer_identity,
    signed::Signer,
    wire::{
        Open,
        stream::{InviteReply, Pong},
    },
};
use nearmesh_relay::{
    VirtualAddr,
    io::{endpoint::Accepted, reservation, transport},
};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tracing::debug;

use super::{
    connections::{CloseCode, Lease, WeakLease, keep_for_peer},
    node::Node,
};

/// How long a peer may take to say what a stream is for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that one peer may have open here at once: a link, a transfer, and a few that are closing.
const MAX_PER_PEER: usize = 8;
/// Connections that peers may have open here in all (at about 42 KB each: 420 MB).
const MAX_IN_ALL: usize = 10_000;

/// How many connections each peer has open here, and all of them together.
#[derive(Debug, Default)]
pub struct Incoming {
    peers: DashMap<NodeId, usize>,
    all: AtomicUsize,
}

impl Incoming {
    /// Counts one; whether there is room for it. [`Self::leave`] has to follow in any case.
    fn enter(&self, peer: NodeId) -> bool {
        let all = self.all.fetch_add(1, Relaxed) + 1;
        let mut open = self.peers.entry(peer).or_insert(0);
        *open += 1;
        *open <= MAX_PER_PEER && all <= MAX_IN_ALL
    }

    fn leave(&self, peer: NodeId) {
        self.all.fetch_sub(1, Relaxed);
        if let Some(mut open) = self.peers.get_mut(&peer) {
            *open -= 1;
        }
        self.peers.remove_if(&peer, |_, open| *open == 0);
    }
}

/// Who is at the other end, as the verified certificate says.
pub fn identify(connection: &quinn::Connection) -> Option<Signer> {
    peer_identity(&[certificate(connection)?]).ok()
}

/// The certificate at the other end, verified when the connection was made.
pub fn certificate(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let identity = connection.peer_identity()?;
    identity.downcast_ref::<Vec<CertificateDer<'static>>>()?.first().cloned()
}

/// Accepts connections until the endpoint closes.
pub async fn accept_connections(node: Arc<Node>) {
    while let Some(accepted) = node.endpoint.accept().await {
        match accepted {
            Accepted::Member(connection) => {
                tokio::spawn(serve_incoming(Arc::clone(&node), connection));
            }
            Accepted::Enrol(connection) => {
                tokio::spawn(Arc::clone(&node).serve_enrolment(connection));
            }
        }
    }
}

async fn serve_incoming(node: Arc<Node>, connection: quinn::Connection) {
    let Some(signer) = identify(&connection) else {
        connection.close(CloseCode::Misbehaved.into(), b"no certificate of this net");
        return;
    };
    let peer = signer.node;
    if let Some(address) = VirtualAddr::of(connection.remote_address())
        && node.endpoint.peer_of(address) != Some(peer)
    {
        connection.close(CloseCode::Misbehaved.into(), b"not who was expected here");
        return;
    }
    if node.incoming.enter(peer) {
        node.sessions.on_connection(peer, &connection);
        node.connections.accepted(peer, connection.clone());
        node.close_if_revoked(&connection);
        serve_streams(&node, &signer, &connection, None).await;
        node.connections.accepted_ended(peer, &connection);
    } else {
        connection.close(CloseCode::TooMany.into(), b"too many connections");
    }
    node.incoming.leave(peer);
}

/// Serves the streams that the peer opens on a connection until it closes; each of them keeps one that is ours, `own`, open.
pub async fn serve_streams(
    node: &Arc<Node>,
    signer: &Signer,
    connection: &quinn::Connection,
    own: Option<&WeakLease>,
) {
    while let Ok(stream) = connection.accept_bi().await {
        let lease = own.and_then(WeakLease::upgrade);
        if own.is_some() && lease.is_none() {
            return;
        }
        let (node, signer, connection) = (Arc::clone(node), signer.clone(), connection.clone());
        tokio::spawn(async move {
            let peer = signer.node;
            if let Err(refused) = serve_stream(node, signer, &connection, lease, stream).await {
                debug!(peer = %peer.short(), %refused, "a stream was not served");
                connection.close(CloseCode::Misbehaved.into(), b"a stream that is none of ours");
            }
        });
    }
}

/// A stream that opened with something else than an [`Open`], or with nothing in time, or went on with garbage.
#[derive(Debug, thiserror::Error)]
#[error("garbage, or nothing: {0}")]
struct BadOpening(String);

async fn serve_stream(
    node: Arc<Node>,
    peer: Signer,
    connection: &quinn::Connection,
    lease: Option<Lease>,
    (mut send, mut receive): (quinn::SendStream, quinn::RecvStream),
) -> Result<(), BadOpening> {
    let open = timeout(OPEN_TIMEOUT, read_frame::<Open>(&mut receive, MAX_OPEN_FRAME))
        .await
        .map_err(|_| BadOpening("too late".to_owned()))?
        .map_err(|error| BadOpening(error.to_string()))?;
    if matches!(open, Open::Ranges(_) | Open::Offer(_) | Open::Relay(_) | Open::Keep) {
        transport::allow_more_streams(connection);
    }
    match open {
        Open::Link => {
            node.links.accept(peer, connection.clone(), lease, (send, receive)).await;
        }
        Open::Ranges(request) => node.serve_ranges(peer.node, request, send).await,
        Open::Offer(offer) => node.receive_offer(peer, connection, offer, send).await,
        Open::Relay(request) => {
            let forwarding = node.endpoint.forwarding();
            let served = reservation::serve(forwarding, connection, peer.node, request, send, receive).await;
            return served.map_err(|error| BadOpening(error.to_string()));
        }
        Open::Keep => keep_for_peer(lease, send, receive).await,
        Open::Ping => {
            let observed =
                node.endpoint.direct_remote(connection).unwrap_or_else(|| connection.remote_address());
            answer(&mut send, &Pong { observed }).await;
        }
        Open::Measure => node.measuring.serve(send, receive).await,
        Open::Invite => {
            let reply = node.invite_for_peer(&peer.user).await;
            let reply = reply.map_or(InviteReply::NotTheAuthority, InviteReply::Ticket);
            answer(&mut send, &reply).await;
        }
    }
    Ok(())
}

/// Answers with one frame. A peer that went away meanwhile needs none.
async fn answer<T: serde::Serialize>(send: &mut quinn::SendStream, reply: &T) {
    if write_frame(send, reply).await.is_ok() {
        let _ = send.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        NodeId(id)
    }

    #[test]
    fn a_peer_has_its_share_and_all_together_no_more_than_there_is_room_for() {
        let incoming = Incoming::default();
        let peers = MAX_IN_ALL / MAX_PER_PEER;
        for peer in 0..peers {
            assert!((0..MAX_PER_PEER).all(|_| incoming.enter(node(peer))));
        }
        assert!(!incoming.enter(node(peers)), "somebody else");
        incoming.leave(node(peers));
        incoming.leave(node(0));
        assert!(incoming.enter(node(peers)), "there is room again");
        (1..MAX_PER_PEER).for_each(|_| incoming.leave(node(0)));
        assert_eq!(incoming.peers.len(), peers, "who has none open is forgotten");
    }

    #[test]
    fn a_refused_connection_that_leaves_takes_no_other_ones_place() {
        let incoming = Incoming::default();
        assert!((0..MAX_PER_PEER).all(|_| incoming.enter(node(1))));
        for _ in 0..3 {
            assert!(!incoming.enter(node(1)));
            incoming.leave(node(1));
        }
        (0..MAX_PER_PEER).for_each(|_| incoming.leave(node(1)));
        assert!(incoming.peers.is_empty() && incoming.all.load(Relaxed) == 0);
    }

    #[test]
    fn what_an_idle_connection_keeps_is_small() {
        fn future<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
            size_of::<F>()
        }
        let serving = future(|(node, connection)| serve_incoming(node, connection));
        // 384 with what a task adds.
        assert!(serving <= 272, "{serving} bytes");
    }
}
