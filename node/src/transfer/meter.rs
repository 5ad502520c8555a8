//! How far a download is: counted by the threads that write, watched by whoever shows it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nearmesh_common::NodeId;
use tokio::sync::watch;

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the whole content, once that is known.
    pub size: Option<u64>,
    /// Verified bytes on disk.
    pub verified: u64,
    /// Of these, the ones that an earlier attempt left.
    pub resumed: u64,
    /// Who sends at the moment.
    pub source: Option<NodeId>,
}

/// Counts what is fetched.
#[derive(Debug)]
pub(super) struct Meter {
    fetched: AtomicU64,
    progress: watch::Sender<Progress>,
}

impl Meter {
    pub fn new(progress: watch::Sender<Progress>) -> Self {
        Self { fetched: AtomicU64::new(0), progress }
    }

    /// So many more bytes are verified and written.
    pub fn add(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
        self.progress.send_modify(|progress| progress.verified += bytes);
    }

    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    pub fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    /// Ends once nothing was added for `patience`.
    pub async fn stalled(&self, patience: Duration) {
        let mut before = self.fetched();
        loop {
            tokio::time::sleep(patience).await;
            let now = self.fetched();
            if now == before {
                return;
            }
            before = now;
        }
    }
}
