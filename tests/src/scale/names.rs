//! Who is who: everything about a peer that follows from its number.
//!
//! A node's id ends with its number, so that a message's address needs no table; the rest of it is as good as random.

use std::net::SocketAddr;

use nearmesh_common::{NodeId, UserName};

use crate::{sim::ToyKeyring, workload::draw::mix};

/// A peer's number: supernodes of the beginning first, then ordinary nodes.
pub type Peer = u32;

/// Nobody's number.
pub(super) const NOBODY: Peer = Peer::MAX;

/// The id of a peer, in the net of `seed`.
pub(super) fn node(seed: u64, peer: Peer) -> NodeId {
    let mut id = [0; 32];
    let mut state = mix(seed) ^ u64::from(peer);
    for part in id.chunks_exact_mut(8) {
        state = mix(state);
        part.copy_from_slice(&state.to_le_bytes());
    }
    id[28..].copy_from_slice(&peer.to_be_bytes());
    NodeId(id)
}

/// Whose id this is, if it was made by [`node`].
pub(super) fn peer(node: &NodeId) -> Peer {
    let [.., a, b, c, d] = node.0;
    Peer::from_be_bytes([a, b, c, d])
}

pub(super) fn user(peer: Peer) -> UserName {
    format!("user{peer}").parse().expect("letters and digits are a name")
}

pub(super) fn address(peer: Peer) -> SocketAddr {
    let [_, a, b, c] = peer.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 4000))
}

pub(super) fn keyring(seed: u64, peer: Peer) -> ToyKeyring {
    ToyKeyring::new(node(seed, peer), user(peer))
}
