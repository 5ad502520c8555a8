//! Pings under way: what was asked by which route, so that only an answer to it counts.
//!
//! Invariant: a route is proven by a pong that repeats a nonce of ours and came by the very route that the ping took. A pong that was
//! never asked for, came twice, or came too late, says nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::{
    packet::{Nonce, Probe, Seal},
    route::Route,
};

/// How long an answer is waited for: a satellite link with a full queue (guess).
const PING_LIFE: Duration = Duration::from_secs(4);
/// Most pings under way: four seconds of guessing (see [`guess`](super::guess)) and the ordinary ones.
const MAX_PENDING: usize = 2048;

/// A pong that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// By which route the ping went.
    pub(super) asked: Route,
    /// When.
    pub(super) sent: Instant,
}

/// The pings of one session that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pending: BTreeMap<Nonce, Answer>,
    order: VecDeque<(Instant, Nonce)>,
    sequence: u32,
}

impl Checks {
    /// A ping by `route`.
    pub(super) fn ping(&mut self, route: Route, seal: &Seal, rng: &mut ChaCha12Rng, now: Instant) -> Vec<u8> {
        self.expire(now);
        if self.order.len() >= MAX_PENDING
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.pending.remove(&oldest);
        }
        let nonce = Nonce(rng.random());
        self.pending.insert(nonce, Answer { asked: route, sent: now });
        self.order.push_back((now, nonce));
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        seal.encode(&Probe::Ping { sequence, nonce })
    }

    /// A pong came: which ping it answers. Each is answered once.
    pub(super) fn on_pong(&mut self, nonce: Nonce, now: Instant) -> Option<Answer> {
        self.expire(now);
        self.pending.remove(&nonce)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((sent, nonce)) = self.order.front().copied()
            && now.saturating_duration_since(sent) >= PING_LIFE
        {
            self.order.pop_front();
            self.pending.remove(&nonce);
        }
    }
}

/// The answer to a ping that came by `route`.
pub(super) fn pong(route: Route, nonce: Nonce, seal: &Seal) -> Vec<u8> {
    seal.encode(&Probe::Pong { nonce, observed: source(route) })
}

fn source(route: Route) -> Option<SocketAddr> {
    match route {
        Route::Direct { to, .. } => Some(to),
        Route::Relayed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use nearmesh_common::wire::signal::{ProbeKey, SessionId};
    use rand::SeedableRng;

    use super::{super::packet::Side, *};
    use crate::proto::start;

    #[test]
    fn an_answer_counts_once_and_not_after_its_time() {
        let now = start().instant;
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let (session, key) = (SessionId([1; 16]), ProbeKey([2; 32]));
        let (alice, bob) = (Seal::new(&session, key, Side::Caller), Seal::new(&session, key, Side::Callee));
        let route = Route::direct("192.0.2.1:1".parse().unwrap());
        let mut checks = Checks::default();
        let mut ping = |checks: &mut Checks| match bob.decode(&checks.ping(route, &alice, &mut rng, now)) {
            Some(Probe::Ping { nonce, .. }) => nonce,
            other => panic!("{other:?}"),
        };
        let (first, second) = (ping(&mut checks), ping(&mut checks));
        assert_eq!(checks.on_pong(first, now), Some(Answer { asked: route, sent: now }));
        assert_eq!(checks.on_pong(first, now), None, "twice");
        assert_eq!(checks.on_pong(second, now + PING_LIFE), None, "too late");
        assert_eq!(checks.on_pong(Nonce(1), now), None, "never asked");
        for _ in 0..2 * MAX_PENDING {
            ping(&mut checks);
        }
        assert_eq!((checks.pending.len(), checks.order.len()), (MAX_PENDING, MAX_PENDING));
    }
}
