//! A QUIC stream as a blocking thread sees it.
//!
//! Hashing and disks block, so a range is encoded or decoded from end to end on one blocking thread, which waits for the
//! network there. That costs one wake-up for what has arrived meanwhile, instead of a hand-over for each block.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::{runtime::Handle, sync::watch};

/// How much is handed to QUIC at once, in bytes (measured: 64 KiB and more are within noise of each other).
const SEND_BLOCK_BYTES: usize = 256 * 1024;

/// Held by the task that a blocking thread works for: dropping it ends the thread's wait.
#[derive(Debug)]
pub(super) struct Alive(watch::Sender<()>);

/// The thread's side of [`Alive`].
#[derive(Clone, Debug)]
pub(super) struct Abandoned(watch::Receiver<()>);

impl Alive {
    pub fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub fn watch(&self) -> Abandoned {
        Abandoned(self.0.subscribe())
    }
}

impl Abandoned {
    async fn wait(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Reads what the peer sends.
pub(super) struct BlockingRecv {
    stream: RecvStream,
    abandoned: Abandoned,
    runtime: Handle,
}

impl BlockingRecv {
    /// To be called on the runtime that drives the connection.
    pub fn new(stream: RecvStream, abandoned: Abandoned) -> Self {
        Self { stream, abandoned, runtime: Handle::current() }
    }
}

impl Read for BlockingRecv {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (stream, abandoned) = (&mut self.stream, &mut self.abandoned);
        let read = self.runtime.block_on(async {
            tokio::select! {
                biased;
                read = stream.read(buffer) => Some(read),
                () = abandoned.wait() => None,
            }
        });
        match read {
            Some(read) => Ok(read?.unwrap_or(0)),
            None => Err(ReadError::ClosedStream.into()),
        }
    }
}

/// Sends in blocks.
pub(super) struct BlockingSend {
    stream: SendStream,
    abandoned: Abandoned,
    runtime: Handle,
    block: Vec<u8>,
    stall: Duration,
    failed: bool,
}

impl BlockingSend {
    /// To be called on the runtime that drives the connection. A peer that takes no block for `stall` is given up.
    pub fn new(stream: SendStream, abandoned: Abandoned, stall: Duration) -> Self {
        let block = Vec::with_capacity(SEND_BLOCK_BYTES);
        Self { stream, abandoned, runtime: Handle::current(), block, stall, failed: false }
    }

    /// Whether the peer, and not the file, is why sending ended.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// The stream, with everything handed over to it that has been flushed.
    pub fn into_inner(self) -> SendStream {
        self.stream
    }
}

impl Write for BlockingSend {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() + bytes.len() > SEND_BLOCK_BYTES {
            self.flush()?;
        }
        self.block.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(SEND_BLOCK_BYTES));
        let (stream, abandoned, stall) = (&mut self.stream, &mut self.abandoned, self.stall);
        let outcome = self.runtime.block_on(async {
            tokio::select! {
                biased;
                sent = stream.write_chunk(Bytes::from(block)) => Ok(sent?),
                () = abandoned.wait() => Err(WriteError::ClosedStream.into()),
                () = tokio::time::sleep(stall) => Err(io::ErrorKind::TimedOut.into()),
            }
        });
        self.failed = outcome.is_err();
        outcome
    }
}
