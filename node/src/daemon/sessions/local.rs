//! This node as the path machine sees it.

use std::time::Duration;

use nearmesh_common::{
    NodeId,
    wire::{
        NodeAddress,
        signal::{MAX_SIGNAL_ADDRESSES, RelayOffer},
    },
};
use nearmesh_relay::proto::path::Local;

use crate::daemon::node::Node;

impl Node {
    /// This side of a session, as it is now; nothing while there is no home.
    pub(super) fn local(&self) -> Option<Local> {
        let home = self.overlay.borrow().home.clone()?;
        let home_id = home.address.node;
        let others = self.relays.borrow().clone().into_iter().filter(|relay| relay.node != home_id);
        let relays = [offer(&home.address, home.rtt)].into_iter().chain(others);
        let known = self.whereabouts.borrow();
        Some(Local {
            home: home_id,
            candidates: known.candidates(),
            nat: known.nat,
            relays: relays.filter(|relay| relay.node != self.id).collect(),
            keep_alive: known.keep_alive,
        })
    }

    /// A supernode as a relay, if it is known where it is.
    pub(super) fn relay_at(&self, supernode: NodeId) -> Option<RelayOffer> {
        if supernode == self.id {
            return None;
        }
        let measured = self.relays.borrow().iter().find(|relay| relay.node == supernode).cloned();
        measured.or_else(|| {
            let overlay = self.overlay.borrow();
            let known = overlay.supernodes.iter().find(|known| known.address.node == supernode)?;
            Some(offer(&known.address, known.rtt))
        })
    }
}

fn offer(address: &NodeAddress, rtt: Option<Duration>) -> RelayOffer {
    RelayOffer {
        node: address.node,
        addresses: address.addresses.iter().take(MAX_SIGNAL_ADDRESSES).copied().collect(),
        rtt_us: rtt.map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
    }
}
