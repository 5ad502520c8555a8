//! One supernode that we know of.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UnixMillis, presence::MAX_ADDRESSES, signed::Verified, supernode_record::LIFETIME,
    supernode_record::SupernodeRecord, wire::NodeAddress,
};
use rand::RngExt;

use super::super::world::World;

/// The wait before the first dial after a failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How often it doubles: up to half an hour.
const DOUBLINGS: u8 = 12;
/// After so long whoever is lost may be forgotten (guess: longer than most outages).
const LONG: Duration = Duration::from_secs(24 * 3600);

/// How we stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No link, and none before `at`; whether it is dialled then.
    Resting { at: Instant, dial: Dial },
    /// A link is being opened, or is open and waits for the hello. Whether it failed before.
    Dialling { until: Instant, again: bool },
    /// It said hello, on a link that lives.
    Member { since: Instant },
}

/// Whether somebody is dialled by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// Only when somebody of its group is needed.
    OnNeed,
    /// It did not fail so far.
    First,
    /// It failed before.
    Again,
}

/// A supernode: its record, if we saw one, and how we stand.
#[derive(Debug)]
pub(super) struct Known {
    record: Option<Box<Verified<SupernodeRecord>>>,
    /// Where it is, if there is no record to say it.
    addresses: Vec<SocketAddr>,
    pub(super) stage: Stage,
    /// When it said hello on the present link, if it did.
    pub(super) met_at: Option<Instant>,
    /// Whether we said hello on the present link.
    pub(super) greeted: bool,
    /// Failures in a row.
    pub(super) tries: u8,
    /// When the first of them was.
    lost_at: Option<Instant>,
    /// It stepped down, and its record is over.
    left: bool,
    /// Whether we need the link.
    pub(super) mine: bool,
    /// Whether the other end needs the link.
    pub(super) theirs: bool,
}

impl Known {
    pub(super) fn new(mut addresses: Vec<SocketAddr>, stage: Stage) -> Self {
        addresses.truncate(MAX_ADDRESSES);
        Self {
            record: None,
            addresses,
            stage,
            met_at: None,
            greeted: false,
            tries: 0,
            lost_at: None,
            left: false,
            mine: true,
            theirs: true,
        }
    }

    pub(super) fn record(&self) -> Option<&Verified<SupernodeRecord>> {
        self.record.as_deref()
    }

    /// What it says of its group: into how many bits it sees the net divided, and how many it sees there.
    pub(super) fn claim(&self) -> Option<(u8, u16)> {
        self.record.as_ref().map(|record| (record.content.group_bits, record.content.group_size))
    }

    pub(super) fn set_record(&mut self, record: Verified<SupernodeRecord>) {
        self.addresses = Vec::new();
        self.left = false;
        self.record = Some(Box::new(record));
    }

    /// Its record is no longer believed; where it was is remembered.
    pub(super) fn take_record(&mut self) -> Option<Verified<SupernodeRecord>> {
        let record = *self.record.take()?;
        self.addresses.clone_from(&record.content.addresses);
        Some(record)
    }

    pub(super) fn address(&self, node: NodeId) -> NodeAddress {
        let addresses = self.record.as_ref().map_or(&self.addresses, |record| &record.content.addresses);
        NodeAddress { node, addresses: addresses.clone() }
    }

    pub(super) fn sequence(&self) -> Option<UnixMillis> {
        self.record.as_ref().map(|record| record.content.sequence)
    }

    /// When its record is no longer believed.
    pub(super) fn expires(&self) -> Option<UnixMillis> {
        self.sequence().map(|sequence| sequence.after(LIFETIME))
    }

    /// Whether it says that it serves.
    pub(super) fn serves(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.content.serving)
    }

    /// Whether it is worth dialling: it did not say that it stepped down.
    pub(super) fn may_serve(&self) -> bool {
        !self.left && self.record.as_ref().is_none_or(|record| record.content.serving)
    }

    pub(super) fn is_member(&self) -> bool {
        matches!(self.stage, Stage::Member { .. })
    }

    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.stage, Stage::Dialling { .. })
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(self.stage, Stage::Resting { .. })
    }

    /// Whether it may be dialled now, if it is needed.
    pub(super) fn is_at_hand(&self, now: Now) -> bool {
        self.may_serve() && matches!(self.stage, Stage::Resting { at, .. } if at <= now.instant)
    }

    /// A link or a dial failed: when to try again.
    pub(super) fn fail(&mut self, world: &mut World) -> Instant {
        let wait = FIRST_WAIT * (1 << self.tries.min(DOUBLINGS));
        let jitter = wait.mul_f64(world.rng.random_range(0.0..0.5));
        self.tries = self.tries.saturating_add(1);
        self.lost_at.get_or_insert(world.now.instant);
        world.now.instant + wait + jitter
    }

    /// It answered, or somebody saw it alive.
    pub(super) fn find(&mut self) {
        (self.tries, self.lost_at) = (0, None);
    }

    /// It stepped down, and its record is over: it is not asked again.
    pub(super) fn give_up(&mut self) {
        self.left = true;
    }

    /// Whether it failed since it was last found, and may be there again.
    pub(super) fn is_lost(&self) -> bool {
        self.lost_at.is_some() && self.is_resting() && self.may_serve()
    }

    /// Since when it is lost, if that is long ago.
    pub(super) fn lost_long_since(&self, now: Now) -> Option<Instant> {
        let lost_at = self.lost_at.filter(|_| self.is_lost())?;
        (now.instant.saturating_duration_since(lost_at) >= LONG).then_some(lost_at)
    }

    /// Whether it left, and is to be forgotten.
    pub(super) fn has_left(&self) -> bool {
        self.left && self.is_resting()
    }
}
