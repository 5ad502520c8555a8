//! Taking: one content into one file, from its sources in turn.
//!
//! A source is left at its first fault and the next one is tried; a source whose connection broke, that has only parts, or
//! that has no free slot at the moment is tried again later, unless it was of no use twice. What was verified stays, whoever sent it and however the attempt ended.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nearmesh_common::{
    ContentHash,
    wire::{query::Source, stream::Unavailable},
};
use thiserror::Error;
use tokio::sync::watch;

use super::{
    fault::{Blamed, Fault},
    meter::{Meter, Progress},
    part::{Claim, Part, Places},
    receive::Stop,
    session::{Job, fetch_from},
};
use crate::safe_name::safe_file_name;

/// Streams from a source when nobody says (measured: 4 are x 1.08 of one on loopback, and more with round trips).
pub const DEFAULT_STREAMS: usize = 4;
/// Most streams from a source: what it grants one peer, less those of a download beside this one.
pub const MAX_STREAMS: usize = 8;
/// A source without one verified byte for so long, at most twice that, is dropped (guess), when nobody says otherwise.
pub const DEFAULT_STALL: Duration = Duration::from_secs(20);
/// Most sources of one download (guess: a few searches' worth).
pub const MAX_SOURCES: usize = 256;
/// Attempts at one source that bring nothing, before it is given up (guess).
const MAX_FRUITLESS: u32 = 2;
/// The same for a source that says it is busy: two minutes with [`BUSY_WAIT`] (guess).
const MAX_BUSY: u32 = 40;
/// How long to wait when all sources that are left are busy (guess).
const BUSY_WAIT: Duration = Duration::from_secs(3);

/// What is to be fetched, and where to.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// Which content.
    pub hash: ContentHash,
    /// Its size, if somebody said so. It is proven before it is believed; a right one saves a round trip.
    pub size: Option<u64>,
    /// The file's name, as somebody else chose it.
    pub name: String,
    /// Where the file shall be. Made, if it is not there.
    pub directory: PathBuf,
    /// Who has it, best first; the first [`MAX_SOURCES`] count.
    pub sources: Vec<Source>,
    /// Streams at a time, 1..=[`MAX_STREAMS`].
    pub streams: usize,
    /// How long a source may bring nothing; it is dropped after that time, and before twice that.
    pub stall: Duration,
}

/// A complete, verified file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where it is; its name may have got a number.
    pub path: PathBuf,
    /// Bytes that came over the network and were verified.
    pub fetched_bytes: u64,
    /// Bytes that an earlier attempt had left.
    pub resumed_bytes: u64,
    /// Sources that were given up.
    pub blamed: Vec<Blamed>,
}

/// Why there is no file. What was verified is kept, and the next attempt goes on from there.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No source is left.
    #[error("find a source that has all of it{}", list(.blamed))]
    NoSource {
        /// Why each was given up.
        blamed: Vec<Blamed>,
    },
    /// The disk, or a quota, is full.
    #[error("write to {}: there is no room; what was fetched so far is kept", .directory.display())]
    NoRoom {
        /// Where.
        directory: PathBuf,
    },
    /// Another download of the same content into the same folder is running.
    #[error("begin: the same file is being fetched into this folder already")]
    AlreadyRunning,
    /// Something else is wrong with the disk.
    #[error("write to {}: {error}", .directory.display())]
    Disk {
        /// Where.
        directory: PathBuf,
        /// What.
        error: io::Error,
    },
}

/// Opens connections to sources; the caller's endpoint, or a test's.
pub trait Connector: Send + Sync {
    /// A connection to this very node. The error is for people, a fragment such as "timed out".
    fn connect(&self, source: &Source) -> impl Future<Output = Result<quinn::Connection, String>> + Send;
}

impl DownloadRequest {
    /// With the usual settings.
    pub fn new(hash: ContentHash, name: &str, directory: PathBuf, sources: Vec<Source>) -> Self {
        Self {
            hash,
            size: None,
            name: name.to_owned(),
            directory,
            sources,
            streams: DEFAULT_STREAMS,
            stall: DEFAULT_STALL,
        }
    }
}

/// Fetches, until the file is complete. To stop it, drop the future: what was verified is kept.
///
/// # Errors
/// As [`FetchError`] tells.
pub async fn download(
    request: DownloadRequest,
    connector: &impl Connector,
    progress: watch::Sender<Progress>,
) -> Result<Finished, FetchError> {
    let directory = request.directory.clone();
    let (job, mut part) = prepare(&request, progress).await?;
    let resumed_bytes = part.as_ref().map_or(0, |part| part.written());
    let mut blamed = Vec::new();
    let mut queue: VecDeque<_> = request.sources.into_iter().take(MAX_SOURCES).map(Candidate::new).collect();
    while !is_complete(part.as_ref()) {
        let Some(mut candidate) = queue.pop_front() else { return Err(no_source(job, part, blamed).await) };
        let before = job.meter.fetched();
        match try_source(connector, &candidate.source, &job, &mut part).await {
            Ok(()) => {}
            Err(Stop::Disk(error)) => return Err(disk_error(directory, error)),
            Err(Stop::Source(fault)) => {
                tracing::debug!(source = ?candidate.source.node, %fault, "source left");
                match candidate.after(&fault, job.meter.fetched() > before) {
                    Again::Now => queue.push_back(candidate),
                    Again::Later => {
                        queue.push_back(candidate);
                        if queue.iter().all(|candidate| candidate.busy > 0) {
                            tokio::time::sleep(BUSY_WAIT).await;
                        }
                    }
                    Again::Never => blamed.push(Blamed { node: candidate.source.node, fault }),
                }
            }
        }
    }
    let fetched_bytes = job.meter.fetched();
    let path = finish(job, part).await.map_err(|error| disk_error(directory, error))?;
    Ok(Finished { path, fetched_bytes, resumed_bytes, blamed })
}

/// Gives up what an unfinished download of this content has left in `directory`. Blocking.
///
/// # Errors
/// If its files are there and cannot be removed.
pub fn discard(directory: &Path, name: &str, hash: &ContentHash) -> io::Result<()> {
    Places::new(directory, &safe_file_name(name), hash).remove()
}

async fn prepare(
    request: &DownloadRequest,
    progress: watch::Sender<Progress>,
) -> Result<(Arc<Job>, Option<Arc<Part>>), FetchError> {
    let hash = request.hash;
    let places = Places::new(&request.directory, &safe_file_name(&request.name), &hash);
    let directory = request.directory.clone();
    let prepared = blocking(move || {
        std::fs::create_dir_all(&places.directory)?;
        let Some(claim) = Claim::take(places)? else { return Ok(None) };
        // Nobody needs to be asked for nothing.
        let is_empty = hash.0 == *blake3::hash(&[]).as_bytes();
        let part = if is_empty { Some(claim.create(hash, 0)?) } else { claim.resume(hash)? };
        Ok(Some((claim, part)))
    })
    .await;
    let (claim, part) =
        prepared.map_err(|error| disk_error(directory, error))?.ok_or(FetchError::AlreadyRunning)?;
    let meter = Meter::new(progress);
    if let Some(part) = &part {
        let (size, written) = (part.size(), part.written());
        meter.update(|progress| {
            *progress = Progress { size: Some(size), verified: written, resumed: written, source: None };
        });
    }
    let streams = request.streams.clamp(1, MAX_STREAMS);
    let job = Job { hash, size_hint: request.size, streams, stall: request.stall, claim, meter };
    Ok((Arc::new(job), part.map(Arc::new)))
}

async fn try_source(
    connector: &impl Connector,
    source: &Source,
    job: &Arc<Job>,
    part: &mut Option<Arc<Part>>,
) -> Result<(), Stop> {
    let connection = tokio::time::timeout(job.stall, connector.connect(source))
        .await
        .map_err(|_| Fault::Unreachable("it did not answer".to_owned()))?
        .map_err(Fault::Unreachable)?;
    job.meter.update(|progress| progress.source = Some(source.node));
    let outcome = fetch_from(&connection, job, part).await;
    job.meter.update(|progress| progress.source = None);
    outcome
}

/// What is of no use to the next attempt is not left lying about.
async fn no_source(job: Arc<Job>, part: Option<Arc<Part>>, blamed: Vec<Blamed>) -> FetchError {
    if part.is_none() {
        let _ = blocking(move || job.claim.discard()).await;
    }
    FetchError::NoSource { blamed }
}

fn is_complete(part: Option<&Arc<Part>>) -> bool {
    part.is_some_and(|part| part.missing().is_empty())
}

async fn finish(job: Arc<Job>, part: Option<Arc<Part>>) -> io::Result<PathBuf> {
    blocking(move || {
        let part = part.ok_or(io::ErrorKind::NotFound)?;
        job.claim.finish(&part)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn disk_error(directory: PathBuf, error: io::Error) -> FetchError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::NoRoom { directory },
        _ => FetchError::Disk { directory, error },
    }
}

fn list(blamed: &[Blamed]) -> String {
    let each = blamed.iter().map(|blamed| format!("; {}: {}", blamed.node.short(), blamed.fault));
    each.collect()
}

/// A source that may be tried.
struct Candidate {
    source: Source,
    fruitless: u32,
    busy: u32,
}

enum Again {
    Now,
    Later,
    Never,
}

impl Candidate {
    fn new(source: Source) -> Self {
        Self { source, fruitless: 0, busy: 0 }
    }

    fn after(&mut self, fault: &Fault, was_of_use: bool) -> Again {
        self.fruitless = if was_of_use { 0 } else { self.fruitless + 1 };
        match fault {
            Fault::Unavailable(Unavailable::Busy) => {
                self.busy = if was_of_use { 1 } else { self.busy + 1 };
                if self.busy <= MAX_BUSY { Again::Later } else { Again::Never }
            }
            // Of several sources with parts, each may have what the next one lacked.
            Fault::Lost(_) | Fault::Incomplete if self.fruitless < MAX_FRUITLESS => Again::Now,
            _ => Again::Never,
        }
    }
}
