//! Waiting until a socket takes packets again, as quinn wants it.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quinn::UdpPoller;

/// A socket that may be full.
pub trait Writable: Send + Sync + 'static {
    /// Until it takes packets again.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send + Sync;
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Lets one task wait until the socket takes packets again.
pub struct WritablePoller<S> {
    socket: Arc<S>,
    waiting: Option<Waiting>,
}

impl<S: Writable> WritablePoller<S> {
    /// For this socket.
    pub fn of(socket: Arc<S>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Self { socket, waiting: None })
    }
}

impl<S: Writable> UdpPoller for WritablePoller<S> {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, waiting } = &mut *self;
        let wait = waiting.get_or_insert_with(|| {
            let socket = socket.clone();
            Box::pin(async move { socket.writable().await })
        });
        let result = ready!(wait.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(result)
    }
}

impl<S> fmt::Debug for WritablePoller<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritablePoller").finish_non_exhaustive()
    }
}
