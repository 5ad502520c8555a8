//! What is shared, on disk: the shared folders, their files, and the journal.
//!
//! One redb database, `shares.redb` in the profile. Every change is one transaction that holds the files and the journal's steps
//! together, so that kill -9 or a power cut leaves either both or neither; the journal in memory follows the disk. Paths are raw bytes,
//! because a file name need not be UTF-8. The outboards of the files lie beside it in `outboards/`, named by content.
//!
//! Invariant: a file is in the store only while a shared folder holds it.

mod reader;
mod writer;

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    ops::ControlFlow,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nearmesh_common::{
    ContentHash,
    wire::file::{FileNumber, JournalMark, MAX_BATCH},
};
use redb::{
    Database, MultimapTableDefinition, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};
use thiserror::Error;
use tokio::sync::watch;

pub use self::reader::Reader;
use self::{
    reader::{decode, path_of},
    writer::Writer,
};
use super::{
    journal::{Batch, Journal},
    row::{Content, Stamp},
};
use crate::content::outboard_path;

/// Most shared files (guess: a large collection; measured: 8 MiB of memory at 50,000, mostly the journal).
pub const MAX_FILES: u64 = 250_000;
/// Most shared folders and single files (guess: what one would list on a screen or two).
pub const MAX_ROOTS: usize = 256;
/// The database's cache, in bytes: an idle node is to stay small, and the kernel caches the file anyway.
const CACHE_BYTES: usize = 2 * 1024 * 1024;
/// Which form the tables have.
const FORMAT: u64 = 1;
/// The database's name in the profile. A folder that holds such a file is the profile of a node.
pub const DATABASE_NAME: &str = "shares.redb";
const OUTBOARDS_NAME: &str = "outboards";

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const ROOTS: TableDefinition<&[u8], ()> = TableDefinition::new("roots");
const FILES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("files");
const NUMBERS: TableDefinition<u32, &[u8]> = TableDefinition::new("numbers");
const TOMBSTONES: TableDefinition<u32, u64> = TableDefinition::new("tombstones");
const INODES: TableDefinition<u64, &[u8]> = TableDefinition::new("inodes");
const HASHES: MultimapTableDefinition<&[u8; 32], &[u8]> = MultimapTableDefinition::new("hashes");

/// Why the store is not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("open the shared files: another node runs on this profile")]
    InUse,
    /// A later program wrote it.
    #[error(
        "open the shared files: {DATABASE_NAME} was written by another version of the program (format {0})"
    )]
    Format(u64),
    /// The disk says no.
    #[error("open the shared files: {0}")]
    Io(#[from] io::Error),
    /// The database is damaged, or the disk says no.
    #[error(
        "open the shared files: {0}; if {DATABASE_NAME} is damaged, delete it and share the folders again"
    )]
    Database(#[from] redb::Error),
}

/// Why the store did not take or give something: a full or failing disk.
#[derive(Debug, Error)]
#[error("keep the list of shared files: {0}")]
pub struct StoreError(#[from] redb::Error);

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One thing that the scan found.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A file is new or was hashed again.
    Put {
        /// Where.
        path: PathBuf,
        /// As it was hashed.
        stamp: Stamp,
        /// What was found.
        content: Content,
    },
    /// A file is not there any more, or cannot be read.
    Gone(PathBuf),
}

/// The store. All of its methods block on the disk for a moment.
#[derive(Debug)]
pub struct Store {
    database: Database,
    outboards: PathBuf,
    state: Mutex<State>,
    mark: watch::Sender<JournalMark>,
}

/// What is kept in memory, always as on disk.
#[derive(Debug)]
struct State {
    journal: Journal,
    roots: Vec<PathBuf>,
    totals: Totals,
}

impl Store {
    /// Opens the store in a profile directory, or makes it. Deletes outboards that no file needs.
    ///
    /// # Errors
    /// As [`OpenError`] tells.
    pub fn open(profile: &Path) -> Result<Self, OpenError> {
        let outboards = profile.join(OUTBOARDS_NAME);
        DirBuilder::new().recursive(true).mode(0o700).create(&outboards)?;
        let file = profile.join(DATABASE_NAME);
        // redb makes a database of an empty file, and leaves the permissions alone.
        OpenOptions::new().create(true).append(true).mode(0o600).open(&file)?;
        let database = match Database::builder().set_cache_size(CACHE_BYTES).create(&file) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::InUse),
            Err(error) => return Err(redb::Error::from(error).into()),
        };
        prepare(&database)?;
        let state = load(&database)?;
        let (mark, _) = watch::channel(state.journal.mark());
        let store = Self { database, outboards, state: Mutex::new(state), mark };
        store.sweep_outboards()?;
        Ok(store)
    }

    /// The folder of the outboards.
    pub fn outboards(&self) -> &Path {
        &self.outboards
    }

    /// Changes whenever the journal does.
    pub fn watch_mark(&self) -> watch::Receiver<JournalMark> {
        self.mark.subscribe()
    }

    /// The shared folders and single files.
    pub fn roots(&self) -> Vec<PathBuf> {
        self.lock().roots.clone()
    }

    /// The shared folder or single file that `path` belongs to.
    pub fn root_of(&self, path: &Path) -> Option<PathBuf> {
        self.lock().roots.iter().find(|root| path.starts_with(root)).cloned()
    }

    /// How much is shared.
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// How much is shared at or under `start`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn totals_under(&self, start: &Path) -> Result<Totals, StoreError> {
        let mut totals = Totals::default();
        self.reader()?.each_under(start, |_, row| {
            totals.files += 1;
            totals.bytes += row.stamp.size;
            ControlFlow::Continue(())
        })?;
        Ok(totals)
    }

    /// The store as it is now, for many questions.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Ok(Reader::new(self.database.begin_read().map_err(redb::Error::from)?))
    }

    /// Shares a folder or single file; those in `absorbed` are part of it from now on.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn add_root(&self, root: &Path, absorbed: &[PathBuf]) -> Result<(), StoreError> {
        self.write(|writer| {
            absorbed.iter().try_for_each(|other| writer.drop_root(other))?;
            writer.add_root(root)
        })
    }

    /// Shares a folder or single file no more.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn remove_root(&self, root: &Path) -> Result<(), StoreError> {
        let mut paths = Vec::new();
        self.reader()?.each_under(root, |path, _| {
            paths.push(path);
            ControlFlow::Continue(())
        })?;
        self.write(|writer| {
            writer.drop_root(root)?;
            paths.iter().try_for_each(|path| writer.gone(path))
        })
    }

    /// Takes what a scan found, in one transaction. Returns how many files found no place ([`MAX_FILES`]); files that no shared folder
    /// holds any more are left out.
    ///
    /// # Errors
    /// If the disk fails; then nothing was taken.
    pub fn apply(&self, edits: Vec<Edit>) -> Result<usize, StoreError> {
        self.write(|writer| {
            let mut left_out = 0;
            for edit in edits {
                match edit {
                    Edit::Put { path, stamp, content } => {
                        left_out += usize::from(!writer.put(&path, stamp, content)?);
                    }
                    Edit::Gone(path) => writer.gone(&path)?,
                }
            }
            Ok(left_out)
        })
    }

    /// What a home lacks that has come as far as `home`: at most `limit` changes, and never more than the wire's batch.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn changes_after(&self, home: JournalMark, limit: usize) -> Result<Batch, StoreError> {
        if self.lock().journal.is_behind(home) {
            self.write(|writer| writer.begin_epoch())?;
        }
        // Held, so that what is read belongs to the journal's mark.
        let state = self.lock();
        let reader = self.reader()?;
        let mut failure = None;
        let batch = state.journal.changes_after(home, limit.min(MAX_BATCH), |number| {
            let found = reader.numbered(number);
            found.unwrap_or_else(|error| {
                failure = Some(error);
                None
            })
        });
        failure.map_or(Ok(batch), |error| Err(error.into()))
    }

    fn write<T>(
        &self,
        edit: impl FnOnce(&mut Writer<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        match writer::commit(&self.database, &mut state, edit) {
            Ok((value, unused)) => {
                for hash in unused {
                    // Most content is too small to have one; what stays behind is swept at the next start.
                    let _ = fs::remove_file(outboard_path(&self.outboards, &hash));
                }
                let mark = state.journal.mark();
                self.mark.send_if_modified(|known| std::mem::replace(known, mark) != mark);
                Ok(value)
            }
            Err(error) => {
                // The journal in memory ran ahead of the disk. If even reading fails, the old state would lie.
                *state = load(&self.database)?;
                Err(error.into())
            }
        }
    }

    fn sweep_outboards(&self) -> Result<(), OpenError> {
        let reader = self.database.begin_read().map_err(redb::Error::from)?;
        let hashes = reader.open_multimap_table(HASHES).map_err(redb::Error::from)?;
        for entry in fs::read_dir(&self.outboards)? {
            let entry = entry?;
            let hash = entry.file_name().to_str().and_then(|name| name.parse::<ContentHash>().ok());
            let needed = match hash {
                Some(hash) => !hashes.get(&hash.0).map_err(redb::Error::from)?.is_empty(),
                None => false,
            };
            if !needed {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with it had not committed, and state follows commits.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prepare(database: &Database) -> Result<(), OpenError> {
    let format = prepare_tables(database)?;
    if format == FORMAT { Ok(()) } else { Err(OpenError::Format(format)) }
}

fn prepare_tables(database: &Database) -> Result<u64, redb::Error> {
    let write = database.begin_write()?;
    let found = {
        let mut meta = write.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        if found.is_none() {
            meta.insert("format", FORMAT)?;
            // At random: a home that knew a journal that was lost here must not take this one for it.
            meta.insert("epoch", rand::random::<u64>())?;
            meta.insert("revision", 0)?;
        }
        found
    };
    if let Some(format) = found {
        write.abort()?;
        return Ok(format);
    }
    write.open_table(ROOTS)?;
    write.open_table(FILES)?;
    write.open_table(NUMBERS)?;
    write.open_table(TOMBSTONES)?;
    write.open_table(INODES)?;
    write.open_multimap_table(HASHES)?;
    write.commit()?;
    Ok(FORMAT)
}

fn load(database: &Database) -> Result<State, redb::Error> {
    let read = database.begin_read()?;
    let meta = read.open_table(META)?;
    let known = |key| Ok::<_, redb::Error>(meta.get(key)?.map_or(0, |value| value.value()));
    let mark = JournalMark { epoch: known("epoch")?, revision: known("revision")? };
    let files = read.open_table(FILES)?;
    let mut totals = Totals { files: files.len()?, bytes: 0 };
    let mut live = Vec::new();
    for entry in files.iter()? {
        let row = decode(entry?.1.value())?;
        totals.bytes += row.stamp.size;
        live.push((row.number, row.revision));
    }
    let mut gone = Vec::new();
    for entry in read.open_table(TOMBSTONES)?.iter()? {
        let (number, revision) = entry?;
        gone.push((FileNumber(number.value()), revision.value()));
    }
    let mut roots = Vec::new();
    for root in read.open_table(ROOTS)?.iter()? {
        roots.push(path_of(root?.0.value()));
    }
    Ok(State { journal: Journal::restore(mark, live, gone), roots, totals })
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
