//! What of a shared folder is shared.
//!
//! Ordinary files, at any depth. Not shared are:
//! - symbolic links: they make loops, and lead out of what the user meant to share;
//! - hidden files and folders (`.name`): settings, keys, and half-fetched files such as our own `.*.nearmesh-part`. A folder that the user shares by
//!   name may be hidden itself;
//! - the profile of any node, wherever it lies: it holds private keys.
//!
//! Invariant: what is found lies under its shared folder by its real path, without a link on the way.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
};

use super::{row::Stamp, store::DATABASE_NAME};

/// How the names of files end that are still being fetched.
const PART_SUFFIX: &[u8] = b".nearmesh-part";

/// The profile, which is never shared.
#[derive(Clone, Debug)]
pub struct Guard {
    profile: PathBuf,
    // Also recognizes it under another name: a bind mount, or a file system that ignores case.
    id: (u64, u64),
}

/// What a walk meets.
pub enum Met<'a> {
    /// A file that is shared.
    File(PathBuf, Stamp),
    /// Something that cannot be read.
    Problem(&'a Path, io::Error),
}

impl Guard {
    /// Guards this profile directory, which exists.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn new(profile: &Path) -> io::Result<Self> {
        let profile = profile.canonicalize()?;
        let metadata = profile.metadata()?;
        Ok(Self { profile, id: (metadata.dev(), metadata.ino()) })
    }

    /// Whether a real path lies in the profile.
    pub fn covers(&self, path: &Path) -> bool {
        path.starts_with(&self.profile)
    }

    /// Whether a real path is, or lies in, the profile of this or another node.
    pub fn is_private(&self, path: &Path) -> bool {
        self.covers(path) || path.ancestors().any(|folder| self.is_profile(folder))
    }

    fn is_profile(&self, folder: &Path) -> bool {
        folder.symlink_metadata().is_ok_and(|found| (found.dev(), found.ino()) == self.id)
            || folder.join(DATABASE_NAME).symlink_metadata().is_ok()
    }

    /// Walks what is at `start`, which belongs to the shared folder (or is the shared file) `root`. `meet` says whether to go on.
    /// Returns whether the walk came to its end. Blocking.
    pub fn walk(&self, root: &Path, start: &Path, meet: &mut dyn FnMut(Met<'_>) -> bool) -> bool {
        if is_hidden(root, start) || !is_real(start) || self.is_private(start) {
            return true;
        }
        if let Some(stamp) = Stamp::read(start) {
            return meet(Met::File(start.to_owned(), stamp));
        }
        let mut folders = vec![start.to_owned()];
        while let Some(folder) = folders.pop() {
            if !self.walk_folder(&folder, &mut folders, meet) {
                return false;
            }
        }
        true
    }

    fn walk_folder(
        &self,
        folder: &Path,
        folders: &mut Vec<PathBuf>,
        meet: &mut dyn FnMut(Met<'_>) -> bool,
    ) -> bool {
        if self.is_profile(folder) {
            return true;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // It went away meanwhile, or is a pipe, a socket, a device: nothing that is shared.
            Err(error) if is_no_folder(&error) => return true,
            Err(error) => return meet(Met::Problem(folder, error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return meet(Met::Problem(folder, error)),
            };
            if is_hidden_name(entry.file_name().as_bytes()) {
                continue;
            }
            let path = entry.path();
            // Of the entry itself, not of what a link leads to.
            let go_on = match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => {
                    folders.push(path);
                    true
                }
                Ok(metadata) => Stamp::of(&metadata).is_none_or(|stamp| meet(Met::File(path, stamp))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => meet(Met::Problem(&path, error)),
            };
            if !go_on {
                return false;
            }
        }
        true
    }
}

/// Whether `path` is hidden within the shared folder `root`.
pub fn is_hidden(root: &Path, path: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    let hidden = |part: Component<'_>| is_hidden_name(part.as_os_str().as_bytes());
    below.components().any(hidden) || path.as_os_str().as_bytes().ends_with(PART_SUFFIX)
}

/// Whether no part of a path is a link (or anything but a plain name).
pub fn is_real(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real == path)
}

fn is_hidden_name(name: &[u8]) -> bool {
    name.first() == Some(&b'.')
}

fn is_no_folder(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
