//! Asking the store: one moment of it, unmoved by what is written meanwhile.

use std::{
    ffi::OsStr,
    ops::ControlFlow,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use nearmesh_common::{
    ContentHash, codec,
    wire::file::{FileEntry, FileNumber},
};
use redb::ReadTransaction;

use super::{FILES, HASHES, INODES, NUMBERS, StoreError};
use crate::shares::row::{Row, Stamp};

/// Most copies of one content that are looked at (guess).
const MAX_COPIES: usize = 16;

/// The store as it was at one moment.
pub struct Reader(ReadTransaction);

impl Reader {
    pub(super) fn new(read: ReadTransaction) -> Self {
        Self(read)
    }

    /// What is kept of the file at `path`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn row(&self, path: &Path) -> Result<Option<Row>, StoreError> {
        Ok(self.get(bytes_of(path))?)
    }

    /// The file that had this stamp, wherever it was: a file that was renamed needs no hashing.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn stamped(&self, stamp: &Stamp) -> Result<Option<Row>, StoreError> {
        let inodes = self.0.open_table(INODES).map_err(redb::Error::from)?;
        let Some(path) = inodes.get(stamp.inode).map_err(redb::Error::from)? else { return Ok(None) };
        Ok(self.get(path.value())?.filter(|row| row.stamp == *stamp))
    }

    /// The files with this content, a bounded number of them.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn with_content(&self, hash: &ContentHash) -> Result<Vec<(PathBuf, Stamp)>, StoreError> {
        let hashes = self.0.open_multimap_table(HASHES).map_err(redb::Error::from)?;
        let mut found = Vec::new();
        for path in hashes.get(&hash.0).map_err(redb::Error::from)?.take(MAX_COPIES) {
            let path = path.map_err(redb::Error::from)?;
            if let Some(row) = self.get(path.value())? {
                found.push((path_of(path.value()), row.stamp));
            }
        }
        Ok(found)
    }

    /// Shows every file at or under `start`, until told to stop.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn each_under(
        &self,
        start: &Path,
        mut show: impl FnMut(PathBuf, Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let files = self.0.open_table(FILES).map_err(redb::Error::from)?;
        if let Some(row) = self.get(bytes_of(start))?
            && show(start.to_owned(), row).is_break()
        {
            return Ok(());
        }
        let mut first = bytes_of(start).to_owned();
        if first.last() != Some(&b'/') {
            first.push(b'/');
        }
        for entry in files.range::<&[u8]>(&first[..]..).map_err(redb::Error::from)? {
            let (path, row) = entry.map_err(redb::Error::from)?;
            if !path.value().starts_with(&first)
                || show(path_of(path.value()), decode(row.value())?).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn numbered(&self, number: FileNumber) -> Result<Option<FileEntry>, redb::Error> {
        let Some(path) = self.0.open_table(NUMBERS)?.get(number.0)? else { return Ok(None) };
        Ok(self.get(path.value())?.map(|row| row.entry(path.value())))
    }

    fn get(&self, path: &[u8]) -> Result<Option<Row>, redb::Error> {
        self.0.open_table(FILES)?.get(path)?.map(|row| decode(row.value())).transpose()
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Row, redb::Error> {
    codec::decode(bytes).map_err(|error| redb::Error::Corrupted(format!("a file's row: {error}")))
}

pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

pub(super) fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
