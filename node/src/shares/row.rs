//! What is kept of a shared file.

use std::{ffi::OsStr, fs::Metadata, os::unix::ffi::OsStrExt, os::unix::fs::MetadataExt, path::Path};

use nearmesh_common::{
    ContentHash,
    wire::file::{FileEntry, FileNumber, Kind, MAX_NAME_BYTES, Tags},
};
use serde::{Deserialize, Serialize};

/// How a file that was hashed is known again without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// When it was last written: seconds since 1970, and nanoseconds. A `SystemTime` before 1970 would not serialize.
    pub modified: (i64, i64),
    /// Its inode. The device is left out: its number may be another after a restart.
    pub inode: u64,
}

/// What hashing found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// What sort of file it is.
    pub kind: Kind,
    /// Where it is audio.
    pub tags: Option<Tags>,
}

/// A shared file as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The file as it was when it was hashed.
    pub stamp: Stamp,
    /// What was found.
    pub content: Content,
    /// Its number in the journal.
    pub number: FileNumber,
    /// The revision of its last change.
    pub revision: u64,
}

impl Stamp {
    /// The stamp of an ordinary file; `None` of anything else. Give it metadata that did not follow a link.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        })
    }

    /// The stamp of the file at `path`; `None` if there is no ordinary file.
    pub fn read(path: &Path) -> Option<Self> {
        Self::of(&path.symlink_metadata().ok()?)
    }
}

impl Row {
    /// The file as it is registered.
    pub fn entry(&self, path: &[u8]) -> FileEntry {
        FileEntry {
            number: self.number,
            name: name_of(path),
            size: self.stamp.size,
            hash: self.content.hash,
            kind: self.content.kind,
            tags: self.content.tags.clone(),
        }
    }
}

/// The name under which others see a file: the last part of its path, with U+FFFD for what is not UTF-8.
pub fn name_of(path: &[u8]) -> Box<str> {
    let name = Path::new(OsStr::from_bytes(path)).file_name().unwrap_or_default().to_string_lossy();
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].into()
}
