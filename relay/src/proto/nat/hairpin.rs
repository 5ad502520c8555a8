//! Whether the NAT brings us a packet that we send to our own address outside (RFC 4787, section 6).
//!
//! A fresh socket sends a token to the node's outside address. The node sends one to the fresh socket's first, so that the
//! question is not whether the NAT lets in whom we have not sent to.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::Token;

/// Tokens that are sent, against loss.
const TRIES: u8 = 3;
/// Between them: the way to the router and back takes a few milliseconds.
const TRY_EVERY: Duration = Duration::from_millis(300);

/// The test.
#[derive(Debug)]
pub(super) struct Hairpin {
    /// Our own port from outside.
    pub(super) own: SocketAddr,
    /// The fresh socket from outside.
    pub(super) fresh: SocketAddr,
    token: Token,
    tries: u8,
    next: Instant,
    came: bool,
}

impl Hairpin {
    pub(super) fn new(own: SocketAddr, fresh: SocketAddr, token: Token, now: Instant) -> Self {
        Self { own, fresh, token, tries: 0, next: now, came: false }
    }

    /// What to send now, both ways.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Token> {
        if self.came || self.tries == TRIES || self.next > now {
            return None;
        }
        self.tries += 1;
        self.next = now + TRY_EVERY;
        Some(self.token)
    }

    /// A token came at the node's own port; whether it was this one.
    pub(super) fn on_packet(&mut self, token: Token) -> bool {
        let ours = token == self.token;
        self.came |= ours;
        ours
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.came || self.tries == TRIES && self.next <= now
    }

    pub(super) fn found(&self) -> bool {
        self.came
    }

    /// When to look again, after `now`.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        Some(self.next).filter(|at| !self.came && *at > now)
    }
}
