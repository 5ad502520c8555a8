//! What the relay lends, at most.

use std::time::Duration;

/// Pairs in all, unless the user says otherwise (at about 1 kB each; guess: what a home's supernode meets at a busy hour).
pub const SESSIONS: usize = 1000;
/// Reservations of one member, waiting ones included: a download from many sources, two relays for each (guess).
pub const PER_MEMBER: usize = 32;
/// Reservations whose other end has not come, in all (guess).
pub const WAITING: usize = 1024;
/// How long one waits for the other end. Both are asked for in the same exchange of signals, a second or two (guess).
pub const WAIT: Duration = Duration::from_secs(10);
/// Bytes a second of one pair: 2 Gbit/s, more than a home line has (guess).
pub const PAIR_RATE: u64 = 250_000_000;
/// Bytes of one pair until a renewal, both directions together (guess: a film).
pub const PAIR_BYTES: u64 = 4 << 30;
/// Time of one pair until a renewal, as for TURN (RFC 8656, section 3.2).
pub const LIFE: Duration = Duration::from_secs(10 * 60);
/// A pair for which nothing is forwarded for so long is not used (guess: eight keep-alives of a standby path).
pub const IDLE: Duration = Duration::from_secs(120);
/// How long a pair that has used up its bytes may take to renew (guess: a few round trips).
pub(super) const RENEWAL_GRACE: Duration = Duration::from_secs(5);
/// A pair is renewed at most so often; at [`PAIR_RATE`] its bytes last 17 s (guess).
pub(super) const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);
/// How often one end is asked for proof of an address (guess: a round trip or two).
pub(super) const PROOF_INTERVAL: Duration = Duration::from_millis(200);
/// How long a cookie is good for (guess: the longest round trip, and a loss).
pub(super) const PROOF_LIFE: Duration = Duration::from_secs(5);

/// The bounds that are set from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pairs in all.
    pub sessions: usize,
    /// Reservations of one member.
    pub per_member: usize,
    /// Reservations that wait for their other end, in all.
    pub waiting: usize,
    /// How long they wait.
    pub wait: Duration,
    /// Bytes a second forwarded for everybody together; none if only the pairs are limited.
    pub rate: Option<u64>,
    /// Bytes a second of one pair, both directions together. Pairs that are busy at the same time share `rate` evenly.
    pub pair_rate: Option<u64>,
    /// Bytes of one pair until a renewal.
    pub pair_bytes: u64,
    /// Time of one pair until a renewal.
    pub life: Duration,
    /// Time without a forwarded packet after which a pair ends.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: SESSIONS,
            per_member: PER_MEMBER,
            waiting: WAITING,
            wait: WAIT,
            rate: None,
            pair_rate: Some(PAIR_RATE),
            pair_bytes: PAIR_BYTES,
            life: LIFE,
            idle: IDLE,
        }
    }
}

impl Limits {
    /// What one pair is promised.
    pub(super) fn promised_rate(&self) -> u64 {
        self.pair_rate.into_iter().chain(self.rate).min().unwrap_or(u64::MAX)
    }
}
