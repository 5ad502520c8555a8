//! What was said: messages and bytes by kind, without encoding each message.
//!
//! Of every kind the first messages are measured, and then one in a few; the others count as large as those on average. Where
//! sizes differ much each message is measured, and does not count for that average. Real certificates and signatures are larger than the
//! toys': the difference is added for every signed record.

use std::collections::BTreeMap;

use nearmesh_common::{
    codec,
    wire::{
        LinkMessage,
        home::{ToChild, ToHome},
        mesh::Mesh,
    },
};
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::sim::message_kind;

/// What a signed record takes more in the real net: a certificate of 450 bytes instead of about 45 (measured: an Ed25519 leaf of
/// ours), a signature of 64 instead of 32.
const REAL_RECORD: u64 = 437;
/// The same of a record that goes without its certificate.
const REAL_RENEWAL: u64 = 32;
/// A frame's length, on a stream.
const FRAME: u64 = 4;
/// IPv4 20, UDP 8, QUIC 1 + 8 (connection id) + 2 (number) + 16 (seal), stream frame 4.
pub const PACKET: u64 = 59;
/// Bytes of messages in one packet (QUIC's least MTU, less what is not message).
const PACKET_ROOM: u64 = 1150;
/// An acknowledgement, of every second packet: IPv4 20, UDP 8, QUIC 27, frame 5.
pub const ACK: u64 = 60;
/// A packet that only keeps a link alive, PING or its acknowledgement.
pub const KEEP_ALIVE: u64 = 60;
/// A pulse on a link: packet, frame, message.
pub const PULSE: u64 = PACKET + FRAME + 2;
/// A STUN binding request and its answer, with UDP and IPv4.
pub const PROBE: (u64, u64) = (48, 60);
/// Messages of a kind that are all measured.
const MEASURED: u64 = 64;

/// Messages and bytes of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Volume {
    /// Messages.
    pub messages: u64,
    /// Bytes on the wire: message, frame, packets; not acknowledgements.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    measured: u64,
    measured_bytes: u64,
}

/// All that was said since the last reset.
#[derive(Debug)]
pub struct Traffic {
    /// By name, as a pointer: names are few and looked up with each message. Those that vary are apart.
    kinds: FxHashMap<(usize, usize, bool), (&'static str, Volume)>,
    every: u64,
    probes: u64,
    /// Messages for which there was no link.
    pub unsent: u64,
    /// All messages, ever.
    pub total: u64,
}

impl Traffic {
    /// Measures one message in `every`, once enough of its kind have been measured.
    pub(super) fn new(every: u64) -> Self {
        Self { kinds: FxHashMap::default(), every: every.max(1), probes: 0, unsent: 0, total: 0 }
    }

    /// Counts a message that is sent; returns its bytes on the wire.
    pub(super) fn note(&mut self, message: &LinkMessage) -> u64 {
        self.total += 1;
        let kind = message_kind(message);
        let varied = is_varied(message);
        let key = (kind.as_ptr() as usize, kind.len(), varied);
        let (_, volume) = self.kinds.entry(key).or_insert((kind, Volume::default()));
        volume.messages += 1;
        let exact = varied || volume.messages <= MEASURED || volume.messages.is_multiple_of(self.every);
        let size = if exact {
            let size = codec::size(message) as u64 + FRAME + toys(message);
            volume.measured += 1;
            volume.measured_bytes += size;
            size
        } else {
            volume.measured_bytes / volume.measured.max(1)
        };
        let packets = size.div_ceil(PACKET_ROOM);
        volume.bytes += size + packets * PACKET;
        volume.packets += packets;
        size + packets * PACKET
    }

    pub(super) fn note_probes(&mut self, count: u64) {
        self.probes += count;
    }

    /// STUN rounds.
    pub fn probes(&self) -> u64 {
        self.probes
    }

    /// Everything, by kind.
    pub fn by_kind(&self) -> BTreeMap<&'static str, Volume> {
        let mut kinds: BTreeMap<&'static str, Volume> = BTreeMap::new();
        for (kind, volume) in self.kinds.values() {
            let sum = kinds.entry(kind).or_default();
            sum.messages += volume.messages;
            sum.bytes += volume.bytes;
            sum.packets += volume.packets;
        }
        kinds
    }

    /// Begins anew; what was learnt of the kinds' sizes stays.
    pub fn reset(&mut self) {
        for (_, volume) in self.kinds.values_mut() {
            (volume.messages, volume.bytes, volume.packets) = (0, 0, 0);
        }
        (self.probes, self.unsent) = (0, 0);
    }
}

/// Whether messages of this kind differ so much in size that each is measured.
fn is_varied(message: &LinkMessage) -> bool {
    match message {
        LinkMessage::Mesh(Mesh::Answer { hits, .. }) => !hits.is_empty(),
        LinkMessage::ToChild(ToChild::Hits { .. }) => true,
        LinkMessage::Mesh(Mesh::Members(_) | Mesh::SummaryPart { .. } | Mesh::SummaryChange { .. }) => true,
        _ => false,
    }
}

/// What the real records in a message take more.
fn toys(message: &LinkMessage) -> u64 {
    let count = match message {
        LinkMessage::Mesh(Mesh::Renewed(_)) => return REAL_RENEWAL,
        LinkMessage::ToHome(ToHome::Attach { .. } | ToHome::Refresh(_) | ToHome::Detach(_)) => 1,
        LinkMessage::ToChild(ToChild::Attached { .. }) => 1,
        LinkMessage::ToChild(ToChild::Redirect(records) | ToChild::Supernodes(records)) => records.len(),
        LinkMessage::ToChild(ToChild::Found { nodes, .. }) => nodes.len(),
        LinkMessage::Mesh(Mesh::Hello { .. }) => 1,
        LinkMessage::Mesh(Mesh::Members(records)) => records.len(),
        LinkMessage::Mesh(Mesh::Store { presences, .. }) => presences.len(),
        LinkMessage::Mesh(Mesh::Held { nodes, .. }) => nodes.len(),
        _ => 0,
    };
    count as u64 * REAL_RECORD
}
