//! Giving: the answer to `Open::Ranges`.
//!
//! After the reply, each requested range follows as one bao encoding: hash pairs from the root down, and chunk groups, in
//! pre-order. Each is proven while it is read, so a file that changed on disk is noticed here and never sent: the stream is
//! then reset with [`RESET_CHANGED`].

use std::{fs::File, io, time::Duration};

use bao_tree::{
    BaoTree,
    io::{
        outboard::PreOrderOutboard,
        sync::{ReadAt, encode_ranges_validated},
    },
};
use nearmesh_common::{
    ContentHash, NodeId, frame,
    wire::stream::{ByteRange, RangesReply, RangesRequest, Unavailable},
};
use quinn::SendStream;
use thiserror::Error;

use super::{
    RESET_CHANGED,
    blocking::{Alive, BlockingSend},
    chunks_of,
    plan::{are_well_formed, intersection},
    slots::UploadSlots,
};
use crate::content::{CHUNK_GROUP, ContentStore, SharedFile};

/// A peer that takes not a single block for so long loses its slot (guess).
const STALL: Duration = Duration::from_secs(30);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// So many bytes of content were sent.
    Content(u64),
    /// The peer was told why not.
    Refused(Unavailable),
}

/// Why a request was not served to its end.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The peer closed the stream, or takes nothing.
    #[error("send to the peer: {0}")]
    Peer(#[from] io::Error),
    /// The file is not what was hashed.
    #[error("read the file as it was hashed: it changed")]
    Changed,
}

/// Answers one request. The caller has read it from the stream's other half.
///
/// # Errors
/// As [`ServeError`] tells. A refusal is no error.
pub async fn serve_ranges(
    mut send: SendStream,
    request: RangesRequest,
    peer: NodeId,
    store: &dyn ContentStore,
    slots: &UploadSlots,
) -> Result<Served, ServeError> {
    let Some(file) = store.locate(&request.hash) else {
        return refuse(send, Unavailable::NotShared).await;
    };
    let mut available = vec![ByteRange { start: 0, end: file.size }];
    available.retain(|range| range.start < range.end);
    let reply = RangesReply::Content { size: file.size, available: available.clone() };
    let wanted = intersection(&request.ranges, &available);
    // A peer that guessed the size wrong asks for more than there is; what is left must keep the rules.
    if !are_well_formed(&request.ranges, u64::MAX) && !are_well_formed(&request.ranges, file.size) {
        return refuse(send, Unavailable::BadRange).await;
    }
    let Some(slot) = slots.take(peer) else {
        return refuse(send, Unavailable::Busy).await;
    };
    let hash = request.hash;
    let opened = match blocking(move || Opened::open(hash, &file)).await? {
        Ok(opened) => opened,
        Err(reason) => {
            store.report_changed(&hash);
            return refuse(send, reason).await;
        }
    };
    frame::write_frame(&mut send, &reply).await?;
    let alive = Alive::new();
    let sink = BlockingSend::new(send, alive.watch(), STALL);
    let outcome = blocking(move || opened.encode(&wanted, sink)).await?;
    drop(slot);
    if matches!(outcome, Err(ServeError::Changed)) {
        store.report_changed(&hash);
    }
    outcome.map(Served::Content)
}

async fn refuse(mut send: SendStream, reason: Unavailable) -> Result<Served, ServeError> {
    frame::write_frame(&mut send, &RangesReply::Unavailable(reason)).await?;
    finish(&mut send)?;
    Ok(Served::Refused(reason))
}

fn finish(send: &mut SendStream) -> io::Result<()> {
    send.finish().map_err(io::Error::from)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// A shared file, open.
struct Opened {
    data: File,
    outboard: PreOrderOutboard<OutboardFile>,
}

impl Opened {
    fn open(hash: ContentHash, shared: &SharedFile) -> Result<Self, Unavailable> {
        let data = File::open(&shared.path).map_err(|_| Unavailable::NotShared)?;
        let metadata = data.metadata().map_err(|_| Unavailable::NotShared)?;
        if metadata.len() != shared.size || metadata.modified().ok() != Some(shared.modified) {
            return Err(Unavailable::Changed);
        }
        let tree = BaoTree::new(shared.size, CHUNK_GROUP);
        let outboard = match tree.outboard_size() {
            0 => None,
            _ => Some(File::open(&shared.outboard).map_err(|_| Unavailable::Changed)?),
        };
        Ok(Self {
            data,
            outboard: PreOrderOutboard { root: hash.0.into(), tree, data: OutboardFile(outboard) },
        })
    }

    /// Sends the ranges and finishes the stream, or resets it.
    fn encode(self, ranges: &[ByteRange], mut sink: BlockingSend) -> Result<u64, ServeError> {
        let outcome = self.encode_each(ranges, &mut sink);
        let failed = sink.failed();
        let mut send = sink.into_inner();
        match outcome {
            Ok(()) => {
                finish(&mut send)?;
                Ok(ranges.iter().map(|range| range.end - range.start).sum())
            }
            Err(error) if failed => Err(ServeError::Peer(error)),
            Err(_) => {
                let _ = send.reset(RESET_CHANGED.into());
                Err(ServeError::Changed)
            }
        }
    }

    fn encode_each(&self, ranges: &[ByteRange], sink: &mut BlockingSend) -> io::Result<()> {
        for range in ranges {
            encode_ranges_validated(&self.data, &self.outboard, &chunks_of(*range), &mut *sink)?;
        }
        io::Write::flush(sink)
    }
}

/// The outboard of a shared file; none for content of one chunk group.
struct OutboardFile(Option<File>);

impl ReadAt for OutboardFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_ref().map_or(Ok(0), |file| file.read_at(offset, buffer))
    }
}
