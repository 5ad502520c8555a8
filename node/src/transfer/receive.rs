//! Taking one range from one source: prove each chunk group, then write it where it belongs. Blocking.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use bao_tree::io::{BaoContentItem, DecodeError, sync::DecodeResponseIter};
use nearmesh_common::wire::stream::ByteRange;
use quinn::ReadError;

use super::{RESET_CHANGED, chunks_of, fault::Fault, meter::Meter, part::Part};

/// How much is written at once, in bytes (measured: sendme's 262,000 small writes were its bottleneck; 256 KiB and more
/// are within noise).
const WRITE_BLOCK_BYTES: usize = 256 * 1024;
/// What arrives slowly is written at least so often (guess): kill -9 costs no more than that.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Why a range did not come in.
#[derive(Debug)]
pub(super) enum Stop {
    /// The source's doing.
    Source(Fault),
    /// Our own disk's.
    Disk(io::Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Source(fault)
    }
}

/// Reads one encoded range. What was proven before an error is written all the same.
pub(super) fn receive_range(
    encoded: impl Read,
    range: ByteRange,
    part: &Part,
    meter: &Meter,
) -> Result<(), Stop> {
    let chunks = chunks_of(range);
    let mut sink = Sink::new(part, meter);
    let mut source = Ok(());
    for item in DecodeResponseIter::new(part.hash.0.into(), part.tree, encoded, &chunks) {
        match item {
            Ok(BaoContentItem::Parent(parent)) => {
                if let Some(index) = part.tree.pre_order_offset(parent.node) {
                    sink.take_hashes(index * 64, &parent.pair).map_err(Stop::Disk)?;
                }
            }
            Ok(BaoContentItem::Leaf(leaf)) => sink.take_leaf(leaf.offset, &leaf.data).map_err(Stop::Disk)?,
            Err(error) => source = Err(Stop::Source(fault_of(&error))),
        }
    }
    sink.flush().map_err(Stop::Disk)?;
    source
}

/// Gathers small proven things into large writes. Both kinds come in ascending order.
struct Sink<'a> {
    part: &'a Part,
    meter: &'a Meter,
    hashes: Run,
    block: Run,
    since: Instant,
}

/// Bytes that belong at one place.
#[derive(Default)]
struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

impl Run {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl<'a> Sink<'a> {
    fn new(part: &'a Part, meter: &'a Meter) -> Self {
        let block = Run { offset: 0, bytes: Vec::with_capacity(WRITE_BLOCK_BYTES) };
        Self { part, meter, hashes: Run::default(), block, since: Instant::now() }
    }

    fn take_hashes(&mut self, offset: u64, pair: &(blake3::Hash, blake3::Hash)) -> io::Result<()> {
        if offset != self.hashes.end() {
            self.flush_hashes()?;
            self.hashes.offset = offset;
        }
        self.hashes.bytes.extend_from_slice(pair.0.as_bytes());
        self.hashes.bytes.extend_from_slice(pair.1.as_bytes());
        Ok(())
    }

    fn take_leaf(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.block.bytes.is_empty() {
            self.block.offset = offset;
            self.since = Instant::now();
        }
        debug_assert_eq!(self.block.end(), offset, "a range has no holes");
        self.block.bytes.extend_from_slice(data);
        let full = self.block.bytes.len() + data.len() > WRITE_BLOCK_BYTES;
        if full || self.since.elapsed() >= WRITE_INTERVAL { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_hashes()?;
        if self.block.bytes.is_empty() {
            return Ok(());
        }
        self.part.write(self.block.offset, &self.block.bytes)?;
        self.meter.add(self.block.bytes.len() as u64);
        self.block.bytes.clear();
        Ok(())
    }

    fn flush_hashes(&mut self) -> io::Result<()> {
        if !self.hashes.bytes.is_empty() {
            self.part.write_hashes(self.hashes.offset, &self.hashes.bytes)?;
            self.hashes.offset = self.hashes.end();
            self.hashes.bytes.clear();
        }
        Ok(())
    }
}

fn fault_of(error: &DecodeError) -> Fault {
    match error {
        DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => Fault::Truncated,
        DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_) => Fault::WrongBytes,
        DecodeError::Io(error) => broken(error),
    }
}

/// What a broken stream tells about its source.
pub(super) fn broken(error: &io::Error) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(ReadError::Reset(code)) if *code == RESET_CHANGED.into() => Fault::Changed,
        _ => Fault::Lost(error.to_string()),
    }
}
