//! Bringing the store up to date with the disk: look, compare, hash only what is new or changed.
//!
//! A scan goes in this order, so that search results follow the disk quickly even when much is to be hashed: walk and compare by stamp
//! (size, time, inode); forget what is gone and take over what was only renamed, known by its stamp; hash the rest, committed
//! in batches. A scan that is killed has lost the last batch at most, and the next one goes on from there.
//!
//! A stamp can miss a change (same size within one tick of the clock). That is found when the file is served, because every chunk group is
//! proven then, and leads to [`Scanner::rehash`].

use std::{
    collections::HashSet,
    ops::ControlFlow,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nearmesh_common::{
    ContentHash,
    wire::file::{FileNumber, Kind},
};
use thiserror::Error;

use super::{
    kind::kind_of,
    progress::Progress,
    row::{Content, Stamp, name_of},
    store::{Edit, MAX_FILES, Reader, Store, StoreError},
    tags::read_tags,
    walk::{Guard, Met},
};
use crate::content::{HashError, hash_file};

/// Most files in one transaction (measured with 4,183 small files: at 50 a scan takes twice as long, at 5,000 as long).
const BATCH_FILES: usize = 500;
/// How long hashed files may wait for their transaction: what kill -9 costs at most, one large file aside (guess).
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// Before a file of this many bytes is hashed, what waits is committed: it would have to wait for long (guess: 50 ms of hashing).
const LARGE_BYTES: u64 = 64 * 1024 * 1024;
/// How often a file is hashed that changes meanwhile, before it is left to the next scan (guess).
const HASH_TRIES: usize = 3;

/// Why a scan did not come to its end.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The node stops, or the folder is no longer shared.
    #[error("scan: stopped")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a file has no hash now.
enum Miss {
    Changed,
    Stopped,
    Failed(String),
}

/// Scans. Blocking: it has a thread of its own.
pub struct Scanner {
    /// Where to keep what is found.
    pub store: Arc<Store>,
    /// What is never shared.
    pub guard: Guard,
    /// Set when the node stops.
    pub stop: Arc<AtomicBool>,
    /// Counts the bytes that were hashed.
    pub hashed: Arc<AtomicU64>,
}

/// What the walk found.
#[derive(Default)]
struct Found {
    seen: HashSet<FileNumber>,
    fresh: Vec<(PathBuf, Stamp)>,
}

/// What waits for its transaction.
struct Pending {
    edits: Vec<Edit>,
    since: Instant,
}

impl Scanner {
    /// Scans what is at and under `starts`.
    ///
    /// # Errors
    /// If it was stopped, or the store failed. What was found until then is kept.
    pub fn scan(&self, starts: &[PathBuf], progress: &mut Progress) -> Result<(), ScanError> {
        // Those outside are the neighbours of single shared files.
        let within = starts.iter().filter(|start| self.store.root_of(start).is_some());
        let mut starts: Vec<PathBuf> = within.cloned().collect();
        starts.sort();
        starts.dedup_by(|later, earlier| later.starts_with(earlier));
        let mut found = self.look(&starts, progress)?;
        self.forget_gone_and_take_renamed(&starts, &mut found, progress)?;
        self.hash_all(&found.fresh, progress)
    }

    /// Hashes the files that are believed to have this content, whatever their stamps say.
    ///
    /// # Errors
    /// If it was stopped, or the store failed.
    pub fn rehash(&self, hash: &ContentHash, progress: &mut Progress) -> Result<(), ScanError> {
        let believed = self.store.reader()?.with_content(hash)?;
        let (mut files, mut gone) = (Vec::new(), Vec::new());
        for (path, _) in believed {
            match Stamp::read(&path) {
                Some(stamp) => files.push((path, stamp)),
                None => gone.push(Edit::Gone(path)),
            }
        }
        self.store.apply(gone)?;
        self.hash_all(&files, progress)
    }

    fn look(&self, starts: &[PathBuf], progress: &mut Progress) -> Result<Found, ScanError> {
        let reader = self.store.reader()?;
        let mut found = Found::default();
        let mut failure = None;
        for start in starts {
            let Some(root) = self.store.root_of(start) else { continue };
            let mut meet = |met: Met<'_>| match met {
                Met::File(path, stamp) => {
                    progress.looked();
                    failure = found.compare(&reader, path, stamp).err();
                    failure.is_none() && !self.stop.load(Ordering::Relaxed)
                }
                Met::Problem(path, error) => {
                    progress.problem(path, format!("cannot be read: {error}"));
                    true
                }
            };
            if !self.guard.walk(&root, start, &mut meet) {
                return Err(failure.map_or(ScanError::Stopped, ScanError::Store));
            }
        }
        Ok(found)
    }

    /// Both at once, so that a home hears of no moment without the file.
    fn forget_gone_and_take_renamed(
        &self,
        starts: &[PathBuf],
        found: &mut Found,
        progress: &mut Progress,
    ) -> Result<(), ScanError> {
        let reader = self.store.reader()?;
        let mut edits = Vec::new();
        for start in starts {
            reader.each_under(start, |path, row| {
                if !found.seen.contains(&row.number) {
                    edits.push(Edit::Gone(path));
                }
                ControlFlow::Continue(())
            })?;
        }
        for (path, stamp) in std::mem::take(&mut found.fresh) {
            let kind = kind_of(&name_of(path.as_os_str().as_bytes()));
            // Of another kind it may have other tags.
            match reader.stamped(&stamp)?.filter(|row| row.content.kind == kind) {
                Some(row) => edits.push(Edit::Put { path, stamp, content: row.content }),
                None => found.fresh.push((path, stamp)),
            }
        }
        self.commit(&mut edits, progress)
    }

    fn hash_all(&self, files: &[(PathBuf, Stamp)], progress: &mut Progress) -> Result<(), ScanError> {
        progress.will_hash(files.len() as u64, files.iter().map(|(_, stamp)| stamp.size).sum());
        let mut pending = Pending { edits: Vec::new(), since: Instant::now() };
        for (path, stamp) in files {
            if stamp.size >= LARGE_BYTES {
                self.commit(&mut pending.edits, progress)?;
            }
            let edit = match self.hash_one(path, *stamp, progress) {
                Ok(edit) => edit,
                Err(ScanError::Stopped) if !self.stop.load(Ordering::Relaxed) => continue,
                Err(error) => {
                    self.commit(&mut pending.edits, progress)?;
                    return Err(error);
                }
            };
            if pending.edits.is_empty() {
                pending.since = Instant::now();
            }
            pending.edits.push(edit);
            if pending.edits.len() >= BATCH_FILES || pending.since.elapsed() >= BATCH_WAIT {
                self.commit(&mut pending.edits, progress)?;
            }
            progress.hashed_file(stamp.size);
        }
        self.commit(&mut pending.edits, progress)
    }

    fn hash_one(&self, path: &Path, mut stamp: Stamp, progress: &mut Progress) -> Result<Edit, ScanError> {
        for _ in 0..HASH_TRIES {
            match self.hash_once(path, stamp, progress) {
                Ok(content) => return Ok(Edit::Put { path: path.to_owned(), stamp, content }),
                Err(Miss::Changed) => {}
                Err(Miss::Stopped) => return Err(ScanError::Stopped),
                Err(_) if Stamp::read(path).is_none() => {}
                Err(Miss::Failed(why)) => {
                    progress.problem(path, format!("failed to {why}"));
                    return Ok(Edit::Gone(path.to_owned()));
                }
            }
            // It changed. Went it away, there is nothing to complain about.
            let Some(now) = Stamp::read(path) else { return Ok(Edit::Gone(path.to_owned())) };
            stamp = now;
        }
        progress.problem(path, "is being written; it is shared once it rests".to_owned());
        Ok(Edit::Gone(path.to_owned()))
    }

    fn hash_once(&self, path: &Path, stamp: Stamp, progress: &mut Progress) -> Result<Content, Miss> {
        let hashed = hash_file(path, &mut |done| {
            progress.hashing(path, done.min(stamp.size));
            !self.stop.load(Ordering::Relaxed) && self.store.root_of(path).is_some()
        })?;
        self.hashed.fetch_add(hashed.size, Ordering::Relaxed);
        let kind = kind_of(&name_of(path.as_os_str().as_bytes()));
        let tags = if kind == Kind::Audio { read_tags(path) } else { None };
        if hashed.size != stamp.size || Stamp::read(path) != Some(stamp) {
            return Err(Miss::Changed);
        }
        let kept = hashed.store_outboard(self.store.outboards());
        kept.map_err(|error| Miss::Failed(format!("keep its hash tree: {error}")))?;
        Ok(Content { hash: hashed.hash, kind, tags })
    }

    fn commit(&self, edits: &mut Vec<Edit>, progress: &mut Progress) -> Result<(), ScanError> {
        if edits.is_empty() {
            return Ok(());
        }
        let left_out = self.store.apply(std::mem::take(edits))?;
        if left_out > 0 {
            progress.left_out(left_out, MAX_FILES);
        }
        Ok(())
    }
}

impl Found {
    fn compare(&mut self, reader: &Reader, path: PathBuf, stamp: Stamp) -> Result<(), StoreError> {
        let row = reader.row(&path)?;
        let known = row.as_ref().is_some_and(|row| row.stamp == stamp);
        self.seen.extend(row.map(|row| row.number));
        if !known && self.fresh.len() as u64 <= MAX_FILES {
            self.fresh.push((path, stamp));
        }
        Ok(())
    }
}

impl From<HashError> for Miss {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Changed => Self::Changed,
            HashError::Stopped => Self::Stopped,
            HashError::Read(_) | HashError::NotAFile => Self::Failed(error.to_string()),
        }
    }
}
