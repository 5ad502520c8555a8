//! Who is a supernode, and links to those that we need.
//!
//! A supernode is known by its signed record. Once it said `Hello` on a live link it is a *member*, until that link ends. We are linked to every member of
//! our group, our *mates*, and to two *contacts* in each other group (`tending`). Into how many groups the net is divided everybody decides for himself
//! (`division`), by an estimate of how many there are (`estimate`).
//!
//! **Finding one another.** A newcomer greets whoever it knows, takes over how the net is divided, and asks for members of its own group.
//! Mates tell each other of newcomers, a few at a time, and compare digests of what they see; who finds that somebody sees more asks for what it lacks,
//! naming what it has (`spreading`). So what is said is as long as what is new. Our own record goes to all members when it is due for renewal, when our addresses
//! change, and when our load, or our group's size or load, took a clear step; of a smaller step of our load our mates hear at once and the others
//! within a minute.
//!
//! **Losing one another.** A link's end tells at once that somebody is gone; no other detector could know earlier. A mate that was lost is dialled again,
//! with growing waits; of those who are lost for a day only a few are remembered. Every few seconds one of those who are lost is
//! tried whatever its wait, each the more seldom the longer it is lost, so that two halves of a net find each other soon; the first link between them is enough (`dials`).
//!
//! **Groups change.** For a while both divisions count, and no link is closed. A link is needed as long as either end says so; one that neither needs is closed then.
//! Who is needed by too many lets go of some of them nevertheless (`surplus`).
//!
//! Invariant: only our own link makes a member and ends one; a rumour makes us dial.

mod dials;
mod division;
mod estimate;
mod known;
mod lists;
mod own;
mod regrouping;
mod spreading;
mod surplus;
mod table;
mod tending;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

#[cfg(test)]
pub(super) use dials::REMEMBERED;
use division::Division;
pub(super) use estimate::{FULL, Seen};
use known::{Known, Stage};
#[cfg(test)]
pub(super) use lists::{LISTED, LISTED_AT_HOME};
use nearmesh_common::{
    NodeId, Now,
    signed::{Renewal, Signed, Verified},
    supernode_record::SupernodeRecord,
    wire::{NodeAddress, mesh::Mesh},
};
use own::{Audience, Own};
use spreading::Spreading;
use table::Table;
use tending::Tending;

use super::{
    CloseReason,
    budget::Charge,
    placement::{Group, Groups},
    world::World,
};

/// Most supernodes that we are linked to: those of a net of 10,000 four times over, and enough for 90,000 (guess).
pub(super) const MAX_MEMBERS: usize = 2048;

/// How long somebody is new (guess: by then a newcomer has found its mates, and has their summaries).
const NEW: Duration = Duration::from_secs(5);

/// What may be expected of a member, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// An answer.
    Settled,
    /// An answer, but it has just come: it may not know its own group yet.
    New,
    /// None.
    Silent,
}

/// What happened to the membership.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Say hello.
    Greet(NodeId),
    /// It is a member now.
    Up(NodeId),
    /// It is no member any more.
    Down(NodeId),
    /// The net is divided otherwise than before, or how it was before counts no more: groups, mates and placements are new ones.
    Regrouped,
    /// Neither end needs the link: close it, unless it serves something else.
    Unneeded(NodeId),
}

/// All known supernodes.
#[derive(Debug)]
pub(super) struct Membership {
    own: Own,
    table: Table,
    division: Division,
    tending: Tending,
    spreading: Spreading,
    events: VecDeque<Event>,
    /// When we were first linked to another.
    met_at: Option<Instant>,
}

impl Membership {
    pub(super) fn new(addresses: Vec<SocketAddr>, capacity: u32, world: &mut World) -> Self {
        let division = Division::new();
        let groups = division.groups();
        Self {
            own: Own::new(addresses, capacity, world),
            table: Table::new(groups.ids(groups.of(&world.own().0))),
            division,
            tending: Tending::default(),
            spreading: Spreading::new(world),
            events: VecDeque::new(),
            met_at: None,
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether it is a member whose link we need.
    pub(super) fn needs(&self, node: &NodeId) -> bool {
        self.table.get(node).is_some_and(|known| known.is_member() && known.mine)
    }

    /// Whether neither end of a member's link needs it any more.
    pub(super) fn is_unneeded(&self, node: &NodeId) -> bool {
        self.table.get(node).is_some_and(|known| known.is_member() && !known.mine && !known.theirs)
    }

    /// Our own record, as it was signed last.
    pub(super) fn own_record(&self) -> &Verified<SupernodeRecord> {
        self.own.record()
    }

    pub(super) fn is_serving(&self) -> bool {
        self.own.record().content.serving
    }

    pub(super) fn is_member(&self, node: &NodeId) -> bool {
        self.table.is_member(node)
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.table.len()
    }

    /// The members' ids, without our own.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone {
        self.table.members()
    }

    /// Into which groups the net is divided, as we see it.
    pub(super) fn groups(&self) -> Groups {
        self.division.groups()
    }

    /// How it was divided a moment ago, while that still counts.
    pub(super) fn former_groups(&self) -> Option<Groups> {
        self.division.former()
    }

    /// Whether we came so lately that the net may have been divided otherwise a moment before, for all we know: not one of a few supernodes.
    pub(super) fn is_newcomer(&self, now: Instant) -> bool {
        let is_small = self.groups() == Groups::ONE && self.members().len() < division::DIVIDED as usize;
        !is_small && self.met_at.is_some_and(|at| at + division::TRANSITION > now)
    }

    /// Whether we knew it when the net was divided otherwise.
    pub(super) fn knew_before(&self, node: &NodeId) -> bool {
        let met_at = self.table.get(node).and_then(|known| known.met_at);
        met_at.zip(self.division.changed_at()).is_some_and(|(met_at, changed_at)| met_at <= changed_at)
    }

    /// Our own group.
    pub(super) fn own_group(&self) -> Group {
        self.groups().of(&self.own.record().content.node.0)
    }

    /// The linked members of our own group, without our own id.
    pub(super) fn mates(&self) -> impl DoubleEndedIterator<Item = NodeId> + Clone {
        self.table.members_in(self.groups().ids(self.own_group()))
    }

    /// Whether it is a linked member of our group.
    pub(super) fn is_mate(&self, node: &NodeId) -> bool {
        self.is_of_ours(node) && self.is_member(node)
    }

    /// Whether it is a linked member of our group, or was before the net was divided otherwise, while that still counts.
    pub(super) fn is_mate_or_was(&self, node: &NodeId) -> bool {
        let own = self.own.record().content.node;
        let was = self.former_groups().is_some_and(|former| former.of(&node.0) == former.of(&own.0));
        self.is_member(node) && (was || self.is_of_ours(node))
    }

    /// Every group but our own.
    pub(super) fn other_groups(&self) -> impl Iterator<Item = Group> + use<> {
        let own = self.own_group();
        self.groups().all().filter(move |group| *group != own)
    }

    /// The linked members of `group`, the nearest first; before others those whose link we need, because no other is sure to stay; and last those
    /// that have just come, or are silent.
    pub(super) fn contacts(&self, group: Group, world: &World) -> Vec<NodeId> {
        let mut found: Vec<_> = self.table.members_in(self.groups().ids(group)).collect();
        found.sort_by_cached_key(|node| self.rank(node, world));
        found
    }

    /// What may be expected of a member.
    pub(super) fn standing(&self, node: &NodeId, world: &World) -> Standing {
        let met_at = self.table.get(node).and_then(|known| known.met_at);
        if world.links.is_silent(node) {
            Standing::Silent
        } else if met_at.is_some_and(|at| at + NEW > world.now.instant) {
            Standing::New
        } else {
            Standing::Settled
        }
    }

    fn rank(&self, node: &NodeId, world: &World) -> (Standing, bool, Duration) {
        let kept = self.table.get(node).is_some_and(|known| known.mine);
        (self.standing(node, world), !kept, world.links.rtt(node))
    }

    /// By whom `to` is reached: itself if it is linked, else the nearest contact in its group, or in what was its group before a change; if there
    /// is none, the nearest mate, who may have one.
    pub(super) fn route(&self, to: &NodeId, world: &World) -> Option<NodeId> {
        if self.is_member(to) {
            return Some(*to);
        }
        let nearest = |groups: Groups, id: &NodeId| {
            self.table.members_in(groups.ids(groups.of(&id.0))).min_by_key(|node| self.rank(node, world))
        };
        let own = self.own.record().content.node;
        let before = || self.former_groups().and_then(|former| nearest(former, to));
        nearest(self.groups(), to).or_else(before).or_else(|| nearest(self.groups(), &own))
    }

    /// The members' records, our own first.
    pub(super) fn records(&self) -> impl Iterator<Item = &Verified<SupernodeRecord>> {
        let members = self.table.all().filter(|(_, known)| known.is_member());
        let members = members.filter_map(|(_, known)| known.record());
        std::iter::once(self.own.record()).chain(members)
    }

    /// A supernode says who it is.
    pub(super) fn on_hello(&mut self, from: NodeId, signed: Signed<SupernodeRecord>, world: &mut World) {
        if from == world.own() || !self.is_serving() || !world.charge(&from, Charge::Record, 1) {
            return;
        }
        let record = world.record(signed).filter(|record| record.content.node == from);
        let Some(record) = record else { return world.close(from, CloseReason::Misbehaved) };
        let bits = record.content.group_bits;
        let has_room = !record.content.serving || self.is_member(&from) || self.make_room();
        let address = NodeAddress { node: from, addresses: record.content.addresses.clone() };
        if !has_room || !self.learn(address, true, world) {
            world.strange(&from, "a supernode too many");
            return world.close(from, CloseReason::Unneeded);
        }
        let news = self.adopt(record);
        let Some(known) = self.table.get_mut(&from).filter(|known| known.serves()) else { return };
        if !std::mem::replace(&mut known.greeted, true) {
            self.events.push_back(Event::Greet(from));
        }
        known.find();
        if known.is_member() {
            return;
        }
        (known.mine, known.theirs) = (true, true);
        known.met_at = Some(world.now.instant);
        self.table.set_stage(&from, Stage::Member { since: world.now.instant });
        let is_first = self.met_at.is_none();
        self.met_at.get_or_insert(world.now.instant);
        if is_first && bits > 0 && division::is_possible(bits) {
            self.regroup(Groups::new(bits), true, world);
        }
        self.events.push_back(Event::Up(from));
        self.after_up(from, world);
        if news == News::Newcomer {
            self.rumour(from, from, world);
        }
    }

    /// Where we are reached has changed.
    pub(super) fn handle_addresses(&mut self, addresses: Vec<SocketAddr>, world: &mut World) {
        if self.own.set_addresses(addresses, world) {
            self.tell_own(world);
        }
    }

    /// We have so many children.
    pub(super) fn handle_load(&mut self, children: usize, world: &mut World) {
        self.own.set_children(children);
        self.renew(world);
    }

    /// We take nobody any more.
    pub(super) fn handle_drain(&mut self, world: &mut World) {
        self.own.close(world);
        self.tell_own(world);
    }

    /// We stop being a supernode.
    pub(super) fn handle_step_down(&mut self, world: &mut World) {
        self.own.step_down(world);
        self.tell_own(world);
    }

    /// Those whose records do not hold any more, after a revocation: forgotten. Returns who they were.
    pub(super) fn drop_revoked(&mut self, world: &World) -> Vec<NodeId> {
        let revoked = |known: &Known| {
            let signed = known.record().map(|record| record.signed.clone());
            signed.is_some_and(|signed| world.keyring.verify(signed, world.now.wall).is_err())
        };
        let gone: Vec<NodeId> =
            self.table.all().filter(|(_, known)| revoked(known)).map(|(node, _)| *node).collect();
        for node in &gone {
            if self.table.remove(node).is_some_and(|known| known.is_member()) {
                self.events.push_back(Event::Down(*node));
            }
        }
        gone
    }

    pub(super) fn handle_timeout(&mut self, world: &mut World) {
        self.renew(world);
        self.expire(world);
        self.give_up_overdue(world);
        self.handle_round(world);
        self.pull_if_due(world);
        self.tend_due(world);
        self.dial_due(world);
    }

    pub(super) fn poll_timeout(&self, now: Now) -> Option<Instant> {
        let tending = self.tending.due().filter(|_| self.is_serving());
        let expiry = self.table.first_expiry().map(|(at, _)| now.instant + at.since(now.wall));
        let overdue = self.table.first_overdue().map(|(at, _)| at);
        let timeouts =
            [self.next_dial(), tending, expiry, overdue, self.spreading.due(), Some(self.own.due())];
        timeouts.into_iter().flatten().min()
    }

    /// Whether a supernode belongs to our group.
    fn is_of_ours(&self, node: &NodeId) -> bool {
        self.groups().of(&node.0) == self.own_group()
    }

    /// Takes a record in place of an older one.
    fn adopt(&mut self, record: Verified<SupernodeRecord>) -> News {
        let Some(known) = self.table.get(&record.content.node) else { return News::None };
        match known.sequence() {
            Some(known) if known >= record.content.sequence => News::None,
            known => {
                self.table.set_record(record);
                if known.is_none() { News::Newcomer } else { News::Renewed }
            }
        }
    }

    /// Records that were not renewed are no longer believed.
    fn expire(&mut self, world: &mut World) {
        while let Some((expiry, node)) = self.table.first_expiry() {
            if expiry > world.now.wall {
                return;
            }
            let over = self.table.take_record(&node).is_some_and(|record| !record.content.serving);
            let Some(known) = self.table.get_mut(&node) else { continue };
            if over {
                known.give_up();
            }
            if known.is_member() {
                world.close(node, CloseReason::Unneeded);
            } else {
                self.forget_if_hopeless(&node, world);
            }
        }
    }

    fn renew(&mut self, world: &mut World) {
        match self.own.renew(world) {
            Some(Audience::All) => self.tell_own(world),
            Some(Audience::Mates) => self.tell_own_to(self.mates(), world),
            None => {}
        }
    }

    fn tell_own(&self, world: &mut World) {
        self.tell_own_to(self.members(), world);
    }

    fn tell_own_to(&self, members: impl Iterator<Item = NodeId>, world: &mut World) {
        let message = Mesh::Renewed(Renewal::of(self.own.record().signed.clone()));
        members.for_each(|member| world.tell_mesh(member, message.clone()));
    }
}

/// What a record told us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Newcomer,
    Renewed,
    None,
}
