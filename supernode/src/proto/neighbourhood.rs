//! Telling the children that might serve how full we and the whole net are.
//!
//! Every few seconds it is looked at; it is told when it has changed clearly since it was told last and room is or was short. Who
//! is new here is told at once. Nobody else is: a child that strangers cannot reach could not help.

use std::time::{Duration, Instant};

use nearmesh_common::{
    NodeId,
    wire::home::{MIN_SUPERNODES, Neighbourhood, TARGET_PERCENT, TOO_FULL_PERCENT, ToChild},
};

use super::{
    door::STRETCH,
    membership::{FULL, Seen},
    world::World,
};

/// How often it is looked at (guess: as often as a supernode signs its load anew).
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The same while there is room enough: ten thousand idle supernodes in one simulation must stay idle.
const CALM_EVERY: Duration = Duration::from_secs(6);
/// A change that is worth telling, in percent of the capacity.
const CLEAR: u64 = 5;
/// How many times its capacity a supernode counts as full at most: none has more children than that.
const MOST_FULL: u64 = STRETCH as u64;

/// What was told, and when to look again.
#[derive(Debug)]
pub(super) struct Telling {
    told: Neighbourhood,
    /// What it was when it was looked at last.
    seen: Option<Neighbourhood>,
    /// Somebody who came since then heard that more are called for.
    called: bool,
    look_at: Instant,
}

impl Telling {
    pub(super) fn new(now: Instant) -> Self {
        Self { told: Neighbourhood::default(), seen: None, called: false, look_at: now }
    }

    /// We have so many children: from here on room may be short.
    pub(super) fn handle_load(&mut self, children: usize, capacity: u32, now: Instant) {
        if is_fuller(children as u64, capacity, TARGET_PERCENT) {
            self.look_at = self.look_at.min(now + LOOK_EVERY);
        }
    }

    /// What it was when it was looked at last, some seconds ago.
    pub(super) fn seen(&self) -> Option<Neighbourhood> {
        self.seen
    }

    /// One who is new here was told that.
    pub(super) fn handle_told(&mut self, around: &Neighbourhood) {
        self.called |= is_too_full(around);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.look_at <= now
    }

    /// It was looked at: tells `candidates` if it is worth it.
    pub(super) fn handle_look(&mut self, around: Neighbourhood, candidates: &[NodeId], world: &mut World) {
        self.seen = Some(around);
        let over = self.called && !is_too_full(&around);
        let short = is_short(&around) || is_short(&self.told) || over;
        self.look_at = world.now.instant + if short { LOOK_EVERY } else { CALM_EVERY };
        if short && (over || is_news(&self.told, &around)) {
            self.told = around;
            self.called = false;
            candidates.iter().for_each(|child| world.tell_child(*child, ToChild::Neighbourhood(around)));
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.look_at
    }
}

/// What supernodes say of themselves, put together: children and capacity, our `own` and those of all `others`. `candidates` of our own
/// children might serve. Who claims more than twice our own capacity counts as if it had that, equally full.
pub fn neighbourhood(
    own: (u32, u32),
    candidates: u32,
    others: impl Iterator<Item = (u32, u32)>,
) -> Neighbourhood {
    let (children, capacity) = own;
    let wide = |(children, capacity): (u32, u32)| (u64::from(children), u64::from(capacity));
    let mut all: Vec<_> = others.chain([own]).map(wide).collect();
    all.retain(|(_, capacity)| *capacity > 0);
    let most = 2 * if capacity > 0 { capacity.into() } else { median(&mut all) };
    // Of one who leaves only the children are counted: they go somewhere.
    let homeless = if capacity > 0 { 0 } else { u64::from(children) };
    let counted = all.iter().map(|(children, capacity)| {
        let places = (*capacity).min(most);
        ((*children).min(capacity * MOST_FULL) * places / capacity, places)
    });
    let (all_children, all_capacity) =
        counted.fold((homeless, 0), |(children, capacity), (more, room)| (children + more, capacity + room));
    Neighbourhood {
        children,
        capacity,
        all_children: bounded(all_children),
        all_capacity: bounded(all_capacity),
        supernodes: bounded(all.len() as u64),
        candidates,
    }
}

/// The same of the whole net, of which we know only some.
pub(super) fn of_all(known: Neighbourhood, net: Seen) -> Neighbourhood {
    let [known_capacity, supernodes, load] = [known.all_capacity, net.size, net.load].map(u64::from);
    let all_capacity = known_capacity.saturating_mul(supernodes) / u64::from(known.supernodes.max(1));
    let full = u64::from(FULL);
    let all_children = bounded((all_capacity.saturating_mul(load).saturating_add(full / 2)) / full);
    Neighbourhood { all_children, all_capacity: bounded(all_capacity), supernodes: net.size, ..known }
}

fn bounded(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn median(all: &mut [(u64, u64)]) -> u64 {
    let middle = all.len() / 2;
    if all.is_empty() { 0 } else { all.select_nth_unstable_by_key(middle, |(_, capacity)| *capacity).1.1 }
}

fn is_short(around: &Neighbourhood) -> bool {
    around.supernodes < MIN_SUPERNODES
        || is_fuller(around.children, around.capacity, TARGET_PERCENT)
        || is_fuller(around.all_children, around.all_capacity, TARGET_PERCENT)
}

/// Whether the children call for more supernodes.
fn is_too_full(around: &Neighbourhood) -> bool {
    is_fuller(around.all_children, around.all_capacity, TOO_FULL_PERCENT)
}

fn is_fuller(children: impl Into<u64>, capacity: u32, percent: u32) -> bool {
    children.into() * 100 > u64::from(capacity) * u64::from(percent)
}

fn is_news(told: &Neighbourhood, now: &Neighbourhood) -> bool {
    let clear = |before: u32, now: u32, of: u32| {
        u64::from(before.abs_diff(now)) * 100 >= u64::from(of.max(1)) * CLEAR
    };
    // Links come and go. But who does not hear of new supernodes makes more of them: half a step is news here.
    let few = told.supernodes.min(now.supernodes) <= MIN_SUPERNODES;
    few && told.supernodes != now.supernodes
        // That no more are called for is news however little it took: who does not hear it goes on drawing lots.
        || is_too_full(told) && !is_too_full(now)
        || clear(told.supernodes, now.supernodes, now.supernodes / 2)
        || told.capacity != now.capacity
        || clear(told.children, now.children, now.capacity)
        || clear(told.all_children, now.all_children, now.all_capacity)
        || clear(told.candidates, now.candidates, now.candidates * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(all_children: u32, supernodes: u32) -> Neighbourhood {
        Neighbourhood {
            children: 80,
            capacity: 100,
            all_children,
            all_capacity: supernodes * 100,
            supernodes,
            candidates: 20,
        }
    }

    #[test]
    fn that_no_more_are_called_for_is_news_at_once() {
        let told = around(2900, 40);
        assert!(!is_news(&told, &around(2830, 40)), "still too full, by a little less");
        assert!(is_news(&told, &around(2790, 40)));
        assert!(!is_news(&around(2790, 40), &told), "the other way it can wait");
        assert!(is_news(&around(2790, 40), &around(3000, 40)));
    }

    #[test]
    fn the_whole_net_is_as_full_as_its_groups_say_whoever_is_known() {
        let all = of_all(around(3200, 40), Seen { size: 320, load: 6200 });
        assert_eq!((all.supernodes, all.all_capacity, all.all_children), (320, 32_000, 19_840));
        assert_eq!((all.children, all.capacity, all.candidates), (80, 100, 20), "our own");
        let nobody = Neighbourhood::default();
        assert_eq!(of_all(nobody, Seen { size: 1, load: 0 }), Neighbourhood { supernodes: 1, ..nobody });
        let most = of_all(around(u32::MAX, u32::MAX / 100), Seen { size: u32::MAX, load: u32::MAX });
        assert_eq!(most.all_capacity, u32::MAX);
    }
}
