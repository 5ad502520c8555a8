//! Moving files: verified ranges of one content, from whoever has it, straight to where they will stay.
//!
//! A download asks a source for pieces of a file, each on a stream of its own (`Open::Ranges`), several streams at a time. The
//! source answers with bao encodings, which prove each chunk group of 16 KiB against the content's hash. The first piece
//! that is fetched is the one with the last byte: that proves the size, which is hearsay until then.
//!
//! - [`serve`] gives, [`fetch`] takes; [`offer`] is giving unasked.
//! - [`plan`] decides what to ask for next and is pure.
//! - Beneath: a stream on a blocking thread, a range taken, the files of a download and their way to the disk, its progress, a
//!   source's faults.
//!
//! Invariants: nothing that was not proven is written or shown as progress; no file is ever overwritten; a name from the
//! network goes through [`crate::safe_name`] first; a partial file never has the final name.

mod blocking;
mod fault;
pub mod fetch;
mod meter;
pub mod offer;
mod part;
pub mod plan;
mod receive;
pub mod serve;
mod session;
mod slots;
mod sync;

use bao_tree::{ChunkNum, ChunkRanges};
use nearmesh_common::wire::stream::ByteRange;

pub use fault::{Blamed, Fault};
pub use meter::Progress;
pub use slots::{MAX_UPLOAD_STREAMS, MAX_UPLOAD_STREAMS_PER_PEER, UploadSlot, UploadSlots};

/// A stream of content is reset with this code when the file behind it is found to have changed.
pub const RESET_CHANGED: u32 = 1;

fn chunks_of(range: ByteRange) -> ChunkRanges {
    ChunkRanges::from(ChunkNum::full_chunks(range.start)..ChunkNum::chunks(range.end))
}
