//! Being dialled by a node that cannot be dialled: it is asked to, by way of the homes, and what it opens is used.

use std::{sync::Arc, time::Duration};

use nearmesh_common::{
    NodeId,
    pace::Pace,
    wire::{
        NodeAddress,
        signal::{End, MAX_SIGNAL_ADDRESSES, SessionId, SignalBody},
    },
};
use tokio::time::sleep;
use tracing::debug;

use super::{
    clock::now,
    connect::{ConnectError, Target},
    connections::Lease,
    dialling::dial,
    node::Node,
    signals::Listening,
};

/// How long the other may take to come: a signal over two homes, a handshake, and a repetition of each.
const PATIENCE: Duration = Duration::from_secs(4);
/// How soon it is asked again (guess: a signal was lost with a link that broke).
const ASK_AGAIN: Duration = Duration::from_millis(1200);

impl Node {
    /// Has `peer` dial this node, and leases what it opens.
    ///
    /// # Errors
    /// If it is not at its home, or does not come.
    pub async fn have_dialled(self: &Arc<Self>, peer: &Target, home: NodeId) -> Result<Lease, ConnectError> {
        let session = SessionId(rand::random());
        let listening = self.listen_to(peer.node, session);
        let asking = async {
            loop {
                let addresses = self.addresses().into_iter().take(MAX_SIGNAL_ADDRESSES).collect();
                self.signals.say(home, peer.node, session, SignalBody::Push(addresses));
                sleep(ASK_AGAIN).await;
            }
        };
        tokio::select! {
            lease = self.connections.arrival(peer.node) => Ok(lease),
            () = not_here(listening) => Err(ConnectError::NotAtHome(peer.node)),
            () = asking => unreachable!("it asks again for ever"),
            () = sleep(PATIENCE) => Err(ConnectError::DidNotDial(peer.node)),
        }
    }

    /// A node that says it is reachable would like to be dialled.
    pub fn on_push(self: &Arc<Self>, from: NodeId, addresses: &[std::net::SocketAddr]) {
        if self.connections.leased(from).is_some() {
            return;
        }
        let own = self.addresses();
        let addresses =
            self.signals.gate.lock().expect("no holder panics").admit(from, addresses, &own, now());
        if addresses.is_empty() {
            debug!(from = %from.short(), "not dialled, though it asks to be");
            return;
        }
        let Some(under_way) = self.signals.answer_once(from) else { return };
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let _under_way = under_way;
            match dial(&node.endpoint, &NodeAddress { node: from, addresses }, Pace::Quick).await {
                // It lingers; who asked for it keeps it.
                Ok(connection) => drop(node.adopt(from, connection)),
                Err(error) => debug!(from = %from.short(), %error, "was asked to dial"),
            }
        });
    }
}

async fn not_here(mut listening: Listening) {
    while !matches!(listening.next().await.body, SignalBody::End(End::NotHere)) {}
}
