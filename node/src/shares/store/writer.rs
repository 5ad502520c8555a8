//! One transaction of the store: the files and the journal change together.

use std::path::{Path, PathBuf};

use nearmesh_common::{ContentHash, codec};
use redb::{Database, MultimapTable, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::{
    FILES, HASHES, INODES, MAX_FILES, META, NUMBERS, ROOTS, State, TOMBSTONES,
    reader::{bytes_of, decode},
};
use crate::shares::row::{Content, Row, Stamp};

/// The tables, open for writing, and what follows them in memory.
pub(super) struct Writer<'a> {
    state: &'a mut State,
    unused: Vec<ContentHash>,
    roots: Table<'a, &'static [u8], ()>,
    files: Table<'a, &'static [u8], &'static [u8]>,
    numbers: Table<'a, u32, &'static [u8]>,
    tombstones: Table<'a, u32, u64>,
    inodes: Table<'a, u64, &'static [u8]>,
    hashes: MultimapTable<'a, &'static [u8; 32], &'static [u8]>,
}

/// Runs `edit` in a transaction. Returns what it returned and the contents that no file has any more. If it fails, nothing is on disk and
/// `state` is to be loaded again.
pub(super) fn commit<T>(
    database: &Database,
    state: &mut State,
    edit: impl FnOnce(&mut Writer<'_>) -> Result<T, redb::Error>,
) -> Result<(T, Vec<ContentHash>), redb::Error> {
    let write = database.begin_write()?;
    let mut writer = Writer::new(&write, state)?;
    let value = edit(&mut writer)?;
    if writer.state.journal.is_overfull() {
        writer.begin_epoch()?;
    }
    let unused = writer.finish()?;
    {
        let mut meta = write.open_table(META)?;
        let mark = state.journal.mark();
        meta.insert("epoch", mark.epoch)?;
        meta.insert("revision", mark.revision)?;
    }
    write.commit()?;
    Ok((value, unused))
}

impl<'a> Writer<'a> {
    fn new(write: &'a WriteTransaction, state: &'a mut State) -> Result<Self, redb::Error> {
        Ok(Self {
            state,
            unused: Vec::new(),
            roots: write.open_table(ROOTS)?,
            files: write.open_table(FILES)?,
            numbers: write.open_table(NUMBERS)?,
            tombstones: write.open_table(TOMBSTONES)?,
            inodes: write.open_table(INODES)?,
            hashes: write.open_multimap_table(HASHES)?,
        })
    }

    pub(super) fn add_root(&mut self, root: &Path) -> Result<(), redb::Error> {
        self.roots.insert(bytes_of(root), ())?;
        self.state.roots.push(root.to_owned());
        self.state.roots.sort();
        self.state.roots.dedup();
        Ok(())
    }

    pub(super) fn drop_root(&mut self, root: &Path) -> Result<(), redb::Error> {
        self.roots.remove(bytes_of(root))?;
        self.state.roots.retain(|known| known != root);
        Ok(())
    }

    /// Takes a file, unless no shared folder holds it any more. False if there are too many.
    pub(super) fn put(&mut self, path: &Path, stamp: Stamp, content: Content) -> Result<bool, redb::Error> {
        // Should it find no place, its outboard is not left behind.
        self.unused.push(content.hash);
        if !self.state.roots.iter().any(|root: &PathBuf| path.starts_with(root)) {
            return Ok(true);
        }
        let key = bytes_of(path);
        let before = self.row(key)?;
        if before.is_none() && self.state.totals.files >= MAX_FILES {
            return Ok(false);
        }
        let same = before.as_ref().is_some_and(|row| row.content == content && row.stamp.size == stamp.size);
        let number = before.as_ref().map_or_else(|| self.state.journal.free_number(), |row| row.number);
        let revision = match &before {
            // Touched, not changed: the homes need not hear of it.
            Some(row) if same => row.revision,
            _ => self.state.journal.add(number),
        };
        if let Some(row) = &before {
            self.unlink(key, row)?;
        }
        let hash = content.hash;
        self.files.insert(key, &codec::encode(&Row { stamp, content, number, revision })[..])?;
        self.numbers.insert(number.0, key)?;
        self.inodes.insert(stamp.inode, key)?;
        self.hashes.insert(&hash.0, key)?;
        self.state.totals.files += 1;
        self.state.totals.bytes += stamp.size;
        Ok(true)
    }

    /// Forgets a file, if it is known.
    pub(super) fn gone(&mut self, path: &Path) -> Result<(), redb::Error> {
        let key = bytes_of(path);
        let Some(row) = self.row(key)? else { return Ok(()) };
        self.unlink(key, &row)?;
        self.files.remove(key)?;
        self.numbers.remove(row.number.0)?;
        if let Some(revision) = self.state.journal.remove(row.number) {
            self.tombstones.insert(row.number.0, revision)?;
        }
        Ok(())
    }

    pub(super) fn begin_epoch(&mut self) -> Result<(), redb::Error> {
        self.state.journal.begin_epoch();
        self.tombstones.retain(|_, _| false)?;
        Ok(())
    }

    /// Takes a row out of what leads to it.
    fn unlink(&mut self, key: &[u8], row: &Row) -> Result<(), redb::Error> {
        self.state.totals.files -= 1;
        self.state.totals.bytes -= row.stamp.size;
        self.hashes.remove(&row.content.hash.0, key)?;
        self.unused.push(row.content.hash);
        let points_here = self.inodes.get(row.stamp.inode)?.is_some_and(|path| path.value() == key);
        if points_here {
            self.inodes.remove(row.stamp.inode)?;
        }
        Ok(())
    }

    fn row(&self, key: &[u8]) -> Result<Option<Row>, redb::Error> {
        self.files.get(key)?.map(|row| decode(row.value())).transpose()
    }

    fn finish(mut self) -> Result<Vec<ContentHash>, redb::Error> {
        debug_assert_eq!(self.files.len()?, self.state.totals.files);
        let mut unused = std::mem::take(&mut self.unused);
        unused.sort_unstable();
        unused.dedup();
        let mut really = Vec::new();
        for hash in unused {
            if redb::ReadableMultimapTable::get(&self.hashes, &hash.0)?.is_empty() {
                really.push(hash);
            }
        }
        Ok(really)
    }
}
