//! Which nodes could forward packets for a child.
//!
//! Children say in their presence whether they relay; one counts when anybody can send to it. Other supernodes count too:
//! whether they relay they say when they are asked. The child measures for itself and takes those that suit it, so this is a
//! list of those worth measuring: what is near to its home is mostly near to it.

use nearmesh_common::{
    NodeId,
    presence::Presence,
    wire::{
        NodeAddress,
        home::{MAX_RELAY_LIST, ToChild},
        signal::MAX_SIGNAL_ADDRESSES,
    },
};

use super::{budget::Charge, world::World};

/// A child asks for relays; it gets the nearest of `candidates`, itself excepted.
pub(super) fn on_list(from: NodeId, candidates: impl Iterator<Item = NodeAddress>, world: &mut World) {
    if !world.charge(&from, Charge::List, 1) {
        return;
    }
    let others = candidates.filter(|relay| relay.node != from && !relay.addresses.is_empty());
    let mut relays: Vec<_> = others.collect();
    let own = world.own();
    relays.sort_by_cached_key(|relay| (relay.node != own).then(|| world.links.rtt(&relay.node)));
    relays.truncate(MAX_RELAY_LIST);
    for relay in &mut relays {
        relay.addresses.truncate(MAX_SIGNAL_ADDRESSES);
    }
    world.tell_child(from, ToChild::Relays(relays));
}

/// A child as a relay, if it is one. We reach ourselves, whatever we have measured so far.
pub(super) fn as_relay(child: &Presence, own: NodeId) -> Option<NodeAddress> {
    let reached = child.reach.is_reachable() || child.node == own;
    (child.relays && reached).then(|| NodeAddress { node: child.node, addresses: child.addresses.clone() })
}
