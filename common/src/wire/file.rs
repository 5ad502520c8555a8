//! A shared file, as its node describes it to a supernode.

use serde::{Deserialize, Serialize};

use crate::ContentHash;

/// Longest file name, in bytes: what Linux, macOS and Windows file systems allow (255), and UTF-8 replacements for
/// names that are not UTF-8 (three bytes for one).
pub const MAX_NAME_BYTES: usize = 765;
/// Longest audio tag, in bytes (guess); longer ones are cut.
pub const MAX_TAG_BYTES: usize = 128;
/// Most changes in one batch: at 300 bytes each a batch stays below half of the largest frame.
pub const MAX_BATCH: usize = 1000;

/// A file's number in its node's journal; never used again for another file in the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileNumber(pub u32);

/// What sort of file it is, told from its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// Pictures.
    Image,
    /// Text, office documents, books.
    Document,
    /// Packed files and disk images.
    Archive,
    /// Everything else.
    Other,
}

/// What an audio file says of itself. Empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Title.
    pub title: Box<str>,
    /// Artist.
    pub artist: Box<str>,
    /// Album.
    pub album: Box<str>,
}

/// A file as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its number in the node's journal.
    pub number: FileNumber,
    /// Its name, without folders; may hold any character.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// What sort of file it is.
    pub kind: Kind,
    /// Words beyond the name, where it is audio.
    pub tags: Option<Tags>,
}

/// One step of a node's journal of shared files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A file is shared, or its entry replaced.
    Add(FileEntry),
    /// A file is no longer shared.
    Remove(FileNumber),
}

/// How far a registration has come: `revision` counts the changes of one `epoch` of the journal. A new epoch begins
/// when the journal is lost; then everything is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalMark {
    /// Which journal.
    pub epoch: u64,
    /// How many of its changes.
    pub revision: u64,
}

impl Kind {
    /// All kinds, in the order in which help texts list them.
    pub const ALL: [Self; 6] =
        [Self::Audio, Self::Video, Self::Image, Self::Document, Self::Archive, Self::Other];

    /// The word that people type for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Image => "image",
            Self::Document => "document",
            Self::Archive => "archive",
            Self::Other => "other",
        }
    }
}

impl FileEntry {
    pub(super) fn within_bounds(&self) -> bool {
        let tags_fit = self.tags.as_ref().is_none_or(|tags| {
            [&tags.title, &tags.artist, &tags.album].iter().all(|tag| tag.len() <= MAX_TAG_BYTES)
        });
        self.name.len() <= MAX_NAME_BYTES && tags_fit
    }
}

impl Change {
    pub(super) fn within_bounds(&self) -> bool {
        match self {
            Self::Add(entry) => entry.within_bounds(),
            Self::Remove(_) => true,
        }
    }
}
