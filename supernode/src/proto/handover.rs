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
//! each may take another for the first. One full mesh, where everybody sees everybody, does without.
//!
//! # News that meets a copy on its way
//! A node may leave, or move, while its entry is handed on, and its home may not know the new holder yet. So whoever handed an entry on passes
//! on for some seconds what it hears of it ([`Handover::newcomers`]). And who has just started, and knows few, hands nothing on before it has met the
//! others: it would bring an entry back to those who have just forgotten it, whom no home tells of anything.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nearmesh_common::{NodeId, Now};

use super::placement::{Group, Groups, Place};

/// How long after a change a pass begins: changes that come together make one pass (guess: well below what a user notices).
const GATHER: Duration = Duration::from_millis(100);
/// How long after its start a supernode lets its first pass wait: before it has met its mates it would take any of them for holders, and give back what
/// they have just forgotten (guess: several times the round trips that it takes to be told of all and to dial them).
const MEETING: Duration = Duration::from_secs(5);
/// How long after a pass news of an entry still goes to whoever got it in that pass: its home may not know of them yet (guess: well above the time
/// that two supernodes need to see the same members).
const NEWS_FOR: Duration = Duration::from_secs(10);
/// Passes that are remembered for that at most (guess: a crowd of newcomers, one a second; a division is some kilobytes).
const MOST_FORMER: usize = 8;
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
    /// What was settled before, and until when: the last few.
    former: VecDeque<(Instant, Division)>,
    /// When the first one may begin.
    first_at: Option<Instant>,
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
            self.first_at = Some(now.instant + MEETING);
            return;
        }
        let soon = self.first_at.max(Some(now.instant + GATHER)).unwrap_or(now.instant);
        let at = self.next.as_ref().map_or(soon, |(at, _)| *at);
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
            None => {
                let ended = self.passing.take().map(|pass| pass.division);
                let former = std::mem::replace(&mut self.settled, ended);
                // Before its first pass it knew nobody: nothing is late for those it met since.
                let knew_others = self.first_at.take().is_none();
                self.former.retain(|(ended, _)| *ended + NEWS_FOR > now.instant);
                self.former.extend(former.filter(|_| knew_others).map(|former| (now.instant, former)));
                if self.former.len() > MOST_FORMER {
                    self.former.pop_front();
                }
            }
        }
    }

    /// Who got, or gets, this place's entries from us in a pass that ended lately or is under way.
    pub(super) fn newcomers(&self, place: Place, own: NodeId, now: Now) -> BTreeSet<NodeId> {
        let lately = self.former.iter().filter(|(ended, _)| *ended + NEWS_FOR > now.instant);
        let lately = lately.map(|(_, division)| division).zip(std::iter::repeat(self.settled.as_ref()));
        let present =
            self.settled.as_ref().map(|settled| (settled, self.passing.as_ref().map(|p| &p.division)));
        let passes = lately.chain(present).filter_map(|(before, after)| Some((before, after?)));
        passes.flat_map(|(before, after)| handed_to(place, own, before, after)).collect()
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
        let to = match !stays && division.groups != Groups::ONE && !is_first(own, &before, division) {
            true => after,
            false => handed_to(place, own, settled, division),
        };
        let its_group = place.group(division.groups);
        let inside = before.iter().any(|holder| division.groups.of(&holder.0) == its_group);
        let across = its_group != division.group && (!stays || !inside && before.first() == Some(&own));
        Moves { to, across, stays }
    }
}

/// To whom an entry goes because we are the first of its former holders.
fn handed_to(place: Place, own: NodeId, before: &Division, after: &Division) -> Vec<NodeId> {
    let former = before.holders(place);
    if !is_first(own, &former, after) {
        return Vec::new();
    }
    after.holders(place).into_iter().filter(|holder| !former.contains(holder)).collect()
}

/// Whether this is the first of the former holders that is left.
fn is_first(own: NodeId, former: &[NodeId], division: &Division) -> bool {
    former.iter().find(|holder| division.members.contains(holder)) == Some(&own)
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
