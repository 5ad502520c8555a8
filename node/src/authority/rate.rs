//! How many may ask at the door of an open net: names are given for good, so nobody may take them by the thousand.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Over which time requests are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Most requests in a window (guess: a party that joins together waits a few minutes).
const MAX_REQUESTS: usize = 10;
/// Most requests of one source in a window (guess: the machines of one household).
const MAX_REQUESTS_OF_SOURCE: usize = 3;

/// The requests that were let through within the last window. Bounded by [`MAX_REQUESTS`].
#[derive(Debug, Default)]
pub struct RequestRate {
    recent: VecDeque<(Instant, IpAddr)>,
}

impl RequestRate {
    /// Counts a request of `source`, unless there were too many: of it, or of all.
    pub fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        while self.recent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        let source = site(source);
        let of_source = self.recent.iter().filter(|(_, other)| *other == source).count();
        let allowed = self.recent.len() < MAX_REQUESTS && of_source < MAX_REQUESTS_OF_SOURCE;
        if allowed {
            self.recent.push_back((now, source));
        }
        allowed
    }
}

/// One subscriber: an IPv4 address, or the first 64 bits of an IPv6 address (RFC 6177).
fn site(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[allow(clippy::disallowed_methods, reason = "some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn one_source_asks_three_times_a_minute_and_then_waits() {
        let (mut rate, start) = (RequestRate::default(), start());
        let asks: Vec<_> = (0..5).map(|_| rate.allow(source(1), start)).collect();
        assert_eq!(asks, [true, true, true, false, false]);
        assert!(rate.allow(source(2), start), "another is not affected");
        assert!(!rate.allow(source(1), start + WINDOW - Duration::from_millis(1)));
        assert!(rate.allow(source(1), start + WINDOW));
    }

    #[test]
    fn all_together_ask_ten_times_a_minute() {
        let (mut rate, start) = (RequestRate::default(), start());
        let allowed = (0..100).filter(|n| rate.allow(source(*n), start)).count();
        assert_eq!(allowed, MAX_REQUESTS);
        assert!(rate.allow(source(200), start + WINDOW));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_source() {
        let (mut rate, start) = (RequestRate::default(), start());
        let address = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, n, n, n, n]);
        let allowed = (0..100).filter(|n| rate.allow(address(*n), start)).count();
        assert_eq!(allowed, MAX_REQUESTS_OF_SOURCE);
        assert!(rate.allow("::ffff:192.0.2.1".parse().unwrap(), start));
        assert!(rate.allow(IpAddr::from([0x2001, 0xdb8, 0, 2, 1, 1, 1, 1]), start));
    }
}
