//! Fetching.

use std::{fmt, path::PathBuf, str::FromStr};

use nearmesh_common::{ContentHash, id::ParseIdError};
use serde::{Deserialize, Serialize};

use super::{AsText, NodePath, Source};

/// What is to be fetched, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// Which content.
    pub wanted: AsText<Wanted>,
    /// The folder for it, absolute; `null` for the profile's own downloads folder.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// The name for it; `null` for the one under which it was found.
    #[serde(default)]
    pub name: Option<String>,
}

/// A content, by its hash or as a result of the last search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// By hash.
    Hash(ContentHash),
    /// By number, from 1.
    Result(u32),
}

/// A download's number in its node; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DownloadId(pub u64);

/// The answer to a [`GetRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// By which it is followed and cancelled.
    pub id: DownloadId,
}

/// A download.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Download {
    /// Its number.
    pub id: DownloadId,
    /// The content.
    pub hash: AsText<ContentHash>,
    /// Its name. From the network: may hold any character.
    pub name: String,
    /// Bytes, once a source has told.
    pub size: Option<u64>,
    /// Bytes that are verified and on disk.
    pub received: u64,
    /// Bytes a second, lately.
    pub rate: u64,
    /// How it is.
    pub state: State,
    /// Why it failed, or what it is waiting for.
    pub error: Option<String>,
    /// Where it comes from.
    pub sources: Vec<Source>,
    /// How the bytes come, from those sources to which there is a connection.
    #[serde(default)]
    pub paths: Vec<NodePath>,
    /// The complete file, or where it will be.
    pub path: PathBuf,
}

/// How a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Looking for somebody who has it.
    Searching,
    /// Bytes come in.
    Running,
    /// Nobody who has it can be reached now; it will be tried again.
    Waiting,
    /// Complete, verified, and under its final name.
    Done,
    /// Over.
    Failed,
    /// Given up by the user.
    Cancelled,
}

/// What following a download yields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadEvent {
    /// So far.
    Progress(Download),
    /// It is over: done, failed or cancelled.
    Ended(Download),
}

impl FromStr for Wanted {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.parse() {
            Ok(number @ 1..) => Ok(Self::Result(number)),
            _ => text.parse().map(Self::Hash),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => hash.fmt(f),
            Self::Result(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for DownloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
