//! Who may make this node dial: a reachable node that wants us, behind our NAT, asks us by way of the homes.
//!
//! Whoever asks decides where our packets go, so few are sent: each asker is heard so often, all askers together so often, and
//! only addresses are dialled that can be one host's.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now,
    dialable::is_dialable,
    rate::{Bucket, Limit},
};

/// One asker: every two seconds one. It repeats its request when nothing comes, so a few may come at once (guess: three that repeat one
/// another, and one more).
const EACH: Limit = Limit { every: Duration::from_secs(2), burst: 4 };
/// All askers together: ten requests a second (guess: a popular source of files), and so many at once (guess).
const ALL: Limit = Limit::per_second(10, 30);
/// Askers that are remembered; beyond that the one that asked longest ago is forgotten.
const MAX_ASKERS: usize = 512;

/// The limits, and where they stand.
#[derive(Debug, Default)]
pub struct PushGate {
    askers: BTreeMap<NodeId, Bucket>,
    all: Bucket,
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
            let oldest = self.askers.iter().min_by_key(|(_, bucket)| bucket.full_at()).map(|(node, _)| *node);
            oldest.and_then(|oldest| self.askers.remove(&oldest));
        }
        let own = self.askers.entry(asker).or_default();
        own.take(EACH, now) && self.all.take(ALL, now)
    }
}
