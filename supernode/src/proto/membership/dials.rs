//! Opening links: to those whose time has come, never too many at once.

use std::time::{Duration, Instant};

use nearmesh_common::{NodeId, wire::NodeAddress};
use rand::{RngExt, seq::IteratorRandom};

use super::{super::world::World, Event, Known, Membership, Stage, known::Dial};

/// Most supernodes of our own group that are known, alive or dead: what 256 groups of 100,000 have, and a full mesh's newcomers (guess).
const MAX_OWN: usize = 512;
/// Most of any other group that are known without a link, to be dialled when a contact fails (guess).
pub(super) const MAX_SPARES: usize = 4;
/// Most that are known in all: our group, and links and spares for 255 others.
const MAX_KNOWN: usize = 4096;
/// Dials under way at once (guess: a handshake costs some 10 kB).
const MAX_DIALS: usize = 64;
/// Of them, those to somebody who failed before: where many have died they must not be in the way of the living (guess).
const MAX_AGAIN: usize = 16;
/// The same as long as nobody has answered yet: what is known then is a list that may be old (guess).
const MAX_FIRST_DIALS: usize = 8;
/// How long a dial may take, until the peer's hello (guess: longer than the transport gives it).
pub(super) const DIAL_WAIT: Duration = Duration::from_secs(15);
/// So many of those who are lost for long are remembered: they may be the other half of a small net that fell apart (guess: one that is there is enough).
pub(in super::super) const REMEMBERED: usize = 8;
/// Whoever was let go is not dialled for so long (guess).
const LET_GO: Duration = Duration::from_secs(60);
/// Who has fewer links dials whomever it knows, of whatever group: one of them may lie to it (guess).
const FEW_LINKS: usize = 3;
/// Before we dial somebody who is likely to dial us just now, in milliseconds (guess: a round trip and its handshake).
const AFTER_YOU: std::ops::Range<u64> = 500..1500;

impl Membership {
    /// Supernodes learnt elsewhere.
    pub(in super::super) fn handle_candidates(&mut self, candidates: Vec<NodeAddress>, world: &mut World) {
        for address in candidates.into_iter().take(MAX_OWN) {
            if address.node != world.own() && !address.addresses.is_empty() {
                self.learn(address, false, world);
            }
        }
        self.dial_due(world);
    }

    /// A link opened: greet whom we wanted to reach.
    pub(in super::super) fn on_link_up(&mut self, node: NodeId) {
        if let Some(known) = self.table.get_mut(&node).filter(|known| known.is_dialling()) {
            known.greeted = true;
            self.events.push_back(Event::Greet(node));
        }
    }

    /// A link, or the attempt at one, ended.
    pub(in super::super) fn on_link_gone(&mut self, node: &NodeId, world: &mut World) {
        let Some(known) = self.table.get_mut(node) else { return };
        known.greeted = false;
        let Some(known) = self.table.get(node) else { return };
        let needed = known.mine || known.theirs;
        if known.is_member() {
            self.events.push_back(Event::Down(*node));
        }
        if !needed && known.is_member() {
            let at = world.now.instant + LET_GO;
            self.table.set_stage(node, Stage::Resting { at, dial: self.dial_of(node) });
            self.trim_spares(node);
            self.forget_if_hopeless(node, world);
        } else if !known.is_resting() {
            self.fail(node, world);
        }
        self.dial_due(world);
    }

    /// Makes sure that a supernode is known; whether it is. Of those that are not linked only so many are remembered.
    pub(super) fn learn(&mut self, address: NodeAddress, linked: bool, world: &World) -> bool {
        let node = address.node;
        if self.table.get(&node).is_some() {
            return true;
        }
        let ids = self.groups().ids(self.groups().of(&node.0));
        let resting = |(_, known): &(&NodeId, &Known)| known.is_resting();
        let full = match self.is_of_ours(&node) {
            true => self.table.len() >= MAX_OWN && self.table.all_in(ids.clone()).count() >= MAX_OWN,
            false => self.table.all_in(ids.clone()).filter(resting).count() >= MAX_SPARES,
        };
        if (full || self.table.len() >= MAX_KNOWN) && !linked {
            let worst = self.table.all_in(ids).filter(resting).max_by_key(|(_, known)| known.tries());
            let Some((worst, _)) = worst.filter(|(_, known)| known.tries() > 0) else { return false };
            let worst = *worst;
            self.table.remove(&worst);
        }
        let stage = Stage::Resting { at: world.now.instant, dial: self.dial_of(&node) };
        self.table.insert(node, Known::new(address.addresses, stage));
        true
    }

    /// How it is dialled: as soon as it is known, or only when its group lacks a contact.
    pub(super) fn dial_of(&self, node: &NodeId) -> Dial {
        let alone = self.is_of_ours(node) || self.table.members().len() < FEW_LINKS;
        let failed = self.table.get(node).is_some_and(|known| known.tries() > 0);
        match (alone, failed) {
            (false, _) => Dial::OnNeed,
            (true, false) => Dial::First,
            (true, true) => Dial::Again,
        }
    }

    /// Somebody saw it alive: no reason to wait any longer.
    pub(super) fn hasten(&mut self, node: &NodeId, world: &mut World) {
        let at = self.turn_of(node, world);
        let Some(known) = self.table.get_mut(node).filter(|known| known.is_resting() && known.may_serve())
        else {
            return;
        };
        known.find();
        if self.is_of_ours(node) {
            self.be_restless();
        }
        let stage = Stage::Resting { at, dial: self.dial_of(node) };
        self.table.set_stage(node, stage);
    }

    /// Whether one more may be dialled who failed before, or who did not.
    pub(super) fn may_dial(&self, again: bool) -> bool {
        let most = if self.met_at.is_some() { MAX_DIALS } else { MAX_FIRST_DIALS };
        let (all, again_now) = self.table.dialling();
        self.is_serving() && all < most && (!again || again_now < MAX_AGAIN)
    }

    /// When somebody is dialled next.
    pub(super) fn next_dial(&self) -> Option<Instant> {
        let next = |again| self.table.next_resting(again).filter(|_| self.may_dial(again));
        next(false).into_iter().chain(next(true)).map(|(at, _)| at).min()
    }

    pub(super) fn dial_due(&mut self, world: &mut World) {
        for again in [false, true] {
            while self.may_dial(again) {
                let due = self.table.next_resting(again).filter(|(at, _)| *at <= world.now.instant);
                let Some((at, node)) = due else { break };
                if self.table.get(&node).is_some_and(Known::may_serve) {
                    if !self.dial(&node, world) {
                        break;
                    }
                } else {
                    self.table.set_stage(&node, Stage::Resting { at, dial: Dial::OnNeed });
                }
            }
        }
    }

    /// Dials, if not too many are dialled already; whether it does.
    pub(super) fn dial(&mut self, node: &NodeId, world: &mut World) -> bool {
        let again = self.table.get(node).is_some_and(|known| known.tries() > 0);
        if !self.may_dial(again) {
            return false;
        }
        let until = world.now.instant + DIAL_WAIT;
        self.table.set_stage(node, Stage::Dialling { until, again });
        let Some(known) = self.table.get_mut(node) else { return false };
        known.greeted = world.links.contains(node);
        if known.greeted {
            // It is linked already, as a child of ours, or we of its.
            self.events.push_back(Event::Greet(*node));
        } else {
            world.dial(known.address(*node));
        }
        true
    }

    /// Dials that led nowhere, or to somebody who says nothing.
    pub(super) fn give_up_overdue(&mut self, world: &mut World) {
        while let Some((_, node)) = self.table.first_overdue().filter(|(at, _)| *at <= world.now.instant) {
            self.fail(&node, world);
        }
    }

    /// Tries some of those who are lost, in spite of their waits, but ever more seldom: mates first. Who is alone tries harder.
    pub(super) fn probe(&mut self, world: &mut World) {
        let alone = self.table.members().len() == 0;
        let some = if alone { MAX_FIRST_DIALS } else { 1 };
        let lost = |(_, known): &(&NodeId, &Known)| known.is_to_be_probed(alone, world.now);
        let ids = self.groups().ids(self.own_group());
        let mates = self.table.all_in(ids).filter(lost).map(|(node, _)| *node);
        let mut chosen: Vec<NodeId> = mates.sample(&mut world.rng, some);
        if chosen.is_empty() {
            chosen = self.table.all().filter(lost).map(|(node, _)| *node).sample(&mut world.rng, some);
        }
        for node in chosen {
            self.dial(&node, world);
        }
    }

    fn fail(&mut self, node: &NodeId, world: &mut World) {
        let Some(known) = self.table.get_mut(node) else { return };
        let at = known.fail(world);
        self.table.set_stage(node, Stage::Resting { at, dial: self.dial_of(node) });
        self.forget_if_hopeless(node, world);
        self.after_failure(node, world);
    }

    /// Forgets it if it left; and if too many are lost for long, one of those who never answered, or else any.
    pub(super) fn forget_if_hopeless(&mut self, node: &NodeId, world: &mut World) {
        let Some(known) = self.table.get(node) else { return };
        if known.has_left() {
            self.table.remove(node);
        } else if known.is_lost_for_long(world.now) {
            let lost = self.table.all().filter(|(_, known)| known.is_lost_for_long(world.now));
            let lost: Vec<_> = lost.map(|(node, known)| (known.met_at.is_some(), *node)).collect();
            let have_answered = lost.iter().all(|(has_answered, _)| *has_answered);
            let worst = lost.iter().filter(|(has_answered, _)| *has_answered == have_answered);
            if lost.len() > REMEMBERED
                && let Some((_, worst)) = worst.choose(&mut world.rng)
            {
                self.table.remove(worst);
            }
        }
    }

    /// It asks for a place, as no supernode does: who came back as a node is not called any more.
    pub(in super::super) fn handle_asks_for_place(&mut self, node: &NodeId, world: &mut World) {
        if let Some(known) = self.table.get_mut(node).filter(|known| !known.is_member()) {
            known.give_up();
            self.forget_if_hopeless(node, world);
        }
    }

    /// When somebody that is learnt of or whose group changed is dialled: of two mates who learn of each other at the same time one waits
    /// for the other. Whoever has hardly a link waits for nobody.
    pub(super) fn turn_of(&self, node: &NodeId, world: &mut World) -> Instant {
        let waits = self.is_of_ours(node) && *node < world.own() && self.mates().nth(FEW_LINKS).is_some();
        let wait = if waits { world.rng.random_range(AFTER_YOU) } else { 0 };
        world.now.instant + Duration::from_millis(wait)
    }
}
