//! Carrying out what the machines decided.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use nearmesh_common::{
    NodeId,
    wire::{LinkMessage, NodeAddress, file::JournalMark, home::RequestId},
};
use nearmesh_relay::{io::probe::PROBE_ROUNDS, proto::nat::Token};
use nearmesh_supernode::proto::{self as supernode, CloseReason, Supernode};
use tracing::{info, warn};

use super::{Command, OverlayTask};
use crate::{
    daemon::{clock::now, connections::CloseCode, host_cache},
    proto::{self as client, Candidate, Event, promotion},
    shares::Batch,
};

impl OverlayTask {
    /// Carries out what the machines decided, until neither has anything more to say.
    pub(super) fn carry_out(&mut self) {
        loop {
            if let Some(output) = self.client.poll_output() {
                self.on_client_output(output);
            } else if let Some(output) = self.supernode.as_mut().and_then(Supernode::poll_output) {
                self.on_supernode_output(output);
            } else {
                return;
            }
        }
    }

    fn on_client_output(&mut self, output: client::Output) {
        match output {
            client::Output::Dial(peer) => self.dial_for_client(peer),
            client::Output::Close(node) => {
                self.wanted.remove(&node);
                self.paces.remove(&node);
                if self.supernode.is_none() {
                    self.linked.remove(&node);
                    self.node.links.close(node, CloseCode::Done);
                }
            }
            client::Output::Send { to, message } if to == self.node.id => {
                self.tell_supernode(supernode::Input::FromChild { from: to, message });
            }
            client::Output::Send { to, message } => {
                self.node.links.send(to, LinkMessage::ToHome(message));
            }
            client::Output::Probe { to, rounds } => self.probe(to, rounds),
            client::Output::Pace { node, pace } => self.pace_link(node, pace),
            client::Output::ProbeRelay(relay) => self.probe_relay(relay),
            client::Output::ReadJournal { after, limit } => {
                self.read_journal(after, limit);
            }
            client::Output::Event(event) => self.on_event(event),
            client::Output::OfferedCrl(der) => self.consider_crl(&der),
        }
    }

    fn read_journal(&mut self, after: JournalMark, limit: usize) {
        match self.node.shares.changes_after(after, limit) {
            Ok(Batch { after, upto, changes }) => {
                self.client.handle(client::Input::Changes { after, upto, changes }, now());
            }
            Err(error) => warn!("failed to {error}: the shared files are not registered"),
        }
    }

    fn dial_for_client(&mut self, peer: NodeAddress) {
        let node = peer.node;
        self.wanted.insert(node);
        if node == self.node.id || self.linked.contains_key(&node) {
            self.client.handle(client::Input::LinkUp { node }, now());
            self.pace(node);
        } else {
            self.dial(peer);
        }
    }

    fn dial(&self, peer: NodeAddress) {
        let node = Arc::clone(&self.node);
        tokio::spawn(async move { Arc::clone(&node.links).dial(&node, peer).await });
    }

    fn probe(&self, peer: NodeAddress, rounds: u32) {
        let (node, feedback) = (Arc::clone(&self.node), self.feedback.clone());
        tokio::spawn(async move {
            let known = if peer.node == node.id { Some(Duration::ZERO) } else { node.links.rtt(peer.node) };
            let rtt = match known {
                Some(rtt) => Some(rtt),
                None => node.nearest(&peer.addresses, rounds).await.map(|(_, rtt)| rtt),
            };
            let _ = feedback.send(client::Input::Probed { node: peer.node, rtt }).await;
        });
    }

    fn probe_relay(&self, relay: NodeAddress) {
        let (node, feedback) = (Arc::clone(&self.node), self.feedback.clone());
        tokio::spawn(async move {
            let answer = node.nearest(&relay.addresses, PROBE_ROUNDS).await;
            let _ = feedback.send(client::Input::RelayProbed { node: relay.node, answer }).await;
        });
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Home(_) | Event::Standby(_) | Event::Registered(_) => {
                if let Event::Home(home) = &event {
                    home.iter().for_each(|home| info!(home = %home.address.node.short(), "attached"));
                    self.tell_role(promotion::Input::Home(home.is_some()));
                }
                self.publish();
            }
            Event::Neighbourhood(around) => self.tell_role(promotion::Input::Neighbourhood(around)),
            Event::Relays(relays) => {
                self.node.relays.send_replace(relays);
            }
            Event::HostCache(candidates) => self.save_host_cache(candidates),
            Event::Signal { home, signal } => self.node.on_signal(home, *signal),
            Event::Hits { id, .. } => self.deliver(id, event, false),
            Event::SearchDone { id, .. } | Event::Found { id, .. } | Event::Failed { id, .. } => {
                self.deliver(id, event, true);
            }
        }
    }

    fn send_dial_back(&self, to: SocketAddr, token: [u8; 16], asker: Option<NodeId>) {
        let node = Arc::clone(&self.node);
        tokio::spawn(async move {
            let port = node.endpoint.dial_back(to, Token(token)).await;
            if let Some(asker) = asker {
                let _ = node.commands.send(Command::DialBackSent { asker, token, port }).await;
            }
        });
    }

    fn save_host_cache(&self, candidates: Vec<Candidate>) {
        let path = self.node.profile.host_cache();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = host_cache::save(&path, candidates) {
                warn!(%error, "the host cache was not written down");
            }
        });
    }

    /// Hands an answer to whoever asked. One that has gone, or does not keep up, has lost interest.
    fn deliver(&mut self, id: RequestId, event: Event, last: bool) {
        let gone = self.asking.get(&id).is_some_and(|answers| answers.try_send(event).is_err());
        if last {
            self.asking.remove(&id);
        } else if gone {
            self.cancel(id);
        }
    }

    fn on_supernode_output(&mut self, output: supernode::Output) {
        match output {
            supernode::Output::Send { to, message } if to == self.node.id => {
                if let LinkMessage::ToChild(message) = message {
                    self.client.handle(client::Input::Received { from: to, message }, now());
                }
            }
            supernode::Output::Send { to, message } => {
                self.node.links.send(to, message);
            }
            supernode::Output::Dial(peer) => match self.linked.get(&peer.node) {
                Some((_, peer)) => {
                    let peer = peer.clone();
                    self.tell_supernode(supernode::Input::LinkUp { peer });
                }
                None => self.dial(peer),
            },
            supernode::Output::Release(node) => {
                if !self.wanted.contains(&node) {
                    self.close_link(node, CloseCode::Done);
                }
            }
            supernode::Output::Close { node, reason } => {
                let code = match reason {
                    CloseReason::Misbehaved => CloseCode::Misbehaved,
                    CloseReason::Revoked => CloseCode::Revoked,
                    CloseReason::Unneeded => CloseCode::Done,
                };
                if !(reason == CloseReason::Unneeded && self.wanted.contains(&node)) {
                    self.close_link(node, code);
                }
            }
            supernode::Output::SendDialBack { to, token, asker } => self.send_dial_back(to, token, asker),
            supernode::Output::OfferedCrl(der) => self.consider_crl(&der),
        }
    }
}
