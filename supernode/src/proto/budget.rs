//! What a peer may ask of us in a second, and at once.
//!
//! Token buckets, filled by the clock that comes in. A new link begins with full ones; a handshake is dearer than what
//! that gains.

use std::time::Instant;

use nearmesh_common::rate::{Bucket, Limit};

/// What is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    /// A child's search or lookup.
    Question,
    /// A supernode's query.
    Query,
    /// A supernode's query that we are to pass on to our group.
    Sweep,
    /// A content that we are to hold.
    Offer,
    /// A supernode's question to the directory.
    Find,
    /// A presence that must be verified (50 us each).
    Presence,
    /// A question whether we are there.
    Ping,
    /// A supernode record that must be verified.
    Record,
    /// A revocation list that somebody must look at.
    Crl,
    /// A whole summary that is wanted from us.
    Summary,
    /// A request for the list of supernodes.
    List,
    /// A supernode's question for members of a group.
    Ask,
    /// What a child says to another node.
    Signal,
    /// What another supernode's children say to ours.
    Carry,
    /// What a child is told by other nodes.
    Delivery,
    /// A node's request for a packet to itself.
    DialBack,
    /// The same, passed on by the supernode that was asked.
    PassedDialBack,
}

impl Charge {
    /// Each second, and at once.
    const fn limit(self) -> Limit {
        let (each_second, burst) = match self {
            // Guess: a person types one in a second, a script starts with as many as a node may have open (64).
            Self::Question => (20, 100),
            // Guess: 300 children that ask every 2 s, and what piles up in a pause.
            Self::Query => (150, 600),
            // Guess: a full supernode's contents when they come, then what it tells again: 10,000 in an hour are three a second.
            Self::Offer => (100, 50_000),
            // Guess: 300 children that ask every 15 s, each through us.
            Self::Sweep => (20, 200),
            // Guess: as queries.
            Self::Find => (150, 600),
            // Guess: a full supernode's children at once, in a net with larger ones; then 4 % of a core.
            Self::Presence => (800, 4000),
            // Guess: one in each round of ten seconds, and one for each lookup that waits.
            Self::Ping => (5, 50),
            // Guess: the largest near-mesh twice over; then 1 % of a core.
            Self::Record => (200, 2048),
            // Guess: a list is new once in a while, and comes from several sides.
            Self::Crl => (1, 8),
            // Guess: a link that flaps, not one that drains us.
            Self::Summary => (1, 4),
            // Guess: a node asks when it starts and every two hours.
            Self::List => (1, 10),
            // Guess: a newcomer asks its first acquaintance for a contact in each of 256 groups; later hardly ever.
            Self::Ask => (5, 600),
            // Guess: sixteen sessions that begin at once, each with an offer, three repetitions and as many changes; then
            // one that begins in each second. At 1 kB each: 20 kB/s.
            Self::Signal => (20, 200),
            // Guess: 300 children of which each speaks to one of ours in two seconds.
            Self::Carry => (150, 1000),
            // Guess: several times what a child says itself, as many others may call it; its outbox holds ten times as much.
            Self::Delivery => (60, 400),
            // A round of tests asks six times, and comes again when the network changes.
            Self::DialBack => (1, 24),
            // Guess: a supernode's 500 children in ten minutes, and a few that start together.
            Self::PassedDialBack => (5, 60),
        };
        Limit::per_second(each_second, burst)
    }
}

/// All the buckets of one link; a full one takes no room.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    buckets: Vec<(Charge, Bucket)>,
}

impl Budget {
    /// Takes `count` tokens, if there are so many.
    pub(super) fn take(&mut self, charge: Charge, count: usize, now: Instant) -> bool {
        if let Some((_, bucket)) = self.buckets.iter_mut().find(|(kind, _)| *kind == charge) {
            return bucket.take_many(charge.limit(), count, now);
        }
        let mut bucket = Bucket::default();
        let taken = bucket.take_many(charge.limit(), count, now);
        if taken {
            self.buckets.retain(|(_, bucket)| bucket.full_at().is_some_and(|full| full > now));
            self.buckets.push((charge, bucket));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::testing::start;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let start = start();
        let mut budget = Budget::default();
        assert_eq!((0..200).filter(|_| budget.take(Charge::Question, 1, start)).count(), 100);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..200).filter(|_| budget.take(Charge::Question, 1, later)).count(), 20);
        assert!(budget.take(Charge::Query, 1, later), "another kind has its own");
    }
    #[test]
    fn who_asks_without_a_pause_gets_the_rate_and_not_less() {
        let start = start();
        let mut budget = Budget::default();
        let taken = (0..100_000u64)
            .filter(|n| budget.take(Charge::Question, 1, start + Duration::from_micros(n * 100)))
            .count();
        assert_eq!(taken, 100 + 199, "a burst, and 20 in each of ten seconds but for the last moment");
    }
}
