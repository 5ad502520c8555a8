//! Which entries move when the members of our group change: a comparison of two divisions of the net.
//!
//! Each holder goes through its entries, a few at a time, with the members as they were when it last went through and as
//! they are now. The first of the old holders that is still there sends an entry to those who hold it now and did not before. A change in
//! the middle of a pass waits for the next one, so that every pass ends.
//!
//! When a group splits, the three old holders of a key may all find themselves in the half where it does not belong: the first of them sends it
//! across.
//!
//! While two divisions of the net count, nothing is forgotten: who still sees the former one asks the former holders. And in a net of
//! several groups nobody forgets an entry without having offered it to those who hold it now: while many come at once not all see the same members, and
//! each may take another for the first. The price is that a copy which missed that its node left may show it as online once more, until the presence
//! expires; so one full mesh, where everybody sees everybody, does without.

use std::time::{Duration, Instant};

use nearmesh_common::{NodeId, Now};

use super::placement::{Group, Groups, Place};

/// How long after a change a pass begins: changes that come together make one pass (guess: well below what a user notices).
const GATHER: Duration = Duration::from_millis(100);
/// How long between two steps of a pass. With [`Handover::BATCH`] this is 1000 entries a second, of which any one newcomer gets a part that its
/// budget for presences (800 a second) covers.
const STEP_EVERY: Duration = Duration::from_millis(100);

/// Our group as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Division {
    pub(super) groups: Groups,
    pub(super) group: Group,
    /// All members, this supernode included.
    pub(super) members: Vec<NodeId>,
    /// Another division still counts as well.
    pub(super) changing: bool,
}

/// What becomes of an entry here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moves {
    /// To whom it is sent.
    pub(super) to: Vec<NodeId>,
    /// It is sent to another group, where nobody held it.
    pub(super) across: bool,
    /// Whether we go on holding it.
    pub(super) stays: bool,
}

/// The passes.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// As of the last pass that ended.
    settled: Option<Division>,
    /// Of the pass under way.
    passing: Option<Pass>,
    /// Of the next one.
    next: Option<(Instant, Division)>,
}

#[derive(Debug)]
struct Pass {
    division: Division,
    after: Option<NodeId>,
    at: Instant,
}

impl Handover {
    /// Entries in one step: 100 entries of two weighings among 80 members take about 20 us.
    pub(super) const BATCH: usize = 100;

    /// Our group changed.
    pub(super) fn begin(&mut self, division: Division, now: Now) {
        if self.settled.is_none() {
            self.settled = Some(division);
            return;
        }
        let at = self.next.as_ref().map_or(now.instant + GATHER, |(at, _)| *at);
        self.next = Some((at, division));
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.passing.as_ref().map(|pass| pass.at).or(self.next.as_ref().map(|(at, _)| *at))
    }

    /// Whether a step is due, and after which entry it begins.
    pub(super) fn step(&mut self, now: Now) -> Option<Option<NodeId>> {
        if self.passing.is_none()
            && let Some((at, division)) = self.next.take_if(|(at, _)| *at <= now.instant)
        {
            self.passing = Some(Pass { division, after: None, at });
        }
        self.passing.as_ref().filter(|pass| pass.at <= now.instant).map(|pass| pass.after)
    }

    /// A step ended with this entry, or found none.
    pub(super) fn stepped(&mut self, last: Option<NodeId>, now: Now) {
        let Some(pass) = &mut self.passing else { return };
        match last {
            Some(last) => (pass.after, pass.at) = (Some(last), now.instant + STEP_EVERY),
            None => self.settled = self.passing.take().map(|pass| pass.division),
        }
    }

    /// What becomes of the entry of this place in the pass under way.
    pub(super) fn moves(&self, place: Place, own: NodeId) -> Moves {
        let (Some(settled), Some(pass)) = (&self.settled, &self.passing) else {
            return Moves { to: Vec::new(), across: false, stays: true };
        };
        let division = &pass.division;
        let before = settled.holders(place);
        let after = division.holders(place);
        let stays = division.changing || after.contains(&own);
        let first = before.iter().find(|holder| division.members.contains(holder));
        let to = match (first == Some(&own), stays) {
            (true, _) => after.into_iter().filter(|holder| !before.contains(holder)).collect(),
            (false, false) if division.groups != Groups::ONE => after,
            (false, _) => Vec::new(),
        };
        let its_group = place.group(division.groups);
        let inside = before.iter().any(|holder| division.groups.of(&holder.0) == its_group);
        let across = its_group != division.group && (!stays || !inside && before.first() == Some(&own));
        Moves { to, across, stays }
    }
}

impl Division {
    /// The holders of a place, if it is in our group.
    pub(super) fn holders(&self, place: Place) -> Vec<NodeId> {
        match place.group(self.groups) == self.group {
            true => place.holders(self.members.iter().copied()),
            false => Vec::new(),
        }
    }
}
