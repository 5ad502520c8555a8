//! Which of the working routes is used: the local network before the internet, direct before relayed, then the shortest
//! round trip. Within one kind, only a clear gain moves the traffic, because every move costs a new slow start.

use std::time::Duration;

use super::{PathKind, Why, route::Route};

/// Another route of the same kind must have less than this part of the round trip (guess, between "any" and iroh's two thirds
/// for home relays)...
const CLEARLY: (u32, u32) = (3, 4);
/// ...and be so much shorter.
const CLEARLY_BY: Duration = Duration::from_millis(3);

/// A route that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Which.
    pub(super) route: Route,
    /// What kind it is.
    pub(super) kind: PathKind,
    /// The smallest round trip of late.
    pub(super) rtt: Option<Duration>,
    /// Measured often enough to be compared.
    pub(super) compared: bool,
    /// An answer is overdue.
    pub(super) late: bool,
    /// It did not die just now.
    pub(super) trusted: bool,
    /// Its relay will stop.
    pub(super) draining: bool,
}

/// The way to take, given the one taken now, if that still works; and why, if it is another one.
pub(super) fn choose(ways: &[Way], current: Option<Route>) -> Option<(Route, Option<Why>)> {
    let current = ways.iter().find(|way| Some(way.route) == current);
    let Some(current) = current else {
        return ways
            .iter()
            .min_by_key(|way| (way.late, !way.trusted, rank(way)))
            .map(|way| (way.route, Some(Why::First)));
    };
    let others = || ways.iter().filter(|way| way.route != current.route && !way.late && way.trusted);
    if current.draining
        && let Some(way) = others().filter(|way| !way.draining).min_by_key(|way| rank(way))
    {
        return Some((way.route, Some(Why::RelayDraining)));
    }
    let better = others().filter(|way| is_clearly_better(way, current)).min_by_key(|way| rank(way));
    Some(better.map_or((current.route, None), |way| (way.route, Some(Why::Better))))
}

fn class(kind: PathKind) -> u8 {
    match kind {
        PathKind::Lan => 0,
        PathKind::Direct => 1,
        PathKind::Relayed(_) => 2,
    }
}

fn rank(way: &Way) -> (bool, u8, Duration) {
    (way.draining, class(way.kind), way.rtt.unwrap_or(Duration::MAX))
}

fn is_clearly_better(way: &Way, current: &Way) -> bool {
    if way.draining || class(way.kind) != class(current.kind) {
        return !way.draining && class(way.kind) < class(current.kind);
    }
    let (Some(rtt), Some(present)) = (way.rtt, current.rtt) else { return false };
    way.compared && current.compared && rtt * CLEARLY.1 < present * CLEARLY.0 && rtt + CLEARLY_BY < present
}

#[cfg(test)]
mod tests {
    use nearmesh_common::{NodeId, wire::relay::ChannelId};

    use super::*;

    fn way(kind: PathKind, port: u16, rtt_ms: u64) -> Way {
        let to = ([192, 0, 2, 1], port).into();
        let route = match kind {
            PathKind::Relayed(_) => Route::Relayed { relay: to, channel: ChannelId(port.into()) },
            _ => Route::direct(to),
        };
        let rtt = Some(Duration::from_millis(rtt_ms));
        Way { route, kind, rtt, compared: true, late: false, trusted: true, draining: false }
    }

    const RELAYED: PathKind = PathKind::Relayed(NodeId([1; 32]));

    #[test]
    fn the_lan_wins_over_the_internet_and_direct_over_relayed_whatever_the_round_trips() {
        let (lan, direct, relayed) =
            (way(PathKind::Lan, 1, 90), way(PathKind::Direct, 2, 50), way(RELAYED, 3, 1));
        assert_eq!(choose(&[relayed, direct], Some(relayed.route)), Some((direct.route, Some(Why::Better))));
        assert_eq!(choose(&[relayed, direct, lan], Some(direct.route)), Some((lan.route, Some(Why::Better))));
        assert_eq!(choose(&[relayed, direct, lan], None), Some((lan.route, Some(Why::First))));
        assert_eq!(choose(&[], Some(lan.route)), None);
    }

    #[test]
    fn within_a_kind_only_a_clear_gain_moves() {
        let current = way(RELAYED, 1, 40);
        let stays =
            |other: Way| choose(&[current, other], Some(current.route)) == Some((current.route, None));
        assert!(stays(way(RELAYED, 2, 31)), "a quarter is not reached");
        assert!(!stays(way(RELAYED, 2, 29)));
        assert!(stays(Way { compared: false, ..way(RELAYED, 2, 5) }), "measured too little");
        assert!(stays(Way { late: true, ..way(RELAYED, 2, 5) }));
        assert!(stays(Way { trusted: false, ..way(PathKind::Direct, 2, 5) }));
        let fast = way(PathKind::Lan, 1, 2);
        let faster = way(PathKind::Lan, 2, 1);
        assert_eq!(choose(&[fast, faster], Some(fast.route)), Some((fast.route, None)), "a millisecond");
    }

    #[test]
    fn a_draining_relay_is_left_at_once_if_there_is_another_way() {
        let draining = Way { draining: true, ..way(RELAYED, 1, 10) };
        let other = way(RELAYED, 2, 90);
        assert_eq!(choose(&[draining], Some(draining.route)), Some((draining.route, None)));
        assert_eq!(
            choose(&[draining, other], Some(draining.route)),
            Some((other.route, Some(Why::RelayDraining)))
        );
        assert_eq!(choose(&[draining, other], Some(other.route)), Some((other.route, None)));
    }

    #[test]
    fn who_falls_back_prefers_what_answers() {
        let late = Way { late: true, ..way(PathKind::Direct, 1, 5) };
        let relayed = way(RELAYED, 2, 50);
        assert_eq!(choose(&[late, relayed], None), Some((relayed.route, Some(Why::First))));
        assert_eq!(choose(&[late], None), Some((late.route, Some(Why::First))));
    }
}
