//! A download on disk, from its first byte to its final name.
//!
//! Two hidden files stand beside the destination, on the same file system, so that the last step is a link and not a copy:
//! the *part* holds verified bytes at their final offsets; the *state* holds the size and the part of the outboard that has
//! been learnt. The state is no list of what was written, which could lie after a power cut: on resuming, every chunk group
//! that the learnt hashes reach is hashed again (5,000 MB/s), and what fits is what we have. So the order in which the two
//! files reach the disk does not matter, and both may be cut anywhere.
//!
//! Invariant: only bytes that were proven are written, and only a complete file gets the final name.

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bao_tree::{
    BaoTree, ChunkRanges,
    io::{
        outboard::PreOrderOutboard,
        sync::{ReadAt, valid_ranges},
    },
};
use nearmesh_common::{ContentHash, wire::stream::ByteRange};

use super::{plan::Ranges, sync::Syncer};
use crate::{
    content::{CHUNK_GROUP, CHUNK_GROUP_BYTES, MAX_CONTENT_BYTES},
    safe_name,
};

/// How long an earlier download of the same may take to let go of its files (guess; it ends at its next block).
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_POLL: Duration = Duration::from_millis(10);
/// How much of a name its working files repeat, in bytes; hash and suffix need 40 of 255.
const NAME_IN_WORKING_FILES: usize = 180;
/// Names that are tried before giving up: `name (1).ext` and so on (guess).
const MAX_NUMBERED_NAMES: u32 = 1000;

/// Begins every state file; the number is the format's version.
const MAGIC: [u8; 8] = *b"nmstate1";
const HEADER_BYTES: u64 = 64;

/// Where the working files of one download are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub directory: PathBuf,
    pub name: String,
    pub part: PathBuf,
    pub state: PathBuf,
}

impl Places {
    /// `name` must be safe.
    pub fn new(directory: &Path, name: &str, hash: &ContentHash) -> Self {
        let stem = format!(".{}.{}", safe_name::prefix(name, NAME_IN_WORKING_FILES), &hash.to_string()[..16]);
        Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            part: directory.join(format!("{stem}.nearmesh-part")),
            state: directory.join(format!("{stem}.nearmesh-state")),
        }
    }

    /// Gives up what was fetched. Nothing there is fine.
    pub fn remove(&self) -> io::Result<()> {
        for path in [&self.part, &self.state] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The exclusive right to work on one download; ends with the process, however it ends.
#[derive(Debug)]
pub(super) struct Claim {
    places: Places,
    state: File,
}

impl Claim {
    /// `None` if another process or task is at it. Blocking.
    pub fn take(places: Places) -> io::Result<Option<Self>> {
        let state =
            File::options().read(true).write(true).create(true).truncate(false).open(&places.state)?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match state.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // Whoever held the lock may have finished and removed this very file, and a third may have made a new one.
        let (ours, there) = (state.metadata()?, std::fs::metadata(&places.state));
        match there {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                Ok(Some(Self { places, state }))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Self::take(places),
        }
    }

    /// What an earlier attempt left, proven again; `None` if there is nothing of use. Blocking.
    pub fn resume(&self, hash: ContentHash) -> io::Result<Option<Part>> {
        let Some(size) = self.recorded_size(hash)? else { return Ok(None) };
        let data = match File::options().read(true).write(true).open(&self.places.part) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let part = self.part(hash, size, data)?;
        let outboard = PreOrderOutboard {
            root: hash.0.into(),
            tree: part.tree,
            data: AfterHeader { file: &part.state },
        };
        let mut written = Ranges::default();
        for range in valid_ranges(outboard, &part.data, &ChunkRanges::all()) {
            let range = range?;
            written.insert(ByteRange { start: range.start.to_bytes(), end: range.end.to_bytes().min(size) });
        }
        // The last chunk is what proves the size; without it the record's size is hearsay.
        let proven = written.as_slice().last().is_some_and(|range| range.end == size);
        *part.ranges() = written;
        Ok(proven.then_some(part))
    }

    /// Begins from nothing. Blocking.
    pub fn create(&self, hash: ContentHash, size: u64) -> io::Result<Part> {
        let data =
            File::options().read(true).write(true).create(true).truncate(true).open(&self.places.part)?;
        self.state.set_len(0)?;
        let mut header = [0; HEADER_BYTES as usize];
        header[..8].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&size.to_le_bytes());
        header[16..48].copy_from_slice(&hash.0);
        self.state.write_all_at(&header, 0)?;
        self.part(hash, size, data)
    }

    fn recorded_size(&self, hash: ContentHash) -> io::Result<Option<u64>> {
        let mut header = [0; HEADER_BYTES as usize];
        match FileExt::read_exact_at(&self.state, &mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        let size = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        let ours = header[..8] == MAGIC && header[16..48] == hash.0 && size <= MAX_CONTENT_BYTES;
        Ok(ours.then_some(size))
    }

    fn part(&self, hash: ContentHash, size: u64, data: File) -> io::Result<Part> {
        Ok(Part {
            hash,
            tree: BaoTree::new(size, CHUNK_GROUP),
            state: self.state.try_clone()?,
            writing: Mutex::new(()),
            syncer: Syncer::new([data.try_clone()?, self.state.try_clone()?]),
            data,
            written: Mutex::default(),
        })
    }

    /// Gives up what there is. Blocking.
    pub fn discard(&self) -> io::Result<()> {
        self.places.remove()
    }

    /// Gives the complete part its final name, beside whatever has it already. Blocking.
    pub fn finish(&self, part: &Part) -> io::Result<PathBuf> {
        part.syncer.finish()?;
        let path = self.link()?;
        self.places.remove()?;
        File::open(&self.places.directory)?.sync_all()?;
        Ok(path)
    }

    /// A hard link never replaces a file, which a rename would.
    fn link(&self) -> io::Result<PathBuf> {
        for number in 0..MAX_NUMBERED_NAMES {
            let name = match number {
                0 => self.places.name.clone(),
                _ => safe_name::numbered(&self.places.name, number),
            };
            let path = self.places.directory.join(name);
            match std::fs::hard_link(&self.places.part, &path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => match without_links(&error, &self.places.part, &path) {
                    Ok(()) => return Ok(path),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// FAT and some network file systems have no hard links. There an empty file of our own takes the name first.
fn without_links(error: &io::Error, part: &Path, path: &Path) -> io::Result<()> {
    if !matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) {
        return Err(io::Error::new(error.kind(), error.to_string()));
    }
    File::options().write(true).create_new(true).open(path)?;
    std::fs::rename(part, path)
}

/// A file that grows out of order. Shared by the threads that write to it.
#[derive(Debug)]
pub(super) struct Part {
    pub hash: ContentHash,
    pub tree: BaoTree,
    data: File,
    state: File,
    syncer: Arc<Syncer>,
    written: Mutex<Ranges>,
    /// The file system lets one writer at a file in; here they wait without spinning (measured: 4 % of all time).
    writing: Mutex<()>,
}

impl Part {
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// How many verified bytes are in the file.
    pub fn written(&self) -> u64 {
        self.ranges().bytes()
    }

    pub fn missing(&self) -> Vec<ByteRange> {
        self.ranges().missing(self.size())
    }

    /// Keeps a verified hash pair run: `hashes` begin at this offset of the outboard. Blocking.
    pub fn write_hashes(&self, offset: u64, hashes: &[u8]) -> io::Result<()> {
        self.state.write_all_at(hashes, HEADER_BYTES + offset)
    }

    /// Writes verified bytes where they belong. Blocking.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(offset.is_multiple_of(CHUNK_GROUP_BYTES));
        let in_turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.data.write_all_at(bytes, offset)?;
        drop(in_turn);
        let bytes = bytes.len() as u64;
        self.ranges().insert(ByteRange { start: offset, end: offset + bytes });
        self.syncer.wrote(bytes);
        Ok(())
    }

    fn ranges(&self) -> MutexGuard<'_, Ranges> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outboard inside the state file.
struct AfterHeader<'a> {
    file: &'a File,
}

impl ReadAt for AfterHeader<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self.file, buffer, HEADER_BYTES + offset)
    }
}
