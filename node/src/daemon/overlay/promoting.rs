//! Becoming a supernode while the node runs, and ceasing to be one.
//!
//! The machine of `proto::promotion` decides; this task tells it what it needs to know and does what it says. Who steps down goes
//! on answering its children until they have gone elsewhere, for a while.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    UnixMillis,
    nat::Reach,
    signed::Keyring,
    supernode_record::SupernodeRecord,
    wire::{NodeAddress, home::Neighbourhood},
};
use nearmesh_supernode::proto::{self as supernode, Peer, Supernode};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{Command, OverlayTask};
use crate::{
    config::Settings,
    daemon::{bandwidth, clock::now, connections::CloseCode, facts::facts, node::Node},
    durable,
    profile::Profile,
    proto::{
        self as client, Candidate, Load,
        promotion::{self, Input, Output, Promotion, Waits},
    },
};

/// How often it is looked at what the machine can give (guess: batteries and memory change slowly).
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What concerns the role of this node.
pub(super) struct Role {
    machine: Promotion,
    /// When the facts are looked at again.
    look_at: Instant,
    /// What was known of strangers then.
    reached: (Reach, usize),
    told: Option<Neighbourhood>,
    /// Until when children may still leave, once it was stepped down.
    draining: Option<Instant>,
}

/// The file that keeps the waits.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    switches: u32,
    last: UnixMillis,
}

impl Role {
    pub(super) fn new(settings: &Settings, profile: &Profile) -> Self {
        let config = promotion::Config { promote: settings.promote, waits: load(&file(profile)) };
        Self {
            machine: Promotion::new(config, rand::random(), now()),
            look_at: Instant::now(),
            reached: (Reach::Unknown, 0),
            told: None,
            draining: None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// In a sentence: why this node is, or is not, a supernode.
    pub(super) fn why(&self) -> String {
        self.machine.why(now()).to_string()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }
}

impl OverlayTask {
    pub(super) fn tell_role(&mut self, input: Input) {
        self.role.machine.handle(input, now());
        while let Some(output) = self.role.machine.poll_output() {
            match output {
                Output::Promote => {
                    info!(why = %self.role.why(), "this node becomes a supernode");
                    self.promote();
                }
                Output::Demote => self.demote(),
                Output::Measure => self.measure(),
                Output::Keep(waits) => keep(file(&self.node.profile), waits),
            }
        }
    }

    /// Once a second.
    pub(super) fn look_after_role(&mut self) {
        let known = self.node.whereabouts.borrow();
        let reached = (known.reach, known.witnesses);
        drop(known);
        if self.role.look_at <= Instant::now() || self.role.reached != reached {
            self.role.reached = reached;
            self.role.look_at = Instant::now() + LOOK_EVERY;
            self.tell_facts();
        }
        let around =
            self.supernode.as_ref().filter(|_| !self.role.is_draining()).map(Supernode::neighbourhood);
        if around.is_some() && around != self.role.told {
            self.role.told = around;
            around.into_iter().for_each(|around| self.tell_role(Input::Neighbourhood(around)));
        }
        let over = self.role.draining.is_some_and(|until| until <= Instant::now());
        let gone = self.supernode.as_ref().is_some_and(|machine| machine.children() <= 1);
        if self.role.is_draining() && (over || gone) {
            self.end_draining();
        }
    }

    fn tell_facts(&mut self) {
        let facts = facts(&self.node.whereabouts.borrow(), self.node.settings.metered);
        self.tell_role(Input::Facts(facts));
    }

    fn measure(&self) {
        let node = Arc::clone(&self.node);
        let home = self.client.home().map(|home| home.address.node);
        tokio::spawn(async move {
            let rate = match home {
                Some(home) => bandwidth::measure(&node, home).await,
                None => None,
            };
            let _ = node.commands.send(Command::Measured(rate)).await;
        });
    }

    /// Becomes a supernode, and its own child.
    pub fn promote(&mut self) {
        self.end_draining();
        if self.supernode.is_some() {
            return;
        }
        self.supernode = Some(self.new_supernode());
        self.client.handle(client::Input::Serving(true), now());
        self.role.told = None;
        self.tell_role(Input::Serving(true));
        self.publish();
    }

    fn new_supernode(&self) -> Supernode {
        let node: &Node = &self.node;
        let config = supernode::Config { capacity: node.settings.capacity };
        let keyring = Arc::clone(&node.keyring) as Arc<dyn Keyring>;
        let mut machine = Supernode::new(config, keyring, node.addresses(), rand::random(), now());
        if let Some(crl) = node.keyring.membership().crl() {
            machine.handle(supernode::Input::CrlAdopted(crl.der().into()), now());
        }
        let me = Peer { node: node.id, user: node.address.user.clone(), observed: node.listen };
        machine.handle(supernode::Input::LinkUp { peer: me }, now());
        for (_, peer) in self.linked.values() {
            machine.handle(supernode::Input::LinkUp { peer: peer.clone() }, now());
        }
        let known = self.client.candidates().into_iter().map(|candidate| candidate.address).collect();
        machine.handle(supernode::Input::Candidates(known), now());
        machine
    }

    /// Steps down, unless nobody else would be left.
    fn demote(&mut self) {
        let Some(machine) = &self.supernode else { return };
        let others: Vec<_> = machine.members().skip(1).map(|record| as_candidate(&record.content)).collect();
        if others.is_empty() {
            return self.tell_role(Input::Serving(true));
        }
        info!(why = %self.role.why(), "this node steps down");
        self.tell_supernode(supernode::Input::Drain);
        self.role.draining = Some(Instant::now() + promotion::DRAIN);
        self.client.handle(client::Input::Candidates(others), now());
        self.client.handle(client::Input::Serving(false), now());
        self.tell_role(Input::Serving(false));
        self.publish();
    }

    /// The last children are left to find out by themselves.
    fn end_draining(&mut self) {
        if self.role.draining.take().is_none() {
            return;
        }
        self.supernode = None;
        let unneeded: Vec<_> =
            self.linked.keys().copied().filter(|peer| !self.wanted.contains(peer)).collect();
        for peer in unneeded {
            self.close_link(peer, CloseCode::Done);
        }
        self.publish();
    }
}

fn as_candidate(record: &SupernodeRecord) -> Candidate {
    let address = NodeAddress { node: record.node, addresses: record.addresses.clone() };
    Candidate { heard: Some(record.sequence), load: Some(Load::of(record)), ..Candidate::new(address) }
}

fn file(profile: &Profile) -> PathBuf {
    profile.directory().join("promotion.json")
}

/// None were made if the file is missing or cannot be read: that costs the net a switch at most.
fn load(path: &Path) -> Waits {
    let read = std::fs::read(path).ok();
    let row = read.and_then(|text| serde_json::from_slice::<Row>(&text).ok());
    row.map(|row| Waits { switches: row.switches, last: row.last }).unwrap_or_default()
}

fn keep(path: PathBuf, waits: Waits) {
    let row = Row { switches: waits.switches, last: waits.last };
    tokio::task::spawn_blocking(move || {
        let text = serde_json::to_vec(&row).expect("a row is plain data");
        if let Err(error) = durable::replace(&path, &text) {
            warn!(%error, "the change of role was not written down");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promotion.json");
        assert_eq!(load(&path), Waits::default());
        let row = Row { switches: 3, last: UnixMillis(77) };
        durable::replace(&path, &serde_json::to_vec(&row).unwrap()).unwrap();
        assert_eq!(load(&path), Waits { switches: 3, last: UnixMillis(77) });
    }
}
