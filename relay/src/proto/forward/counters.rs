//! What the relay has done.

use super::DropReason;

/// Counts since the start, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardCounters {
    /// Pairs that are there now.
    pub sessions: u64,
    /// Reservations that wait for their other end now.
    pub waiting: u64,
    /// Pairs that there were.
    pub opened: u64,
    /// Reservations that were not given.
    pub refused: u64,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded: UDP payload.
    pub bytes: u64,
    /// Ends that proved another address than before.
    pub moved: u64,
    /// Packets that asked for such proof.
    pub proofs_asked: u64,
    /// Packets not forwarded, by reason.
    pub dropped: Dropped,
}

/// Packets that were not forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// No live pair has that channel.
    pub unknown_channel: u64,
    /// Not from where the channel's end is.
    pub other_source: u64,
    /// It is not known yet where the other end receives.
    pub unproved: u64,
    /// Beyond the pair's rate.
    pub pair_rate: u64,
    /// Beyond the relay's rate.
    pub total_rate: u64,
    /// The pair's bytes are used up.
    pub out_of_bytes: u64,
    /// The socket would not take them.
    pub unsent: u64,
}

impl Dropped {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { unknown_channel, other_source, unproved, pair_rate, total_rate, out_of_bytes, unsent } =
            self;
        unknown_channel + other_source + unproved + pair_rate + total_rate + out_of_bytes + unsent
    }

    pub(super) fn count(&mut self, reason: DropReason, packets: u64) {
        *match reason {
            DropReason::UnknownChannel => &mut self.unknown_channel,
            DropReason::OtherSource => &mut self.other_source,
            DropReason::Unproved => &mut self.unproved,
            DropReason::PairRate => &mut self.pair_rate,
            DropReason::TotalRate => &mut self.total_rate,
            DropReason::OutOfBytes => &mut self.out_of_bytes,
            DropReason::Unsent => &mut self.unsent,
        } += packets;
    }
}
