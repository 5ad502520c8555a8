//! What a user sees of a scan.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::sync::broadcast;

/// Shortest time between two reports of progress: the eye sees no more.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Most problems that are told one by one in a scan (guess: nobody reads more); the others are counted.
const MAX_PROBLEMS_TOLD: u64 = 100;

/// Something happened to the shared files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareEvent {
    /// A shared folder is looked through.
    Scanning {
        /// Which.
        root: PathBuf,
        /// Files seen so far.
        files: u64,
    },
    /// Files are hashed.
    Hashing {
        /// The file at hand.
        path: PathBuf,
        /// Bytes hashed so far in this scan.
        done: u64,
        /// Bytes to hash in this scan.
        total: u64,
        /// Files hashed so far in this scan.
        files_done: u64,
        /// Files to hash in this scan.
        files_total: u64,
    },
    /// A shared folder is up to date.
    Done(Summary),
    /// Something could not be shared.
    Problem {
        /// What.
        path: PathBuf,
        /// Why: reads well after the path.
        why: String,
    },
}

/// How a scan of a shared folder ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub root: PathBuf,
    /// Files that are shared in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many things could not be shared.
    pub problems: u64,
}

/// Tells how a scan goes on, not too often.
pub struct Progress {
    events: broadcast::Sender<ShareEvent>,
    root: Option<PathBuf>,
    reported: Option<Instant>,
    looked: u64,
    done: u64,
    total: u64,
    files_done: u64,
    files_total: u64,
    problems: u64,
}

impl Progress {
    /// Of a scan of a whole shared folder, or else of some touched files.
    pub fn new(events: broadcast::Sender<ShareEvent>, root: Option<PathBuf>) -> Self {
        Self {
            events,
            root,
            reported: None,
            looked: 0,
            done: 0,
            total: 0,
            files_done: 0,
            files_total: 0,
            problems: 0,
        }
    }

    /// How many problems there were.
    pub fn problems(&self) -> u64 {
        self.problems
    }

    /// A file was looked at.
    pub fn looked(&mut self) {
        self.looked += 1;
        if self.root.is_some() && self.is_time() {
            let root = self.root.clone().unwrap_or_default();
            self.tell(ShareEvent::Scanning { root, files: self.looked });
        }
    }

    /// So much is to be hashed.
    pub fn will_hash(&mut self, files: u64, bytes: u64) {
        (self.files_total, self.total) = (files, bytes);
        self.reported = None;
    }

    /// So many bytes of this file are hashed.
    pub fn hashing(&mut self, path: &Path, done: u64) {
        if self.is_time() {
            self.tell(ShareEvent::Hashing {
                path: path.to_owned(),
                done: self.done + done,
                total: self.total,
                files_done: self.files_done,
                files_total: self.files_total,
            });
        }
    }

    /// A file of this size is hashed, or could not be.
    pub fn hashed_file(&mut self, size: u64) {
        self.files_done += 1;
        self.done += size;
    }

    /// Something cannot be shared.
    pub fn problem(&mut self, path: &Path, why: String) {
        self.problems += 1;
        if self.problems <= MAX_PROBLEMS_TOLD {
            tracing::info!(path = %path.display(), why, "not shared");
            self.tell(ShareEvent::Problem { path: path.to_owned(), why });
        }
    }

    /// So many files are not shared, because there are too many.
    pub fn left_out(&mut self, files: usize, limit: u64) {
        let root = self.root.clone().unwrap_or_default();
        self.problem(&root, format!("has {files} files more than the {limit} that a node can share"));
        self.problems += files as u64 - 1;
    }

    fn is_time(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self.reported.is_none_or(|last| now - last >= REPORT_EVERY);
        if is_time {
            self.reported = Some(now);
        }
        is_time
    }

    fn tell(&self, event: ShareEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }
}
