//! Simulated relays: seats for both ends of the one session, and forwarding between the addresses that were validated.

use std::net::SocketAddr;

use nearmesh_common::{NodeId, wire::relay::ChannelId, wire::signal::SessionId};

use super::{scenario::Who, world::HostId};

/// One end's reservation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// In which session.
    pub(super) session: SessionId,
    /// What stands before its packets.
    pub(super) channel: ChannelId,
    /// The validated address of its connection.
    pub(super) from: SocketAddr,
    /// Tells one reservation of this end from the next.
    pub(super) life: u64,
}

/// A node that relays.
#[derive(Debug)]
pub(super) struct RelayNode {
    /// Its id.
    pub(super) node: NodeId,
    /// Where it is.
    pub(super) host: HostId,
    /// Its address.
    pub(super) address: SocketAddr,
    /// False once it died.
    pub(super) alive: bool,
    /// It says that it will stop.
    pub(super) draining: bool,
    seats: [Option<Seat>; 2],
}

impl RelayNode {
    /// One that serves.
    pub(super) fn new(number: usize, host: HostId, address: SocketAddr) -> Self {
        let node = NodeId([100 + number as u8; 32]);
        Self { node, host, address, alive: true, draining: false, seats: [None; 2] }
    }

    /// One end takes its seat. True if both are there now.
    pub(super) fn take(&mut self, who: Who, session: SessionId, from: SocketAddr, life: u64) -> bool {
        // Not random: only that they differ matters here.
        let channel = ChannelId::from_random(life << 4);
        self.seats[who.index()] = Some(Seat { session, channel, from, life });
        self.is_open()
    }

    /// One end leaves. True if the other is still there.
    pub(super) fn leave(&mut self, who: Who) -> bool {
        self.seats[who.index()].take().is_some() && self.seats[who.other().index()].is_some()
    }

    /// An end's seat.
    pub(super) fn seat(&self, who: Who) -> Option<Seat> {
        self.seats[who.index()]
    }

    /// The connection of this end comes from elsewhere now.
    pub(super) fn migrate(&mut self, who: Who, from: SocketAddr) {
        if let Some(seat) = &mut self.seats[who.index()] {
            seat.from = from;
        }
    }

    /// Whether both ends of one session are here.
    pub(super) fn is_open(&self) -> bool {
        match self.seats {
            [Some(a), Some(b)] => self.alive && a.session == b.session,
            _ => false,
        }
    }

    /// Where a packet goes that came from there on this channel.
    pub(super) fn forward(&self, channel: ChannelId, from: SocketAddr) -> Option<Seat> {
        let mine = self
            .seats
            .iter()
            .position(|seat| seat.is_some_and(|seat| seat.channel == channel && seat.from == from))?;
        if self.is_open() { self.seats[1 - mine] } else { None }
    }
}
