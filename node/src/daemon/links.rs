//! Links: the long-lived stream of messages between a node and its home, or between two supernodes.
//!
//! Two nodes hold at most one link, whoever opened it; the protocol machines rely on that. When both open one at
//! the same moment, the one opened by the lower node id stays. When a peer opens a new one long after, it has
//! restarted, and the new one replaces the old.
//!
//! A link is a stream: where it ends, the connection goes on, if others use it.
//!
//! Invariant: the events of one peer's links come in the order in which the links stood in the table. So they are sent while the table is locked, into
//! places that were reserved before; whoever heard of an old link after the new one would take the old one for the link, and never hear of it again.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::{DashMap, Entry};
use futures_util::future::join_all;
use nearmesh_common::{
    NodeId,
    frame::{MAX_LINK_FRAME, ReadFrameError, read_frame, write_frame},
    pace::Pace,
    signed::Signer,
    wire::{LinkMessage, NodeAddress, Open},
};
use nearmesh_supernode::proto::Peer;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tracing::debug;

use super::{
    connect::{ConnectError, Target},
    connections::{CloseCode, Lease},
    node::Node,
    outbox::{Outbox, Waiting, outbox},
    pulse::{self, Pulse},
};

/// How long the last messages of a link that is being closed may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Two links younger than this crossed each other; an older one is stale.
const CROSSING: Duration = Duration::from_secs(3);

/// One link in the life of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId(u64);

/// What happens on links.
#[derive(Debug)]
pub enum LinkEvent {
    /// A link is open.
    Up {
        /// Which.
        id: LinkId,
        /// To whom.
        peer: Peer,
    },
    /// A message, its bounds checked.
    Message {
        /// On which link.
        id: LinkId,
        /// From whom.
        node: NodeId,
        /// What. In a box, or each task that reads from a link would have room for the largest one.
        message: Box<LinkMessage>,
    },
    /// The link is gone.
    Down {
        /// Which.
        id: LinkId,
        /// To whom.
        node: NodeId,
    },
    /// A dial led nowhere.
    DialFailed {
        /// To whom.
        node: NodeId,
    },
}

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    Us,
    Peer,
}

struct Link {
    id: LinkId,
    outbox: Outbox,
    connection: quinn::Connection,
    opener: Opener,
    since: Instant,
    pulse: Pulse,
    writer: JoinHandle<()>,
    /// Keeps the connection open; one that the peer opened the link on is kept by the peer.
    _lease: Option<Lease>,
    /// Whoever reads from the link stops when this is dropped.
    _reading: oneshot::Sender<Infallible>,
}

/// All links of this node.
pub struct Links {
    me: NodeId,
    table: DashMap<NodeId, Link>,
    next: AtomicU64,
    events: mpsc::Sender<LinkEvent>,
}

impl Links {
    /// None yet; what happens is told through `events`.
    pub fn new(me: NodeId, events: mpsc::Sender<LinkEvent>) -> Arc<Self> {
        let links = Arc::new(Self { me, table: DashMap::new(), next: AtomicU64::new(0), events });
        tokio::spawn(pulse::keep(Arc::downgrade(&links)));
        links
    }

    /// Opens a link to `peer`, unless there is one. Told by `Up` or `DialFailed`.
    pub async fn dial(self: Arc<Self>, node: &Arc<Node>, peer: NodeAddress) {
        if self.table.contains_key(&peer.node) {
            return;
        }
        if let Err(error) = self.try_dial(node, &peer).await {
            debug!(node = %peer.node.short(), %error, "no link");
            let _ = self.events.send(LinkEvent::DialFailed { node: peer.node }).await;
        }
    }

    async fn try_dial(self: &Arc<Self>, node: &Arc<Node>, peer: &NodeAddress) -> Result<(), LinkError> {
        let lease = node.connect(&Target { pace: Pace::Slow, ..peer.clone().into() }).await?;
        let connection = lease.connection().clone();
        let signer = super::accept::identify(&connection).ok_or(LinkError::Unidentified)?;
        // Before anything of this link can be answered.
        let heard = pulse::heard(&connection);
        let (mut send, receive) = connection.open_bi().await.map_err(|_| LinkError::Broken)?;
        write_frame(&mut send, &Open::Link).await.map_err(|_| LinkError::Broken)?;
        self.admit(signer, (Opener::Us, heard), Some(lease), connection, (send, receive)).await;
        Ok(())
    }

    /// Takes a link that a peer opened (its `Open::Link` was read), and serves it until it ends. There is a lease if the connection
    /// is ours.
    pub async fn accept(
        self: &Arc<Self>,
        signer: Signer,
        connection: quinn::Connection,
        lease: Option<Lease>,
        stream: (quinn::SendStream, quinn::RecvStream),
    ) {
        let heard = pulse::heard(&connection);
        self.admit(signer, (Opener::Peer, heard), lease, connection, stream).await;
    }

    /// Sends on the link to `to`; says whether there was one.
    pub fn send(&self, to: NodeId, message: LinkMessage) -> bool {
        let Some(link) = self.table.get(&to) else { return false };
        let sent = link.outbox.put(&message);
        if !sent {
            debug!(node = %to.short(), "the peer is too far behind: its link is closed");
            link.connection.close(CloseCode::Done.into(), b"too far behind");
        }
        sent
    }

    /// From now on the end of the link to `node` must be noticed so soon.
    pub fn want(&self, node: NodeId, pace: Pace) {
        let told = self.table.get_mut(&node).and_then(|mut link| link.pulse.want(pace, Instant::now()));
        if let Some(pace) = told {
            self.send(node, LinkMessage::Pulse(pace));
        }
    }

    /// Every link, with its connection and what is known of its other end's life.
    pub(super) fn each_pulse(&self, mut look: impl FnMut(NodeId, &quinn::Connection, &mut Pulse)) {
        for mut link in self.table.iter_mut() {
            let (node, Link { connection, pulse, .. }) = link.pair_mut();
            look(*node, connection, pulse);
        }
    }

    fn on_pulse(&self, id: LinkId, node: NodeId, pace: Pace) {
        if let Some(mut link) = self.table.get_mut(&node).filter(|link| link.id == id) {
            link.pulse.on_pulse(pace, Instant::now());
        }
    }

    /// Closes the link to `node`: at once if the peer is at fault, else after what waits for it has been written.
    pub fn close(&self, node: NodeId, code: CloseCode) {
        let Some((_, link)) = self.table.remove(&node) else { return };
        match code {
            CloseCode::Done => drop(tokio::spawn(link.retire())),
            _ => link.connection.close(code.into(), b""),
        }
    }

    /// The connection of the link to `node`.
    pub fn connection(&self, node: NodeId) -> Option<quinn::Connection> {
        self.table.get(&node).map(|link| link.connection.clone())
    }

    /// Every linked peer with its connection.
    pub fn connections(&self) -> Vec<(NodeId, quinn::Connection)> {
        self.table.iter().map(|link| (*link.key(), link.connection.clone())).collect()
    }

    /// The round trip of the link to `node`, as the transport measures it.
    pub fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.table.get(&node).map(|link| link.connection.rtt())
    }

    /// Ends every link once what waits for its peer has been written and acknowledged.
    pub async fn flush(&self) {
        let links: Vec<Link> = {
            let peers: Vec<NodeId> = self.table.iter().map(|link| *link.key()).collect();
            peers.into_iter().filter_map(|peer| self.table.remove(&peer)).map(|(_, link)| link).collect()
        };
        // Side by side: nobody waits for a peer that is gone.
        join_all(links.into_iter().map(Link::retire)).await;
    }

    async fn admit(
        self: &Arc<Self>,
        signer: Signer,
        (opener, heard): (Opener, u64),
        lease: Option<Lease>,
        connection: quinn::Connection,
        (send, receive): (quinn::SendStream, quinn::RecvStream),
    ) {
        let node = signer.node;
        let id = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
        let (outbox, waiting) = outbox();
        let (reading, ended) = oneshot::channel();
        let link = Link {
            id,
            outbox,
            connection: connection.clone(),
            opener,
            since: Instant::now(),
            pulse: Pulse::new(opener == Opener::Us, heard, Instant::now()),
            writer: tokio::spawn(write_messages(send, waiting)),
            _lease: lease,
            _reading: reading,
        };
        let peer = Peer { node, user: signer.user, observed: connection.remote_address() };
        let Ok(mut places) = self.events.reserve_many(2).await else { return };
        let mut tell = |event| {
            if let Some(place) = places.next() {
                place.send(event);
            }
        };
        match self.table.entry(node) {
            Entry::Vacant(place) => {
                let _held = place.insert(link);
                tell(LinkEvent::Up { id, peer });
            }
            Entry::Occupied(mut place) => {
                if self.old_one_stays(place.get(), &link, node) {
                    debug!(node = %node.short(), "two links crossed: this one ends");
                    return;
                }
                let old = place.insert(link);
                tell(LinkEvent::Down { id: old.id, node });
                tell(LinkEvent::Up { id, peer });
                drop(place);
                old.replace(&connection);
            }
        }
        tokio::spawn(Arc::clone(self).read_messages(id, node, connection, receive, ended));
    }

    fn old_one_stays(&self, old: &Link, new: &Link, node: NodeId) -> bool {
        let crossed = old.connection.close_reason().is_none()
            && old.since.elapsed() < CROSSING
            && old.opener != new.opener;
        crossed && (old.opener == Opener::Us) == (self.me < node)
    }

    async fn read_messages(
        self: Arc<Self>,
        id: LinkId,
        node: NodeId,
        connection: quinn::Connection,
        mut receive: quinn::RecvStream,
        mut ended: oneshot::Receiver<Infallible>,
    ) {
        loop {
            let message = tokio::select! {
                message = next_message(node, &connection, &mut receive) => message,
                _ = &mut ended => None,
            };
            let Some(message) = message else { break };
            if let LinkMessage::Pulse(pace) = *message {
                self.on_pulse(id, node, pace);
                continue;
            }
            // A place first: a message that waits to be sent would have room in every task that reads.
            let Ok(place) = self.events.reserve().await else { return };
            place.send(LinkEvent::Message { id, node, message });
        }
        let Ok(place) = self.events.reserve().await else { return };
        let entry = self.table.entry(node);
        place.send(LinkEvent::Down { id, node });
        if let Entry::Occupied(entry) = entry
            && entry.get().id == id
        {
            entry.remove();
        }
    }
}

/// The next message of a link; `None` if that was the last, or one out of bounds, for which the connection is closed.
async fn next_message(
    node: NodeId,
    connection: &quinn::Connection,
    receive: &mut quinn::RecvStream,
) -> Option<Box<LinkMessage>> {
    match read_frame::<LinkMessage>(receive, MAX_LINK_FRAME).await {
        Ok(message) if message.within_bounds() => Some(Box::new(message)),
        Ok(_) | Err(ReadFrameError::TooLong { .. } | ReadFrameError::Decode(_)) => {
            debug!(node = %node.short(), "a message out of bounds: the connection is closed");
            connection.close(CloseCode::Misbehaved.into(), b"out of bounds");
            None
        }
        Err(ReadFrameError::Closed | ReadFrameError::Stream(_)) => None,
    }
}

impl Link {
    /// Ends it once what waits for the peer has been written and acknowledged.
    async fn retire(self) {
        let Self { outbox, mut writer, _lease, .. } = self;
        drop(outbox);
        if timeout(LAST_WORDS, &mut writer).await.is_err() {
            writer.abort();
        }
    }

    /// Ends it because there is a newer one. On another connection that is a sign that the peer knows this one no more.
    fn replace(self, by: &quinn::Connection) {
        self.writer.abort();
        if self.connection.stable_id() != by.stable_id() {
            self.connection.close(CloseCode::Replaced.into(), b"replaced");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the peer showed no certificate that can be read")]
    Unidentified,
    #[error("the connection broke")]
    Broken,
}

async fn write_messages(mut send: quinn::SendStream, mut waiting: Waiting) {
    while let Some(frames) = waiting.next().await {
        if send.write_all(&frames).await.is_err() {
            return;
        }
    }
    if send.finish().is_ok() {
        let _ = send.stopped().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How large what `start` returns is.
    fn future<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_a_link_keeps_while_it_is_idle_is_small() {
        let reading = future(|(links, id, node, connection, receive, ended)| {
            Links::read_messages(links, id, node, connection, receive, ended)
        });
        let writing = future(|(send, waiting)| write_messages(send, waiting));
        let link = size_of::<Link>();
        // A task adds 112 bytes, and what is then no multiple of 128 is rounded up.
        assert!(reading <= 528 && writing <= 272 && link <= 144, "{reading}, {writing}, {link} bytes");
    }
}
