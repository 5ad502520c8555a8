//! Who may make this node dial: a reachable node that wants us, behind our NAT, asks us by way of the homes.
//!
//! Whoever asks decides where our packets go, so few are sent: each asker is heard so often, all askers together so often, and
//! only addresses are dialled that can be one host's.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{NodeId, Now, dialable::is_dialable};

/// How long one asker waits to be heard again. It repeats its request within [`REPEATS`] if nothing comes.
const EACH_EVERY: Duration = Duration::from_secs(2);
/// Requests of one asker that may come at once (guess: three that repeat one another, and one more).
const REPEATS: u32 = 4;
/// How long a token of all askers together takes to come back: ten requests a second (guess: a popular source of files).
const ALL_EVERY: Duration = Duration::from_millis(100);
/// Requests of all askers that may come at once (guess).
const ALL_AT_ONCE: u32 = 30;
/// Askers that are remembered; beyond that the one that asked longest ago is forgotten.
const MAX_ASKERS: usize = 512;

/// The limits, and where they stand.
#[derive(Debug, Default)]
pub struct PushGate {
    askers: BTreeMap<NodeId, Bucket>,
    all: Bucket,
}

/// Tokens, kept as the moment at which all are there again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl PushGate {
    /// Which of these addresses to dial for `asker` now; none if it asks too much. Those on this machine itself only where `own`, which
    /// are this node's, are there too.
    pub fn admit(
        &mut self,
        asker: NodeId,
        addresses: &[SocketAddr],
        own: &[SocketAddr],
        now: Now,
    ) -> Vec<SocketAddr> {
        let local = own.iter().any(|own| own.ip().is_loopback());
        let good = |address: &SocketAddr| {
            is_dialable(*address) && !own.contains(address) && (local || !address.ip().is_loopback())
        };
        let good: Vec<_> = addresses.iter().copied().filter(good).collect();
        if good.is_empty() || !self.take(asker, now.instant) {
            return Vec::new();
        }
        good
    }

    /// Whether to answer a call of `caller` now.
    pub fn admit_call(&mut self, caller: NodeId, now: Now) -> bool {
        self.take(caller, now.instant)
    }

    fn take(&mut self, asker: NodeId, now: Instant) -> bool {
        if self.askers.len() >= MAX_ASKERS && !self.askers.contains_key(&asker) {
            let oldest = self.askers.iter().min_by_key(|(_, bucket)| bucket.full_at).map(|(node, _)| *node);
            oldest.and_then(|oldest| self.askers.remove(&oldest));
        }
        let own = self.askers.entry(asker).or_default();
        own.take(EACH_EVERY, REPEATS, now) && self.all.take(ALL_EVERY, ALL_AT_ONCE, now)
    }
}

impl Bucket {
    fn take(&mut self, every: Duration, at_once: u32, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let there_is_one = full_at.duration_since(now) <= every * (at_once - 1);
        if there_is_one {
            self.full_at = Some(full_at + every);
        }
        there_is_one
    }
}
