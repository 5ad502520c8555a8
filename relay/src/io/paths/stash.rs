//! Packets for QUIC that were received already, until it asks for more.

use std::{
    collections::VecDeque,
    io::IoSliceMut,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Waker,
};

use quinn_udp::RecvMeta;

/// Batches that wait; more are dropped. Nothing is received from the port while one waits, so only sockets that are read apart from
/// it can fill this (guess).
const MAX_WAITING: usize = 256;

/// The packets.
#[derive(Debug, Default)]
pub(crate) struct Stash {
    waiting: Mutex<VecDeque<(RecvMeta, Vec<u8>)>>,
    /// How many wait, to be seen without the lock.
    count: AtomicUsize,
    reader: Mutex<Option<Waker>>,
}

impl Stash {
    /// Keeps packets for the reader. The answer is whether there was room.
    pub(crate) fn put(&self, meta: RecvMeta, packets: Vec<u8>) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_WAITING {
            return false;
        }
        waiting.push_back((RecvMeta { len: packets.len(), ..meta }, packets));
        self.count.store(waiting.len(), SeqCst);
        true
    }

    /// Fills the reader's buffers; 0 if nothing waits.
    pub(crate) fn take(&self, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut waiting = self.waiting();
        let mut taken = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let Some((of, packets)) = waiting.pop_front() else { break };
            let length = packets.len().min(buf.len());
            buf[..length].copy_from_slice(&packets[..length]);
            *meta = RecvMeta { len: length, ..of };
            taken += 1;
        }
        self.count.store(waiting.len(), SeqCst);
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(SeqCst) == 0
    }

    /// Remembers whom to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if !reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *reader = Some(waker.clone());
        }
    }

    /// Lets the reader look again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.reader.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(RecvMeta, Vec<u8>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_out_in_order_as_far_as_there_are_buffers() {
        let stash = Stash::default();
        for i in 0..3u8 {
            assert!(stash.put(RecvMeta { stride: 10, ..RecvMeta::default() }, vec![i; 10 + usize::from(i)]));
        }
        let mut storage = [[0u8; 64]; 2];
        let mut bufs: Vec<_> = storage.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
        let mut metas = [RecvMeta::default(); 2];
        assert_eq!(stash.take(&mut bufs, &mut metas), 2);
        assert_eq!((metas[0].len, metas[1].len, metas[1].stride), (10, 11, 10));
        assert_eq!(bufs[1][..11], [1; 11]);
        assert_eq!(stash.take(&mut bufs, &mut metas), 1);
        assert_eq!(bufs[0][..12], [2; 12]);
        assert_eq!(stash.take(&mut bufs, &mut metas), 0);
    }

    #[test]
    fn a_full_stash_takes_no_more() {
        let stash = Stash::default();
        let put = || stash.put(RecvMeta::default(), vec![1]);
        assert!((0..MAX_WAITING).all(|_| put()) && !put());
    }
}
