//! Our own record, and when it must be signed anew.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    UnixMillis,
    presence::MAX_ADDRESSES,
    signed::{Signer, Verified},
    supernode_record::{REFRESH, SupernodeRecord},
};

use rand::RngExt;

use super::super::{placement::Groups, world::World};

/// A clear step of load: a twentieth of the capacity, or being full or not.
const STEP_DIVISOR: u32 = 20;
/// A clear step of our group's size: an eighth, which is a sixteenth in the estimate of the number of groups (guess).
const SIZE_DIVISOR: u16 = 8;
/// How long between two records because of it (guess: whether the net is divided anew is a matter of minutes).
const SIZE_EVERY: Duration = Duration::from_secs(10);
/// How long between two records because of a clear step of load (guess: a rush of children is told of in a few).
const STEP_EVERY: Duration = Duration::from_secs(2);
/// And at least so long for each link that it goes to: 30 kB/s, while there is a rush.
const STEP_PER_LINK: Duration = Duration::from_millis(20);
/// How much sooner than it must a record is renewed, at most (guess: those who all signed when the net was divided anew do not keep step).
const SOONER: f64 = 0.2;

/// What we say of ourselves.
#[derive(Debug)]
pub(super) struct Own {
    record: Verified<SupernodeRecord>,
    children: u32,
    group_size: u16,
    links: u32,
    signed_at: Instant,
    refresh_at: Instant,
}

impl Own {
    pub(super) fn new(addresses: Vec<SocketAddr>, capacity: u32, world: &mut World) -> Self {
        let record = SupernodeRecord {
            node: world.own(),
            sequence: UnixMillis(0),
            addresses: bounded(addresses),
            children: 0,
            capacity,
            serving: true,
            group_bits: 0,
            group_size: 1,
        };
        Self {
            record: sign(record, world),
            children: 0,
            group_size: 1,
            links: 0,
            signed_at: world.now.instant,
            refresh_at: next_refresh(world),
        }
    }

    pub(super) fn record(&self) -> &Verified<SupernodeRecord> {
        &self.record
    }

    /// Whether that is news.
    pub(super) fn set_addresses(&mut self, addresses: Vec<SocketAddr>, world: &mut World) -> bool {
        let addresses = bounded(addresses);
        let changed = addresses != self.record.content.addresses;
        if changed {
            self.record.content.addresses = addresses;
            self.sign(world);
        }
        changed
    }

    pub(super) fn set_children(&mut self, children: usize) {
        self.children = u32::try_from(children).unwrap_or(u32::MAX);
    }

    /// We have links to so many, and so many are in our group, this one included.
    pub(super) fn set_links(&mut self, links: usize, group_size: usize) {
        self.links = u32::try_from(links).unwrap_or(u32::MAX);
        self.group_size = u16::try_from(group_size).unwrap_or(u16::MAX);
    }

    /// The net is divided otherwise.
    pub(super) fn set_groups(&mut self, groups: Groups, world: &mut World) {
        self.record.content.group_bits = groups.bits();
        self.sign(world);
    }

    /// There is no room here from now on.
    pub(super) fn close(&mut self, world: &mut World) {
        self.record.content.capacity = 0;
        self.sign(world);
    }

    pub(super) fn step_down(&mut self, world: &mut World) {
        self.record.content.serving = false;
        self.sign(world);
    }

    /// Signs anew if it is time; whether it did.
    pub(super) fn renew(&mut self, world: &mut World) -> bool {
        let due = self.due() <= world.now.instant;
        if due {
            self.sign(world);
        }
        due
    }

    /// When it is time.
    pub(super) fn due(&self) -> Instant {
        let step = match (self.is_clear_step(), self.is_size_step()) {
            (true, _) => STEP_EVERY,
            (false, true) => SIZE_EVERY,
            (false, false) => return self.refresh_at,
        };
        self.refresh_at.min(self.signed_at + step.max(STEP_PER_LINK * self.links))
    }

    fn is_clear_step(&self) -> bool {
        let SupernodeRecord { children: told, capacity, .. } = self.record.content;
        let step = (capacity / STEP_DIVISOR).max(1);
        (told < capacity) != (self.children < capacity) || told.abs_diff(self.children) >= step
    }

    /// In a full mesh everybody sees the size himself.
    fn is_size_step(&self) -> bool {
        let SupernodeRecord { group_bits, group_size: told, .. } = self.record.content;
        group_bits > 0 && told.abs_diff(self.group_size) > told / SIZE_DIVISOR
    }

    fn sign(&mut self, world: &mut World) {
        self.record.content.children = self.children;
        self.record.content.group_size = self.group_size;
        self.record = sign(self.record.content.clone(), world);
        self.signed_at = world.now.instant;
        self.refresh_at = next_refresh(world);
    }
}

fn next_refresh(world: &mut World) -> Instant {
    world.now.instant + REFRESH.mul_f64(world.rng.random_range(1.0 - SOONER..1.0))
}

fn sign(mut record: SupernodeRecord, world: &World) -> Verified<SupernodeRecord> {
    record.sequence = world.now.wall.max(UnixMillis(record.sequence.0.saturating_add(1)));
    let signed = world.keyring.seal(&record);
    let signer = Signer { node: world.own(), user: world.keyring.user().clone() };
    Verified { content: record, signer, signed }
}

fn bounded(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.truncate(MAX_ADDRESSES);
    addresses
}
