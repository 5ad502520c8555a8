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
/// A step that is told at once beyond our own group too, where there are many more: a tenth. And after how long a smaller one is (guess: a rush is
/// told in few records, and whoever judges how full the net is soon sees where it settled).
const WIDE_STEP_DIVISOR: u32 = 10;
const WIDE_EVERY: Duration = Duration::from_secs(60);
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

/// Who is to hear of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Our own group: others hear of it with the next one.
    Mates,
    /// All members.
    All,
}

/// What we say of ourselves.
#[derive(Debug)]
pub(super) struct Own {
    record: Verified<SupernodeRecord>,
    /// How many children all members were told of, and when.
    told_all: u32,
    told_all_at: Instant,
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
            told_all: 0,
            told_all_at: world.now.instant,
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

    /// Signs anew if it is time, and says who is to hear of it.
    pub(super) fn renew(&mut self, world: &mut World) -> Option<Audience> {
        if self.due() > world.now.instant {
            return None;
        }
        let wide = self.wide_step_due().is_some_and(|at| at <= world.now.instant);
        if wide || self.is_size_step() || self.refresh_at <= world.now.instant {
            self.sign(world);
            return Some(Audience::All);
        }
        let before = (self.told_all, self.told_all_at, self.refresh_at);
        self.sign(world);
        (self.told_all, self.told_all_at, self.refresh_at) = before;
        Some(Audience::Mates)
    }

    /// When it is time.
    pub(super) fn due(&self) -> Instant {
        let clear =
            self.is_step(self.record.content.children, STEP_DIVISOR).then(|| self.earliest(STEP_EVERY));
        let size = self.is_size_step().then(|| self.earliest(SIZE_EVERY));
        [clear, self.wide_step_due(), size].into_iter().flatten().fold(self.refresh_at, Instant::min)
    }

    /// When we may sign again for something that asks for so long between two records.
    fn earliest(&self, every: Duration) -> Instant {
        self.signed_at + every.max(STEP_PER_LINK * self.links)
    }

    /// When all members are to hear of our load.
    fn wide_step_due(&self) -> Option<Instant> {
        if self.is_step(self.told_all, WIDE_STEP_DIVISOR) {
            return Some(self.earliest(STEP_EVERY));
        }
        let later = || self.earliest(STEP_EVERY).max(self.told_all_at + WIDE_EVERY);
        self.is_step(self.told_all, STEP_DIVISOR).then(later)
    }

    fn is_step(&self, told: u32, divisor: u32) -> bool {
        let capacity = self.record.content.capacity;
        let step = (capacity / divisor).max(1);
        (told < capacity) != (self.children < capacity) || told.abs_diff(self.children) >= step
    }

    /// In a full mesh everybody sees the size himself.
    fn is_size_step(&self) -> bool {
        let SupernodeRecord { group_bits, group_size: told, .. } = self.record.content;
        group_bits > 0 && told.abs_diff(self.group_size) > told / SIZE_DIVISOR
    }

    /// For all members.
    fn sign(&mut self, world: &mut World) {
        (self.told_all, self.told_all_at) = (self.children, world.now.instant);
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
