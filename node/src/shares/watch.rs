//! Noticing changes of the shared folders as they happen.
//!
//! The system's watcher tells which paths were touched; bursts are gathered for [`SETTLE`], then only these paths are scanned. Where a folder cannot be
//! watched (Linux allows each user so many watches), it is said once and the folder is scanned every [`RESCAN_EVERY`] instead.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify_debouncer_full::{
    DebounceEventResult, DebouncedEvent, Debouncer, NoCache, new_debouncer_opt,
    notify::{
        Config, Error as WatchError, ErrorKind, EventKind, RecommendedWatcher, RecursiveMode,
        event::{AccessKind, AccessMode},
    },
};

use super::{queue::Queue, walk::Guard};

/// How long a path must rest before it is looked at (guess: longer than the pauses of a program that writes a file).
pub const SETTLE: Duration = Duration::from_millis(500);
/// How often a folder is scanned that cannot be watched (guess: between Syncthing's hour and a user's patience).
pub const RESCAN_EVERY: Duration = Duration::from_secs(15 * 60);

/// Watches the shared folders.
pub struct Watch {
    debouncer: Option<Debouncer<RecommendedWatcher, NoCache>>,
    // What the watcher was told to watch, for each shared folder or file.
    watched: BTreeMap<PathBuf, PathBuf>,
    failing: BTreeMap<PathBuf, String>,
}

impl Watch {
    /// A watcher that puts touched paths into the queue.
    pub fn new(queue: Arc<Queue>, guard: Guard) -> Self {
        let tell = move |result: DebounceEventResult| match result {
            Ok(events) => pass_on(&events, &queue, &guard),
            Err(errors) => {
                tracing::warn!(?errors, "the watcher of shared folders lost something");
                queue.scan_everything();
            }
        };
        // A link is not shared, so what it leads to is not watched.
        let config = Config::default().with_follow_symlinks(false);
        let debouncer = new_debouncer_opt(SETTLE, None, tell, NoCache, config)
            .inspect_err(|error| tracing::warn!(%error, "changes of shared folders will be noticed late"))
            .ok();
        Self { debouncer, watched: BTreeMap::new(), failing: BTreeMap::new() }
    }

    /// Watches exactly these shared folders and files.
    pub fn follow(&mut self, roots: &[PathBuf]) {
        let stale: Vec<PathBuf> = self.watched.keys().filter(|root| !roots.contains(root)).cloned().collect();
        for root in stale {
            self.leave(&root);
        }
        self.failing.retain(|root, _| roots.contains(root));
        for root in roots {
            if !self.watched.contains_key(root) {
                self.enter(root);
            }
        }
    }

    /// A shared folder or file is gone. Should a folder come back, nothing tells.
    pub fn lost(&mut self, root: &Path) {
        if self.watched.get(root).is_some_and(|target| target != root) {
            return;
        }
        self.leave(root);
        self.fails(root, "it is not there".to_owned());
    }

    /// The shared folders that are not watched, and why.
    pub fn failing(&self) -> &BTreeMap<PathBuf, String> {
        &self.failing
    }

    fn enter(&mut self, root: &Path) {
        // A file that is replaced is another file: only its folder notices.
        let (target, mode) = match root.parent() {
            Some(parent) if root.is_file() => (parent, RecursiveMode::NonRecursive),
            _ => (root, RecursiveMode::Recursive),
        };
        let Some(debouncer) = &mut self.debouncer else {
            return self.fails(root, "this system has no watcher to spare".to_owned());
        };
        let shared_target = self.watched.values().any(|known| known == target);
        let outcome = if shared_target { Ok(()) } else { debouncer.watch(target, mode) };
        match outcome {
            Ok(()) => {
                self.failing.remove(root);
                self.watched.insert(root.to_owned(), target.to_owned());
            }
            Err(error) => {
                // Some of its folders may be watched already.
                let _ = debouncer.unwatch(target);
                self.fails(root, reason(&error));
            }
        }
    }

    fn leave(&mut self, root: &Path) {
        let Some(target) = self.watched.remove(root) else { return };
        let still_needed = self.watched.values().any(|known| *known == target);
        if let Some(debouncer) = &mut self.debouncer
            && !still_needed
        {
            // Fails where the folder is gone, and its watch with it.
            let _ = debouncer.unwatch(&target);
        }
    }

    fn fails(&mut self, root: &Path, why: String) {
        if self.failing.get(root) != Some(&why) {
            tracing::warn!(root = %root.display(), why, "not watched; scanned from time to time instead");
        }
        self.failing.insert(root.to_owned(), why);
    }
}

fn pass_on(events: &[DebouncedEvent], queue: &Queue, guard: &Guard) {
    if events.iter().any(|event| event.need_rescan()) {
        return queue.scan_everything();
    }
    let telling = events.iter().filter(|event| is_change(&event.kind));
    queue.touch(telling.flat_map(|event| event.paths.iter()).filter(|path| !guard.covers(path)).cloned());
}

/// Reading is no change; else our own scans would wake us.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn reason(error: &WatchError) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the system's limit of watches is reached (fs.inotify.max_user_watches)".to_owned()
        }
        ErrorKind::PathNotFound => "it is not there".to_owned(),
        ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_watched_says_why_and_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("music");
        let mut watch = Watch::new(Arc::default(), Guard::new(folder.path()).unwrap());
        watch.follow(std::slice::from_ref(&root));
        assert_eq!(watch.failing()[&root], "it is not there");
        std::fs::create_dir(&root).unwrap();
        watch.follow(std::slice::from_ref(&root));
        assert!(watch.failing().is_empty());
    }

    #[test]
    fn reading_a_file_is_no_change() {
        assert!(!is_change(&EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(is_change(&EventKind::Access(AccessKind::Close(AccessMode::Write))));
    }
}
