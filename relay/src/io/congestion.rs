//! Congestion control of connections whose path changes beneath them.
//!
//! What was learnt on one path says nothing about another. Whoever changes the route to a peer says so to a
//! [`PathEpoch`], and each connection to that peer then starts afresh, as if it had just been opened. Packets that were sent on
//! the old path are still counted as in flight by QUIC, until they are acknowledged or given up, which on a dead path may take
//! seconds; so they are added to the window, and their number shrinks as they are accounted for. Their
//! loss is no sign of congestion on the new path.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

/// Bytes of probes that QUIC sends beyond its window (RFC 9002, section 6.2.4): two of [`INITIAL_MTU`](super::transport::INITIAL_MTU)
/// for each of ten timeouts, more than fit into the idle timeout.
const PROBES: u64 = 2 * 10 * super::transport::INITIAL_MTU as u64;
/// Packets older than so many eighths of a round trip are given up when one sent later is acknowledged (RFC 9002, section 6.1.2).
const LOST_AFTER_EIGHTHS: u32 = 9;
/// Below this, time says nothing (RFC 9002, section 6.1.2).
const GRANULARITY: Duration = Duration::from_millis(1);

/// When the route to a peer changed last, for all its connections.
#[derive(Debug)]
pub(crate) struct PathEpoch {
    base: Instant,
    /// Nanoseconds after `base`; 0 is never.
    changed: AtomicU64,
}

impl PathEpoch {
    pub(crate) fn new() -> Self {
        Self { base: Instant::now(), changed: AtomicU64::new(0) }
    }

    /// The route is another one from now on.
    pub(crate) fn change(&self) {
        let now = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Two changes are never at the same time: the second would go unnoticed.
        let _ = self.changed.fetch_update(Relaxed, Relaxed, |last| Some(now.max(last + 1)));
    }

    fn last(&self) -> u64 {
        self.changed.load(Relaxed)
    }
}

/// Makes the controllers of connections to one peer.
#[derive(Debug)]
pub(crate) struct FreshOnChange {
    epoch: Arc<PathEpoch>,
    cubic: Arc<CubicConfig>,
}

impl FreshOnChange {
    pub(crate) fn new(epoch: Arc<PathEpoch>) -> Self {
        Self { epoch, cubic: Arc::default() }
    }
}

impl ControllerFactory for FreshOnChange {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(self.cubic.clone(), now, current_mtu);
        let path =
            Path { seen: self.epoch.last(), changed_at: None, flight: 0, old: 0, peak: cubic.window() };
        Box::new(PathCubic { factory: self, mtu: current_mtu, cubic, path })
    }
}

/// CUBIC, started afresh on each path.
#[derive(Clone)]
struct PathCubic {
    factory: Arc<FreshOnChange>,
    mtu: u16,
    cubic: Cubic,
    path: Path,
}

/// What is known about the present path and what is left of the one before.
#[derive(Clone, Debug)]
struct Path {
    /// Which change of the route this is.
    seen: u64,
    /// Packets sent before went by another route.
    changed_at: Option<Instant>,
    /// Bytes in flight on all paths: QUIC's own figure at the last acknowledgement, and what was sent since. Packets that
    /// only acknowledge are counted too, though QUIC does not.
    flight: u64,
    /// How many of them went by an older route.
    old: u64,
    /// The largest window so far.
    peak: u64,
}

impl Path {
    /// The route changed: all that is in flight is old.
    fn leave(&mut self, change: u64, at: Instant, initial_window: u64) {
        let old = self.in_flight();
        *self = Self {
            seen: change,
            changed_at: Some(at),
            flight: old,
            old,
            peak: old.saturating_add(initial_window),
        };
    }

    /// At least what QUIC counts, and not much more.
    fn in_flight(&self) -> u64 {
        self.flight.min(self.peak.saturating_add(PROBES))
    }

    fn is_old(&self, sent: Instant) -> bool {
        self.changed_at.is_some_and(|changed_at| sent < changed_at)
    }

    /// One packet was acknowledged.
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, rtt: Duration) {
        self.flight = self.flight.saturating_sub(bytes);
        if self.is_old(sent) {
            self.old = self.old.saturating_sub(bytes);
        } else if let Some(changed_at) = self.changed_at {
            // QUIC is about to give up everything that was sent before the change.
            let given_up = (rtt * LOST_AFTER_EIGHTHS / 8).max(GRANULARITY);
            if now.saturating_duration_since(changed_at) >= given_up {
                self.old = 0;
            }
        }
    }

    /// QUIC's own figure, after acknowledgements.
    fn on_figure(&mut self, in_flight: u64) {
        self.flight = in_flight;
        self.old = self.old.min(in_flight);
    }

    /// Packets were lost, the last of which was `sent` then. The answer is whether that concerns the present path.
    fn on_lost(&mut self, sent: Instant, bytes: u64) -> bool {
        self.flight = self.flight.saturating_sub(bytes);
        if self.is_old(sent) {
            self.old = self.old.saturating_sub(bytes);
            return false;
        }
        // QUIC gives up packets in order. No bytes: it was a congestion mark (ECN).
        if bytes > 0 {
            self.old = 0;
        }
        true
    }
}

impl PathCubic {
    /// Starts afresh if the route has changed.
    fn catch_up(&mut self) {
        let change = self.factory.epoch.last();
        if change != self.path.seen {
            let at = self.factory.epoch.base + Duration::from_nanos(change);
            self.cubic = Cubic::new(self.factory.cubic.clone(), at, self.mtu);
            self.path.leave(change, at, self.cubic.window());
        }
    }
}

impl Controller for PathCubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.catch_up();
        self.path.flight += bytes;
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.catch_up();
        self.path.on_ack(now, sent, bytes, rtt.conservative());
        if !self.path.is_old(sent) {
            self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.catch_up();
        self.path.on_figure(in_flight);
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_acked);
        self.path.peak = self.path.peak.max(self.window());
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.catch_up();
        // Silence that began on another path says nothing about this one.
        let persistent = persistent && self.path.old == 0;
        if self.path.on_lost(sent, lost_bytes) {
            self.cubic.on_congestion_event(now, sent, persistent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.factory.epoch.last() == self.path.seen {
            self.path.old.saturating_add(self.cubic.window())
        } else {
            // As it will be when the next packet has been sent.
            self.path.in_flight().saturating_add(self.cubic.initial_window())
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
#[path = "congestion_tests.rs"]
mod tests;
