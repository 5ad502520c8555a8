//! What a user may see of the overlay.

use std::time::Duration;

use nearmesh_common::{NodeId, supernode_record::SupernodeRecord, wire::NodeAddress};
use nearmesh_supernode::proto::Supernode;

use super::OverlayTask;
use crate::proto::{Candidate, Home};

/// What a user may see of the overlay.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Where this node is registered.
    pub home: Option<Home>,
    /// Its second.
    pub standby: Option<NodeId>,
    /// Whether this node is a supernode.
    pub serving: bool,
    /// In a sentence: why it is, or is not, a supernode.
    pub why: String,
    /// Its children, where it is.
    pub children: usize,
    /// Supernodes known, itself included.
    pub supernodes: Vec<KnownSupernode>,
}

/// A supernode, as far as this node knows it.
#[derive(Clone, Debug)]
pub struct KnownSupernode {
    /// Where.
    pub address: NodeAddress,
    /// Children and capacity, if it said so.
    pub load: Option<(u32, u32)>,
    /// Last measured round trip.
    pub rtt: Option<Duration>,
}

impl OverlayTask {
    /// Shows the overlay as it stands.
    pub(super) fn publish(&self) {
        let candidates = self.client.candidates();
        let supernodes = match &self.supernode {
            Some(machine) => {
                machine.members().map(|record| self.known(&record.content, &candidates)).collect()
            }
            None => candidates.into_iter().map(KnownSupernode::from).collect(),
        };
        self.view.send_replace(Overlay {
            home: self.client.home(),
            standby: self.client.standby(),
            serving: self.supernode.is_some() && !self.role.is_draining(),
            why: self.role.why(),
            children: self.supernode.as_ref().map_or(0, Supernode::children),
            supernodes,
        });
    }

    fn known(&self, record: &SupernodeRecord, candidates: &[Candidate]) -> KnownSupernode {
        let candidate = candidates.iter().find(|candidate| candidate.address.node == record.node);
        KnownSupernode {
            address: NodeAddress { node: record.node, addresses: record.addresses.clone() },
            load: Some((record.children, record.capacity)),
            rtt: match record.node == self.node.id {
                true => Some(Duration::ZERO),
                false => self.node.links.rtt(record.node).or(candidate.and_then(|candidate| candidate.rtt)),
            },
        }
    }
}

impl From<Candidate> for KnownSupernode {
    fn from(candidate: Candidate) -> Self {
        Self {
            address: candidate.address,
            load: candidate.load.map(|load| (load.children, load.capacity)),
            rtt: candidate.rtt,
        }
    }
}
