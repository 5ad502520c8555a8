//! What is done every few seconds: to see whether the net is divided as it should be, and whether somebody who was lost is back.

use std::time::Duration;

use nearmesh_common::{NodeId, wire::mesh::Mesh};

use rand::seq::IteratorRandom;

use super::{
    super::{
        neighbourhood::neighbourhood,
        placement::{Group, Groups},
        world::World,
    },
    Event, Known, Membership, Stage,
    dials::MAX_SPARES,
    division::TRANSITION,
    estimate::{self, Seen},
    known::Dial,
};

/// How long a round takes (guess: seldom enough to cost nothing, often enough to follow the others in a few).
pub(super) const ROUND: Duration = Duration::from_secs(5);
/// In which rounds somebody who is lost is tried: 250 B/s of handshakes that lead nowhere.
const PROBE_ROUNDS: u32 = 3;
/// In which rounds a mate is told what we see: a message of 12 bytes, and everybody has heard from somebody within a minute.
const DIGEST_ROUNDS: u32 = 8;

impl Membership {
    /// About how many supernodes there are, this one included, and how full.
    pub(in super::super) fn net(&self) -> Seen {
        let own = self.own.record().content.node;
        estimate::net(&own, self.own_group_seen(), self.groups(), &self.table)
    }

    /// What our record says of our group, when it is signed next.
    fn count_links(&mut self) {
        self.own.set_links(self.table.members().len(), self.own_group_seen());
    }

    /// Our own group.
    fn own_group_seen(&self) -> Seen {
        let mates = self.table.known_members(self.groups().ids(self.own_group()));
        let mates = mates.filter_map(Known::record).map(|record| &record.content);
        let loads = mates.filter(|mate| mate.serving).map(|mate| (mate.children, mate.capacity));
        let together = neighbourhood(self.own.load(), 0, loads);
        let size = u32::try_from(self.mates().count() + 1).unwrap_or(u32::MAX);
        Seen { size, load: estimate::load(together.all_children, together.all_capacity) }
    }

    pub(super) fn handle_round(&mut self, world: &mut World) {
        let Some(round) = self.spreading.next_round(world) else { return };
        if self.division.expire(world.now.instant) {
            self.events.push_back(Event::Regrouped);
        }
        self.count_links();
        if !self.is_serving() {
            return;
        }
        let majority = self.table.majority();
        if let Some(groups) = self.division.next(self.net().size, majority, world.now.instant) {
            self.regroup(groups, false, world);
        }
        self.shed_contacts(world);
        if round.is_multiple_of(PROBE_ROUNDS) || self.table.members().len() == 0 {
            self.probe(world);
        }
        if self.mates().next().is_none()
            && let Some(whom) = self.members().choose(&mut world.rng)
        {
            self.ask_for_mates(whom, world);
        }
        self.ask_if_restless(world);
        if round.is_multiple_of(DIGEST_ROUNDS) {
            self.tell_digest(world);
        }
    }

    /// From now on the net is divided so.
    pub(super) fn regroup(&mut self, groups: Groups, newcomer: bool, world: &mut World) {
        let former = self.groups();
        self.division.change(groups, newcomer, world.now.instant);
        self.table.set_own(groups.ids(self.own_group()));
        self.count_links();
        self.own.set_groups(groups, world);
        self.tell_own(world);
        self.sort_anew(world);
        self.ask_other_parts(former, world);
        self.events.push_back(Event::Regrouped);
        self.be_restless();
        self.tell_digest_to_all(world);
    }

    /// Decides anew who is dialled alone, and which links we need.
    fn sort_anew(&mut self, world: &mut World) {
        let mut spares: Option<(Group, usize)> = None;
        let nodes: Vec<NodeId> = self.table.all().map(|(node, _)| *node).collect();
        for node in nodes {
            let (group, ours) = (self.groups().of(&node.0), self.is_of_ours(&node));
            let Some(known) = self.table.get_mut(&node) else { continue };
            match known.stage {
                Stage::Member { .. } if ours && !std::mem::replace(&mut known.mine, true) => {
                    world.tell_mesh(node, Mesh::Uses(true));
                }
                Stage::Resting { at, .. } if ours => {
                    let at = at.min(self.turn_of(&node, world));
                    self.table.set_stage(&node, Stage::Resting { at, dial: self.dial_of(&node) });
                }
                Stage::Resting { at, .. } => {
                    let before = spares.filter(|(of, _)| *of == group).map_or(0, |(_, count)| count);
                    spares = Some((group, before + 1));
                    if before < MAX_SPARES {
                        self.table.set_stage(&node, Stage::Resting { at, dial: Dial::OnNeed });
                    } else {
                        self.table.remove(&node);
                    }
                }
                _ => {}
            }
        }
        self.tending.clear();
        for group in self.other_groups() {
            self.tend_soon(group, world);
        }
    }

    /// Asks one member of each part that our group did not comprise before.
    fn ask_other_parts(&mut self, former: Groups, world: &mut World) {
        let ids = self.groups().ids(self.own_group());
        let mut parts: Vec<Group> =
            self.table.members_in(ids.clone()).map(|node| former.of(&node.0)).collect();
        parts.dedup();
        let own = former.of(&world.own().0);
        for part in parts.into_iter().filter(|part| *part != own) {
            if let Some(node) = self.table.members_in(former.ids(part)).find(|node| ids.contains(node)) {
                self.ask_for_mates(node, world);
            }
        }
        // A newcomer knows nobody of its group: whoever it knows may.
        if self.mates().next().is_none()
            && let Some(node) = self.members().next()
        {
            self.ask_for_mates(node, world);
        }
    }

    /// Whether a change is under way, so that links are kept which seem to serve nothing.
    pub(super) fn is_changing(&self) -> bool {
        self.division.transition_ends().is_some()
    }

    /// How long until it is over, at most.
    pub(super) fn until_settled(&self, world: &World) -> Duration {
        let ends = self.division.transition_ends();
        ends.map_or(Duration::ZERO, |ends| ends.saturating_duration_since(world.now.instant).min(TRANSITION))
    }

    /// Whether somebody is known, but not linked.
    pub(super) fn is_resting(&self, node: &NodeId) -> bool {
        self.table.get(node).is_some_and(Known::is_resting)
    }
}
