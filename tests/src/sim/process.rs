//! One simulated process: its machines, what it shares, and what it keeps while it is down.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh::proto::{Candidate, Client, Config, Reached};
use nearmesh_common::{NodeId, Now, UserName, pace::Pace, signed::Keyring, wire::NodeAddress};
use nearmesh_supernode::proto::{self as supernode, Supernode};

use super::{library::Library, links::Role, network::Place};

/// A process, running or not.
pub(super) struct Process {
    pub(super) node: NodeId,
    pub(super) user: UserName,
    pub(super) place: Place,
    pub(super) keyring: Arc<dyn Keyring>,
    pub(super) library: Library,
    /// How many children it takes, if it is a supernode.
    pub(super) capacity: Option<u32>,
    /// Its host cache on disk.
    pub(super) known: Vec<Candidate>,
    pub(super) running: Option<Running>,
    /// How often it was started.
    pub(super) lives: u32,
}

/// The machines of a running process, and when each wants to be called.
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) supernode: Option<Supernode>,
    pub(super) wakes: [Option<Duration>; 2],
    /// How quick the client wants its links.
    pub(super) paces: BTreeMap<NodeId, Pace>,
}

impl Process {
    pub(super) fn address(&self) -> NodeAddress {
        NodeAddress { node: self.node, addresses: vec![self.place.address] }
    }

    /// Starts the machines. The same process in the same life behaves the same.
    pub(super) fn start(&mut self, seed: u64, now: Now) {
        self.lives += 1;
        let seed = seed ^ (u64::from(self.lives) << 48) ^ u64::from(self.place.address.port());
        let own = u64::from_le_bytes(self.node.0[..8].try_into().expect("an id has 32 bytes"));
        let seed = seed ^ own;
        let addresses = vec![self.place.address];
        let config = Config {
            reached: Reached { addresses: addresses.clone(), ..Reached::default() },
            journal: self.library.mark(),
            serving: self.capacity.is_some(),
        };
        let supernode = self.capacity.map(|capacity| {
            let config = supernode::Config { capacity };
            let seed = *blake3::hash(&seed.to_le_bytes()).as_bytes();
            Supernode::new(config, self.keyring.clone(), addresses, seed, now)
        });
        let client = Client::new(config, self.keyring.clone(), seed, now);
        self.running = Some(Running { client, supernode, wakes: [None; 2], paces: BTreeMap::new() });
    }
}

impl Running {
    /// How soon the machine `role` must notice the end of its link to `node`.
    pub(super) fn pace(&self, role: Role, node: &NodeId) -> Pace {
        match role {
            Role::Client => self.paces.get(node).copied().unwrap_or(Pace::Calm),
            Role::Supernode => self.supernode.as_ref().map_or(Pace::Slow, |machine| machine.pace(node)),
        }
    }

    /// When the machine `role` wants to be called.
    pub(super) fn wants(&self, role: Role) -> Option<Instant> {
        match role {
            Role::Client => self.client.poll_timeout(),
            Role::Supernode => self.supernode.as_ref().and_then(Supernode::poll_timeout),
        }
    }
}
