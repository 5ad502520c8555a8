//! Routes that work, or did a moment ago: their round trips, and whether they still answer.
//!
//! Every route here was proven by an answer of the peer, or leads through a relay that both have a channel at. The one in use is
//! pinged often while bytes are under way, the others now and then, so that whoever falls back knows what is alive. A
//! route is *late* when an answer is overdue, and *silent* when several are; a silent one revives with its next answer.
//!
//! An answer proves both directions. What merely arrives only proves the other one, so it delays the verdict and does not
//! prevent it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    PathKind,
    choice::Way,
    relays::SilentSince,
    route::{Route, SocketIndex},
    rtt::Rtt,
};

/// How often the route in use is pinged while bytes are under way: four answers are missing before it counts as silent.
pub(super) const BUSY_PING: Duration = Duration::from_millis(250);
/// How often the others are, then: at most so old is what a fallback relies on (guess).
const SPARE_PING: Duration = Duration::from_secs(2);
/// How often a late one, or one that has few measurements.
const QUICK_PING: Duration = Duration::from_millis(250);
/// How often a silent one, in case it comes back (guess).
const SILENT_PING: Duration = Duration::from_secs(1);
/// Measurements after which a round trip is known well enough to compare.
pub(super) const ENOUGH_SAMPLES: u32 = 3;
/// A route is silent when the oldest unanswered ping is so old: with [`BUSY_PING`], at most 1.15 s after its death.
const SILENT_AFTER: Duration = Duration::from_millis(900);
/// But on slow routes, not before an answer is so much later than usual (guess: a queue that fills).
const SLACK: Duration = Duration::from_millis(400);
/// Never longer than this.
const SILENT_AT_LAST: Duration = Duration::from_secs(3);
/// So many unanswered pings at least: a machine that slept has old pings, but not many.
const LEAST_UNANSWERED: usize = 3;
/// Most that are remembered.
const MAX_UNANSWERED: usize = 16;
/// How long a silent direct route is still pinged; it stays a candidate for punching after that.
const REVIVAL: Duration = Duration::from_secs(30);
/// A direct route that died in use is not trusted at once: so long, doubled with each death, must it answer.
const FIRST_HOLD: Duration = Duration::from_secs(1);
/// At most so long (guess).
const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// After so long without a death, all are forgotten (guess).
const DEATHS_FORGOTTEN: Duration = Duration::from_secs(60);
/// Direct routes that are kept alive beside the one in use (guess: another address family, and one more).
const SPARE_DIRECT: usize = 2;
/// Others are dropped after this.
const UNNEEDED_AFTER: Duration = Duration::from_secs(10);
/// Most direct routes at a time.
const MAX_DIRECT: usize = 8;

/// What the pace of pings depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The route in use.
    pub(super) in_use: Option<Route>,
    /// Whether bytes are under way.
    pub(super) busy: bool,
    /// How often something must be sent when nothing is.
    pub(super) keep_alive: Duration,
}

/// All routes that work.
#[derive(Debug, Default)]
pub(super) struct Paths {
    paths: BTreeMap<Route, Path>,
}

#[derive(Debug)]
struct Path {
    kind: PathKind,
    rtt: Rtt,
    since: Instant,
    /// Sending times of pings that were not answered, nor one after them.
    unanswered: VecDeque<Instant>,
    last_ping: Option<Instant>,
    /// The peer's last ping: our pong was something sent.
    last_pong: Option<Instant>,
    heard: Option<Instant>,
    silent: Option<Instant>,
    draining: bool,
    /// The network changed, and no answer came since.
    doubted: bool,
    deaths: u32,
    last_death: Option<Instant>,
    trusted_from: Instant,
}

impl Paths {
    /// A direct route was proven, for the first time or again. True if it was not known to work.
    pub(super) fn on_proven(&mut self, route: Route, kind: PathKind, now: Instant) -> bool {
        if self.paths.get(&route).is_some_and(|path| path.silent.is_none()) {
            return false;
        }
        if !self.paths.contains_key(&route) {
            self.make_room();
            self.paths.insert(route, Path::new(kind, now));
        }
        true
    }

    /// A relay is open.
    pub(super) fn on_open(&mut self, route: Route, kind: PathKind, now: Instant) {
        self.paths.insert(route, Path::new(kind, now));
    }

    /// A route is gone for good.
    pub(super) fn remove(&mut self, route: Route) {
        self.paths.remove(&route);
    }

    /// A ping that was sent at `sent` was answered.
    pub(super) fn on_answer(&mut self, route: Route, sent: Instant, now: Instant) {
        if let Some(path) = self.paths.get_mut(&route) {
            path.on_answer(sent, now);
        }
    }

    /// The peer pinged by this route, and gets its answer. False if the route is not known to work.
    pub(super) fn on_ping(&mut self, route: Route, now: Instant) -> bool {
        let Some(path) = self.paths.get_mut(&route) else { return false };
        (path.heard, path.last_pong) = (Some(now), Some(now));
        if path.silent.is_some() && path.last_ping.is_some_and(|last| last + QUICK_PING <= now) {
            // It comes back: no need to wait for the next ping.
            path.last_ping = None;
        }
        path.silent.is_none()
    }

    /// Something of the peer's came by this route.
    pub(super) fn on_heard(&mut self, route: Route, now: Instant) {
        if let Some(path) = self.paths.get_mut(&route) {
            path.heard = Some(now);
        }
    }

    /// The relay of this route will stop.
    pub(super) fn on_draining(&mut self, route: Route) {
        if let Some(path) = self.paths.get_mut(&route) {
            path.draining = true;
        }
    }

    /// Nothing that was proven is certain now: all are asked again at once.
    pub(super) fn handle_network_changed(&mut self) {
        for path in self.paths.values_mut() {
            path.doubted = true;
            path.last_ping = None;
        }
    }

    /// A ping goes out.
    pub(super) fn handle_pinged(&mut self, route: Route, now: Instant) {
        if let Some(path) = self.paths.get_mut(&route) {
            path.last_ping = Some(now);
            path.unanswered.push_back(now);
            if path.unanswered.len() > MAX_UNANSWERED {
                path.unanswered.pop_front();
            }
        }
    }

    /// Time passed: the routes that fell silent just now.
    pub(super) fn fall_silent(&mut self, pace: Pace, now: Instant) -> Vec<Route> {
        let mut fallen = Vec::new();
        for (route, path) in &mut self.paths {
            if path.silent.is_none() && path.silent_at().is_some_and(|at| at <= now) {
                path.silent = Some(now);
                if pace.in_use == Some(*route) {
                    path.count_death(now);
                }
                fallen.push(*route);
            }
        }
        fallen
    }

    /// Direct routes that nobody needs any more, removed.
    pub(super) fn drop_unneeded(&mut self, pace: Pace, now: Instant) {
        let spares = self.spares(pace);
        self.paths.retain(|route, path| {
            let needed = !route.is_direct() || pace.in_use == Some(*route);
            needed
                || match path.silent {
                    Some(since) => now < since + REVIVAL,
                    None => spares.contains(route) || now < path.last_sign() + UNNEEDED_AFTER,
                }
        });
    }

    /// Routes whose ping is due.
    pub(super) fn due(&self, pace: Pace, now: Instant) -> Vec<Route> {
        let urgent = self.is_urgent(pace, now);
        let due = self.paths.iter().filter(|(route, path)| path.next_ping(**route, pace, urgent, now) <= now);
        due.map(|(route, _)| *route).collect()
    }

    /// When something changes by itself.
    pub(super) fn poll_timeout(&self, pace: Pace, now: Instant) -> Option<Instant> {
        let urgent = self.is_urgent(pace, now);
        let spares = self.spares(pace);
        let of_path = |(route, path): (&Route, &Path)| {
            let silent_at = if path.silent.is_none() { path.silent_at() } else { None };
            let trusted = (path.trusted_from > now).then_some(path.trusted_from);
            let overdue = path.late_at().filter(|at| *at > now);
            let direct = route.is_direct() && pace.in_use != Some(*route);
            let dropped = direct.then(|| match path.silent {
                Some(since) => since + REVIVAL,
                None => path.last_sign() + UNNEEDED_AFTER,
            });
            let dropped = dropped.filter(|_| path.silent.is_some() || !spares.contains(route));
            let ping = path.next_ping(*route, pace, urgent, now);
            [Some(ping), silent_at, trusted, overdue, dropped].into_iter().flatten().min()
        };
        self.paths.iter().filter_map(of_path).min()
    }

    /// The routes that may be used now.
    pub(super) fn ways(&self, now: Instant) -> Vec<Way> {
        let alive = self.paths.iter().filter(|(_, path)| path.silent.is_none());
        alive.map(|(route, path)| path.way(*route, now)).collect()
    }

    /// Whether this one works, as far as is known.
    pub(super) fn is_alive(&self, route: Route) -> bool {
        self.paths.get(&route).is_some_and(|path| path.silent.is_none())
    }

    /// Whether it was ever answered by this route.
    pub(super) fn is_answered(&self, route: Route) -> bool {
        self.paths.get(&route).is_some_and(|path| path.silent.is_none() && path.rtt.samples() > 0)
    }

    /// The smoothed round trip.
    pub(super) fn rtt(&self, route: Route) -> Option<Duration> {
        self.paths.get(&route)?.rtt.smoothed()
    }

    /// Whether an answer is overdue.
    pub(super) fn is_late(&self, route: Route, now: Instant) -> bool {
        self.paths.get(&route).is_some_and(|path| path.is_late(now))
    }

    /// What kind it is.
    pub(super) fn kind(&self, route: Route) -> Option<PathKind> {
        self.paths.get(&route).map(|path| path.kind)
    }

    /// All direct ones from sockets other than this and the main one.
    pub(super) fn on_other_sockets(&self, kept: Option<SocketIndex>) -> Vec<Route> {
        let other = |route: &&Route| match route {
            Route::Direct { socket, .. } => *socket != SocketIndex::MAIN && Some(*socket) != kept,
            Route::Relayed { .. } => false,
        };
        self.paths.keys().filter(other).copied().collect()
    }

    /// Whether a route from this socket is known.
    pub(super) fn has_on(&self, wanted: SocketIndex) -> bool {
        let from = |route: &Route| matches!(route, Route::Direct { socket, .. } if *socket == wanted);
        self.paths.keys().any(from)
    }

    /// Asks by this route at once.
    pub(super) fn ask_again(&mut self, route: Route) {
        if let Some(path) = self.paths.get_mut(&route) {
            path.last_ping = None;
        }
    }

    /// Whether the route in use is late: what else is there must be known soon.
    fn is_urgent(&self, pace: Pace, now: Instant) -> bool {
        match pace.in_use.and_then(|route| self.paths.get(&route)) {
            Some(path) => path.is_late(now),
            None => true,
        }
    }

    /// The direct routes that are kept alive beside the one in use.
    fn spares(&self, pace: Pace) -> Vec<Route> {
        let direct = self.paths.iter().filter(|(route, path)| {
            route.is_direct() && pace.in_use != Some(**route) && path.silent.is_none()
        });
        let mut ranked: Vec<_> = direct
            .map(|(route, path)| (path.kind, path.rtt.least().unwrap_or(Duration::MAX), *route))
            .collect();
        ranked.sort();
        ranked.into_iter().take(SPARE_DIRECT).map(|(_, _, route)| route).collect()
    }

    fn make_room(&mut self) {
        let direct = self.paths.iter().filter(|(route, _)| route.is_direct());
        if direct.clone().count() < MAX_DIRECT {
            return;
        }
        let worst =
            direct.min_by_key(|(_, path)| (path.silent.is_none(), path.last_sign())).map(|(route, _)| *route);
        if let Some(route) = worst {
            self.paths.remove(&route);
        }
    }
}

impl SilentSince for Paths {
    fn silent_since(&self, route: Route) -> Option<Instant> {
        self.paths.get(&route)?.silent
    }
}

impl Path {
    fn new(kind: PathKind, now: Instant) -> Self {
        Self {
            kind,
            rtt: Rtt::default(),
            since: now,
            unanswered: VecDeque::new(),
            last_ping: None,
            last_pong: None,
            heard: None,
            silent: None,
            draining: false,
            doubted: false,
            deaths: 0,
            last_death: None,
            trusted_from: now,
        }
    }

    fn on_answer(&mut self, sent: Instant, now: Instant) {
        self.unanswered.retain(|other| *other > sent);
        self.rtt.add(now.saturating_duration_since(sent), now);
        self.heard = Some(now);
        self.doubted = false;
        if self.silent.take().is_some() && self.deaths > 0 {
            let doubled = FIRST_HOLD * (1 << (self.deaths - 1).min(5));
            self.trusted_from = now + doubled.min(LONGEST_HOLD);
        }
    }

    fn count_death(&mut self, now: Instant) {
        if self.last_death.is_some_and(|last| last + DEATHS_FORGOTTEN <= now) {
            self.deaths = 0;
        }
        self.deaths += 1;
        self.last_death = Some(now);
    }

    fn way(&self, route: Route, now: Instant) -> Way {
        Way {
            route,
            kind: self.kind,
            rtt: self.rtt.least(),
            compared: self.rtt.samples() >= ENOUGH_SAMPLES,
            late: self.is_late(now),
            trusted: self.trusted_from <= now,
            draining: self.draining,
        }
    }

    fn last_sign(&self) -> Instant {
        self.heard.map_or(self.since, |heard| heard.max(self.since))
    }

    fn overdue(&self) -> Duration {
        self.rtt.late().map_or(QUICK_PING, |late| late.clamp(QUICK_PING, SILENT_AFTER))
    }

    fn late_at(&self) -> Option<Instant> {
        self.unanswered.front().map(|oldest| *oldest + self.overdue())
    }

    fn is_late(&self, now: Instant) -> bool {
        self.doubted || self.late_at().is_some_and(|at| at <= now)
    }

    /// When it counts as silent, if nothing comes until then.
    fn silent_at(&self) -> Option<Instant> {
        let oldest = *self.unanswered.front()?;
        if self.unanswered.len() < LEAST_UNANSWERED {
            return None;
        }
        let slow = self.rtt.late().map_or(SILENT_AFTER, |late| late + SLACK);
        let patience = slow.clamp(SILENT_AFTER, SILENT_AT_LAST);
        let heard = self.heard.map_or(oldest, |heard| heard.max(oldest));
        Some((heard + patience).min(oldest + patience * 3 / 2))
    }

    fn next_ping(&self, route: Route, pace: Pace, urgent: bool, now: Instant) -> Instant {
        let Some(last) = self.last_ping else { return now };
        if self.silent.is_some() {
            return last + SILENT_PING;
        }
        if self.is_late(now) || urgent || self.rtt.samples() < ENOUGH_SAMPLES {
            return last + QUICK_PING;
        }
        let by_pace = match (pace.busy, pace.in_use == Some(route)) {
            (true, true) => last + BUSY_PING,
            (true, false) => last + SPARE_PING.min(pace.keep_alive),
            // The pong to the peer's ping has kept the mapping alive as well.
            (false, _) => self.last_pong.map_or(last, |pong| pong.max(last)) + pace.keep_alive,
        };
        // An overdue answer is asked for again.
        self.late_at().map_or(by_pace, |late| by_pace.min(late.max(last + QUICK_PING)))
    }
}
