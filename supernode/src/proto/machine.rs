//! The machine itself: owns the sub-protocols, routes between them, and keeps the time.

mod carrying;
mod confirming;
mod crowd;
mod files;
mod from_child;
mod from_mesh;
mod placing;
mod users;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now,
    pace::{FEW_LINKS, Pace},
    signed::{Keyring, Verified},
    supernode_record::SupernodeRecord,
    wire::{
        home::ToChild,
        mesh::{Mesh, SummaryVersion},
    },
};

use super::{
    CloseReason, Input, Output, Peer,
    answers::Answers,
    children::Children,
    dial_back,
    directory::Directory,
    door::Door,
    lookup::Lookups,
    membership::{Event, Membership},
    neighbourhood::Telling,
    offers::Offers,
    pacing::Pacing,
    placement::Groups,
    publishing::Publishing,
    receipts::Receipts,
    registration::Registrations,
    rollcall::RollCall,
    search::Searches,
    shedding::Shedding,
    summaries::Summaries,
    world::{Counters, World},
};

/// Children that a supernode would like to have at most when nobody says how many (FastTrack's ratio, 100:1; KaZaA's took 60 to 150).
pub const DEFAULT_CAPACITY: u32 = 100;

/// After stepping down, children that stayed are told again this often (guess: longer than it takes to attach elsewhere).
const REMIND_EVERY: Duration = Duration::from_secs(3);

/// How long the children of one that drains are served as ever, until the others are told that it leaves (guess: a survey and an attachment,
/// several times over; its process lives twice as long).
const DRAIN: Duration = Duration::from_secs(15);

/// What its owner decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many children it takes, as long as others have room; three times as many while they have not.
    pub capacity: u32,
}

/// A supernode.
pub struct Supernode {
    world: World,
    membership: Membership,
    children: Children,
    registrations: Registrations,
    summaries: Summaries,
    searches: Searches,
    answers: Answers,
    directory: Directory,
    publishing: Publishing,
    offers: Offers,
    lookups: Lookups,
    receipts: Receipts,
    rollcall: RollCall,
    telling: Telling,
    door: Door,
    shedding: Shedding,
    pacing: Pacing,
    /// The division by which the children were told of last.
    told_by: Groups,
    crl: Option<Box<[u8]>>,
    /// When children that are still here after stepping down are told again.
    remind_at: Option<Instant>,
    /// Until when we wait for the children to go, before we step down.
    draining: Option<Instant>,
}

impl Default for Config {
    fn default() -> Self {
        Self { capacity: DEFAULT_CAPACITY }
    }
}

impl Supernode {
    /// A supernode that is reached at `addresses`, serves from now on, and knows no other yet.
    pub fn new(
        config: Config,
        keyring: Arc<dyn Keyring>,
        addresses: Vec<SocketAddr>,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let mut world = World::new(keyring, seed, now);
        let searches = Searches::new(&mut world);
        let mut supernode = Self {
            membership: Membership::new(addresses, config.capacity, &mut world),
            children: Children::new(config.capacity),
            registrations: Registrations::default(),
            summaries: Summaries::new(now.wall.0),
            searches,
            answers: Answers::default(),
            directory: Directory::default(),
            publishing: Publishing::default(),
            offers: Offers::default(),
            lookups: Lookups::default(),
            receipts: Receipts::default(),
            rollcall: RollCall::default(),
            telling: Telling::new(now.instant),
            door: Door::default(),
            shedding: Shedding::default(),
            pacing: Pacing::default(),
            told_by: Groups::ONE,
            crl: None,
            remind_at: None,
            draining: None,
            world,
        };
        supernode.place_anew();
        supernode
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.world.now = now;
        match input {
            Input::LinkUp { peer } => self.on_link_up(&peer),
            Input::LinkDown { node } => self.on_link_down(node),
            Input::Moved { node, observed } => self.world.links.set_observed(&node, observed),
            Input::DialFailed { node } => {
                if !self.world.links.contains(&node) {
                    self.membership.on_link_gone(&node, &mut self.world);
                }
            }
            Input::FromChild { from, message } => self.on_child(from, message),
            Input::FromMesh { from, message } => self.on_mesh(from, message),
            Input::Rtt { node, rtt } => self.world.links.set_rtt(&node, rtt),
            Input::Addresses(addresses) => self.membership.handle_addresses(addresses, &mut self.world),
            Input::Candidates(candidates) => {
                self.membership.handle_candidates(candidates, &mut self.world);
            }
            Input::CrlAdopted(crl) => self.handle_crl(crl),
            Input::DialBackSent { asker, token, port } => {
                dial_back::on_sent(asker, token, port, &mut self.world);
            }
            Input::Drain => self.handle_drain(),
            Input::StepDown => self.handle_step_down(),
            Input::Timeout => self.handle_timeout(),
        }
        self.settle();
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.world.poll_output()
    }

    /// When to say [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let now = self.world.now;
        let timeouts = [
            self.membership.poll_timeout(now),
            self.registrations.poll_timeout(),
            self.summaries.poll_timeout(),
            self.searches.poll_timeout(),
            self.directory.poll_timeout(now),
            self.lookups.poll_timeout(),
            self.receipts.poll_timeout(),
            self.rollcall.poll_timeout(),
            self.publishing.poll_timeout(),
            self.offers.poll_timeout(),
            self.remind_at,
            self.draining,
            Some(self.telling.poll_timeout()),
            self.shedding.poll_timeout(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// How many children are attached.
    pub fn children(&self) -> usize {
        self.children.len()
    }

    /// The supernodes of the near-mesh that are alive, this one first.
    pub fn members(&self) -> impl Iterator<Item = &Verified<SupernodeRecord>> {
        self.membership.records()
    }

    /// Into how many groups it sees the near-mesh divided, as a number of leading bits of ids.
    pub fn group_bits(&self) -> u8 {
        self.membership.groups().bits()
    }

    /// How soon the end of the link to `node` must be noticed for our own sake. A child may die before it says what it needs.
    pub fn pace(&self, node: &NodeId) -> Pace {
        let as_home = if self.children.contains(node) { Pace::HOME } else { Pace::Slow };
        as_home.min(self.pace_as_member(node))
    }

    fn pace_as_member(&self, node: &NodeId) -> Pace {
        if !self.membership.is_member(node) {
            return Pace::Slow;
        }
        match self.membership.groups().bits() {
            0 if self.membership.members().len() <= FEW_LINKS => Pace::Quick,
            0 => Pace::Steady,
            _ if self.membership.is_mate(node) => Pace::Steady,
            _ => Pace::Slow,
        }
    }

    /// About how many supernodes there are, by what it knows.
    pub fn estimate(&self) -> u32 {
        self.membership.net().size
    }

    #[cfg(test)]
    pub(super) fn membership(&self) -> (&Membership, &World) {
        (&self.membership, &self.world)
    }

    /// What happened that should not.
    pub fn counters(&self) -> &Counters {
        &self.world.counters
    }

    /// How many files of its children it indexes, those included whose child may still come back.
    pub fn files(&self) -> usize {
        self.registrations.catalogue().len()
    }

    /// How many nodes its part of the directory holds.
    pub fn listed(&self) -> usize {
        self.directory.len()
    }

    fn on_link_up(&mut self, peer: &Peer) {
        if !self.world.links.open(peer) {
            return self.world.refuse_link(peer.node);
        }
        self.membership.on_link_up(peer.node);
    }

    fn on_link_down(&mut self, node: NodeId) {
        // Who fell silent before was counted then; a link that we did not need ends in peace as well.
        if self.membership.needs(&node) && !self.world.links.is_silent(&node) {
            self.handle_lost();
        }
        self.end_link(node);
    }

    /// A link is gone, or is closed by us.
    fn end_link(&mut self, node: NodeId) {
        if !self.world.links.close(&node) {
            return;
        }
        self.membership.on_link_gone(&node, &mut self.world);
        self.send_otherwise(&node);
        if let Some(last) = self.children.presence(&node).cloned() {
            self.publish_gone(&last, None);
            self.registrations.hide(&node, &self.world);
        }
        self.forget_child(&node);
    }

    /// Whatever ends with an attachment, however it ends.
    fn forget_child(&mut self, node: &NodeId) {
        self.children.remove(node);
        self.searches.handle_child_lost(node, &mut self.world);
        self.lookups.handle_child_lost(node);
        self.handle_load();
    }

    /// Routes what one part decided to the others, until there is no more.
    fn settle(&mut self) {
        loop {
            if let Some(event) = self.membership.poll_event() {
                self.on_membership(event);
            } else if let Some((search, homes)) = self.lookups.poll_found() {
                self.on_sources_found(search, homes);
            } else if let Some((node, news)) = self.world.poll_silenced() {
                self.on_silenced(node, news);
            } else if let Some((number, place, hops)) = self.lookups.poll_starved() {
                let more = self.more_targets(place, hops);
                self.lookups.add_targets(number, more, &mut self.world);
            } else if let Some(moves) = self.directory.poll_moves() {
                self.send_moves(moves);
            } else if let Some(node) = self.world.poll_doubted() {
                self.ping(vec![node]);
            } else if let Some(node) = self.world.poll_closed() {
                self.end_link(node);
            } else if self.draining.is_some() && self.is_empty() {
                self.handle_step_down();
            } else {
                return;
            }
        }
    }

    fn on_membership(&mut self, event: Event) {
        match event {
            Event::Greet(node) => {
                let record = self.membership.own_record().signed.clone();
                let summary = self.summaries.held_of(&node);
                self.world.tell_mesh(node, Mesh::Hello { record, summary });
            }
            Event::Up(node) => {
                self.directory.handle_home_back(&node);
                if self.membership.is_mate(&node) {
                    self.world.tell_mesh(node, self.membership.digest());
                }
                if let Some(crl) = self.crl.clone() {
                    self.world.tell_mesh(node, Mesh::Crl(crl));
                }
                self.place_if_mate(&node);
                self.tell_newcomer(node);
            }
            Event::Regrouped => self.handle_regrouped(),
            Event::Unneeded(node) if !self.membership.is_unneeded(&node) => {}
            Event::Unneeded(node) => {
                // Our own node may need it as well: then it stays, and we remain what we are for the other end.
                self.membership.handle_kept(&node, &self.world);
                if !self.children.contains(&node) && !self.children.is_standby(&node) {
                    self.world.release(node);
                }
            }
            Event::Down(node) => {
                self.summaries.handle_member_lost(&node);
                self.answers.handle_member_lost(&node);
                self.handle_home_lost(&node);
                self.searches.handle_member_lost(&node, &mut self.world);
                self.lookups.handle_member_lost(&node, &mut self.world);
                self.place_if_mate(&node);
            }
        }
    }

    /// The net is divided otherwise: summaries go to mates, old and new.
    fn handle_regrouped(&mut self) {
        let membership = &self.membership;
        self.summaries.retain(|node| membership.is_mate_or_was(node));
        let new: Vec<_> = membership.mates().filter(|mate| !self.summaries.is_told(mate)).collect();
        for mate in new {
            let catalogue = self.registrations.catalogue_mut();
            self.summaries.on_hello(mate, SummaryVersion::default(), catalogue, &mut self.world);
        }
        self.place_anew();
        // A newcomer has told nobody but itself of its own node before it knew of groups.
        let groups = self.membership.groups();
        if std::mem::replace(&mut self.told_by, groups) != groups {
            self.publishing.retell(&mut self.world);
            self.offers.handle_regrouped(self.world.now.instant);
        }
    }

    /// A member of another group holds nothing of ours.
    fn place_if_mate(&mut self, node: &NodeId) {
        if self.is_mate(node) {
            self.place_anew();
        }
    }

    /// Our group changed: entries of the directory move to their new holders.
    fn place_anew(&mut self) {
        self.directory.handle_members(self.division(), self.world.now);
    }

    /// Until the children have gone they are found here.
    fn handle_drain(&mut self) {
        if !self.takes_children() {
            return;
        }
        self.draining = Some(self.world.now.instant + DRAIN);
        self.membership.handle_drain(&mut self.world);
        self.look_around();
        self.send_children_away();
    }

    fn takes_children(&self) -> bool {
        self.membership.is_serving() && self.draining.is_none()
    }

    /// Whether nobody is here, but perhaps ourselves.
    fn is_empty(&self) -> bool {
        self.children.len() == usize::from(self.children.contains(&self.world.own()))
    }

    fn handle_step_down(&mut self) {
        self.draining = None;
        self.membership.handle_step_down(&mut self.world);
        self.searches.handle_step_down(&mut self.world);
        self.lookups.handle_step_down(&mut self.world);
        self.look_around();
        self.send_children_away();
    }

    fn handle_crl(&mut self, crl: Box<[u8]>) {
        if self.crl.as_ref() == Some(&crl) {
            return;
        }
        for node in self.membership.members().collect::<Vec<_>>() {
            self.world.tell_mesh(node, Mesh::Crl(crl.clone()));
        }
        for node in self.children.nodes().collect::<Vec<_>>() {
            self.world.tell_child(node, ToChild::Crl(crl.clone()));
        }
        self.crl = Some(crl);
        let mut revoked = self.membership.drop_revoked(&self.world);
        revoked.extend(self.children.revoked(&self.world));
        for node in revoked {
            self.registrations.drop_child(&node, &self.world);
            self.world.close(node, CloseReason::Revoked);
        }
        self.directory.handle_crl(self.world.now);
    }

    fn handle_timeout(&mut self) {
        if self.draining.is_some_and(|at| at <= self.world.now.instant) {
            self.handle_step_down();
        }
        if self.remind_at.is_some_and(|at| at <= self.world.now.instant) {
            self.send_children_away();
        }
        self.children.forget_expired(self.world.now.wall);
        if self.registrations.handle_timeout(&self.world) {
            self.summaries.handle_changed(&self.world);
        }
        self.membership.handle_timeout(&mut self.world);
        self.summaries.handle_timeout(self.registrations.catalogue_mut(), &mut self.world);
        self.searches.handle_timeout(&mut self.world);
        self.directory.handle_timeout(&mut self.world);
        let linked = self.membership.members().len();
        let children = self.publishing.handle_timeout(linked, &self.world);
        self.tell_again(children);
        self.tell_offers();
        self.lookups.handle_timeout(&mut self.world);
        self.receipts.handle_timeout(&mut self.world);
        self.rollcall.handle_timeout(self.world.now.instant);
        if self.shedding.is_due(self.world.now.instant) {
            self.shed();
        }
        if self.telling.is_due(self.world.now.instant) {
            self.look_around();
        }
    }
}
