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

use super::{
    super::world::World,
    estimate::{Claim, Seen},
};

/// The wait before the first dial after a failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How often it doubles: up to 34 minutes, and half of that more.
const DOUBLINGS: u8 = 12;
/// After so long whoever is lost may be forgotten (guess: longer than most outages).
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Who is lost is probed after this part of the time that it has been lost: after ten minutes every 15 s, and ever more seldom (guess).
const PROBED_AFTER: u32 = 40;
/// But at least this often, and by one who is alone: so that the halves of a net that was apart for long are one within minutes (guess).
const PROBED_WITHIN: Duration = Duration::from_secs(600);
const PROBED_ALONE_WITHIN: Duration = Duration::from_secs(120);

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

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
struct Lost {
    since: Instant,
    last: Instant,
    tries: u8,
}

/// A supernode: its record, if we saw one, and how we stand.
#[derive(Debug)]
pub(super) struct Known {
    record: Option<Box<Verified<SupernodeRecord>>>,
    /// Where it is, if there is no record to say it.
    addresses: Vec<SocketAddr>,
    pub(super) stage: Stage,
    /// When it last said hello on a new link, if it ever did.
    pub(super) met_at: Option<Instant>,
    /// Whether we said hello on the present link.
    pub(super) greeted: bool,
    lost: Option<Lost>,
    /// It stepped down and its record is over, or it asked for a place as a node does.
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
            lost: None,
            left: false,
            mine: true,
            theirs: true,
        }
    }

    pub(super) fn record(&self) -> Option<&Verified<SupernodeRecord>> {
        self.record.as_deref()
    }

    /// What it says of its group.
    pub(super) fn claim(&self) -> Option<Claim> {
        let record = &self.record.as_ref()?.content;
        let (size, load) = (record.group_size.into(), record.group_load.into());
        Some(Claim { bits: record.group_bits, group: Seen { size, load } })
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
        let now = world.now.instant;
        let Lost { since, tries, .. } = self.lost.unwrap_or(Lost { since: now, last: now, tries: 0 });
        self.lost = Some(Lost { since, last: now, tries: tries.saturating_add(1) });
        let wait = FIRST_WAIT * (1 << tries.min(DOUBLINGS));
        now + wait + wait.mul_f64(world.rng.random_range(0.0..0.5))
    }

    /// It answered, or somebody saw it alive.
    pub(super) fn find(&mut self) {
        self.lost = None;
    }

    /// How often in a row it failed.
    pub(super) fn tries(&self) -> u8 {
        self.lost.map_or(0, |lost| lost.tries)
    }

    /// It is no supernode any more: it is not asked again before it says that it is one.
    pub(super) fn give_up(&mut self) {
        self.left = true;
    }

    /// Whether it failed since it was last found, and may be there again.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some() && self.is_resting() && self.may_serve()
    }

    /// Whether it is lost and was not tried for some time, seen by one who has no link at all or some.
    pub(super) fn is_to_be_probed(&self, alone: bool, now: Now) -> bool {
        let Some(lost) = self.lost else { return alone && self.is_at_hand(now) };
        let since = |at| now.instant.saturating_duration_since(at);
        let within = if alone { PROBED_ALONE_WITHIN } else { PROBED_WITHIN };
        self.is_lost() && since(lost.last) >= (since(lost.since) / PROBED_AFTER).min(within)
    }

    /// Whether it has been lost for long.
    pub(super) fn is_lost_for_long(&self, now: Now) -> bool {
        let lost = self.lost.filter(|_| self.is_lost());
        lost.is_some_and(|lost| now.instant.saturating_duration_since(lost.since) >= LONG)
    }

    /// Whether it left, and is to be forgotten.
    pub(super) fn has_left(&self) -> bool {
        self.left && self.is_resting()
    }
}
