//! The relays that one session holds: a connection to each, shared with everything else, and a reservation on it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nearmesh_common::{
    NodeId,
    nat::Reach,
    pace::Pace,
    wire::{
        relay::RelayRequest,
        signal::{RelayOffer, SessionId},
    },
};
use nearmesh_relay::{
    PathHandle, VirtualAddr,
    io::{path_driver::SessionOver, reservation::ReservationEvent},
    kick,
    proto::path::{Input, Route},
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tracing::debug;

use crate::daemon::{connect::Target, node::Node};

/// How long connecting to a relay may take: the machine waits no longer for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// The relays of one session. They are given back when it is dropped.
pub(super) struct Relays {
    node: Arc<Node>,
    handle: PathHandle,
    request: RelayRequest,
    tasks: JoinSet<()>,
    held: BTreeMap<NodeId, Held>,
}

struct Held {
    task: AbortHandle,
    nudge: mpsc::Sender<()>,
}

impl Relays {
    pub(super) fn new(node: &Arc<Node>, handle: &PathHandle, session: SessionId, peer: NodeId) -> Self {
        Self {
            node: Arc::clone(node),
            handle: handle.clone(),
            request: RelayRequest { session, peer },
            tasks: JoinSet::new(),
            held: BTreeMap::new(),
        }
    }

    /// Asks for a reservation; what comes of it is told to the machine.
    pub(super) fn open(&mut self, offer: RelayOffer) {
        while self.tasks.try_join_next().is_some() {}
        let (relay, (nudge, nudges)) = (offer.node, mpsc::channel(1));
        let (node, handle, request) = (Arc::clone(&self.node), self.handle.clone(), self.request);
        let task = self.tasks.spawn(async move {
            if let Ok(why) = hold(&node, &handle, request, offer, nudges).await {
                debug!(relay = %relay.short(), why, "a relay is lost");
                let _ = handle.relay_lost(relay).await;
            }
        });
        if let Some(before) = self.held.insert(relay, Held { task, nudge }) {
            before.task.abort();
        }
    }

    /// Gives it back.
    pub(super) fn close(&mut self, relay: NodeId) {
        if let Some(held) = self.held.remove(&relay) {
            held.task.abort();
        }
    }

    /// Sends something on the connection to it.
    pub(super) fn nudge(&self, relay: NodeId) {
        if let Some(held) = self.held.get(&relay) {
            // It is about to be nudged anyway.
            let _ = held.nudge.try_send(());
        }
    }
}

/// Holds a reservation until it ends, and says why it did.
async fn hold(
    node: &Arc<Node>,
    handle: &PathHandle,
    request: RelayRequest,
    offer: RelayOffer,
    mut nudges: mpsc::Receiver<()>,
) -> Result<String, SessionOver> {
    let relay = offer.node;
    if relay == node.id {
        return Ok("it is this node itself".to_owned());
    }
    let target = Target {
        node: relay,
        addresses: offer.addresses,
        home: None,
        reach: Reach::Unknown,
        pace: Pace::Quick,
    };
    let lease = match timeout(CONNECT_TIMEOUT, node.connect(&target)).await {
        Ok(Ok(lease)) => lease,
        Ok(Err(error)) => return Ok(error.to_string()),
        Err(_) => return Ok("it did not answer in time".to_owned()),
    };
    let at = lease.connection().remote_address();
    if VirtualAddr::of(at).is_some() {
        return Ok("it cannot be reached directly itself".to_owned());
    }
    let mut reservation = node.endpoint.reserve(lease.connection(), request);
    loop {
        let event = tokio::select! {
            event = reservation.next() => event,
            Some(()) = nudges.recv() => {
                kick(lease.connection());
                continue;
            }
        };
        match event {
            Some(ReservationEvent::Waiting) => {}
            Some(ReservationEvent::Open { channel, .. }) => {
                handle.relay_open(relay, Route::Relayed { relay: at, channel }).await?;
            }
            Some(ReservationEvent::Draining(_)) => handle.tell(Input::RelayDraining { relay }).await?,
            Some(ReservationEvent::Closed(end)) => return Ok(end.to_string()),
            None => return Ok("it ended".to_owned()),
        }
    }
}
