//! Where a packet goes: asked for every run of packets, so it allocates nothing and looks up two keys.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use nearmesh_common::wire::relay::{ChannelId, FromRelay, PROOF_REQUEST_LENGTH};

use super::{
    Due, EndAddress, Forwarder, Standing,
    pair::{PairId, Side, Used},
};

/// Packets that came together: one channel, one source, one receive call.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// What they begin with.
    pub channel: ChannelId,
    /// From where they came.
    pub source: SocketAddr,
    /// To which of our addresses.
    pub local: Option<IpAddr>,
    /// How many.
    pub packets: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// What to do with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send them there, with this id in place of theirs.
    Forward {
        /// To there.
        to: EndAddress,
        /// With this.
        channel: ChannelId,
    },
    /// Nothing.
    Drop(DropReason),
}

/// Why packets are not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// No live pair has that channel.
    UnknownChannel,
    /// Not from where the channel's end is.
    OtherSource,
    /// It is not known yet where the other end receives.
    Unproved,
    /// Beyond the pair's rate.
    PairRate,
    /// Beyond the relay's rate.
    TotalRate,
    /// The pair's bytes are used up.
    OutOfBytes,
    /// The socket would not take them.
    Unsent,
}

/// Somebody who should prove an address.
type Suspect = (PairId, Side, EndAddress);
type Refusal = (DropReason, Option<Suspect>);

impl Forwarder {
    /// Where packets go. All of a run or none of it.
    pub fn decide(&mut self, arrival: &Arrival, now: Instant) -> Decision {
        let (reason, suspect) = match self.judge(arrival, now) {
            Ok((to, channel)) => {
                self.counters.packets += arrival.packets;
                self.counters.bytes += arrival.bytes;
                return Decision::Forward { to, channel };
            }
            Err(refusal) => refusal,
        };
        self.counters.dropped.count(reason, arrival.packets);
        // Never more sent than received.
        if let Some((id, side, address)) = suspect.filter(|_| arrival.bytes >= PROOF_REQUEST_LENGTH as u64) {
            self.ask_for_proof(id, side, address, now);
        }
        Decision::Drop(reason)
    }

    /// Packets that were to be forwarded and could not be sent.
    pub fn on_unsent(&mut self, packets: u64, bytes: u64) {
        self.counters.packets -= packets;
        self.counters.bytes -= bytes;
        self.counters.dropped.count(DropReason::Unsent, packets);
    }

    fn judge(&mut self, arrival: &Arrival, now: Instant) -> Result<(EndAddress, ChannelId), Refusal> {
        let unknown = (DropReason::UnknownChannel, None);
        let (id, side) = *self.channels.get(&arrival.channel).ok_or(unknown)?;
        let pair = self.pairs.get_mut(&id).ok_or(unknown)?;
        let (from, to) = (pair.half(side), pair.half(side.other()));
        if from.proved().is_none_or(|address| address.remote != arrival.source) {
            let there = EndAddress { remote: arrival.source, local: arrival.local };
            return Err((DropReason::OtherSource, Some((id, side, there))));
        }
        let (ends, channel) = ([from.end, to.end], to.channel);
        let to = match to.standing {
            Standing::Proved(address) => address,
            Standing::Claimed(address) => {
                return Err((DropReason::Unproved, Some((id, side.other(), address))));
            }
        };
        let total = self.limits.and_then(|limits| limits.rate);
        let share = total.map(|total| total / u64::from(self.activity.note(&mut pair.window, now)));
        let rate = share.into_iter().chain(pair.limits.pair_rate).min();
        if rate.is_some_and(|rate| !pair.bucket.take(arrival.bytes, rate, now)) {
            return Err((DropReason::PairRate, None));
        }
        if total.is_some_and(|total| !self.total.take(arrival.bytes, total, now)) {
            return Err((DropReason::TotalRate, None));
        }
        match pair.spend(arrival.bytes, now) {
            Used::Fine => {}
            Used::Low => ends.into_iter().for_each(|end| self.tell(end, FromRelay::RunningLow)),
            Used::Up => {
                // It ends sooner than its timer says.
                self.timers.remove(&(pair.due, Due::Pair(id)));
                pair.due = pair.ends_at();
                self.timers.insert((pair.due, Due::Pair(id)));
                return Err((DropReason::OutOfBytes, None));
            }
        }
        Ok((to, channel))
    }
}
