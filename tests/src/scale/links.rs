//! One end of each link: what a peer knows of it.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use super::{
    calendar::Moment,
    names::{NOBODY, Peer},
};

/// Links that an ordinary node has at the same time: home, standby, one under way, and one that was just let go.
const NODE_LINKS: usize = 4;

/// What a link is for at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The node's own: it is a child, or would like to be.
    Client = 1,
    /// The supernode's.
    Supernode = 2,
}

/// One end of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Side {
    /// The link's number, never used again.
    pub(super) id: u32,
    /// Which of the process's machines want it: the roles' bits.
    roles: u8,
    /// Whether the handshake is done.
    pub(super) up: bool,
    /// When the last packet that was sent here arrives there.
    pub(super) arrives: Moment,
}

/// The ends that one peer holds.
#[derive(Debug)]
pub(super) enum Sides {
    Few([(Peer, Side); NODE_LINKS]),
    Many(HashMap<Peer, Side, FxBuildHasher>),
}

impl Side {
    pub(super) fn new(id: u32, role: Role, up: bool) -> Self {
        Self { id, roles: role as u8, up, arrives: 0 }
    }

    pub(super) fn serves(&self, role: Role) -> bool {
        self.roles & role as u8 != 0
    }

    pub(super) fn add(&mut self, role: Role) {
        self.roles |= role as u8;
    }

    /// Whether nobody wants it any more.
    pub(super) fn release(&mut self, role: Role) -> bool {
        self.roles &= !(role as u8);
        self.roles == 0
    }
}

impl Default for Sides {
    fn default() -> Self {
        Self::Few([(NOBODY, Side::default()); NODE_LINKS])
    }
}

impl Sides {
    /// For a supernode: room for many.
    pub(super) fn widen(&mut self) {
        if let Self::Few(few) = self {
            let held = few.iter().filter(|(peer, _)| *peer != NOBODY).copied();
            *self = Self::Many(held.collect());
        }
    }

    pub(super) fn get(&self, peer: Peer) -> Option<&Side> {
        match self {
            Self::Few(few) => few.iter().find(|(other, _)| *other == peer).map(|(_, side)| side),
            Self::Many(many) => many.get(&peer),
        }
    }

    pub(super) fn get_mut(&mut self, peer: Peer) -> Option<&mut Side> {
        match self {
            Self::Few(few) => few.iter_mut().find(|(other, _)| *other == peer).map(|(_, side)| side),
            Self::Many(many) => many.get_mut(&peer),
        }
    }

    pub(super) fn insert(&mut self, peer: Peer, side: Side) {
        if let Self::Few(few) = self {
            let free = few.iter_mut().find(|(other, _)| *other == peer || *other == NOBODY);
            match free {
                Some(free) => *free = (peer, side),
                None => {
                    self.widen();
                    self.insert(peer, side);
                }
            }
        } else if let Self::Many(many) = self {
            many.insert(peer, side);
        }
    }

    pub(super) fn remove(&mut self, peer: Peer) -> Option<Side> {
        match self {
            Self::Few(few) => {
                let slot = few.iter_mut().find(|(other, _)| *other == peer)?;
                Some(std::mem::replace(slot, (NOBODY, Side::default())).1)
            }
            Self::Many(many) => many.remove(&peer),
        }
    }

    /// All, in the order of the peers' numbers.
    pub(super) fn all(&self) -> Vec<(Peer, Side)> {
        let mut all: Vec<_> = match self {
            Self::Few(few) => few.iter().filter(|(peer, _)| *peer != NOBODY).copied().collect(),
            Self::Many(many) => many.iter().map(|(peer, side)| (*peer, *side)).collect(),
        };
        all.sort_unstable_by_key(|(peer, _)| *peer);
        all
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.iter().filter(|(peer, _)| *peer != NOBODY).count(),
            Self::Many(many) => many.len(),
        }
    }
}
