//! One peer that is reached by changing routes, as the socket sees it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use nearmesh_common::NodeId;
use quinn::Connection;
use tokio::sync::{mpsc, watch};

use super::super::{congestion::PathEpoch, counters::Count, kick::kick};
use crate::proto::path::{Route, Tag, virtual_addr::VirtualAddr};

/// Pieces of news that wait to be taken. Beyond that they are lost, like packets (guess: as many as a burst of guesses brings).
pub const MAX_NEWS: usize = 512;
/// How often it is said that packets come by a route.
pub const HEARD_INTERVAL: Duration = Duration::from_millis(100);
/// Silence after which nothing is under way any more: longer than QUIC's first timeouts in the middle of a transfer, shorter than
/// its keep-alive (guess).
pub const BUSY_FADE: Duration = Duration::from_secs(2);
/// Bytes of packets that mean nothing: keep-alives and acknowledgements are shorter (seen: up to 50).
const IDLE_CHATTER: usize = 64;
/// Connections to one peer that are told about changes of the route; there should be one, or two that crossed (guess).
const MAX_CONNECTIONS: usize = 8;

/// What the socket has seen of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathNews {
    /// A path probe with the session's tag came. Anybody may have sent it.
    Probe {
        /// By which way.
        route: Route,
        /// The probe, without what relays put before it.
        packet: Vec<u8>,
    },
    /// QUIC packets come by this accepted route: said at most every [`HEARD_INTERVAL`].
    Heard(Route),
    /// More than keep-alives is under way again, after a pause of [`BUSY_FADE`] or more.
    Busy,
}

/// The peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) tag: Tag,
    pub(crate) addr: VirtualAddr,
    pub(crate) epoch: Arc<PathEpoch>,
    /// Where relayed batches are put together.
    pub(crate) framed: Mutex<Vec<u8>>,
    route: watch::Sender<Option<Route>>,
    news: mpsc::Sender<PathNews>,
    lost_news: Count,
    activity: Activity,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Activity {
    base: Instant,
    busy: AtomicBool,
    last_ms: AtomicU64,
}

/// When something was last said about a route, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct LastHeard(AtomicU64);

impl Peer {
    pub(crate) fn new(node: NodeId, tag: Tag, addr: VirtualAddr) -> (Self, mpsc::Receiver<PathNews>) {
        let (news, receiver) = mpsc::channel(MAX_NEWS);
        let activity =
            Activity { base: Instant::now(), busy: AtomicBool::default(), last_ms: AtomicU64::default() };
        let peer = Self {
            node,
            tag,
            addr,
            epoch: Arc::new(PathEpoch::new()),
            framed: Mutex::default(),
            route: watch::Sender::default(),
            news,
            lost_news: Count::default(),
            activity,
            connections: Mutex::default(),
        };
        (peer, receiver)
    }

    pub(crate) fn route(&self) -> Option<Route> {
        *self.route.borrow()
    }

    pub(crate) fn watch_route(&self) -> watch::Receiver<Option<Route>> {
        self.route.subscribe()
    }

    /// Sends by `route` from now on. The order matters: a packet that takes the new route may be counted as an old one,
    /// but not the other way round.
    pub(crate) fn use_route(&self, route: Option<Route>) {
        let changed = self.route.send_if_modified(|used| std::mem::replace(used, route) != route);
        if changed && route.is_some() {
            self.epoch.change();
            self.kick();
        }
    }

    fn kick(&self) {
        self.connections().iter().for_each(kick);
    }

    /// Tells `connection` about changes of the route, until it is closed.
    pub(crate) fn adopt(&self, connection: Connection) {
        let mut connections = self.connections();
        connections.retain(|connection| connection.close_reason().is_none());
        if connections.len() < MAX_CONNECTIONS {
            connections.push(connection);
        }
    }

    /// Forgets the connections, which may outlive the peer's paths but not by this.
    pub(crate) fn release(&self) {
        self.connections().clear();
    }

    pub(crate) fn say(&self, news: PathNews) {
        if self.news.try_send(news).is_err() {
            self.lost_news.up();
        }
    }

    pub(crate) fn lost_news(&self) -> u64 {
        self.lost_news.get()
    }

    /// A packet of `bytes` was sent to the peer.
    pub(crate) fn on_sent(&self, bytes: usize) {
        if bytes > IDLE_CHATTER {
            self.activity_at(self.now_ms());
        }
    }

    /// Packets of `bytes` together came by `route`.
    pub(crate) fn on_received(&self, route: Route, last: &LastHeard, bytes: usize) {
        let now = self.now_ms();
        if last.is_due(now) {
            self.say(PathNews::Heard(route));
        }
        if bytes > IDLE_CHATTER {
            self.activity_at(now);
        }
    }

    /// Whether more than keep-alives is under way.
    pub(crate) fn is_busy(&self) -> bool {
        let fade = u64::try_from(BUSY_FADE.as_millis()).expect("it is short");
        let quiet = self.now_ms().saturating_sub(self.activity.last_ms.load(Relaxed)) >= fade;
        if quiet {
            self.activity.busy.store(false, Relaxed);
        }
        self.activity.busy.load(Relaxed)
    }

    fn activity_at(&self, now_ms: u64) {
        self.activity.last_ms.store(now_ms, Relaxed);
        if !self.activity.busy.load(Relaxed) && !self.activity.busy.swap(true, Relaxed) {
            self.say(PathNews::Busy);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.activity.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastHeard {
    fn is_due(&self, now_ms: u64) -> bool {
        let interval = u64::try_from(HEARD_INTERVAL.as_millis()).expect("it is short");
        // One more, so that 0 is never.
        let (last, now) = (self.0.load(Relaxed), now_ms + 1);
        let due = last == 0 || now >= last + interval;
        if due {
            self.0.store(now, Relaxed);
        }
        due
    }
}
