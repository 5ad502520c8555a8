//! How fast bytes go to the home: a quarter of a second's worth, paced, and rarely.
//!
//! The node opens a stream with [`Open::Measure`]. The home says whether it takes part (it measures one node at a time, and only
//! now and then), counts what arrives until the end of the stream, and says in which time it came. What the home does not
//! measure stays unknown.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    frame::{MAX_OPEN_FRAME, read_frame, write_frame},
    rate::{Bucket, Limit},
    wire::{
        Open,
        stream::{MAX_MEASURED_BYTES, MeasureReply, Measured},
    },
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::{
    sync::Semaphore,
    time::{interval, timeout, timeout_at},
};

use super::node::Node;
use crate::proto::promotion::MEASURE_WAIT;

/// One piece of what is sent; a sixteenth of all.
const PIECE: usize = MAX_MEASURED_BYTES as usize / 16;
/// Between two pieces: all of them in a quarter of a second, so 1 MB/s at most, which a queue on the way hardly notices.
const PIECE_EVERY: Duration = Duration::from_millis(16);
/// How long a home listens: what comes of a slow line by then tells enough. Shorter than [`MEASURE_WAIT`].
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a home takes part, whoever asks (guess: 26 kB/s then).
const EVERY: Limit = Limit { every: Duration::from_secs(10), burst: 3 };

/// The home's side.
#[derive(Debug)]
pub struct Desk {
    allowed: Mutex<Bucket>,
    one: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        Self { allowed: Mutex::default(), one: Semaphore::new(1) }
    }
}

impl Desk {
    /// Measures for a peer, or says that it does not.
    pub async fn serve(&self, mut send: SendStream, receive: RecvStream) {
        let place = self.one.try_acquire().ok();
        let place = place.filter(|_| {
            let mut allowed = self.allowed.lock().expect("no holder panics");
            allowed.take(EVERY, Instant::now())
        });
        let reply = if place.is_some() { MeasureReply::Go } else { MeasureReply::Busy };
        if write_frame(&mut send, &reply).await.is_err() || place.is_none() {
            let _ = send.finish();
            return;
        }
        let measured = count(receive).await;
        drop(place);
        if write_frame(&mut send, &measured).await.is_ok() {
            let _ = send.finish();
        }
    }
}

/// Counts what comes after the first chunk; no more than may come.
async fn count(mut receive: RecvStream) -> Measured {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (mut first, mut last, mut bytes) = (None, None, 0usize);
    while let Ok(Ok(Some(chunk))) = timeout_at(deadline, receive.read_chunk(PIECE, true)).await {
        let now = Instant::now();
        bytes += if first.is_some() { chunk.bytes.len() } else { 0 };
        first.get_or_insert(now);
        last = Some(now);
        if bytes > MAX_MEASURED_BYTES as usize {
            break;
        }
    }
    // Whatever more comes is not wanted; the sender, if it still sends, hears that it is over.
    let _ = receive.stop(0u8.into());
    let time = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
    let bounded = |count: u128| u32::try_from(count).unwrap_or(u32::MAX);
    Measured { bytes: bounded(bytes as u128), micros: bounded(time.as_micros()) }
}

/// Bytes a second to `home`; `None` if it does not measure, or there is no link to it.
pub async fn measure(node: &Node, home: NodeId) -> Option<u64> {
    let connection = node.links.connection(home)?;
    timeout(MEASURE_WAIT, send_pieces(&connection)).await.ok().flatten()
}

async fn send_pieces(connection: &Connection) -> Option<u64> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    write_frame(&mut send, &Open::Measure).await.ok()?;
    if read_frame::<MeasureReply>(&mut receive, MAX_OPEN_FRAME).await.ok()? == MeasureReply::Busy {
        return None;
    }
    let piece = vec![0; PIECE];
    let mut pace = interval(PIECE_EVERY);
    for _ in 0..MAX_MEASURED_BYTES as usize / PIECE {
        pace.tick().await;
        // The home has heard enough.
        if send.write_all(&piece).await.is_err() {
            break;
        }
    }
    let _ = send.finish();
    rate(read_frame::<Measured>(&mut receive, MAX_OPEN_FRAME).await.ok()?)
}

/// Bytes a second. Too short a time tells nothing.
fn rate(measured: Measured) -> Option<u64> {
    let micros = u64::from(measured.micros);
    (micros >= 1000).then(|| u64::from(measured.bytes) * 1_000_000 / micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_bytes_in_their_time() {
        assert_eq!(rate(Measured { bytes: 245_760, micros: 240_000 }), Some(1_024_000));
        assert_eq!(rate(Measured { bytes: 20_000, micros: 2_000_000 }), Some(10_000));
        assert_eq!(rate(Measured { bytes: 245_760, micros: 3 }), None);
    }
}
