//! A download's work with one source over one connection: first the proof of the size, then pieces on several streams.

use std::{
    collections::VecDeque,
    io::BufReader,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nearmesh_common::{
    ContentHash,
    frame::{self, MAX_OPEN_FRAME, ReadFrameError},
    wire::stream::{ByteRange, Open, RangesReply, RangesRequest},
};
use quinn::{Connection, RecvStream};
use tokio::task::JoinSet;

use super::{
    blocking::{Abandoned, Alive, BlockingRecv},
    fault::Fault,
    meter::Meter,
    part::{Claim, Part},
    plan::{are_well_formed, cut, intersection, last_piece},
    receive::{Stop, broken, receive_range},
};
use crate::content::{CHUNK_GROUP_BYTES, MAX_CONTENT_BYTES};

/// How much is taken from QUIC at once, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// One download, as every source sees it.
#[derive(Debug)]
pub(super) struct Job {
    pub hash: ContentHash,
    pub size_hint: Option<u64>,
    pub streams: usize,
    pub stall: Duration,
    pub claim: Claim,
    pub meter: Meter,
}

/// What a source said about itself, and the stream on which content follows.
struct Answer {
    size: u64,
    following: Vec<ByteRange>,
    stream: RecvStream,
}

/// Fetches what is missing. `part` is set as soon as the size is proven.
pub(super) async fn fetch_from(
    connection: &Connection,
    job: &Arc<Job>,
    part: &mut Option<Arc<Part>>,
) -> Result<(), Stop> {
    let work = async {
        let part = match part {
            Some(part) => part.clone(),
            None => part.insert(prove_size(connection, job).await?).clone(),
        };
        fetch_pieces(connection, job, &part).await?;
        if part.missing().is_empty() { Ok(()) } else { Err(Fault::Incomplete.into()) }
    };
    tokio::select! {
        outcome = work => outcome,
        () = job.meter.stalled(job.stall) => Err(Fault::Stalled.into()),
    }
}

/// Fetches the piece with the last byte. Needs a second question if nobody told the right size before.
async fn prove_size(connection: &Connection, job: &Arc<Job>) -> Result<Arc<Part>, Stop> {
    let guess = job.size_hint.map(|size| up_to_group(last_piece(size.clamp(1, MAX_CONTENT_BYTES))));
    let mut answer = ask(connection, job.hash, guess).await?;
    let size = answer.size;
    if size == 0 || size > MAX_CONTENT_BYTES {
        return Err(Fault::WrongSize.into());
    }
    let piece = last_piece(size);
    if answer.following != [piece] {
        answer = ask(connection, job.hash, Some(piece)).await?;
    }
    if answer.size != size {
        return Err(Fault::WrongSize.into());
    }
    if answer.following != [piece] {
        return Err(Fault::Incomplete.into());
    }
    let job_here = job.clone();
    let part = blocking(move || job_here.claim.create(job_here.hash, size)).await?.map_err(Stop::Disk)?;
    let part = Arc::new(part);
    let alive = Alive::new();
    take(answer, job.clone(), part.clone(), alive.watch()).await?;
    job.meter.update(|progress| progress.size = Some(size));
    Ok(part)
}

async fn fetch_pieces(connection: &Connection, job: &Arc<Job>, part: &Arc<Part>) -> Result<(), Stop> {
    let pieces = Arc::new(Mutex::new(cut(&part.missing(), job.streams)));
    let alive = Alive::new();
    let mut streams = JoinSet::new();
    for _ in 0..job.streams {
        let work =
            fetch_in_turn(connection.clone(), job.clone(), part.clone(), pieces.clone(), alive.watch());
        streams.spawn(work);
    }
    let mut outcome = Ok(());
    let mut alive = Some(alive);
    while let Some(ended) = streams.join_next().await {
        if let Err(stop) = ended.unwrap_or_else(|error| Err(Fault::Lost(error.to_string()).into()))
            && outcome.is_ok()
        {
            outcome = Err(stop);
            alive = None;
        }
    }
    drop(alive);
    outcome
}

async fn fetch_in_turn(
    connection: Connection,
    job: Arc<Job>,
    part: Arc<Part>,
    pieces: Arc<Mutex<VecDeque<ByteRange>>>,
    abandoned: Abandoned,
) -> Result<(), Stop> {
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(piece) = next() {
        let answer = ask(&connection, job.hash, Some(piece)).await?;
        if answer.size != part.size() {
            return Err(Fault::WrongSize.into());
        }
        take(answer, job.clone(), part.clone(), abandoned.clone()).await?;
    }
    Ok(())
}

/// Asks for a range, or only for what the source has.
async fn ask(connection: &Connection, hash: ContentHash, range: Option<ByteRange>) -> Result<Answer, Fault> {
    let lost = |error: quinn::ConnectionError| Fault::Lost(error.to_string());
    let (mut send, mut stream) = connection.open_bi().await.map_err(lost)?;
    let question = Open::Ranges(RangesRequest { hash, ranges: range.into_iter().collect() });
    // A peer that stops this half has still answered on the other.
    let _ = frame::write_frame(&mut send, &question).await;
    let _ = send.finish();
    match frame::read_frame(&mut stream, MAX_OPEN_FRAME).await {
        Ok(RangesReply::Content { size, available }) if are_well_formed(&available, size) => {
            let wanted = intersection(range.as_slice(), &[ByteRange { start: 0, end: size }]);
            Ok(Answer { size, following: intersection(&wanted, &available), stream })
        }
        Ok(RangesReply::Unavailable(reason)) => Err(Fault::Unavailable(reason)),
        Err(ReadFrameError::Stream(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Fault::Garbage)
        }
        Err(ReadFrameError::Stream(error)) => Err(broken(&error)),
        _ => Err(Fault::Garbage),
    }
}

/// Takes all that follows an answer.
async fn take(answer: Answer, job: Arc<Job>, part: Arc<Part>, abandoned: Abandoned) -> Result<(), Stop> {
    let stream = BlockingRecv::new(answer.stream, abandoned);
    let mut encoded = BufReader::with_capacity(RECEIVE_BUFFER_BYTES, stream);
    blocking(move || {
        answer.following.iter().try_for_each(|range| receive_range(&mut encoded, *range, &part, &job.meter))
    })
    .await?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Stop::Disk(std::io::Error::other(error)))
}

/// The range as it may be asked for while its end is only a guess.
fn up_to_group(range: ByteRange) -> ByteRange {
    ByteRange { end: range.end.next_multiple_of(CHUNK_GROUP_BYTES), ..range }
}
