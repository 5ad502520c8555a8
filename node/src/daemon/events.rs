//! Answers that come in pieces: a task that produces them, and the stream that the control API reads.

use std::future::Future;

use futures_util::stream;
use tokio::sync::mpsc;

use crate::control::api::{ApiError, Events};

/// Pieces produced ahead of a reader that is slower.
const AHEAD: usize = 64;

/// Where a producer puts its pieces.
pub struct Sink<T>(mpsc::Sender<Result<T, ApiError>>);

/// The reader has gone away: nobody wants any more.
#[derive(Debug)]
pub struct Gone;

impl<T> Sink<T> {
    /// Hands one piece over, waiting for a slow reader.
    pub async fn put(&self, piece: T) -> Result<(), Gone> {
        self.0.send(Ok(piece)).await.map_err(|_| Gone)
    }
}

/// Runs `produce` beside the caller. Its error, if it fails, is the stream's last piece; when the reader goes away it is
/// dropped at its next wait.
pub fn events<T, F, Fut>(produce: F) -> Events<T>
where
    T: Send + 'static,
    F: FnOnce(Sink<T>) -> Fut,
    Fut: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let last = sender.clone();
    let work = produce(Sink(sender));
    tokio::spawn(async move {
        tokio::select! {
            outcome = work => if let Err(error) = outcome {
                let _ = last.send(Err(error)).await;
            },
            () = last.closed() => {}
        }
    });
    Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)))
}
