//! What the port has seen, for `status` and for whoever wonders where the packets went.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::proto::{forward::ForwardCounters, stun::StunCounters};

/// A snapshot. All counts begin with the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What became of packets that asked our STUN server.
    pub stun: StunCounters,
    /// STUN answers that were not sent, because the socket would not take them at once.
    pub stun_unsent: u64,
    /// STUN responses that no probe of ours was waiting for.
    pub stun_strays: u64,
    /// What was forwarded for others.
    pub forward: ForwardCounters,
    /// Packets with a first byte that nothing here speaks.
    pub reserved: u64,
    /// Packets to peers to which there was no route.
    pub unrouted: u64,
    /// Packets about routes that were not sent, because a socket would not take them at once.
    pub unsent: u64,
    /// Packets whose source was an address that no packet may have.
    pub forged: u64,
    /// Path probes of no session, and relayed packets by which nothing came.
    pub strays: u64,
    /// Receive errors of the socket.
    pub receive_errors: u64,
    /// Connections that came in, handshake completed.
    pub accepted: u64,
    /// Handshakes that came in and failed: no certificate, a foreign one, silence.
    pub handshakes_failed: u64,
    /// Newcomers that were asked to prove their address first.
    pub retries: u64,
    /// Newcomers that were not answered, because too many handshakes were going on.
    pub handshakes_ignored: u64,
    /// Newcomers that wanted to enrol at a node that is no authority.
    pub enrol_refused: u64,
    /// Bytes of receive buffer that the system granted.
    pub receive_buffer: u64,
    /// Bytes of send buffer that the system granted.
    pub send_buffer: u64,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
