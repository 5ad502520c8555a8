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

use super::{
    super::{placement::Groups, world::World},
    estimate::{FULL, Seen},
};

/// A clear step of load: a twentieth of the capacity, or being full or not.
const STEP_DIVISOR: u32 = 20;
/// A step that is told at once beyond our own group too, where there are many more: a tenth. And after how long a smaller one is (guess: a rush is
/// told in few records, and whoever judges how full the net is soon sees where it settled).
const WIDE_STEP_DIVISOR: u32 = 10;
const WIDE_EVERY: Duration = Duration::from_secs(60);
/// In a net of more than 32 groups the larger step can wait as well, but for being full or not: there are 3,000 supernodes, which no rush fills in a
/// minute (guess).
const MANY_GROUPS_BITS: u8 = 6;
/// A clear step of our group's size: an eighth, which is a sixteenth in the estimate of the number of groups (guess).
const SIZE_DIVISOR: u16 = 8;
/// And of its load: as a clear step of our own.
const LOAD_STEP: u16 = (FULL / STEP_DIVISOR) as u16;
/// How long between two records because of these (guess: whether the net is divided anew is a matter of minutes).
const GROUP_EVERY: Duration = Duration::from_secs(10);
/// How long between two records because of a clear step of load (guess: a rush of children is told of in a few).
const STEP_EVERY: Duration = Duration::from_secs(2);
/// And at least so long for each link that it goes to: 30 kB/s, while there is a rush.
const STEP_PER_LINK: Duration = Duration::from_millis(20);
/// How much sooner than it must a record is renewed, at most (guess: those who all signed when the net was divided anew do not keep step).
const SOONER: f64 = 0.2;

/// Who is to hear of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Our own group: others hear within [`WIDE_EVERY`].
    Mates,
    /// All members.
    All,
}

/// What all members were told of, not our mates alone, and when.
#[derive(Clone, Copy, Debug)]
struct Told {
    children: u32,
    group: Group,
    at: Instant,
}

/// How many are in our group, and how full they are.
#[derive(Clone, Copy, Debug)]
struct Group {
    size: u16,
    /// In parts of [`FULL`].
    load: u16,
}

/// What we say of ourselves.
#[derive(Debug)]
pub(super) struct Own {
    record: Verified<SupernodeRecord>,
    /// What all members were told.
    told: Told,
    children: u32,
    group: Group,
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
            group_load: 0,
        };
        let group = Group { size: 1, load: 0 };
        Self {
            record: sign(record, world),
            told: Told { children: 0, group, at: world.now.instant },
            children: 0,
            group,
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

    /// We have links to so many, and our group, this one included, is this.
    pub(super) fn set_links(&mut self, links: usize, group: Seen) {
        self.links = u32::try_from(links).unwrap_or(u32::MAX);
        let (size, load) = (u16::try_from(group.size), u16::try_from(group.load));
        self.group = Group { size: size.unwrap_or(u16::MAX), load: load.unwrap_or(u16::MAX) };
    }

    /// Our children, and how many we take.
    pub(super) fn load(&self) -> (u32, u32) {
        (self.children, self.record.content.capacity)
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
        if self.wide_due() <= world.now.instant {
            self.sign(world);
            return Some(Audience::All);
        }
        let before = (self.told, self.refresh_at);
        self.sign(world);
        (self.told, self.refresh_at) = before;
        Some(Audience::Mates)
    }

    /// When it is time.
    pub(super) fn due(&self) -> Instant {
        let mates = STEP_PER_LINK * u32::from(self.group.size);
        let step = self.is_step(self.record.content.children, STEP_DIVISOR);
        let step = step.then(|| self.signed_at + STEP_EVERY.max(mates));
        step.into_iter().fold(self.wide_due(), Instant::min)
    }

    /// When all members are to hear of us.
    fn wide_due(&self) -> Instant {
        let all = STEP_PER_LINK * self.links;
        let small = self.is_step(self.told.children, STEP_DIVISOR).then_some(WIDE_EVERY);
        let divisor = if self.record.content.group_bits >= MANY_GROUPS_BITS { 1 } else { WIDE_STEP_DIVISOR };
        let large = self.is_step(self.told.children, divisor).then_some(STEP_EVERY);
        // Its size in a full mesh everybody sees himself, and the load of those who are many changes slowly.
        let is_divided = self.record.content.group_bits > 0;
        let many = self.record.content.group_bits >= MANY_GROUPS_BITS;
        let size = (is_divided && self.is_size_step()).then_some(GROUP_EVERY);
        let load = (is_divided && self.is_load_step()).then_some(if many { WIDE_EVERY } else { GROUP_EVERY });
        let wait = [small, large, size, load].into_iter().flatten().min();
        wait.map_or(self.refresh_at, |wait| self.refresh_at.min(self.told.at + wait.max(all)))
    }

    fn is_step(&self, told: u32, divisor: u32) -> bool {
        let capacity = self.record.content.capacity;
        let step = (capacity / divisor).max(1);
        (told < capacity) != (self.children < capacity) || told.abs_diff(self.children) >= step
    }

    fn is_size_step(&self) -> bool {
        let told = self.told.group.size;
        told.abs_diff(self.group.size) > told / SIZE_DIVISOR
    }

    fn is_load_step(&self) -> bool {
        self.told.group.load.abs_diff(self.group.load) >= LOAD_STEP
    }

    /// For all members.
    fn sign(&mut self, world: &mut World) {
        self.told = Told { children: self.children, group: self.group, at: world.now.instant };
        self.record.content.children = self.children;
        self.record.content.group_size = self.group.size;
        self.record.content.group_load = self.group.load;
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
