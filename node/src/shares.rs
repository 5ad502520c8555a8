//! What this node shares: folders and files that the user named, and the journal by which homes learn of them.
//!
//! A thread scans the shared folders, hashes what is new and keeps it in the [`store`]; the watcher tells it which paths were touched. The [`journal`] turns
//! every change into a step that a home can ask for. [`Shares`] is the door: everything else is behind it.
//!
//! Methods look at the disk or the store for a moment, so they belong on a thread that may block; scans and hashing never happen
//! on the caller's thread.
//!
//! Invariant: no file of a profile directory is ever shared or located (see [`walk`]).
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "io: it looks at disks and clocks")]

pub mod journal;
pub mod kind;
pub mod progress;
mod queue;
pub mod row;
mod scan;
pub mod store;
pub mod tags;
pub mod walk;
pub mod watch;
mod worker;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use nearmesh_common::{ContentHash, wire::file::JournalMark};
use thiserror::Error;
use tokio::sync::{broadcast, oneshot, watch as changes};

pub use self::{
    journal::Batch,
    progress::{ShareEvent, Summary},
    store::{OpenError, StoreError, Totals},
};
use self::{
    queue::Queue,
    row::Stamp,
    scan::Scanner,
    store::{MAX_ROOTS, Store},
    walk::{Guard, is_hidden, is_real},
    watch::Watch,
    worker::{Unwatched, Worker},
};
use crate::content::{ContentStore, SharedFile, outboard_path};

/// What this node shares.
#[derive(Debug)]
pub struct Shares {
    store: Arc<Store>,
    guard: Guard,
    queue: Arc<Queue>,
    unwatched: Unwatched,
    stop: Arc<AtomicBool>,
    hashed: Arc<AtomicU64>,
    worker: Option<JoinHandle<()>>,
}

/// A shared folder or single file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRoot {
    /// Its real path.
    pub path: PathBuf,
    /// Files that are shared in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is going on.
    pub state: RootState,
}

/// What is going on with a shared folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootState {
    /// It is looked through, or waits for it.
    Scanning,
    /// Changes are noticed as they happen.
    Watched,
    /// Changes are noticed late, and why.
    Rescanned(String),
}

/// The scan of a folder that was just shared. It goes on whether or not this is kept.
#[derive(Debug)]
pub struct Scan {
    /// The real path of what is shared: it stands in the events.
    pub root: PathBuf,
    end: oneshot::Receiver<Summary>,
}

/// Why something is not shared.
#[derive(Debug, Error)]
pub enum AddError {
    /// There is no such thing, or it cannot be looked at.
    #[error("share {path}: {error}")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is a device, a pipe, a socket.
    #[error("share {0}: it is neither a folder nor an ordinary file")]
    NoFile(PathBuf),
    /// It is shared already, by itself or with a folder that holds it.
    #[error("share {path}: {root} is shared already")]
    Already {
        /// What.
        path: PathBuf,
        /// The shared folder.
        root: PathBuf,
    },
    /// It holds a shared folder that is hidden within it.
    #[error("share {path}: it would hide {root}, which is shared already; remove that first")]
    Hides {
        /// What.
        path: PathBuf,
        /// The shared folder.
        root: PathBuf,
    },
    /// It belongs to a node.
    #[error("share {0}: it is in the profile of a node, which holds private keys")]
    Profile(PathBuf),
    /// Too many shared folders.
    #[error("share {0}: {MAX_ROOTS} folders are shared already, share one that holds them")]
    TooMany(PathBuf),
    /// The disk fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why something is still shared.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// It is not shared, or only as part of a folder.
    #[error("stop sharing {0}: it is not in the list of shared folders")]
    NotShared(PathBuf),
    /// The disk fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Shares {
    /// Opens the shares of a profile directory, which exists, and begins to look for what changed meanwhile.
    ///
    /// # Errors
    /// If the profile is in use by another node, or its database cannot be read.
    pub fn open(profile: &Path, events: broadcast::Sender<ShareEvent>) -> Result<Self, OpenError> {
        let guard = Guard::new(profile)?;
        let store = Arc::new(Store::open(profile)?);
        let queue = Arc::<Queue>::default();
        let (stop, hashed, unwatched) = (Arc::default(), Arc::default(), Unwatched::default());
        let worker = Worker {
            scanner: Scanner {
                store: Arc::clone(&store),
                guard: guard.clone(),
                stop: Arc::clone(&stop),
                hashed: Arc::clone(&hashed),
            },
            queue: Arc::clone(&queue),
            events,
            watch: Watch::new(Arc::clone(&queue), guard.clone()),
            unwatched: Arc::clone(&unwatched),
            behind: false,
        };
        queue.scan_everything();
        let worker = thread::Builder::new().name("shares".to_owned()).spawn(move || worker.run())?;
        Ok(Self { store, guard, queue, unwatched, stop, hashed, worker: Some(worker) })
    }

    /// Shares a folder with all that is in it, or a single file. Shared folders within it become part of it, and nothing of theirs is hashed again.
    ///
    /// # Errors
    /// As [`AddError`] tells.
    pub fn add(&self, path: &Path) -> Result<Scan, AddError> {
        let unreadable = |error| AddError::Unreadable { path: path.to_owned(), error };
        let real = path.canonicalize().map_err(unreadable)?;
        let metadata = real.metadata().map_err(unreadable)?;
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(AddError::NoFile(real));
        }
        if self.guard.is_private(&real) {
            return Err(AddError::Profile(real));
        }
        let roots = self.store.roots();
        if let Some(root) = roots.iter().find(|root| real.starts_with(root)) {
            return Err(AddError::Already { path: real, root: root.clone() });
        }
        let within: Vec<PathBuf> = roots.iter().filter(|root| root.starts_with(&real)).cloned().collect();
        if let Some(root) = within.iter().find(|root| is_hidden(&real, root)) {
            return Err(AddError::Hides { path: real, root: root.clone() });
        }
        if roots.len() - within.len() >= MAX_ROOTS {
            return Err(AddError::TooMany(real));
        }
        self.store.add_root(&real, &within)?;
        let (ticket, end) = oneshot::channel();
        self.queue.scan(real.clone(), Some(ticket));
        Ok(Scan { root: real, end })
    }

    /// Shares a folder or single file no more, and forgets all that was hashed for it. It need not exist any more.
    ///
    /// # Errors
    /// As [`RemoveError`] tells.
    pub fn remove(&self, path: &Path) -> Result<(), RemoveError> {
        let given = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let real = path.canonicalize().unwrap_or_else(|_| given.clone());
        let roots = self.store.roots();
        let root = roots.into_iter().find(|root| *root == real || *root == given);
        let root = root.ok_or(RemoveError::NotShared(given))?;
        self.store.remove_root(&root)?;
        // The thread then stops watching it.
        self.queue.scan(root, None);
        Ok(())
    }

    /// The shared folders and single files.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn list(&self) -> Result<Vec<SharedRoot>, StoreError> {
        let describe = |path: PathBuf| {
            let Totals { files, bytes } = self.store.totals_under(&path)?;
            Ok(SharedRoot { files, bytes, state: self.state_of(&path), path })
        };
        self.store.roots().into_iter().map(describe).collect()
    }

    /// How much is shared. Never blocks for long.
    pub fn totals(&self) -> Totals {
        self.store.totals()
    }

    /// Where the journal stands.
    pub fn mark(&self) -> JournalMark {
        *self.store.watch_mark().borrow()
    }

    /// Tells whenever the journal moves on.
    pub fn watch_mark(&self) -> changes::Receiver<JournalMark> {
        self.store.watch_mark()
    }

    /// What a home lacks that has come as far as `home`: at most `limit` changes, never more than the wire's batch. If its mark is of
    /// another epoch, or of a future that was lost here, `after` in the answer is revision 0 of the present epoch.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn changes_after(&self, home: JournalMark, limit: usize) -> Result<Batch, StoreError> {
        self.store.changes_after(home, limit)
    }

    /// How many bytes were hashed since the start.
    pub fn hashed_bytes(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Scans all shared folders from their tops, in the background.
    pub fn rescan(&self) {
        self.queue.scan_everything();
    }

    fn state_of(&self, root: &Path) -> RootState {
        if self.queue.is_scanning(root) {
            return RootState::Scanning;
        }
        let unwatched = self.unwatched.lock().unwrap_or_else(PoisonError::into_inner);
        unwatched.get(root).cloned().map_or(RootState::Watched, RootState::Rescanned)
    }

    fn find(&self, hash: &ContentHash) -> Result<Option<SharedFile>, StoreError> {
        for (path, stamp) in self.store.reader()?.with_content(hash)? {
            let metadata = path.symlink_metadata().ok();
            let unchanged = metadata.filter(|found| Stamp::of(found) == Some(stamp) && is_real(&path));
            if let Some(modified) = unchanged.and_then(|found| found.modified().ok()) {
                let outboard = outboard_path(self.store.outboards(), hash);
                return Ok(Some(SharedFile { path, size: stamp.size, modified, outboard }));
            }
            self.queue.touch(std::iter::once(path));
        }
        Ok(None)
    }
}

impl ContentStore for Shares {
    fn locate(&self, hash: &ContentHash) -> Option<SharedFile> {
        let found = self.find(hash);
        found.inspect_err(|error| tracing::error!("failed to {error}")).ok().flatten()
    }

    fn report_changed(&self, hash: &ContentHash) {
        self.queue.doubt(*hash);
    }
}

impl Scan {
    /// Waits for the end of the scan. `None` if it did not come to an end: the node stops, or the folder was removed again.
    pub async fn finished(self) -> Option<Summary> {
        self.end.await.ok()
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.queue.stop();
        if let Some(worker) = self.worker.take() {
            // It looks at the flag with every file and every half megabyte. If it panicked, that was reported.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
#[path = "shares/shares_tests.rs"]
mod tests;
