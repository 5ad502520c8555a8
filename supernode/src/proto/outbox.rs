//! What a machine has decided and the world has not yet carried out.

use std::collections::VecDeque;

use nearmesh_common::{
    NodeId,
    wire::{LinkMessage, NodeAddress, home::ToChild, mesh::Mesh},
};

use super::{CloseReason, Output};

/// Outputs, in order. Drained after every input, so it never holds more than one input's worth.
#[derive(Debug, Default)]
pub struct Outbox(VecDeque<Output>);

impl Outbox {
    /// To a child.
    pub fn child(&mut self, to: NodeId, message: ToChild) {
        self.0.push_back(Output::Send { to, message: LinkMessage::ToChild(message) });
    }

    /// To another supernode.
    pub fn mesh(&mut self, to: NodeId, message: Mesh) {
        self.0.push_back(Output::Send { to, message: LinkMessage::Mesh(message) });
    }

    /// Opens a link.
    pub fn dial(&mut self, peer: NodeAddress) {
        self.0.push_back(Output::Dial(peer));
    }

    /// Closes a link.
    pub fn close(&mut self, node: NodeId, reason: CloseReason) {
        self.0.push_back(Output::Close { node, reason });
    }

    /// Shows the world a revocation list that a peer sent.
    pub fn offered_crl(&mut self, der: Box<[u8]>) {
        self.0.push_back(Output::OfferedCrl(der));
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }
}
