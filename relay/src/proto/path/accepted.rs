//! By which routes the peer's packets are taken: more than the one in use, because the peer chooses its own.
//!
//! A route is accepted when it is proven, or as soon as an authenticated ping came by it: the peer may prove it before
//! we do, and use it at once. It is forgotten when nothing of the peer's has come for long.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::route::Route;

/// A direct route is forgotten after so long, or four times the interval of keep-alives if that is longer (guess).
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Most routes at a time: all that may be proven, and as many of which only a ping came.
const MAX_ACCEPTED: usize = 20;

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Take packets from there.
    Accept {
        /// Which way.
        route: Route,
        /// The peer answered there.
        proven: bool,
    },
    /// No longer.
    Forget(Route),
}

/// The accepted routes.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    routes: BTreeMap<Route, Acceptance>,
}

#[derive(Clone, Copy, Debug)]
struct Acceptance {
    proven: bool,
    heard: Instant,
}

impl Accepted {
    /// Something authentic came by `route`, or an open relay is there.
    pub(super) fn accept(&mut self, route: Route, proven: bool, now: Instant) -> Vec<Change> {
        if let Some(known) = self.routes.get_mut(&route) {
            known.heard = now;
            if known.proven || !proven {
                return Vec::new();
            }
            known.proven = true;
            return vec![Change::Accept { route, proven }];
        }
        let mut changes = Vec::new();
        if self.routes.len() >= MAX_ACCEPTED {
            let unproven_first = |(_, known): &(&Route, &Acceptance)| (known.proven, known.heard);
            let oldest = self.routes.iter().min_by_key(unproven_first).map(|(route, _)| *route);
            changes.extend(oldest.and_then(|route| self.forget(route)));
        }
        self.routes.insert(route, Acceptance { proven, heard: now });
        changes.push(Change::Accept { route, proven });
        changes
    }

    /// QUIC packets of the peer came by `route`.
    pub(super) fn on_heard(&mut self, route: Route, now: Instant) {
        if let Some(known) = self.routes.get_mut(&route) {
            known.heard = now;
        }
    }

    /// Whether packets from there are taken.
    pub(super) fn contains(&self, route: Route) -> bool {
        self.routes.contains_key(&route)
    }

    /// A route is gone for good.
    pub(super) fn forget(&mut self, route: Route) -> Option<Change> {
        self.routes.remove(&route).map(|_| Change::Forget(route))
    }

    /// The session is over.
    pub(super) fn forget_all(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.routes).into_keys().map(Change::Forget).collect()
    }

    /// Time passed. The route in use is kept in any case.
    pub(super) fn expire(
        &mut self,
        in_use: Option<Route>,
        keep_alive: Duration,
        now: Instant,
    ) -> Vec<Change> {
        let life = FORGOTTEN.max(keep_alive * 4);
        let old = self.routes.iter().filter(|(route, known)| {
            route.is_direct() && in_use != Some(**route) && known.heard + life <= now
        });
        let old: Vec<Route> = old.map(|(route, _)| *route).collect();
        old.into_iter().filter_map(|route| self.forget(route)).collect()
    }

    /// When the next one is forgotten.
    pub(super) fn poll_timeout(&self, in_use: Option<Route>, keep_alive: Duration) -> Option<Instant> {
        let direct = self.routes.iter().filter(|(route, _)| route.is_direct() && in_use != Some(**route));
        direct.map(|(_, known)| known.heard + FORGOTTEN.max(keep_alive * 4)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::start;

    fn direct(port: u16) -> Route {
        Route::direct(([192, 0, 2, 1], port).into())
    }

    #[test]
    fn a_ping_is_enough_and_a_proof_is_said_too() {
        let now = start().instant;
        let mut accepted = Accepted::default();
        let route = direct(1);
        assert_eq!(accepted.accept(route, false, now), [Change::Accept { route, proven: false }]);
        assert_eq!(accepted.accept(route, false, now), []);
        assert_eq!(accepted.accept(route, true, now), [Change::Accept { route, proven: true }]);
        assert_eq!(accepted.accept(route, false, now), []);
    }

    #[test]
    fn pings_from_everywhere_push_each_other_out_and_never_what_is_proven() {
        let now = start().instant;
        let mut accepted = Accepted::default();
        accepted.accept(direct(1), true, now);
        for port in 2..500 {
            accepted.accept(direct(port), false, now + Duration::from_secs(port.into()));
        }
        assert_eq!(accepted.routes.len(), MAX_ACCEPTED);
        assert!(accepted.contains(direct(1)) && accepted.contains(direct(499)));
    }

    #[test]
    fn what_was_silent_for_long_is_forgotten_unless_it_is_in_use() {
        let now = start().instant;
        let mut accepted = Accepted::default();
        let keep_alive = Duration::from_secs(15);
        accepted.accept(direct(1), true, now);
        accepted.accept(direct(2), true, now);
        let at = accepted.poll_timeout(Some(direct(1)), keep_alive).unwrap();
        assert_eq!(accepted.expire(Some(direct(1)), keep_alive, at), [Change::Forget(direct(2))]);
        assert!(accepted.contains(direct(1)));
    }
}
