//! Addresses at which the peer may be: those it named, and those its pings came from (peer-reflexive, RFC 8445, section 7.3.1.3).
//!
//! Invariant: never more than [`MAX_CANDIDATES`] of the one and [`MAX_REFLEXIVE`] of the other, whatever the peer sends.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::wire::signal::{Candidate, CandidateKind, MAX_CANDIDATES, Offer};

use super::{
    addresses::{self, Surroundings},
    route::Route,
};

/// Most peer-reflexive candidates at a time (guess: a peer has one for each of its networks and NATs, and a few that are old).
const MAX_REFLEXIVE: usize = 8;
/// A peer-reflexive candidate gives way to a newer one after so long without a ping (guess: a round of punching).
const GIVES_WAY: Duration = Duration::from_secs(2);
/// And is forgotten after so long (guess).
const FORGOTTEN: Duration = Duration::from_secs(60);
/// A ping by an unproven route makes us ping there too, not more often than this (RFC 8445 paces checks by 50 ms).
const TRIGGER_PAUSE: Duration = Duration::from_millis(50);
/// And so many times, until it is proven or a new round begins (guess: enough at 50 % loss).
const MAX_TRIGGERED: u32 = 8;

/// Where the peer may be.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    offered: Vec<Candidate>,
    targets: BTreeMap<Route, Target>,
}

#[derive(Debug, Default)]
struct Target {
    offered: bool,
    heard: Option<Instant>,
    triggered: u32,
    last_triggered: Option<Instant>,
}

impl Candidates {
    /// The peer's newest offer replaces what it named before. True if its addresses changed.
    pub(super) fn on_offer(&mut self, offer: &Offer, surroundings: &Surroundings) -> bool {
        let mut offered: Vec<Candidate> = Vec::new();
        for candidate in offer.candidates.iter().take(MAX_CANDIDATES) {
            let address = addresses::canonical(candidate.address);
            if surroundings.may_probe(address) && offered.iter().all(|known| known.address != address) {
                offered.push(Candidate { address, ..*candidate });
            }
        }
        let changed = offered != self.offered;
        self.offered = offered;
        self.targets.values_mut().for_each(|target| target.offered = false);
        for candidate in &self.offered {
            self.targets.entry(Route::direct(candidate.address)).or_default().offered = true;
        }
        self.targets.retain(|_, target| target.offered || target.heard.is_some());
        changed
    }

    /// The peer's ping came by a route that is not proven. True if it is to be pinged too, at once.
    pub(super) fn on_ping(&mut self, route: Route, surroundings: &Surroundings, now: Instant) -> bool {
        if !surroundings.may_probe(route.next_hop()) || !self.make_room(route, now) {
            return false;
        }
        let target = self.targets.entry(route).or_default();
        target.heard = Some(now);
        let paused = target.last_triggered.is_none_or(|last| last + TRIGGER_PAUSE <= now);
        if !paused || target.triggered >= MAX_TRIGGERED {
            return false;
        }
        target.triggered += 1;
        target.last_triggered = Some(now);
        true
    }

    /// A new round of punching begins.
    pub(super) fn handle_round(&mut self, now: Instant) {
        self.targets.retain(|_, target| {
            target.triggered = 0;
            target.offered || target.heard.is_some_and(|heard| now < heard + FORGOTTEN)
        });
    }

    /// All of them, as routes.
    pub(super) fn routes(&self) -> impl Iterator<Item = Route> {
        self.targets.keys().copied()
    }

    /// The address that a NAT in front of the peer gave it, as seen by others: the newest one. Or its own, if that is public.
    pub(super) fn outside(&self) -> Option<SocketAddr> {
        let of = |kind| {
            let mut of_kind = self.offered.iter().filter(move |candidate| candidate.kind == kind);
            of_kind.find(|candidate| addresses::is_public(candidate.address))
        };
        let kinds = [CandidateKind::ServerReflexive, CandidateKind::Mapped, CandidateKind::Host];
        kinds.into_iter().find_map(of).map(|candidate| candidate.address)
    }

    /// Whether there is, or can be, a place for `route`.
    fn make_room(&mut self, route: Route, now: Instant) -> bool {
        if self.targets.contains_key(&route) {
            return true;
        }
        let reflexive = self.targets.iter().filter(|(_, target)| !target.offered);
        if reflexive.clone().count() < MAX_REFLEXIVE {
            return true;
        }
        let oldest =
            reflexive.min_by_key(|(_, target)| target.heard).map(|(route, target)| (*route, target.heard));
        match oldest {
            Some((oldest, heard)) if heard.is_none_or(|heard| heard + GIVES_WAY <= now) => {
                self.targets.remove(&oldest);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::start;

    fn direct(port: u16) -> Route {
        Route::direct(SocketAddr::from(([192, 0, 2, 1], port)))
    }

    #[test]
    fn pings_from_everywhere_take_a_bounded_number_of_places() {
        let now = start().instant;
        let (mut candidates, surroundings) = (Candidates::default(), Surroundings::default());
        let taken = (1..=300).filter(|port| candidates.on_ping(direct(*port), &surroundings, now)).count();
        assert_eq!((taken, candidates.routes().count()), (MAX_REFLEXIVE, MAX_REFLEXIVE));
        assert!(candidates.on_ping(direct(301), &surroundings, now + GIVES_WAY), "an old one gives way");
        assert_eq!(candidates.routes().count(), MAX_REFLEXIVE);
        candidates.handle_round(now + FORGOTTEN);
        assert_eq!(candidates.routes().collect::<Vec<_>>(), [direct(301)]);
    }

    #[test]
    fn one_source_makes_us_ping_a_bounded_number_of_times_in_a_round() {
        let mut now = start().instant;
        let (mut candidates, surroundings) = (Candidates::default(), Surroundings::default());
        let mut pinged = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            pinged += u32::from(candidates.on_ping(direct(1), &surroundings, now));
        }
        assert_eq!(pinged, MAX_TRIGGERED);
    }

    #[test]
    fn an_offer_replaces_the_one_before_and_names_each_address_once() {
        let (mut candidates, surroundings) = (Candidates::default(), Surroundings::default());
        let offer = |ports: &[u16]| Offer {
            candidates: ports
                .iter()
                .map(|port| Candidate {
                    kind: CandidateKind::ServerReflexive,
                    address: direct(*port).next_hop(),
                })
                .collect(),
            ..Offer::default()
        };
        assert!(candidates.on_offer(&offer(&[7, 7, 0, 8]), &surroundings));
        assert!(!candidates.on_offer(&offer(&[7, 8]), &surroundings), "the same");
        assert_eq!(candidates.outside(), Some(direct(7).next_hop()));
        assert!(candidates.on_offer(&offer(&[9]), &surroundings));
        assert_eq!(candidates.routes().collect::<Vec<_>>(), [direct(9)]);
        candidates.on_offer(&offer(&(1..=100).collect::<Vec<_>>()), &surroundings);
        assert_eq!(candidates.routes().count(), MAX_CANDIDATES);
    }
}
