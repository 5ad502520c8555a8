//! Contacts: links to two members of each other group.
//!
//! A group that lacks one is tended: one that we know of is dialled; if there is none, somebody is asked: a contact that remains, who tells us some of its
//! mates by chance, or else a mate, who tells us of a contact of its own. Of several links into a group we need the two nearest, and stay
//! with those we have unless another is clearly nearer. What we do not need we say, and what neither end needs is closed. One that
//! needs us counts as nearer than it is: links that serve both ends are fewer.
//!
//! A group whose contacts are all silent is tended as if there were none, and they are links all the same until they end.
//!
//! Now and then somebody else of a group is tried, ever more seldom.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nearmesh_common::{NodeId, wire::mesh::Mesh};
use rand::{
    RngExt,
    seq::{IndexedRandom, IteratorRandom, SliceRandom},
};

use super::{
    super::{links::Links, placement::Group, world::World},
    Event, Known, Membership, Stage,
    dials::{DIAL_WAIT, MAX_SPARES},
};

/// Links that are wanted into each other group (design, section 6).
pub(super) const CONTACTS: usize = 2;
/// Before a group without a contact is tended, and one that has one of two, at most, in milliseconds (guess: nobody is dialled by all at once).
const WAIT_FOR_FIRST: u64 = 200;
const WAIT_FOR_SECOND: u64 = 2000;
/// Between two attempts to find a contact; doubles up to 32 times (guess).
const RETRY: Duration = Duration::from_secs(1);
const RETRY_DOUBLINGS: u8 = 5;
/// Whoever has no contact in a group and dials some looks for others after so long (guess: a handshake around the world).
const IMPATIENCE: Duration = Duration::from_millis(1500);
/// Records that are wanted of a contact's group: one to be dialled, and some for later.
const ASKED_OF_CONTACT: u8 = 3;
/// And of somebody else: those who all asked him would crowd around what he knows.
const ASKED_OF_OTHERS: u8 = 1;
/// How long a new link is measured before it is compared with others (guess: the transport's samples of some messages).
const MEASURE: Duration = Duration::from_secs(10);
/// How long a link lives at least (guess: longer than it takes the other end to say that it needs it).
pub(super) const GRACE: Duration = Duration::from_secs(30);
/// How long until we think again about a group, where somebody said what it needs (guess: others say so at the same time).
const RECONSIDER: Duration = Duration::from_secs(10);
/// Groups whose surplus links are looked at after a change are spread over so many seconds (guess).
const SETTLING: u64 = 30;
/// How long until somebody nearer is looked for; doubles up to 16 times (guess: 128 groups in an hour cost 30 B/s of handshakes). The first time
/// up to three times as long: after the net was divided anew all groups would be due at once.
const IMPROVE: Duration = Duration::from_secs(300);
const IMPROVE_DOUBLINGS: u8 = 4;
/// A round trip that needs no improvement (guess: nobody notices).
const NEAR: Duration = Duration::from_millis(10);

/// When each other group is looked at.
#[derive(Debug, Default)]
pub(super) struct Tending {
    groups: BTreeMap<Group, Tended>,
    due: BTreeSet<(Instant, Group)>,
}

#[derive(Clone, Copy, Debug)]
struct Tended {
    at: Instant,
    /// Attempts in a row to find a contact.
    tries: u8,
    improve_at: Option<Instant>,
    improved: u8,
}

impl Tending {
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn set(&mut self, group: Group, at: Instant) {
        let new = Tended { at, tries: 0, improve_at: None, improved: 0 };
        let tended = self.groups.entry(group).or_insert(new);
        self.due.remove(&(tended.at, group));
        tended.at = at;
        self.due.insert((at, group));
    }

    /// At `at`, unless it is looked at sooner.
    fn set_sooner(&mut self, group: Group, at: Instant) {
        let before = self.groups.get(&group).map(|tended| tended.at);
        self.set(group, before.map_or(at, |before| before.min(at)));
    }

    fn next_due(&self, now: Instant) -> Option<Group> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, group)| *group)
    }

    fn found(&mut self, group: Group) {
        if let Some(tended) = self.groups.get_mut(&group) {
            tended.tries = 0;
        }
    }

    fn has_tried(&self, group: Group) -> bool {
        self.groups.get(&group).is_some_and(|tended| tended.tries > 0)
    }

    /// One more attempt to find a contact: how many there were before.
    fn tried(&mut self, group: Group) -> u8 {
        let Some(tended) = self.groups.get_mut(&group) else { return 0 };
        let before = tended.tries;
        tended.tries = before.saturating_add(1);
        before
    }

    /// When to look for somebody nearer, and whether it is time; the first time counts from now.
    fn improve(&mut self, group: Group, now: Instant, chance: f64) -> (Instant, bool) {
        let Some(tended) = self.groups.get_mut(&group) else { return (now + IMPROVE, false) };
        let is_due = tended.improve_at.is_some_and(|at| at <= now);
        if is_due {
            tended.improved = tended.improved.saturating_add(1).min(IMPROVE_DOUBLINGS);
        }
        if is_due || tended.improve_at.is_none() {
            let spread = if is_due { 0.5 } else { 2.0 };
            let wait = (IMPROVE * (1 << tended.improved)).mul_f64(1.0 + spread * chance);
            tended.improve_at = Some(now + wait);
        }
        (tended.improve_at.unwrap_or(now + IMPROVE), is_due)
    }
}

impl Membership {
    /// The other end of a link says whether it needs it.
    pub(in super::super) fn on_uses(&mut self, from: NodeId, uses: bool, world: &mut World) {
        let Some(known) = self.table.get_mut(&from) else { return };
        known.theirs = uses;
        let Stage::Member { since } = known.stage else { return };
        let surplus = !uses && !known.mine;
        let rest = if surplus { GRACE.saturating_sub(world.now.instant - since) } else { Duration::ZERO };
        let wait = rest.max(self.until_settled(world)) + RECONSIDER.mul_f64(world.rng.random_range(0.5..1.5));
        let group = self.groups().of(&from.0);
        if !self.is_of_ours(&from) && self.table.members_in(self.groups().ids(group)).nth(CONTACTS).is_some()
        {
            self.tending.set_sooner(group, world.now.instant + wait);
        }
    }

    /// A link to a member opened.
    pub(super) fn after_up(&mut self, node: NodeId, world: &mut World) {
        if self.is_of_ours(&node) {
            return;
        }
        let group = self.groups().of(&node.0);
        let linked = self.table.members_in(self.groups().ids(group)).count();
        if linked < CONTACTS {
            return self.tend_soon(group, world);
        }
        self.tending.found(group);
        let wait = MEASURE.mul_f64(world.rng.random_range(1.0..2.0)).max(self.until_settled(world));
        self.tending.set_sooner(group, world.now.instant + wait);
    }

    /// A link or a dial failed.
    pub(super) fn after_failure(&mut self, node: &NodeId, world: &mut World) {
        if self.is_of_ours(node) {
            return;
        }
        self.trim_spares(node);
        self.tend_soon(self.groups().of(&node.0), world);
    }

    /// Forgets those of another group that are too many without a link: who failed most, then this one.
    pub(super) fn trim_spares(&mut self, last: &NodeId) {
        if self.is_of_ours(last) {
            return;
        }
        let ids = self.groups().ids(self.groups().of(&last.0));
        let resting = self.table.all_in(ids).filter(|(_, known)| known.is_resting());
        let mut resting: Vec<_> = resting.map(|(node, known)| (known.tries(), node == last, *node)).collect();
        resting.sort_unstable();
        for (.., node) in resting.into_iter().skip(MAX_SPARES) {
            self.table.remove(&node);
        }
    }

    /// One is silent: where all contacts of a group are, another is looked for at once.
    pub(in super::super) fn handle_silent(&mut self, node: &NodeId, world: &mut World) {
        let group = self.groups().of(&node.0);
        if !self.is_of_ours(node) && self.speaking(group, &world.links).next().is_none() {
            self.tend_soon(group, world);
        }
    }

    fn speaking<'a>(&'a self, group: Group, links: &'a Links) -> impl Iterator<Item = NodeId> + 'a {
        self.table.members_in(self.groups().ids(group)).filter(|node| !links.is_silent(node))
    }

    /// We learnt of somebody: perhaps its group lacks a contact.
    pub(super) fn look_at(&mut self, node: &NodeId, world: &mut World) {
        let group = self.groups().of(&node.0);
        let linked = self.table.members_in(self.groups().ids(group)).count();
        let lacking = linked < CONTACTS || self.speaking(group, &world.links).next().is_none();
        if !self.is_of_ours(node) && lacking {
            self.tending.set_sooner(group, world.now.instant);
        }
    }

    /// Looks at a group soon: the sooner the more it lacks.
    pub(super) fn tend_soon(&mut self, group: Group, world: &mut World) {
        let within = match self.table.members_in(self.groups().ids(group)).count() {
            _ if self.speaking(group, &world.links).next().is_none() => WAIT_FOR_FIRST,
            0 | 1 => WAIT_FOR_SECOND,
            _ => SETTLING * 1000,
        };
        let settled = if within == SETTLING * 1000 { self.until_settled(world) } else { Duration::ZERO };
        let wait = settled + Duration::from_millis(world.rng.random_range(0..within));
        self.tending.set_sooner(group, world.now.instant + wait);
    }

    pub(super) fn tend_due(&mut self, world: &mut World) {
        while let Some(group) = self.tending.next_due(world.now.instant).filter(|_| self.is_serving()) {
            let linked: Vec<NodeId> = self.table.members_in(self.groups().ids(group)).collect();
            let speaking: Vec<NodeId> = self.speaking(group, &world.links).collect();
            let next = match (linked.len(), speaking.len()) {
                (0 | 1, _) | (_, 0) => self.find_contacts(group, &speaking, world),
                _ => self.choose(group, linked, world),
            };
            // Never at once again.
            self.tending.set(group, next.max(world.now.instant + Duration::from_millis(10)));
        }
    }

    /// Dials who is at hand, or asks for somebody. Returns when to look again.
    fn find_contacts(&mut self, group: Group, linked: &[NodeId], world: &mut World) -> Instant {
        let now = world.now.instant;
        let ids = self.groups().ids(group);
        let dialling = self.table.all_in(ids.clone()).filter(|(_, known)| known.is_dialling()).count();
        // Whoever has none does not wait for those who may be dead.
        let most = if linked.is_empty() { 2 * CONTACTS } else { CONTACTS };
        let lacking = most.saturating_sub(linked.len() + dialling).min(CONTACTS);
        let at_hand = self.table.all_in(ids).filter(|(_, known)| known.is_at_hand(world.now));
        let mut at_hand: Vec<(u8, NodeId)> = at_hand.map(|(node, known)| (known.tries(), *node)).collect();
        at_hand.shuffle(&mut world.rng);
        at_hand.sort_by_key(|(tries, _)| *tries);
        if !linked.is_empty() && !self.tending.has_tried(group) {
            // Who failed, or let us go, comes after those whom a contact may name.
            at_hand.retain(|(tries, _)| *tries == 0);
        }
        at_hand.truncate(lacking);
        let fresh = at_hand.first().is_some_and(|(tries, _)| *tries == 0);
        let dialled = at_hand.into_iter().filter(|(_, node)| self.dial(node, world)).count();
        if fresh && dialled > 0 || dialling + linked.len() >= CONTACTS && !linked.is_empty() {
            return now + if linked.is_empty() { IMPATIENCE } else { DIAL_WAIT };
        }
        // Nobody but those who failed before: there may be others.
        let tries = self.tending.tried(group);
        if let Some(whom) = self.whom_to_ask(group, linked, tries, world) {
            let most = if linked.contains(&whom) { ASKED_OF_CONTACT } else { ASKED_OF_OTHERS };
            self.ask(whom, group, most, world);
        }
        let wait = RETRY * (1 << tries.min(RETRY_DOUBLINGS));
        now + wait.mul_f64(world.rng.random_range(1.0..1.5))
    }

    fn whom_to_ask(&self, group: Group, linked: &[NodeId], tries: u8, world: &mut World) -> Option<NodeId> {
        let links = &world.links;
        let contact = linked.choose(&mut world.rng).copied().filter(|_| tries.is_multiple_of(3));
        let mate = || self.mates().filter(|mate| !links.is_silent(mate)).choose(&mut world.rng);
        let whom = if tries % 3 == 2 { None } else { contact.or_else(mate) };
        let before = self.former_groups().filter(|_| linked.is_empty()).and_then(|former| {
            // Before the change it was one group with another, whose members know it.
            let first = *self.groups().ids(group).start();
            self.table.members_in(former.ids(former.of(&first.0))).choose(&mut world.rng)
        });
        before
            .or(whom)
            .or_else(|| self.members().filter(|member| !links.is_silent(member)).choose(&mut world.rng))
    }

    /// Decides which links into a group we need, and lets go of those that nobody needs. Returns when to look again.
    fn choose(&mut self, group: Group, mut linked: Vec<NodeId>, world: &mut World) -> Instant {
        let now = world.now.instant;
        self.tending.found(group);
        if self.is_changing() {
            let spread = Duration::from_millis(world.rng.random_range(0..SETTLING * 1000));
            return now + self.until_settled(world) + spread;
        }
        linked.sort_by_key(|node| self.table.get(node).map(|known| cost(node, known, &world.links)));
        let (improve_at, improve) = self.tending.improve(group, now, world.rng.random_range(0.0..1.0));
        let mut next = improve_at;
        for (rank, node) in linked.iter().enumerate() {
            let Some(known) = self.table.get_mut(node) else { continue };
            let needed = rank < CONTACTS;
            if std::mem::replace(&mut known.mine, needed) != needed {
                world.tell_mesh(*node, Mesh::Uses(needed));
                // The other end has time to think again, before the link is closed.
                known.stage = Stage::Member { since: now };
            }
            if let (Stage::Member { since }, false, false) = (known.stage, needed, known.theirs) {
                let over = since + GRACE;
                if over <= now {
                    self.events.push_back(Event::Unneeded(*node));
                } else {
                    next = next.min(over);
                }
            }
        }
        let farthest = linked.get(CONTACTS - 1).copied();
        if improve && let Some(farthest) = farthest.filter(|node| world.links.rtt(node) > NEAR) {
            self.look_for_nearer(group, farthest, world);
        }
        next
    }

    fn look_for_nearer(&mut self, group: Group, contact: NodeId, world: &mut World) {
        let ids = self.groups().ids(group);
        let fresh = |known: &Known| known.tries() == 0 && known.is_at_hand(world.now);
        let spares = self.table.all_in(ids).filter(|(_, known)| fresh(known)).map(|(node, _)| *node);
        match spares.choose(&mut world.rng).filter(|_| self.may_dial(false)) {
            Some(spare) => drop(self.dial(&spare, world)),
            None => self.ask(contact, group, ASKED_OF_CONTACT, world),
        }
    }
}

/// How far a contact is, as it is compared with others. Another must be nearer than two thirds to take its place (iroh's rule for relays).
fn cost(node: &NodeId, known: &Known, links: &Links) -> Duration {
    let mine = if known.mine { (2, 3) } else { (1, 1) };
    let theirs = if known.theirs { 3 } else { 1 };
    links.rtt(node) * mine.0 / (mine.1 * theirs)
}
