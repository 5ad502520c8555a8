//! Roles that change while the net lives: the real promotion machine of each node that strangers can reach, and what the daemon does
//! around it.

use std::time::Duration;

use nearmesh::{
    config::Promote,
    proto::promotion::{Config, DRAIN, Facts, Input, Output, Promotion, Reached, Waits},
};
use nearmesh_common::wire::home::Neighbourhood;
use rand::RngExt;

use super::{
    Event, Net,
    calendar::{Moment, nanos},
    child::KNOWN,
    links::Role as LinkRole,
    names::{self, NOBODY, Peer},
};

/// How often a node looks at what it can give, and a supernode at how full it is.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What every node here has to give: more than is asked.
const PLENTY: u64 = 1 << 32;

/// A node's role.
pub(super) struct Role {
    machine: Promotion,
    planned: Moment,
    told: Option<Neighbourhood>,
    drained_at: Moment,
    waits: Waits,
}

impl Net {
    /// The process of a node that others can reach starts.
    pub(super) fn begin_role(&mut self, peer: Peer) {
        if !self.setup.promote || !self.children[peer as usize].reachable {
            return;
        }
        let waits = self.roles.get(&peer).map(|role| role.waits).unwrap_or_default();
        let config = Config { promote: Promote::Auto, waits };
        let machine = Promotion::new(config, self.rng.random(), self.calendar.moment());
        self.roles.insert(peer, Box::new(Role { machine, planned: 0, told: None, drained_at: 0, waits }));
        if self.children[peer as usize].serves {
            self.tell_role(peer, Input::Serving(true));
        }
        let first = self.rng.random_range(0..nanos(LOOK_EVERY));
        self.calendar.at(self.calendar.now() + first, Event::Look(peer));
    }

    /// What the role's machine should know from time to time.
    pub(super) fn look(&mut self, peer: Peer) {
        let now = self.calendar.now();
        if !self.children[peer as usize].runs() || !self.roles.contains_key(&peer) {
            return;
        }
        let reached = if self.serving.len() > 1 { Reached::ByTwo } else { Reached::ByOne };
        let facts = Facts {
            reached,
            memory: Some(PLENTY),
            descriptors: Some(PLENTY),
            metered: Some(false),
            on_battery: Some(false),
        };
        self.tell_role(peer, Input::Facts(facts));
        let machine = self.supers[peer as usize].as_ref().map(|running| &running.machine);
        let around =
            machine.filter(|_| self.children[peer as usize].serves).map(|machine| machine.neighbourhood());
        let children = machine.map_or(0, |machine| machine.children());
        if let Some(role) = self.roles.get_mut(&peer)
            && around.is_some()
            && role.told != around
        {
            role.told = around;
            around.into_iter().for_each(|around| self.tell_role(peer, Input::Neighbourhood(around)));
        }
        let drains = self.roles.get(&peer).map_or(0, |role| role.drained_at);
        if drains != 0 && (drains <= now || children <= 1) {
            self.end_serving(peer);
        }
        // Facts change rarely: who has nothing to say or to drain is looked at a few times only.
        let busy = self.children[peer as usize].serves || drains != 0;
        let wait = if busy { nanos(LOOK_EVERY) } else { nanos(LOOK_EVERY) * 15 };
        self.calendar.at(now + wait, Event::Look(peer));
    }

    pub(super) fn wake_role(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let due = self.roles.get_mut(&peer).filter(|role| role.planned == now);
        if due.map(|role| role.planned = 0).is_some() && self.children[peer as usize].runs() {
            self.tell_role(peer, Input::Timeout);
        }
    }

    pub(super) fn tell_role(&mut self, peer: Peer, input: Input) {
        let now = self.calendar.moment();
        let Some(role) = self.roles.get_mut(&peer) else { return };
        role.machine.handle(input, now);
        while let Some(output) = self.roles.get_mut(&peer).and_then(|role| role.machine.poll_output()) {
            match output {
                Output::Promote => self.promote(peer),
                Output::Demote => self.demote(peer),
                Output::Measure => {
                    if let Some(role) = self.roles.get_mut(&peer) {
                        role.machine.handle(Input::Measured(Some(PLENTY)), now);
                    }
                }
                Output::Keep(waits) => {
                    if let Some(role) = self.roles.get_mut(&peer) {
                        role.waits = waits;
                    }
                }
            }
        }
        self.plan_role(peer);
    }

    fn plan_role(&mut self, peer: Peer) {
        let now = self.calendar.now();
        let Some(role) = self.roles.get_mut(&peer) else { return };
        let Some(at) = role.machine.poll_timeout() else { return };
        let at = self.calendar.of(at).max(now + 1000);
        if role.planned == 0 || at < role.planned || role.planned <= now {
            role.planned = at;
            self.calendar.at(at, Event::WakeRole(peer));
        }
    }

    fn promote(&mut self, peer: Peer) {
        self.end_serving(peer);
        if self.supers[peer as usize].is_none() {
            self.switches += 1;
            let child = &self.children[peer as usize];
            let known: Vec<Peer> = child.known.into_iter().chain([child.home, child.standby]).collect();
            let known: Vec<Peer> = known.into_iter().filter(|known| *known != NOBODY).collect();
            self.begin_serving(peer, &known);
            self.attach_to_own_later(peer);
        }
        self.tell_role(peer, Input::Serving(true));
    }

    fn demote(&mut self, peer: Peer) {
        if self.serving.len() <= 1 {
            return self.tell_role(peer, Input::Serving(true));
        }
        self.switches += 1;
        let machine = self.supers[peer as usize].as_ref().map(|running| &running.machine);
        let others = machine.into_iter().flat_map(|machine| machine.members().skip(1));
        let others: Vec<Peer> = others.map(|record| names::peer(&record.content.node)).take(KNOWN).collect();
        self.serving.remove(&peer);
        let child = &mut self.children[peer as usize];
        child.serves = false;
        others.into_iter().for_each(|other| child.learn(other, false, 0));
        self.step_down(peer);
        if let Some(role) = self.roles.get_mut(&peer) {
            (role.drained_at, role.told) = (self.calendar.now() + nanos(DRAIN), None);
        }
        if self.children[peer as usize].home == peer {
            self.lose_home(peer);
            self.plan_child(peer);
        }
        self.tell_role(peer, Input::Serving(false));
    }

    /// The last children are left to find out by themselves.
    fn end_serving(&mut self, peer: Peer) {
        let drains = self.roles.get_mut(&peer).map(|role| std::mem::take(&mut role.drained_at));
        if drains.unwrap_or(0) == 0 {
            return;
        }
        self.supers[peer as usize] = None;
        self.sides[peer as usize].remove(peer);
        for (other, _) in self.sides[peer as usize].all() {
            self.close(peer, LinkRole::Supernode, other);
        }
        if self.children[peer as usize].home == peer {
            self.child_link_gone(peer, peer);
        }
    }
}
