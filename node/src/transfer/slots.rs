//! Upload slots: how many streams are served at once, and no peer has them all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nearmesh_common::NodeId;

/// Streams served at once (guess: 16 downloads of four streams; each holds a thread and 256 KiB).
pub const MAX_UPLOAD_STREAMS: usize = 64;
/// Of these, for one peer (guess: two downloads of four streams, and the next request while the last one drains).
pub const MAX_UPLOAD_STREAMS_PER_PEER: usize = 16;

/// Who is being served. Clones share the slots.
#[derive(Clone, Debug)]
pub struct UploadSlots {
    /// Peers served at once.
    peers: usize,
    streams: Arc<Mutex<BTreeMap<NodeId, usize>>>,
}

/// One stream's right to be served, given back when dropped.
#[derive(Debug)]
pub struct UploadSlot {
    slots: UploadSlots,
    peer: NodeId,
}

impl Default for UploadSlots {
    fn default() -> Self {
        Self::new(MAX_UPLOAD_STREAMS)
    }
}

impl UploadSlots {
    /// For so many peers at once; the others wait for their turn.
    pub fn new(peers: usize) -> Self {
        Self { peers, streams: Arc::default() }
    }

    /// A slot for one stream of this peer, or `None`: it should ask later.
    pub fn take(&self, peer: NodeId) -> Option<UploadSlot> {
        let mut taken = self.lock();
        let of_peer = taken.get(&peer).copied().unwrap_or(0);
        let too_many_peers = of_peer == 0 && taken.len() >= self.peers;
        if too_many_peers
            || of_peer >= MAX_UPLOAD_STREAMS_PER_PEER
            || taken.values().sum::<usize>() >= MAX_UPLOAD_STREAMS
        {
            return None;
        }
        taken.insert(peer, of_peer + 1);
        Some(UploadSlot { slots: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        match taken.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn one_peer_cannot_take_all_slots_and_gives_back_what_it_had() {
        let slots = UploadSlots::default();
        let alice: Vec<_> = std::iter::from_fn(|| slots.take(node(1))).collect();
        assert_eq!(alice.len(), MAX_UPLOAD_STREAMS_PER_PEER);
        assert!(slots.take(node(2)).is_some(), "bob is served");
        drop(alice);
        assert!(slots.lock().is_empty());
    }

    #[test]
    fn no_more_peers_are_served_at_once_than_the_user_said() {
        let slots = UploadSlots::new(2);
        let (alice, bob) = (slots.take(node(1)), slots.take(node(2)));
        assert!(alice.is_some() && bob.is_some());
        assert!(slots.take(node(3)).is_none(), "carol waits for her turn");
        assert!(slots.take(node(1)).is_some(), "alice may have a second stream");
        drop(bob);
        assert!(slots.take(node(3)).is_some(), "carol's turn has come");
    }

    #[test]
    fn many_peers_share_what_there_is() {
        let slots = UploadSlots::default();
        let taken: Vec<_> = (0..=255).filter_map(|number| slots.take(node(number))).collect();
        assert_eq!(taken.len(), MAX_UPLOAD_STREAMS);
    }
}
