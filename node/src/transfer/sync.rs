//! Bringing a download's bytes to the disk while it goes on, so that a power cut costs little and its end does not wait long.

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A power cut costs at most what arrived within this time (guess), besides what is in flight.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Sooner, when so many bytes wait (guess: a tenth of a second of a fast disk).
const SYNC_BYTES: u64 = 128 << 20;

/// The files of one download on their way to the disk.
#[derive(Debug)]
pub(super) struct Syncer {
    files: [File; 2],
    waiting: Mutex<Waiting>,
    /// Held while the disk works. The system reports a failed write once, to one of those who ask.
    outcome: Mutex<io::Result<()>>,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    since: Instant,
    running: bool,
}

impl Syncer {
    /// The files are handles of their own.
    pub fn new(files: [File; 2]) -> Arc<Self> {
        let waiting = Waiting { bytes: 0, since: Instant::now(), running: false };
        Arc::new(Self { files, waiting: Mutex::new(waiting), outcome: Mutex::new(Ok(())) })
    }

    /// So many bytes were written. To be called on a thread of the runtime; does not wait for the disk.
    pub fn wrote(self: &Arc<Self>, bytes: u64) {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += bytes;
        let is_due = waiting.bytes >= SYNC_BYTES || waiting.since.elapsed() >= SYNC_INTERVAL;
        if is_due && !waiting.running {
            *waiting = Waiting { bytes: 0, since: Instant::now(), running: true };
            let me = self.clone();
            tokio::task::spawn_blocking(move || {
                me.sync();
                lock(&me.waiting).running = false;
            });
        }
    }

    /// Waits until everything is on the disk. Blocking.
    pub fn finish(&self) -> io::Result<()> {
        self.sync();
        std::mem::replace(&mut *lock(&self.outcome), Ok(()))
    }

    /// The first failure stays until it is told.
    fn sync(&self) {
        let mut outcome = lock(&self.outcome);
        let synced = self.files.iter().try_for_each(File::sync_data);
        if outcome.is_ok() {
            *outcome = synced;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
