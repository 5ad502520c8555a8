//! How often strangers are answered: token buckets ([`nearmesh_common::rate`]) in a table of fixed size.
//!
//! A source is an IPv4 address or an IPv6 /64, never a port, because whoever forges sources aims at a host. Sources are
//! spread over a fixed number of slots by a keyed hash; those that meet in a slot share its bucket. So the
//! table neither grows nor forgets, whatever is sent, and who does not know the key cannot aim at a neighbour's slot.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use nearmesh_common::rate::{Bucket, Limit};

/// What stands against an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// This source has had its share.
    Source,
    /// All sources together have.
    Total,
}

/// Limits for each source and for all of them.
#[derive(Debug)]
pub struct SourceLimits {
    key: u64,
    each: Limit,
    total: Limit,
    slots: Box<[Bucket]>,
    all: Bucket,
}

impl SourceLimits {
    /// A table of `slots` buckets (at least one). `key` should be a secret, and must not come from the network.
    pub fn new(key: u64, slots: usize, each: Limit, total: Limit) -> Self {
        let slots = vec![Bucket::default(); slots.max(1)].into_boxed_slice();
        Self { key, each, total, slots, all: Bucket::default() }
    }

    /// Takes a token for `source`, if there is one. A source beyond its own share takes nothing from the total.
    pub fn take(&mut self, source: SocketAddr, now: Instant) -> Result<(), Exceeded> {
        let slot = self.slot(source);
        if !self.slots[slot].take(self.each, now) {
            return Err(Exceeded::Source);
        }
        if self.all.take(self.total, now) { Ok(()) } else { Err(Exceeded::Total) }
    }

    fn slot(&self, source: SocketAddr) -> usize {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        match source.ip().to_canonical() {
            IpAddr::V4(address) => address.octets().hash(&mut hasher),
            IpAddr::V6(address) => address.octets()[..8].hash(&mut hasher),
        }
        (hasher.finish() % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::start, *};

    const EACH: Limit = Limit::per_second(10, 5);
    const TOTAL: Limit = Limit::per_second(100, 8);

    fn taken(limits: &mut SourceLimits, source: &str, tries: usize, now: Instant) -> usize {
        let source = source.parse().expect("an address");
        (0..tries).filter(|_| limits.take(source, now).is_ok()).count()
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let start = start().instant;
        let mut limits = SourceLimits::new(1, 64, EACH, TOTAL);
        assert_eq!(taken(&mut limits, "192.0.2.1:1", 20, start), 5);
        assert_eq!(
            taken(&mut limits, "192.0.2.1:2", 20, start + Duration::from_millis(200)),
            2,
            "whatever its port"
        );
        assert_eq!(
            taken(&mut limits, "192.0.2.1:1", 20, start + Duration::from_secs(60)),
            5,
            "never more than a burst"
        );
    }

    #[test]
    fn all_sources_together_get_the_total() {
        let start = start().instant;
        let mut limits = SourceLimits::new(1, 4096, EACH, TOTAL);
        let sum: usize = (1..40).map(|i| taken(&mut limits, &format!("192.0.2.{i}:1"), 20, start)).sum();
        assert_eq!(sum, 8);
    }

    #[test]
    fn a_source_beyond_its_share_costs_the_others_nothing() {
        let start = start().instant;
        let mut limits = SourceLimits::new(1, 4096, EACH, TOTAL);
        assert_eq!(taken(&mut limits, "192.0.2.1:1", 1000, start), 5);
        assert_eq!(taken(&mut limits, "198.51.100.7:1", 1000, start), 3);
    }

    #[test]
    fn one_ipv6_host_has_one_share_however_many_addresses_it_takes() {
        let start = start().instant;
        let mut limits = SourceLimits::new(1, 4096, EACH, TOTAL);
        let sum: usize =
            (1..40).map(|i| taken(&mut limits, &format!("[2001:db8::{i:x}]:1"), 20, start)).sum();
        assert_eq!(sum, 5);
    }
}
