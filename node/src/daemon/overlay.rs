//! The overlay task: the one place that owns both protocol machines and lets the world reach them.
//!
//! Everything that concerns the overlay arrives here as an event, in one order: messages from links, questions from the user,
//! measurements, timers. The machines decide; this task carries their decisions out and publishes what a user may
//! see as an [`Overlay`]. A supernode is its own home: what its two machines say to each other never leaves
//! this task.

mod outputs;
mod pacing;
mod promoting;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    pace::Pace,
    signed::Keyring,
    wire::{
        LinkMessage, NodeAddress,
        home::{DialBack, Refusal, RequestId, ToChild, ToHome},
        signal::Signal,
    },
};
use nearmesh_relay::proto::nat;
use nearmesh_supernode::proto::{self as supernode, Peer, Supernode};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::{debug, info};

use super::{
    clock::now,
    connections::CloseCode,
    links::{LinkEvent, LinkId},
    node::Node,
};
use crate::{
    config::Promote,
    proto::{self as client, Candidate, Client, Event, Question, Reached, promotion},
};

use promoting::Role;
pub use view::Overlay;

/// How often round trips are read from the transport and the published view is renewed.
const TICK: Duration = Duration::from_secs(1);
/// All links are looked after in one tick of so many: a child's changes with what it says, and its round trip matters only where it is to relay.
const ALL_LINKS_EVERY: u32 = 10;
/// How long an authority that may promote itself looks for a supernode before it becomes the first.
const FIRST_SUPERNODE_AFTER: Duration = Duration::from_secs(3);
/// Inputs waiting for this task: beyond it whoever produces them waits.
pub const QUEUE: usize = 1024;

/// What the rest of the node may ask of the overlay.
#[derive(Debug)]
pub enum Command {
    /// Ask the net; answers come as events with this id, until one that ends the question.
    Ask {
        /// Unique in this process.
        id: RequestId,
        /// What.
        question: Question,
        /// Where the answers go. A receiver that is dropped, or does not keep up, cancels.
        answers: mpsc::Sender<Event>,
    },
    /// No more answers, please.
    Cancel(RequestId),
    /// This node is reached in another way now.
    Reached(Reached),
    /// Supernodes learnt elsewhere.
    Candidates(Vec<NodeAddress>),
    /// Ask a supernode for a packet to this node, on the link to it.
    DialBack {
        /// Whom.
        of: NodeId,
        /// For what.
        request: DialBack,
    },
    /// What became of a packet that a peer had asked for.
    DialBackSent {
        /// Who had asked.
        asker: NodeId,
        /// What it carried.
        token: [u8; 16],
        /// From which port it was sent; none if it was not.
        port: Option<u16>,
    },
    /// Say something to a node whose home is `home`.
    Signal {
        /// The other node's home.
        home: NodeId,
        /// What.
        signal: Box<Signal>,
    },
    /// A revocation list to look at, ours or a peer's.
    Crl(Box<[u8]>),
    /// How many bytes a second go to the home, if that could be measured.
    Measured(Option<u64>),
    /// Leave politely, then say so.
    Leave(oneshot::Sender<()>),
}

/// The task's own state.
pub struct OverlayTask {
    node: Arc<Node>,
    client: Client,
    supernode: Option<Supernode>,
    role: Role,
    /// Links that are up, by peer.
    linked: BTreeMap<NodeId, (LinkId, Peer)>,
    /// Links that the client asked for.
    wanted: BTreeSet<NodeId>,
    /// How quick the client wants its links.
    paces: BTreeMap<NodeId, Pace>,
    asking: BTreeMap<RequestId, mpsc::Sender<Event>>,
    /// Results of work that this task started.
    feedback: mpsc::Sender<client::Input>,
    view: watch::Sender<Overlay>,
    started: Instant,
    ticks: u32,
}

impl OverlayTask {
    /// The task, with what it knows of the net at first.
    pub fn new(
        node: Arc<Node>,
        feedback: mpsc::Sender<client::Input>,
        view: watch::Sender<Overlay>,
        known: Vec<Candidate>,
    ) -> Self {
        let config = client::Config { reached: node.reached(), journal: node.shares.mark(), serving: false };
        let keyring = Arc::clone(&node.keyring) as Arc<dyn Keyring>;
        let mut client = Client::new(config, keyring, rand::random(), now());
        client.handle(client::Input::Candidates(known), now());
        if let Some(crl) = node.keyring.membership().crl() {
            client.handle(client::Input::CrlAdopted(crl.der().into()), now());
        }
        Self {
            role: Role::new(&node.settings, &node.profile),
            node,
            client,
            supernode: None,
            linked: BTreeMap::new(),
            wanted: BTreeSet::new(),
            paces: BTreeMap::new(),
            asking: BTreeMap::new(),
            feedback,
            view,
            started: Instant::now(),
            ticks: 0,
        }
    }

    /// Runs until told to leave, or until nobody can tell it anything any more.
    pub async fn run(
        mut self,
        mut links: mpsc::Receiver<LinkEvent>,
        mut commands: mpsc::Receiver<Command>,
        mut feedback: mpsc::Receiver<client::Input>,
    ) {
        let mut journal = self.node.shares.watch_mark();
        // It may have moved on since the machine was made, and what came before a watch begins is no change to it.
        journal.mark_changed();
        let mut tick = tokio::time::interval(TICK);
        loop {
            self.carry_out();
            let wake = self.next_timeout();
            tokio::select! {
                Some(event) = links.recv() => self.on_link(event),
                Some(input) = feedback.recv() => self.client.handle(input, now()),
                Some(command) = commands.recv() => match command {
                    Command::Leave(done) => {
                        self.leave();
                        let _ = done.send(());
                        return;
                    }
                    command => self.on_command(command),
                },
                Ok(()) = journal.changed() => {
                    let mark = *journal.borrow_and_update();
                    self.client.handle(client::Input::Journal(mark), now());
                }
                _ = tick.tick() => self.on_tick(),
                () = sleep_until(wake.into()) => self.on_timeout(),
                else => return,
            }
        }
    }

    fn next_timeout(&self) -> Instant {
        let supernode = self.supernode.as_ref().and_then(Supernode::poll_timeout);
        [self.client.poll_timeout(), supernode, self.role.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + TICK)
    }

    fn on_timeout(&mut self) {
        let now = now();
        self.client.handle(client::Input::Timeout, now);
        self.tell_supernode(supernode::Input::Timeout);
        self.tell_role(promotion::Input::Timeout);
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { id, peer } => self.on_link_up(id, peer),
            LinkEvent::Down { id, node } => {
                if self.linked.get(&node).is_some_and(|(current, _)| *current == id) {
                    self.on_link_down(node);
                }
            }
            LinkEvent::DialFailed { node } => {
                if self.wanted.remove(&node) {
                    self.client.handle(client::Input::DialFailed { node }, now());
                }
                self.tell_supernode(supernode::Input::DialFailed { node });
            }
            LinkEvent::Message { id, node, message } => {
                if self.linked.get(&node).is_some_and(|(current, _)| *current == id) {
                    self.on_message(node, *message);
                }
            }
        }
    }

    fn on_link_down(&mut self, node: NodeId) {
        if self.linked.remove(&node).is_none() {
            return;
        }
        self.paces.remove(&node);
        if self.wanted.remove(&node) {
            self.client.handle(client::Input::LinkDown { node }, now());
        }
        self.tell_supernode(supernode::Input::LinkDown { node });
    }

    fn on_link_up(&mut self, id: LinkId, peer: Peer) {
        let node = peer.node;
        self.linked.insert(node, (id, peer.clone()));
        if !self.node.endpoint.has_sought(peer.observed) {
            let _ = self.node.discovery.try_send(nat::Input::Stranger { from: peer.observed });
        }
        if self.wanted.contains(&node) {
            self.client.handle(client::Input::LinkUp { node }, now());
        }
        self.tell_supernode(supernode::Input::LinkUp { peer });
        self.pace(node);
    }

    fn on_message(&mut self, from: NodeId, message: LinkMessage) {
        match message {
            LinkMessage::ToChild(ToChild::DialBack(answer)) => {
                let _ = self.node.discovery.try_send(nat::Input::Answered { of: from, answer });
            }
            LinkMessage::ToChild(message) => {
                self.client.handle(client::Input::Received { from, message }, now());
            }
            LinkMessage::ToHome(message) => match self.supernode {
                Some(_) => {
                    if matches!(message, ToHome::DialBack(_)) {
                        self.note_where(from);
                    }
                    self.tell_supernode(supernode::Input::FromChild { from, message });
                    self.pace(from);
                }
                None => self.answer_as_no_supernode(from, &message),
            },
            LinkMessage::Mesh(message) => match self.supernode {
                Some(_) => self.tell_supernode(supernode::Input::FromMesh { from, message }),
                None => self.node.links.close(from, CloseCode::Done),
            },
            // The links themselves take these.
            LinkMessage::Pulse(_) => {}
        }
    }

    /// A node that still takes this one for a supernode is told, and finds another.
    fn answer_as_no_supernode(&self, from: NodeId, message: &ToHome) {
        debug!(from = %from.short(), "asked as a supernode, which this node is not");
        if matches!(message, ToHome::Attach { .. } | ToHome::Standby | ToHome::ListSupernodes) {
            let refusal = ToChild::Refused(Refusal::NotASupernode);
            self.node.links.send(from, LinkMessage::ToChild(refusal));
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Ask { id, question, answers } => {
                self.asking.insert(id, answers);
                self.client.handle(client::Input::Ask { id, question }, now());
            }
            Command::Cancel(id) => self.cancel(id),
            Command::Reached(reached) => {
                let addresses = reached.addresses.clone();
                self.client.handle(client::Input::Reached(reached), now());
                self.tell_supernode(supernode::Input::Addresses(addresses));
            }
            Command::Candidates(found) => {
                let candidates = found.iter().cloned().map(Candidate::new).collect();
                self.client.handle(client::Input::Candidates(candidates), now());
                self.tell_supernode(supernode::Input::Candidates(found));
            }
            Command::DialBack { of, request } => {
                self.node.links.send(of, LinkMessage::ToHome(ToHome::DialBack(request)));
            }
            Command::DialBackSent { asker, token, port } => {
                self.tell_supernode(supernode::Input::DialBackSent { asker, token, port });
            }
            Command::Signal { home, signal } => {
                self.client.handle(client::Input::Signal { home, signal }, now());
            }
            Command::Crl(der) => self.consider_crl(&der),
            Command::Measured(rate) => self.tell_role(promotion::Input::Measured(rate)),
            Command::Leave(_) => {}
        }
    }

    fn cancel(&mut self, id: RequestId) {
        if self.asking.remove(&id).is_some() {
            self.client.handle(client::Input::Cancel(id), now());
        }
    }

    fn on_tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.look_after_links(self.ticks.is_multiple_of(ALL_LINKS_EVERY));
        if self.should_be_the_first_supernode() {
            info!("no supernode of the net answers: this node, the net's authority, becomes the first");
            self.promote();
        }
        self.look_after_role();
        self.publish();
    }

    /// How quick each link is, and what its round trip is: of members in each tick, of thousands of children now and then.
    fn look_after_links(&mut self, all: bool) {
        let nodes: Vec<NodeId> = match &self.supernode {
            Some(machine) if !all => machine.members().map(|record| record.content.node).collect(),
            _ => self.linked.keys().copied().collect(),
        };
        for node in nodes {
            self.pace(node);
            if let Some(rtt) = self.node.links.rtt(node) {
                self.tell_supernode(supernode::Input::Rtt { node, rtt });
            }
        }
    }

    /// A net of which nobody serves has nobody who could say that it is short of supernodes.
    fn should_be_the_first_supernode(&self) -> bool {
        self.supernode.is_none()
            && self.node.settings.promote == Promote::Auto
            && self.node.authority.is_some()
            && self.client.home().is_none()
            && self.started.elapsed() >= FIRST_SUPERNODE_AFTER
    }

    /// Who asks for a dial-back wants it where it is now: its connection may have followed it there.
    fn note_where(&mut self, node: NodeId) {
        let connection = self.node.links.connection(node);
        let observed = connection.and_then(|connection| self.node.endpoint.direct_remote(&connection));
        if let Some(observed) = observed {
            self.tell_supernode(supernode::Input::Moved { node, observed });
        }
    }

    fn tell_supernode(&mut self, input: supernode::Input) {
        if let Some(machine) = &mut self.supernode {
            machine.handle(input, now());
        }
    }

    /// Closes a link. Both machines hear of it as they would of one that broke.
    fn close_link(&mut self, node: NodeId, code: CloseCode) {
        self.node.links.close(node, code);
        self.on_link_down(node);
    }

    /// Adopts a revocation list that is newer and signed by the root, and spreads it.
    fn consider_crl(&mut self, der: &[u8]) {
        if !self.node.adopt_crl(der) {
            return;
        }
        for (node, connection) in self.node.links.connections() {
            if self.node.is_revoked(&connection) {
                info!(peer = %node.short(), "revoked: its link is closed");
                self.close_link(node, CloseCode::Revoked);
            }
        }
        for (node, connection) in self.node.connections.all() {
            if self.node.is_revoked(&connection) {
                debug!(peer = %node.short(), "revoked: its connection is closed");
                connection.close(CloseCode::Revoked.into(), b"revoked");
            }
        }
        self.client.handle(client::Input::CrlAdopted(der.into()), now());
        self.tell_supernode(supernode::Input::CrlAdopted(der.into()));
    }

    /// Tells the home, the children and the other supernodes that this node leaves.
    fn leave(&mut self) {
        self.client.handle(client::Input::Leave, now());
        self.carry_out();
        self.tell_supernode(supernode::Input::StepDown);
        self.carry_out();
    }
}
