//! What every sub-protocol may use of the outside: keys, the moment, chance, open links, and what is to be done.

use std::{collections::VecDeque, fmt, net::SocketAddr, sync::Arc};

use nearmesh_common::{
    NodeId, Now,
    presence::Presence,
    signed::{Keyring, Signed, Verified},
    supernode_record::SupernodeRecord,
    wire::{LinkMessage, NodeAddress, home::ToChild, mesh::Mesh},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{CloseReason, Output, budget::Charge, links::Links};

/// What happened that should not, and how often. For status pages and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Signed records that did not hold: forged, expired, replayed, about somebody else.
    pub bad_records: u64,
    /// Messages that fit nothing: answers to what was not asked, changes of unknown members.
    pub strange: u64,
    /// Messages beyond a peer's budget.
    pub over_budget: u64,
    /// Queries that came again.
    pub repeated_queries: u64,
    /// Children's questions that were declined.
    pub declined: u64,
    /// Attachments and batches of files that have to come again, because too many came at once.
    pub put_off: u64,
    /// Files that found no place in the index.
    pub files_dropped: u64,
    /// Views of a peer's summary that were lost and asked for again.
    pub summaries_lost: u64,
    /// Links closed for misbehaviour.
    pub misbehaved: u64,
}

pub(super) struct World {
    pub(super) keyring: Arc<dyn Keyring>,
    pub(super) now: Now,
    pub(super) rng: ChaCha8Rng,
    pub(super) links: Links,
    pub(super) counters: Counters,
    silenced: VecDeque<NodeId>,
    doubted: VecDeque<NodeId>,
    outputs: VecDeque<Output>,
    closed: VecDeque<NodeId>,
}

impl World {
    pub(super) fn new(keyring: Arc<dyn Keyring>, seed: [u8; 32], now: Now) -> Self {
        Self {
            keyring,
            now,
            rng: ChaCha8Rng::from_seed(seed),
            links: Links::default(),
            counters: Counters::default(),
            silenced: VecDeque::new(),
            doubted: VecDeque::new(),
            outputs: VecDeque::new(),
            closed: VecDeque::new(),
        }
    }

    pub(super) fn own(&self) -> NodeId {
        self.keyring.node()
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A supernode let a question wait for too long that it should have answered at once.
    pub(super) fn fell_silent(&mut self, node: &NodeId) {
        self.silenced.push_back(*node);
    }

    /// One that fell silent and is taken for silent from now on, and whether that is news. One at a time, as each changes whose turn it is.
    pub(super) fn poll_silenced(&mut self) -> Option<(NodeId, bool)> {
        let node = self.silenced.pop_front()?;
        Some((node, self.links.silence(&node)))
    }

    /// A supernode let a question wait that it may have to pass on: perhaps it is not there.
    pub(super) fn doubt(&mut self, node: &NodeId) {
        if !self.links.is_silent(node) {
            self.doubted.push_back(*node);
        }
    }

    /// One that is to be asked whether it is there.
    pub(super) fn poll_doubted(&mut self) -> Option<NodeId> {
        self.doubted.pop_front()
    }

    /// A link that was closed by [`Self::close`] and whose end the parent has still to route.
    pub(super) fn poll_closed(&mut self) -> Option<NodeId> {
        self.closed.pop_front()
    }

    pub(super) fn tell_child(&mut self, to: NodeId, message: ToChild) {
        self.send(to, LinkMessage::ToChild(message));
    }

    pub(super) fn tell_mesh(&mut self, to: NodeId, message: Mesh) {
        self.send(to, LinkMessage::Mesh(message));
    }

    pub(super) fn dial(&mut self, address: NodeAddress) {
        self.outputs.push_back(Output::Dial(address));
    }

    pub(super) fn send_dial_back(&mut self, to: SocketAddr, token: [u8; 16], asker: Option<NodeId>) {
        self.outputs.push_back(Output::SendDialBack { to, token, asker });
    }

    pub(super) fn offer_crl(&mut self, crl: Box<[u8]>) {
        self.outputs.push_back(Output::OfferedCrl(crl));
    }

    pub(super) fn close(&mut self, node: NodeId, reason: CloseReason) {
        if !self.links.contains(&node) || self.closed.contains(&node) {
            return;
        }
        if reason == CloseReason::Misbehaved {
            self.counters.misbehaved += 1;
            tracing::debug!(%node, "a peer broke the protocol");
        }
        self.outputs.push_back(Output::Close { node, reason });
        self.closed.push_back(node);
    }

    /// We need this link no more.
    pub(super) fn release(&mut self, node: NodeId) {
        self.outputs.push_back(Output::Release(node));
    }

    /// A link that there is no room for.
    pub(super) fn refuse_link(&mut self, node: NodeId) {
        self.outputs.push_back(Output::Close { node, reason: CloseReason::Unneeded });
    }

    /// Whether `node` may have `count` of these; counted if not.
    pub(super) fn charge(&mut self, node: &NodeId, charge: Charge, count: usize) -> bool {
        let paid = self.links.charge(node, charge, count, self.now);
        if !paid {
            self.counters.over_budget += 1;
            tracing::debug!(%node, ?charge, "over its budget");
        }
        paid
    }

    pub(super) fn strange(&mut self, from: &NodeId, what: &'static str) {
        self.counters.strange += 1;
        tracing::debug!(%from, what, "dropped");
    }

    /// A presence, if it holds.
    pub(super) fn presence(&mut self, signed: Signed<Presence>) -> Option<Verified<Presence>> {
        let verified = self.keyring.verify(signed, self.now.wall);
        let admitted = verified.map(|verified| verified.admit(self.now.wall));
        self.counted(admitted)
    }

    /// A supernode's record, if it holds.
    pub(super) fn record(&mut self, signed: Signed<SupernodeRecord>) -> Option<Verified<SupernodeRecord>> {
        let verified = self.keyring.verify(signed, self.now.wall);
        let admitted = verified.map(|verified| verified.admit(self.now.wall));
        self.counted(admitted)
    }

    fn counted<T>(&mut self, outcome: Result<Result<T, impl fmt::Display>, impl fmt::Display>) -> Option<T> {
        let error: &dyn fmt::Display = match &outcome {
            Ok(Ok(_)) => return outcome.ok().and_then(Result::ok),
            Ok(Err(error)) => error,
            Err(error) => error,
        };
        tracing::debug!(%error, "dropped a record");
        self.counters.bad_records += 1;
        None
    }

    fn send(&mut self, to: NodeId, message: LinkMessage) {
        if self.links.contains(&to) && !self.closed.contains(&to) {
            self.outputs.push_back(Output::Send { to, message });
        }
    }
}
