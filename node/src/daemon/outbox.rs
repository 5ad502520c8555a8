//! What waits to be written to one peer: whole frames, bounded in number and in bytes.
//!
//! A peer that is further behind than the bounds loses its link: it can come back and resume, which costs less than memory
//! that grows.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nearmesh_common::{frame::frame, wire::LinkMessage};
use tokio::sync::Notify;

/// Frames that may wait.
const MAX_FRAMES: usize = 4096;
/// Bytes that may wait: the summary of a supernode with several million files, which is sent in one go, and room.
const MAX_BYTES: usize = 64 << 20;
/// Bytes written at once when several frames wait.
const WRITE_BATCH: usize = 64 * 1024;

/// The end into which messages are put.
#[derive(Debug)]
pub struct Outbox(Arc<Shared>);

/// The end that is written to the peer.
#[derive(Debug)]
pub struct Waiting(Arc<Shared>);

/// No channel of tokio's: one of those holds 1.3 kB for each link, even while nothing waits.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something new for the one who writes.
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    /// One of the two ends is gone.
    closed: bool,
}

/// Nothing waits yet.
pub fn outbox() -> (Outbox, Waiting) {
    let shared = Arc::new(Shared::default());
    (Outbox(Arc::clone(&shared)), Waiting(shared))
}

impl Outbox {
    /// Puts a message at the end; false if the peer is too far behind, or gone.
    pub fn put(&self, message: &LinkMessage) -> bool {
        let taken = self.0.queue().put(frame(message));
        if taken {
            self.0.news.notify_one();
        }
        taken
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.news.notify_one();
    }
}

impl Waiting {
    /// What is to be written next, several frames at once where several wait; `None` after the last.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            {
                let mut queue = self.0.queue();
                match queue.take_batch() {
                    None if queue.closed => return None,
                    None => {}
                    batch => return batch,
                }
            }
            self.0.news.notified().await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.0.queue() = Queue { closed: true, ..Queue::default() };
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn put(&mut self, frame: Vec<u8>) -> bool {
        let room = self.frames.len() < MAX_FRAMES && self.bytes + frame.len() <= MAX_BYTES;
        if !room || self.closed {
            return false;
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
        true
    }

    fn take_batch(&mut self) -> Option<Vec<u8>> {
        let mut batch = self.frames.pop_front()?;
        while batch.len() < WRITE_BATCH
            && let Some(frame) = self.frames.pop_front()
        {
            batch.extend(frame);
        }
        self.bytes -= batch.len();
        if self.frames.is_empty() {
            // A link is idle for most of its life: the queue of one takes nothing.
            drop(mem::take(&mut self.frames));
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use nearmesh_common::wire::home::{ToChild, ToHome};

    use super::*;

    fn crl(bytes: usize) -> LinkMessage {
        LinkMessage::ToChild(ToChild::Crl(vec![7; bytes].into()))
    }

    #[tokio::test]
    async fn frames_leave_in_order_and_small_ones_together() {
        let (outbox, mut waiting) = outbox();
        let messages = [crl(3), LinkMessage::ToHome(ToHome::Standby), crl(WRITE_BATCH), crl(1)];
        assert!(messages.iter().all(|message| outbox.put(message)));
        let first = messages[..3].iter().flat_map(frame).collect::<Vec<_>>();
        assert_eq!(waiting.next().await, Some(first));
        assert_eq!(waiting.next().await, Some(frame(&messages[3])));
        drop(outbox);
        assert_eq!(waiting.next().await, None);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_too_far_behind_by_bytes_or_by_number() {
        let (outbox, mut waiting) = outbox();
        let large = crl(512 * 1024);
        let taken = (0..MAX_FRAMES).take_while(|_| outbox.put(&large)).count();
        assert_eq!(taken, MAX_BYTES / frame(&large).len());
        assert!(waiting.next().await.is_some());

        let (outbox, _waiting) = super::outbox();
        let small = LinkMessage::ToHome(ToHome::Standby);
        assert_eq!((0..2 * MAX_FRAMES).take_while(|_| outbox.put(&small)).count(), MAX_FRAMES);
    }

    #[tokio::test]
    async fn what_is_put_while_the_writer_waits_is_written_and_the_end_is_told() {
        let (outbox, mut waiting) = outbox();
        let writer = tokio::spawn(async move { (waiting.next().await, waiting.next().await) });
        tokio::task::yield_now().await;
        assert!(outbox.put(&crl(1)));
        tokio::task::yield_now().await;
        drop(outbox);
        assert_eq!(writer.await.unwrap(), (Some(frame(&crl(1))), None));
    }

    #[tokio::test]
    async fn nothing_is_taken_for_a_peer_that_is_gone() {
        let (outbox, waiting) = outbox();
        assert!(outbox.put(&crl(1)));
        drop(waiting);
        assert!(!outbox.put(&crl(1)));
        assert_eq!(outbox.0.queue().bytes, 0);
    }

    #[tokio::test]
    async fn the_outbox_of_an_idle_link_is_small() {
        let (outbox, mut waiting) = outbox();
        assert!(outbox.put(&crl(1)));
        assert!(waiting.next().await.is_some());
        assert_eq!(outbox.0.queue().frames.capacity(), 0);
        assert!(size_of::<Shared>() <= 128, "{} bytes", size_of::<Shared>());
    }
}
