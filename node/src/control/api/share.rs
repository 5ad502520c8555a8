//! Sharing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which file or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// Absolute.
    pub path: PathBuf,
}

/// A file or folder that is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Where it is.
    pub path: PathBuf,
    /// Files in it that others can find.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files in it that could not be read.
    pub unreadable: u64,
}

/// What adding a share yields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareEvent {
    /// So far.
    Progress(ShareProgress),
    /// All of it is hashed; it is watched from now on.
    Done(Share),
}

/// How far the hashing of a share has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareProgress {
    /// Files found so far; grows while folders are read.
    pub files_found: u64,
    /// Of those, the ones that are hashed.
    pub files_hashed: u64,
    /// Bytes in the files found so far.
    pub bytes_found: u64,
    /// Of those, the ones that are hashed.
    pub bytes_hashed: u64,
}
