//! Handshakes of those who dial us: side by side, bounded in number and time, each with the face that fits.
//!
//! A newcomer keeps its place among [`MAX_NEWCOMERS`] until it has left, because nothing else bounds how many connections
//! somebody without a certificate can open.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use quinn::{Connecting, Connection, Incoming};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tracing::debug;

use super::{
    counters::{Count, Counters},
    forward::Forwarding,
    paths::peer::Peer,
    socket::SharedSocket,
    tls::{ENROL_MARKER, QuicConfigs},
};
use crate::proto::admission::{Admission, MAX_HANDSHAKES, MAX_NEWCOMERS, admit};

/// How long a handshake may take. The idle timeout ends the silent ones, this the ones that trickle (guess).
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long an enrolment may take, so that nobody without a certificate keeps a place (guess).
pub const ENROL_LIMIT: Duration = Duration::from_secs(20);
/// Connections that wait to be accepted. Beyond that, handshakes are kept waiting (guess).
pub const MAX_WAITING: usize = 64;

/// Somebody who dialled us.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// A member: its certificate was verified.
    Member(Connection),
    /// Anybody, on the enrolment protocol.
    Enrol(Connection),
}

/// The configurations that new connections get, replaceable while others go on.
pub(crate) type Current = Arc<RwLock<Arc<QuicConfigs>>>;

#[derive(Debug, Default)]
pub(crate) struct AcceptCounts {
    accepted: Count,
    failed: Count,
    retries: Count,
    ignored: Count,
    enrol_refused: Count,
}

pub(crate) struct Acceptor {
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) socket: Arc<SharedSocket>,
    pub(crate) current: Current,
    pub(crate) counts: Arc<AcceptCounts>,
    pub(crate) accepted: mpsc::Sender<Accepted>,
    pub(crate) forwarding: Forwarding,
}

#[derive(Clone)]
enum Face {
    Member,
    /// One that should be this peer.
    OverPath(Arc<Peer>),
    Enrol,
}

impl Acceptor {
    /// Runs until the endpoint is closed.
    pub(crate) async fn run(self) {
        let (mut members, mut newcomers) = (JoinSet::new(), JoinSet::new());
        loop {
            tokio::select! {
                incoming = self.quinn.accept() => match incoming {
                    Some(incoming) => self.on_incoming(incoming, &mut members, &mut newcomers),
                    None => return,
                },
                Some(_) = members.join_next() => {}
                Some(_) = newcomers.join_next() => {}
            }
        }
    }

    fn on_incoming(&self, incoming: Incoming, members: &mut JoinSet<()>, newcomers: &mut JoinSet<()>) {
        let configs = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (face, config, tasks, limit) = if incoming.orig_dst_cid().starts_with(&ENROL_MARKER) {
            let Some(config) = configs.enrol_server.clone() else {
                self.counts.enrol_refused.up();
                return incoming.refuse();
            };
            (Face::Enrol, config, newcomers, MAX_NEWCOMERS)
        } else if let Some(peer) = self.socket.paths().peer(incoming.remote_address()) {
            let config = configs.path_server(peer.epoch.clone());
            (Face::OverPath(peer), config, members, MAX_HANDSHAKES)
        } else {
            (Face::Member, configs.server.clone(), members, MAX_HANDSHAKES)
        };
        match admit(tasks.len(), limit, incoming.remote_address_validated()) {
            Admission::Ignore => {
                self.counts.ignored.up();
                incoming.ignore();
            }
            Admission::ProveAddress => {
                self.counts.retries.up();
                if let Err(error) = incoming.retry() {
                    debug!(%error, "a proved address was asked for proof");
                }
            }
            Admission::Begin => match incoming.accept_with(config) {
                Ok(connecting) => {
                    let (counts, accepted) = (self.counts.clone(), self.accepted.clone());
                    tasks.spawn(handshake(connecting, face, counts, accepted, self.forwarding.clone()));
                }
                Err(error) => {
                    debug!(%error, "a first packet was not accepted");
                    self.counts.failed.up();
                }
            },
        }
    }
}

async fn handshake(
    connecting: Connecting,
    face: Face,
    counts: Arc<AcceptCounts>,
    accepted: mpsc::Sender<Accepted>,
    forwarding: Forwarding,
) {
    let from = connecting.remote_address();
    let connection = match timeout(HANDSHAKE_LIMIT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            debug!(%from, %error, "a handshake failed");
            return counts.failed.up();
        }
        Err(_) => {
            debug!(%from, "a handshake took too long");
            return counts.failed.up();
        }
    };
    match face {
        // The verifier has seen to it. Should it ever not demand a certificate, nobody comes in by that.
        Face::Member | Face::OverPath(_) if connection.peer_identity().is_none() => {
            connection.close(0u32.into(), b"no certificate");
            counts.failed.up();
        }
        Face::Member | Face::OverPath(_) => {
            if let Face::OverPath(peer) = face {
                peer.adopt(connection.clone());
            }
            counts.accepted.up();
            forwarding.proved().insert(&connection, from);
            // Nobody is there to take it: the endpoint is being dropped, and the connection with it.
            let _ = accepted.send(Accepted::Member(connection)).await;
        }
        Face::Enrol => {
            counts.accepted.up();
            let _ = accepted.send(Accepted::Enrol(connection.clone())).await;
            if timeout(ENROL_LIMIT, connection.closed()).await.is_err() {
                connection.close(0u32.into(), b"too slow");
            }
        }
    }
}

impl AcceptCounts {
    pub(crate) fn fill(&self, counters: &mut Counters) {
        counters.accepted = self.accepted.get();
        counters.handshakes_failed = self.failed.get();
        counters.retries = self.retries.get();
        counters.handshakes_ignored = self.ignored.get();
        counters.enrol_refused = self.enrol_refused.get();
    }
}
