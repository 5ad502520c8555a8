//! Content: the bytes of a file under one BLAKE3 root, and where this node has them.
//!
//! A root is the plain BLAKE3 hash, as `b3sum` prints it. Its *outboard* is the hash tree above chunk groups of 16 KiB in
//! bao's pre-order (0.39 % of the content): it lets a range be proven without reading the rest. Whoever shares a file keeps
//! its outboard in a folder of its own, named by the hash ([`outboard_path`]); content of one chunk group or less has none.
//!
//! Invariant: a [`SharedFile`] is a claim of yesterday. Whoever serves it proves every chunk group again while reading.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bao_tree::{
    BaoTree, BlockSize,
    io::{outboard::PreOrderMemOutboard, sync::outboard},
};
use nearmesh_common::ContentHash;
use thiserror::Error;

/// What is proven as one: 16 chunks of 1 KiB (measured: an outboard of 0.39 %, 5,000 MB/s both ways).
pub const CHUNK_GROUP: BlockSize = BlockSize::from_chunk_log(4);
/// The same in bytes.
pub const CHUNK_GROUP_BYTES: u64 = 16 * 1024;
/// Largest content, in bytes: what ext4 allows one file (16 TiB). Sizes from the network are held against it.
pub const MAX_CONTENT_BYTES: u64 = 16 << 40;
/// How much of a file is read at once, in bytes (measured: beyond 256 KiB nothing is gained).
const READ_BYTES: usize = 512 * 1024;

/// A file that is shared, as it was when it was hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFile {
    /// The file.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// Its outboard in pre-order. Not read for content of one chunk group or less.
    pub outboard: PathBuf,
}

/// What this node can give.
pub trait ContentStore: Send + Sync + 'static {
    /// The file with this content, if it is shared. Quick: called for every request.
    fn locate(&self, hash: &ContentHash) -> Option<SharedFile>;
    /// The file was found to differ from what was hashed: hash it again.
    fn report_changed(&self, hash: &ContentHash);
}

/// What hashing found.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// The root.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// When the file was last written.
    pub modified: SystemTime,
    /// In pre-order; empty for content of one chunk group or less. 4 MiB for each GiB of content.
    pub outboard: Vec<u8>,
}

/// Why a file was not hashed.
#[derive(Debug, Error)]
pub enum HashError {
    /// It could not be read.
    #[error("read it: {0}")]
    Read(#[from] io::Error),
    /// It is a folder, a pipe, a device.
    #[error("read it: it is not an ordinary file")]
    NotAFile,
    /// It was written while it was read.
    #[error("hash it: it was changed meanwhile")]
    Changed,
    /// The caller had enough.
    #[error("hash it: stopped")]
    Stopped,
}

/// Hashes a file in one pass. Blocking.
///
/// `progress` hears the bytes done so far, about every 512 KiB, and says whether to go on.
///
/// # Errors
/// As [`HashError`] tells.
pub fn hash_file(path: &Path, progress: &mut dyn FnMut(u64) -> bool) -> Result<Hashed, HashError> {
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(HashError::NotAFile);
    }
    let file = File::open(path)?;
    let (size, modified) = size_and_time(&file)?;
    let tree = BaoTree::new(size, CHUNK_GROUP);
    let mut hashes = PreOrderMemOutboard {
        root: blake3::hash(&[]),
        tree,
        data: vec![0; usize::try_from(tree.outboard_size()).map_err(|_| HashError::NotAFile)?],
    };
    let reader = Watched { file: &file, done: 0, stopped: false, progress };
    let mut reader = io::BufReader::with_capacity(READ_BYTES, reader);
    let outcome = outboard(&mut reader, tree, &mut hashes);
    let root = match outcome {
        Ok(root) => root,
        Err(_) if reader.get_ref().stopped => return Err(HashError::Stopped),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(HashError::Changed),
        Err(error) => return Err(error.into()),
    };
    if size_and_time(&file)? != (size, modified) {
        return Err(HashError::Changed);
    }
    Ok(Hashed { hash: ContentHash(root.into()), size, modified, outboard: hashes.data })
}

/// Where the outboard of a content is kept, in the folder for outboards.
pub fn outboard_path(folder: &Path, hash: &ContentHash) -> PathBuf {
    folder.join(hash.to_string())
}

impl Hashed {
    /// Writes the outboard into its place in `folder`, and tells where. Whole or not at all. Blocking.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn store_outboard(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = outboard_path(folder, &self.hash);
        if !self.outboard.is_empty() {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            io::Write::write_all(&mut file, &self.outboard)?;
            file.persist(&path)?;
        }
        Ok(path)
    }
}

fn size_and_time(file: &File) -> io::Result<(u64, SystemTime)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified()?))
}

/// A file that tells how far it was read.
struct Watched<'a> {
    file: &'a File,
    done: u64,
    stopped: bool,
    progress: &'a mut dyn FnMut(u64) -> bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.done += count as u64;
        if (self.progress)(self.done) {
            return Ok(count);
        }
        self.stopped = true;
        Err(io::Error::other("stopped"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn the_hash_is_the_one_that_b3sum_prints() {
        for size in [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 3 * 1024 * 1024 + 7] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let hashed = hash_file(file_of(&bytes).path(), &mut |_| true).unwrap();
            assert_eq!(hashed.hash.0, *blake3::hash(&bytes).as_bytes(), "{size} bytes");
            assert_eq!(hashed.size, size as u64);
            assert_eq!(hashed.outboard.is_empty(), hashed.size <= CHUNK_GROUP_BYTES);
        }
    }

    #[test]
    fn progress_ends_at_the_size_and_can_stop_the_work() {
        let file = file_of(&vec![7; 2_000_000]);
        let mut last = 0;
        hash_file(file.path(), &mut |done| {
            last = done;
            true
        })
        .unwrap();
        assert_eq!(last, 2_000_000);
        let stopped = hash_file(file.path(), &mut |done| done < 1_000_000);
        assert!(matches!(stopped, Err(HashError::Stopped)));
    }

    #[test]
    fn a_file_that_is_written_while_it_is_hashed_has_no_hash() {
        let file = file_of(&vec![7; 2_000_000]);
        let mut writer = File::options().append(true).open(file.path()).unwrap();
        let grown = hash_file(file.path(), &mut |_| writer.write_all(b"more").is_ok());
        assert!(matches!(grown, Err(HashError::Changed)));
        let shrunk = hash_file(file.path(), &mut |_| writer.set_len(600_000).is_ok());
        assert!(matches!(shrunk, Err(HashError::Changed)));
    }

    #[test]
    fn a_folder_is_not_hashed() {
        let outcome = hash_file(&std::env::temp_dir(), &mut |_| true);
        assert!(matches!(outcome, Err(HashError::NotAFile)));
    }

    #[test]
    fn an_outboard_is_stored_under_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let hashed = hash_file(file_of(&vec![7; 100_000]).path(), &mut |_| true).unwrap();
        let path = hashed.store_outboard(folder.path()).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), hashed.outboard);
    }
}
