//! What is to be scanned next.
//!
//! Wishes are merged: a path that was touched a thousand times is one path, and when there are too many paths they become
//! one scan of everything. So the queue is bounded however busy the disk is.

use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nearmesh_common::ContentHash;
use tokio::sync::oneshot;

use super::progress::Summary;

/// Most touched paths that are remembered one by one (guess: beyond this, one walk is cheaper).
const MAX_TOUCHED: usize = 4096;
/// Most contents that wait to be hashed again (guess).
const MAX_DOUBTED: usize = 256;
/// Most scans of folders that wait, in case somebody adds and removes a folder in a loop: those with a ticket (guess).
const MAX_SCANS: usize = 1024;

/// One piece of work.
#[derive(Debug)]
pub enum Work {
    /// Scan a shared folder or file from its top.
    Root(PathBuf, Option<oneshot::Sender<Summary>>),
    /// Scan these paths.
    Touched(Vec<PathBuf>),
    /// Hash the files with this content again.
    Doubted(ContentHash),
    /// Nothing was wished for the given time.
    Idle,
    /// No more.
    Stop,
}

/// The queue. Whoever puts something in never waits.
#[derive(Debug, Default)]
pub struct Queue {
    wishes: Mutex<Wishes>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct Wishes {
    roots: VecDeque<(PathBuf, Option<oneshot::Sender<Summary>>)>,
    current: Option<PathBuf>,
    touched: BTreeSet<PathBuf>,
    doubted: BTreeSet<ContentHash>,
    everything: bool,
    stop: bool,
}

impl Queue {
    /// Scan a shared folder; `ticket` hears how it ended.
    pub fn scan(&self, root: PathBuf, ticket: Option<oneshot::Sender<Summary>>) {
        self.wish(|wishes| {
            if wishes.roots.len() < MAX_SCANS {
                wishes.roots.push_back((root, ticket));
            } else {
                wishes.everything = true;
            }
        });
    }

    /// Scan all shared folders.
    pub fn scan_everything(&self) {
        self.wish(|wishes| wishes.everything = true);
    }

    /// Scan these paths.
    pub fn touch(&self, paths: impl Iterator<Item = PathBuf>) {
        self.wish(|wishes| {
            wishes.touched.extend(paths.take(MAX_TOUCHED + 1));
            if wishes.touched.len() > MAX_TOUCHED {
                wishes.touched.clear();
                wishes.everything = true;
            }
        });
    }

    /// Hash the files with this content again.
    pub fn doubt(&self, hash: ContentHash) {
        self.wish(|wishes| {
            if wishes.doubted.len() < MAX_DOUBTED {
                wishes.doubted.insert(hash);
            }
        });
    }

    /// Stop working.
    pub fn stop(&self) {
        self.wish(|wishes| wishes.stop = true);
    }

    /// The folder that was taken last has been scanned.
    pub fn scanned(&self) {
        self.lock().current = None;
    }

    /// Whether a shared folder is being scanned from its top, or waits for it.
    pub fn is_scanning(&self, root: &Path) -> bool {
        let wishes = self.lock();
        wishes.everything
            || wishes.current.as_deref() == Some(root)
            || wishes.roots.iter().any(|(known, _)| known == root)
    }

    /// The next piece of work. `roots` tells what everything is. Blocks, at most for `patience` if given.
    pub fn next(&self, roots: impl Fn() -> Vec<PathBuf>, patience: Option<Duration>) -> Work {
        let mut wishes = self.lock();
        wishes.current = None;
        if wishes.is_empty() {
            let idle = |wishes: &mut Wishes| wishes.is_empty();
            wishes = match patience {
                Some(patience) => {
                    let waited = self.woken.wait_timeout_while(wishes, patience, idle);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.woken.wait_while(wishes, idle).unwrap_or_else(PoisonError::into_inner),
            };
        }
        wishes.take(roots)
    }

    fn wish(&self, add: impl FnOnce(&mut Wishes)) {
        add(&mut self.lock());
        self.woken.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        // Each wish is complete in itself.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wishes {
    fn is_empty(&self) -> bool {
        !self.stop
            && !self.everything
            && self.roots.is_empty()
            && self.touched.is_empty()
            && self.doubted.is_empty()
    }

    fn take(&mut self, roots: impl Fn() -> Vec<PathBuf>) -> Work {
        if self.stop {
            return Work::Stop;
        }
        if std::mem::take(&mut self.everything) {
            self.touched.clear();
            for root in roots() {
                if !self.roots.iter().any(|(known, _)| *known == root) {
                    self.roots.push_back((root, None));
                }
            }
        }
        // What may be lying comes first, then what a user just did.
        if let Some(hash) = self.doubted.pop_first() {
            return Work::Doubted(hash);
        }
        if !self.touched.is_empty() {
            return Work::Touched(std::mem::take(&mut self.touched).into_iter().collect());
        }
        match self.roots.pop_front() {
            Some((root, ticket)) => {
                self.current = Some(root.clone());
                Work::Root(root, ticket)
            }
            None => Work::Idle,
        }
    }
}
