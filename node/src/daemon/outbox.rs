//! What waits to be written to one peer: whole frames, bounded in number and in bytes.
//!
//! A peer that is further behind than the bounds loses its link: it can come back and resume, which costs less than memory
//! that grows.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use nearmesh_common::{frame::frame, wire::LinkMessage};
use tokio::sync::mpsc;

/// Frames that may wait.
const MAX_FRAMES: usize = 4096;
/// Bytes that may wait: the summary of a supernode with several million files, which is sent in one go, and room.
const MAX_BYTES: usize = 64 << 20;
/// Bytes written at once when several frames wait.
const WRITE_BATCH: usize = 64 * 1024;

/// The end into which messages are put.
#[derive(Debug)]
pub struct Outbox {
    frames: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

/// The end that is written to the peer.
#[derive(Debug)]
pub struct Waiting {
    frames: mpsc::Receiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

/// Nothing waits yet.
pub fn outbox() -> (Outbox, Waiting) {
    let (sender, receiver) = mpsc::channel(MAX_FRAMES);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Outbox { frames: sender, bytes: Arc::clone(&bytes) }, Waiting { frames: receiver, bytes })
}

impl Outbox {
    /// Puts a message at the end; false if the peer is too far behind, or gone.
    pub fn put(&self, message: &LinkMessage) -> bool {
        let frame = frame(message);
        let length = frame.len();
        if self.bytes.fetch_add(length, Ordering::Relaxed) + length > MAX_BYTES {
            return false;
        }
        self.frames.try_send(frame).is_ok()
    }
}

impl Waiting {
    /// What is to be written next, several frames at once where several wait; `None` after the last.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let mut batch = self.frames.recv().await?;
        while batch.len() < WRITE_BATCH {
            match self.frames.try_recv() {
                Ok(frame) => batch.extend(frame),
                Err(_) => break,
            }
        }
        self.bytes.fetch_sub(batch.len(), Ordering::Relaxed);
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
}
