//! The thread that scans: one piece of work after the other, so that the store has one writer and the disk one reader.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::{broadcast, oneshot};

use super::{
    progress::{Progress, ShareEvent, Summary},
    queue::{Queue, Work},
    scan::{ScanError, Scanner},
    watch::{RESCAN_EVERY, Watch},
};

/// The shared folders that are not watched, and why.
pub type Unwatched = Arc<Mutex<BTreeMap<PathBuf, String>>>;

/// What the thread works with.
pub struct Worker {
    /// How it scans.
    pub scanner: Scanner,
    /// What it is asked for.
    pub queue: Arc<Queue>,
    /// Whom it tells.
    pub events: broadcast::Sender<ShareEvent>,
    /// Notices changes.
    pub watch: Watch,
    /// Where it says which folders it cannot watch.
    pub unwatched: Unwatched,
    /// Whether the store did not take something: a later scan makes up for it.
    pub behind: bool,
}

impl Worker {
    /// Works until told to stop.
    pub fn run(mut self) {
        let mut rescan_at = Instant::now() + RESCAN_EVERY;
        loop {
            let patience = rescan_at.saturating_duration_since(Instant::now());
            let patience = (self.behind || !self.watch.failing().is_empty()).then_some(patience);
            match self.queue.next(|| self.scanner.store.roots(), patience) {
                Work::Stop => return,
                Work::Root(root, ticket) => self.scan_root(root, ticket),
                Work::Touched(paths) => self.scan_touched(&paths),
                Work::Doubted(hash) => {
                    let outcome = self.scanner.rehash(&hash, &mut self.progress(None));
                    self.note(outcome);
                }
                Work::Idle if Instant::now() >= rescan_at => {
                    self.behind = false;
                    self.queue.scan_everything();
                }
                Work::Idle => {}
            }
            if Instant::now() >= rescan_at {
                rescan_at = Instant::now() + RESCAN_EVERY;
            }
        }
    }

    fn scan_root(&mut self, root: PathBuf, ticket: Option<oneshot::Sender<Summary>>) {
        // Watched first: what changes during the scan is then seen by one or the other.
        self.watch.follow(&self.scanner.store.roots());
        if !self.scanner.store.roots().contains(&root) {
            return self.publish_unwatched();
        }
        let mut progress = self.progress(Some(root.clone()));
        if root.symlink_metadata().is_err() {
            self.watch.lost(&root);
            progress.problem(&root, "is not there".to_owned());
        }
        self.publish_unwatched();
        match self.scanner.scan(std::slice::from_ref(&root), &mut progress) {
            Ok(()) => {}
            Err(ScanError::Stopped) => return,
            Err(ScanError::Store(error)) => {
                progress.problem(&root, format!("failed to {error}"));
                self.behind = true;
            }
        }
        if !self.scanner.store.roots().contains(&root) {
            return;
        }
        // Should the store fail, nothing is found in it either.
        let totals = self.scanner.store.totals_under(&root).unwrap_or_default();
        let summary =
            Summary { root, files: totals.files, bytes: totals.bytes, problems: progress.problems() };
        // Before anybody hears of it: who asks then how it stands hears the same.
        self.queue.scanned();
        if let Some(ticket) = ticket {
            // Whoever asked may have gone.
            let _ = ticket.send(summary.clone());
        }
        let _ = self.events.send(ShareEvent::Done(summary));
    }

    fn scan_touched(&mut self, paths: &[PathBuf]) {
        let outcome = self.scanner.scan(paths, &mut self.progress(None));
        self.note(outcome);
        for root in self.scanner.store.roots() {
            if paths.contains(&root) && root.symlink_metadata().is_err() {
                self.watch.lost(&root);
                self.publish_unwatched();
            }
        }
    }

    fn publish_unwatched(&self) {
        let mut unwatched = self.unwatched.lock().unwrap_or_else(PoisonError::into_inner);
        unwatched.clone_from(self.watch.failing());
    }

    fn progress(&self, root: Option<PathBuf>) -> Progress {
        Progress::new(self.events.clone(), root)
    }

    fn note(&mut self, outcome: Result<(), ScanError>) {
        if let Err(ScanError::Store(error)) = outcome {
            tracing::error!("failed to {error}; trying again within {} s", RESCAN_EVERY.as_secs());
            self.behind = true;
        }
    }
}
