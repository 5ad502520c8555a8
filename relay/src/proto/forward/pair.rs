//! Two ends that have found each other.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::wire::relay::{ChannelId, Cookie, FromRelay};

use super::{
    EndAddress, EndId, Limits, Standing,
    bucket::{Bucket, Window},
    limits::{PROOF_INTERVAL, PROOF_LIFE, RENEWAL_GRACE, RENEWAL_INTERVAL},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PairId(pub(super) u64);

/// The one who came first, or the one who came second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Second,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

#[derive(Debug)]
pub(super) struct Pair {
    halves: [Half; 2],
    /// As they were when it opened.
    pub(super) limits: Limits,
    pub(super) bucket: Bucket,
    pub(super) window: Window,
    bytes_left: u64,
    expires: Instant,
    renewed: Instant,
    last_used: Instant,
    told_low: bool,
    /// When its timer is set to.
    pub(super) due: Instant,
}

/// One end of it.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) end: EndId,
    pub(super) channel: ChannelId,
    pub(super) standing: Standing,
    question: Option<Question>,
}

/// A proof that was asked for.
#[derive(Clone, Copy, Debug)]
struct Question {
    address: SocketAddr,
    cookie: Cookie,
    first: Instant,
    last: Instant,
}

/// What is left of what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// Enough.
    Fine,
    /// Little, and nobody was told yet.
    Low,
    /// Nothing.
    Up,
}

impl Pair {
    pub(super) fn new(halves: [Half; 2], limits: Limits, now: Instant) -> Self {
        let expires = now + limits.life;
        Self {
            halves,
            limits,
            bucket: Bucket::default(),
            window: Window::default(),
            bytes_left: limits.pair_bytes,
            expires,
            renewed: now,
            last_used: now,
            told_low: false,
            due: expires.min(now + limits.idle),
        }
    }

    pub(super) fn half(&self, side: Side) -> &Half {
        &self.halves[side as usize]
    }

    pub(super) fn half_mut(&mut self, side: Side) -> &mut Half {
        &mut self.halves[side as usize]
    }

    pub(super) fn halves(&self) -> &[Half; 2] {
        &self.halves
    }

    /// Takes `bytes` from what was promised.
    pub(super) fn spend(&mut self, bytes: u64, now: Instant) -> Used {
        let Some(left) = self.bytes_left.checked_sub(bytes) else {
            self.expires = self.expires.min(now + RENEWAL_GRACE);
            return Used::Up;
        };
        self.bytes_left = left;
        self.last_used = now;
        if left < self.limits.pair_bytes / 4 && !self.told_low {
            self.told_low = true;
            return Used::Low;
        }
        Used::Fine
    }

    /// Promises the same again, unless it has just done so.
    pub(super) fn renew(&mut self, now: Instant) -> bool {
        let soon = now.saturating_duration_since(self.renewed) < RENEWAL_INTERVAL;
        if !soon {
            self.renewed = now;
            self.bytes_left = self.limits.pair_bytes;
            self.expires = now + self.limits.life;
            self.told_low = false;
        }
        !soon
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires <= now
    }

    /// What one side is told when it opens.
    pub(super) fn opening(&self, side: Side) -> FromRelay {
        FromRelay::Open {
            channel: self.half(side).channel,
            rate: self.limits.promised_rate(),
            bytes: self.limits.pair_bytes,
            life_ms: millis(self.limits.life),
        }
    }

    /// Time until it must be renewed.
    pub(super) fn life_left_ms(&self, now: Instant) -> u32 {
        millis(self.expires.saturating_duration_since(now))
    }

    /// When it ends unless something happens.
    pub(super) fn ends_at(&self) -> Instant {
        self.expires.min(self.last_used + self.limits.idle)
    }
}

impl Half {
    pub(super) fn new(end: EndId, channel: ChannelId, standing: Standing) -> Self {
        Self { end, channel, standing, question: None }
    }

    /// Where packets may be sent and come from.
    pub(super) fn proved(&self) -> Option<EndAddress> {
        match self.standing {
            Standing::Proved(address) => Some(address),
            Standing::Claimed(_) => None,
        }
    }

    /// Whether to ask for proof of an address now; with which cookie. The same one as before if it is asked again, because the answer
    /// may be under way.
    pub(super) fn ask(
        &mut self,
        address: SocketAddr,
        fresh: impl FnOnce() -> Cookie,
        now: Instant,
    ) -> Option<Cookie> {
        let question = match self.question {
            Some(open) if now.saturating_duration_since(open.last) < PROOF_INTERVAL => return None,
            Some(open) if open.address == address && open.is_good(now) => Question { last: now, ..open },
            _ => Question { address, cookie: fresh(), first: now, last: now },
        };
        self.question = Some(question);
        Some(question.cookie)
    }

    /// Whether this cookie, repeated by somebody who speaks from there, proves it. It is used up by that.
    pub(super) fn accept_proof(&mut self, cookie: Cookie, from: EndAddress, now: Instant) -> bool {
        let proves = self
            .question
            .is_some_and(|open| open.cookie == cookie && open.address == from.remote && open.is_good(now));
        if proves {
            self.question = None;
            self.standing = Standing::Proved(from);
        }
        proves
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl Question {
    fn is_good(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.first) < PROOF_LIFE
    }
}
