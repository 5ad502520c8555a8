//! The user directory: who is where.
//!
//! Each user's presences are held by the [`holders`](super::placement::holders) of the user's name. A child's home stores them there when the child attaches, when it
//! refreshes, and when the membership changes; so nothing has to be repaired by hand, and a holder that dies is replaced by the next refresh
//! at the latest. A holder believes a newer presence only, whoever brings it, because the node itself signed it. It marks
//! one offline when the home says that the node is gone, when the home itself is gone, or when it was not renewed; it keeps it for
//! [`MEMORY`], so that a user who is away is still known.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UserName,
    presence::Presence,
    signed::{Keyring, Verified},
    wire::home::{DirectoryEntry, MAX_NODES_PER_USER},
};

/// How long a user who is offline stays known (Skype's promise).
pub const MEMORY: Duration = Duration::from_secs(72 * 3600);
/// Presences held at most (at about 1 KB each: 200 MB). A net of this size has hundreds of supernodes.
pub const MAX_HELD: usize = 200_000;
/// Between two looks for what has expired.
const SWEEP: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct Held {
    presence: Verified<Presence>,
    online: bool,
}

/// What this supernode holds for the net.
#[derive(Debug)]
pub struct Directory {
    users: BTreeMap<UserName, BTreeMap<NodeId, Held>>,
    count: usize,
    sweep_at: Instant,
}

impl Directory {
    /// Nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { users: BTreeMap::new(), count: 0, sweep_at: now + SWEEP }
    }

    /// Holds a presence whose signature and times were checked; says whether it was news.
    pub fn store(&mut self, presence: Verified<Presence>) -> bool {
        let user = presence.signer.user.clone();
        let nodes = self.users.entry(user).or_default();
        let node = presence.content.node;
        let online = presence.content.online;
        if let Some(held) = nodes.get_mut(&node) {
            if presence.content.sequence <= held.presence.content.sequence {
                return false;
            }
            *held = Held { presence, online };
            return true;
        }
        if self.count >= MAX_HELD || (nodes.len() >= MAX_NODES_PER_USER && !make_room(nodes, &mut self.count)) {
            return false;
        }
        nodes.insert(node, Held { presence, online });
        self.count += 1;
        true
    }

    /// A home says that a node is no longer there. A presence at another home is not its matter.
    pub fn on_gone(&mut self, home: NodeId, node: NodeId, user: &UserName) {
        let held = self.users.get_mut(user).and_then(|nodes| nodes.get_mut(&node));
        if let Some(held) = held.filter(|held| held.presence.content.home == home) {
            held.online = false;
        }
    }

    /// A supernode is gone: whoever was at home there is offline until another home says otherwise.
    pub fn on_member_lost(&mut self, home: NodeId) {
        for held in self.users.values_mut().flat_map(BTreeMap::values_mut) {
            if held.presence.content.home == home {
                held.online = false;
            }
        }
    }

    /// What is held on a user.
    pub fn find(&self, user: &UserName) -> Vec<DirectoryEntry> {
        let nodes = self.users.get(user).into_iter().flat_map(BTreeMap::values);
        nodes.map(|held| DirectoryEntry { presence: held.presence.signed.clone(), online: held.online }).collect()
    }

    /// Drops what a newer revocation list has made worthless.
    pub fn check_again(&mut self, keyring: &dyn Keyring, now: Now) {
        self.retain(|held| keyring.verify(held.presence.signed.clone(), now.wall).is_ok());
    }

    /// Marks what has expired, and forgets what is too old.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.sweep_at > now.instant {
            return;
        }
        self.sweep_at = now.instant + SWEEP;
        for held in self.users.values_mut().flat_map(BTreeMap::values_mut) {
            held.online &= held.presence.content.expires > now.wall;
        }
        self.retain(|held| held.online || held.presence.content.sequence.after(MEMORY) > now.wall);
    }

    /// When to look again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.count > 0).then_some(self.sweep_at)
    }

    fn retain(&mut self, keep: impl Fn(&Held) -> bool) {
        self.users.retain(|_, nodes| {
            nodes.retain(|_, held| keep(held));
            !nodes.is_empty()
        });
        self.count = self.users.values().map(BTreeMap::len).sum();
    }
}

/// The newest of two answers for each node; between equally new ones, the one that says online.
pub fn merge(into: &mut BTreeMap<NodeId, (Verified<Presence>, bool)>, presence: Verified<Presence>, online: bool) {
    let rank = |presence: &Verified<Presence>, online: bool| (presence.content.sequence, online);
    match into.get(&presence.content.node) {
        Some((known, known_online)) if rank(known, *known_online) >= rank(&presence, online) => {}
        _ => {
            into.insert(presence.content.node, (presence, online));
        }
    }
}

/// Forgets the oldest node of a user that is offline; says whether there was one.
fn make_room(nodes: &mut BTreeMap<NodeId, Held>, count: &mut usize) -> bool {
    let offline = nodes.iter().filter(|(_, held)| !held.online);
    let oldest = offline.min_by_key(|(_, held)| held.presence.content.sequence).map(|(node, _)| *node);
    oldest.and_then(|node| nodes.remove(&node)).inspect(|_| *count -= 1).is_some()
}
