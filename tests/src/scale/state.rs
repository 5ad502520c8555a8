//! How a net stands at a moment.

use serde::Serialize;

use super::{
    Net,
    figures::{Histogram, Summary},
    keeping::Spoken,
    names::Peer,
};

/// A net at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct State {
    /// Virtual seconds since the beginning.
    pub at: f64,
    /// Processes that run.
    pub running: u32,
    /// Of those, the ones at a home that lives.
    pub homed: u32,
    /// Of those, the ones whose home holds their whole journal.
    pub whole: u32,
    /// Supernodes.
    pub supernodes: u32,
    /// Children of a supernode, itself included.
    pub children: Summary,
    /// Links of a supernode's process.
    pub links: Summary,
    /// Members that a supernode is linked to.
    pub members: Summary,
    /// Nodes that a supernode's part of the directory holds.
    pub listed: Summary,
    /// Files that a supernode indexes.
    pub files: Summary,
    /// Bytes that a supernode sent and received since the last reset.
    pub sent: Summary,
    /// See there.
    pub received: Summary,
    /// Events that are planned.
    pub planned: u64,
}

/// What the machines of all supernodes counted that should not happen.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Trouble {
    /// Signed records that did not hold.
    pub bad_records: u64,
    /// Messages that fit nothing.
    pub strange: u64,
    /// Messages beyond a budget.
    pub over_budget: u64,
    /// Children's questions that were declined.
    pub declined: u64,
    /// Files that found no place.
    pub files_dropped: u64,
    /// Summaries that were asked for again.
    pub summaries_lost: u64,
    /// Links closed for misbehaviour.
    pub misbehaved: u64,
}

impl Net {
    /// The present state.
    pub fn state(&self) -> State {
        let alive = |peer: Peer| self.is_alive(peer);
        let running = self.children.iter().filter(|child| child.runs());
        let homed = running.clone().filter(|child| child.is_home() && alive(child.home));
        let whole = homed.clone().filter(|child| child.whole_since != 0);
        let mut state = State {
            at: self.now().as_secs_f64(),
            running: running.clone().count() as u32,
            homed: homed.count() as u32,
            whole: whole.count() as u32,
            supernodes: self.serving.len() as u32,
            planned: self.calendar.len() as u64,
            ..State::default()
        };
        let mut figures: [Histogram; 7] = Default::default();
        for peer in &self.serving {
            let Some(running) = &self.supers[*peer as usize] else { continue };
            let machine = &running.machine;
            let values = [
                machine.children() as u64,
                self.sides[*peer as usize].len() as u64,
                machine.members().count() as u64 - 1,
                machine.listed() as u64,
                machine.files() as u64,
                running.sent,
                running.received,
            ];
            figures.iter_mut().zip(values).for_each(|(figure, value)| figure.note(value));
        }
        let [children, links, members, listed, files, sent, received] =
            figures.map(|figure| figure.summary(1.0));
        State { children, links, members, listed, files, sent, received, ..std::mem::take(&mut state) }
    }

    /// What the machines that live now counted.
    pub fn trouble(&self) -> Trouble {
        let mut trouble = Trouble::default();
        for running in self.supers.iter().flatten() {
            let counters = running.machine.counters();
            trouble.bad_records += counters.bad_records;
            trouble.strange += counters.strange;
            trouble.over_budget += counters.over_budget;
            trouble.declined += counters.declined;
            trouble.files_dropped += counters.files_dropped;
            trouble.summaries_lost += counters.summaries_lost;
            trouble.misbehaved += counters.misbehaved;
        }
        trouble
    }

    /// How many nodes run, and how many of them are at a home that lives.
    pub fn running_and_homed(&self) -> (u32, u32) {
        let running = self.children.iter().filter(|child| child.runs());
        running.fold((0, 0), |(running, homed), child| {
            (running + 1, homed + u32::from(child.is_home() && self.is_alive(child.home)))
        })
    }

    /// The part of the running nodes whose living home holds their whole journal.
    pub fn whole_part(&self) -> f64 {
        let running = self.children.iter().filter(|child| child.runs());
        let (all, whole) = running.fold((0u32, 0u32), |(all, whole), child| {
            let is_whole = child.is_home() && child.whole_since != 0 && self.is_alive(child.home);
            (all + 1, whole + u32::from(is_whole))
        });
        if all == 0 { 1.0 } else { f64::from(whole) / f64::from(all) }
    }

    /// Whether every running node has a living home that holds its whole journal.
    pub fn all_whole(&self) -> bool {
        self.children
            .iter()
            .filter(|child| child.runs())
            .all(|child| child.is_home() && child.whole_since != 0 && self.is_alive(child.home))
    }

    /// Who serves now.
    pub fn serving(&self) -> Vec<Peer> {
        self.serving.iter().copied().collect()
    }

    /// The home of a node.
    pub fn home(&self, peer: Peer) -> Option<Peer> {
        Some(self.children[peer as usize].home).filter(|home| *home != super::names::NOBODY)
    }

    /// Counters of what was said begin anew.
    pub fn reset_traffic(&mut self) {
        self.traffic.reset();
        self.spoken = Spoken::from(self.calendar.now());
        (self.switches, self.put_off) = (0, 0);
        for running in self.supers.iter_mut().flatten() {
            (running.sent, running.received) = (0, 0);
        }
    }
}
