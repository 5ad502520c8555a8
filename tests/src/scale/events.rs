//! What befalls a net: processes come and go, and the network breaks.

use std::time::Duration;

use nearmesh_common::{pace::Pace, wire::home::ToHome};
use nearmesh_supernode::proto as supernode;
use rand::RngExt;

use super::{
    Event, Net,
    asking::NO_CAUSE,
    calendar::{Moment, nanos},
    child::Stage,
    names::{NOBODY, Peer},
};

/// Supernodes in a ticket.
const TICKET: usize = 3;

impl Net {
    /// A process starts, with what its ticket or its host cache names.
    pub fn start(&mut self, peer: Peer) {
        if self.children[peer as usize].runs() {
            return;
        }
        self.recall_ticket(peer);
        if peer < self.setup.supernodes && self.supers[peer as usize].is_none() {
            let known: Vec<Peer> =
                self.children[peer as usize].candidates().map(|(known, _)| known).collect();
            self.begin_serving(peer, &known);
        }
        self.begin_homing(peer);
        self.begin_role(peer);
    }

    /// A process starts within `by`, at a moment drawn at random.
    pub fn start_within(&mut self, peer: Peer, by: Duration) {
        let at = self.calendar.now() + self.rng.random_range(0..nanos(by).max(1));
        self.calendar.at(at, Event::Start(peer));
    }

    /// A process starts at this time since the beginning.
    pub fn start_at(&mut self, peer: Peer, at: Duration) {
        self.calendar.at(nanos(at), Event::Start(peer));
    }

    /// Ends a process without a word at this time since the beginning.
    pub fn kill_at(&mut self, peer: Peer, at: Duration) {
        self.calendar.at(nanos(at), Event::Kill(peer));
    }

    /// A process that knows nobody takes some supernodes that live from its ticket; a net's first one finds nobody.
    pub(super) fn recall_ticket(&mut self, peer: Peer) {
        let known = self.children[peer as usize].candidates().any(|(known, _)| self.answers(peer, known));
        if known {
            return;
        }
        for _ in 0..TICKET {
            let from = self.rng.random_range(0..self.setup.supernodes.max(1));
            let named = self.serving.range(from..).chain(self.serving.iter()).find(|named| **named != peer);
            if let Some(named) = named.copied() {
                self.children[peer as usize].learn(named, false, 0);
            }
        }
    }

    /// Ends a process without a word.
    pub fn kill(&mut self, peer: Peer) {
        if !self.children[peer as usize].runs() {
            return;
        }
        for (other, side) in std::mem::take(&mut self.sides[peer as usize]).all() {
            if side.up && other != peer {
                let at = self.noticed_at(self.pace(peer, other));
                self.calendar.at(at, Event::Down { at: other, other: peer, link: side.id });
            }
        }
        self.children[peer as usize].forget_all();
        self.supers[peer as usize] = None;
        self.serving.remove(&peer);
    }

    /// When a peer notices that from now on it hears nothing: the last keep-alive came a while ago.
    fn noticed_at(&mut self, pace: Pace) -> Moment {
        let silent = self.rng.random_range(0..nanos(pace.keep_alive()));
        self.calendar.now() + nanos(pace.silence()) - silent
    }

    /// A node leaves politely.
    pub fn leave(&mut self, peer: Peer) {
        let home = self.children[peer as usize].home;
        if home != NOBODY && home != peer {
            let presence = self.presence(peer, home, false);
            self.say(peer, home, ToHome::Detach(presence));
        }
        if self.supers[peer as usize].is_none() {
            for (other, _) in self.sides[peer as usize].all() {
                self.close(peer, super::Role::Client, other);
            }
        }
        self.kill(peer);
    }

    /// A supernode hands its children their alternatives. Its process goes on.
    pub fn step_down(&mut self, peer: Peer) {
        self.tell_super(peer, supernode::Input::Drain, NO_CAUSE);
    }

    /// Cuts the peers that `far` names off from the others: links across break without a word, and no new ones come about.
    pub fn split(&mut self, far: impl Fn(Peer) -> bool) {
        self.split = true;
        for peer in 0..self.children.len() as Peer {
            self.children[peer as usize].island = far(peer);
        }
        for peer in 0..self.children.len() as Peer {
            for (other, side) in self.sides[peer as usize].all() {
                if side.up && self.separated(peer, other) {
                    let at = self.noticed_at(self.pace(peer, other));
                    self.calendar.at(at, Event::Down { at: peer, other, link: side.id });
                }
            }
        }
    }

    /// Everybody reaches everybody again.
    pub fn heal(&mut self) {
        self.split = false;
        self.children.iter_mut().for_each(|child| child.island = false);
    }

    pub(super) fn separated(&self, a: Peer, b: Peer) -> bool {
        let island = |peer: Peer| self.children.get(peer as usize).is_some_and(|child| child.island);
        self.split && island(a) != island(b)
    }

    pub(super) fn is_alive(&self, peer: Peer) -> bool {
        self.supers.get(peer as usize).is_some_and(Option::is_some)
    }

    /// Whether a supernode is about to leave, and its own node with it.
    pub(super) fn leaves(&self, peer: Peer) -> bool {
        let machine = self.supers.get(peer as usize).and_then(Option::as_ref).map(|running| &running.machine);
        let own = machine.and_then(|machine| machine.members().next());
        own.is_some_and(|own| own.content.capacity == 0)
    }

    /// Whether a peer is a supernode now.
    pub fn serves(&self, peer: Peer) -> bool {
        self.is_alive(peer)
    }

    /// Whether a process runs.
    pub fn runs(&self, peer: Peer) -> bool {
        self.children[peer as usize].stage != Stage::Away
    }
}
