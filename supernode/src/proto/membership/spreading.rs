//! Telling others who is there: rumours of who is new or leaves, digests of what we see, and questions for what we lack.

use std::time::{Duration, Instant};

use nearmesh_common::{
    NodeId, UnixMillis, codec,
    signed::{Renewal, Signed, Verified},
    supernode_record::SupernodeRecord,
    wire::{
        NodeAddress,
        home::MAX_SUPERNODE_LIST,
        mesh::{MAX_ASKED_KNOWN, Mesh, digest_of, short_name},
    },
};
use rand::{
    RngExt,
    seq::{IteratorRandom, SliceRandom},
};

use super::{
    super::{budget::Charge, placement::Groups, world::World},
    Event, Known, Membership, News, Stage,
    known::Dial,
    regrouping::ROUND,
};

/// How many mates are told of a newcomer by each who hears of it for the first time (guess: with four all but one in fifty hear of it, and
/// the newcomer dials them all itself).
const RUMOURS: usize = 4;
/// Records in one answer about our own group: all of it, if that is meant to be.
const MOST_MATES: u8 = MAX_SUPERNODE_LIST as u8;
/// How long between two questions for what others see and we do not (guess: dials that it led to, and their hellos).
const PULL_EVERY: Duration = Duration::from_secs(1);
/// Before it is asked, in milliseconds: what is on its way comes without asking (guess).
const PULL_WAIT: std::ops::Range<u64> = 100..500;
/// For how many rounds others are asked after one saw others than we do, or told us of somebody whom we lacked (guess).
const RESTLESS_ROUNDS: u32 = 4;
/// With fewer mates nothing is waited for.
const FEW_MATES: usize = 3;

/// What is due to be told and asked.
#[derive(Debug)]
pub(super) struct Spreading {
    round_at: Instant,
    round: u32,
    /// For how many more rounds others are asked whom we lack.
    restless: u32,
    pull: Option<Pull>,
    pulled_at: Option<Instant>,
}

/// A mate sees others than we do: when it is asked whom, unless we see the same by then.
#[derive(Clone, Copy, Debug)]
struct Pull {
    at: Instant,
    from: NodeId,
    sees: u64,
}

impl Spreading {
    pub(super) fn new(world: &mut World) -> Self {
        let round_at = world.now.instant + ROUND.mul_f64(world.rng.random_range(0.0..1.0));
        Self { round_at, round: world.rng.random_range(0..1000), restless: 0, pull: None, pulled_at: None }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.pull.map(|pull| pull.at).into_iter().chain([self.round_at]).min()
    }

    /// The number of the round that is to be done now, if it is time.
    pub(super) fn next_round(&mut self, world: &mut World) -> Option<u32> {
        if self.round_at > world.now.instant {
            return None;
        }
        self.round_at = world.now.instant + ROUND.mul_f64(world.rng.random_range(0.8..1.2));
        self.round = self.round.wrapping_add(1);
        self.restless = self.restless.saturating_sub(1);
        Some(self.round)
    }
}

impl Membership {
    /// Much is changing: for some rounds we ask of our own accord whom we lack.
    pub(super) fn be_restless(&mut self) {
        self.spreading.restless = RESTLESS_ROUNDS;
    }

    /// Asks some mate, if much is changing.
    pub(super) fn ask_if_restless(&mut self, world: &mut World) {
        if self.spreading.restless > 0
            && let Some(mate) = self.mates().choose(&mut world.rng)
        {
            self.ask_for_mates(mate, world);
        }
    }

    /// A member renews its own record.
    pub(in super::super) fn on_renewed(
        &mut self,
        from: NodeId,
        renewal: Renewal<SupernodeRecord>,
        world: &mut World,
    ) {
        let Some(before) = self.table.get(&from).and_then(Known::record) else {
            return world.strange(&from, "a renewal of nothing");
        };
        let record = renewal.completed(&before.signed);
        self.on_members(from, vec![record], world);
    }

    /// Records that may be news.
    pub(in super::super) fn on_members(
        &mut self,
        from: NodeId,
        records: Vec<Signed<SupernodeRecord>>,
        world: &mut World,
    ) {
        for signed in records {
            // What a record begins with: most are no news, and none is believed yet.
            let Ok((id, sequence)) = codec::peek(&signed.payload) else { continue };
            let (node, sequence) = (NodeId(id), UnixMillis(sequence));
            let known = self.table.get(&node).and_then(Known::sequence);
            if node == world.own() {
                continue;
            }
            if !world.charge(&from, Charge::Record, 1) {
                break;
            }
            if known.is_some_and(|known| known >= sequence) {
                // Nothing new, but somebody has a link to it.
                if self.is_resting(&node) {
                    self.hasten(&node, world);
                    self.look_at(&node, world);
                }
            } else if let Some(record) = world.record(signed) {
                self.on_record(from, record, world);
            }
        }
        self.tend_due(world);
        self.dial_due(world);
    }

    fn on_record(&mut self, from: NodeId, record: Verified<SupernodeRecord>, world: &mut World) {
        let node = record.content.node;
        let address = NodeAddress { node, addresses: record.content.addresses.clone() };
        let serving = record.content.serving;
        let known = self.table.get(&node).is_some();
        if !serving && !known || serving && !self.learn(address, false, world) {
            return;
        }
        let news = self.adopt(record);
        if news == News::None {
            return;
        }
        if !serving {
            self.rumour(node, from, world);
            if self.is_member(&node) {
                self.events.push_back(Event::Down(node));
            }
            return self.table.set_stage(&node, Stage::Resting { at: world.now.instant, dial: Dial::OnNeed });
        }
        // Who tells us of one newcomer that is not its mate heard from the newcomer itself.
        if news == News::Newcomer {
            self.rumour(node, from, world);
        }
        if self.is_resting(&node) {
            self.hasten(&node, world);
            self.look_at(&node, world);
        }
    }

    /// A supernode wants to know whom we know of a group.
    pub(in super::super) fn on_ask_members(
        &mut self,
        from: NodeId,
        (bits, group): (u8, u16),
        most: u8,
        (salt, mut known): (u64, Vec<u32>),
        world: &mut World,
    ) {
        let groups = Groups::new(bits);
        let Some(group) = groups.numbered(group).filter(|_| world.charge(&from, Charge::Ask, 1)) else {
            return;
        };
        known.sort_unstable();
        let ids = groups.ids(group);
        let wanted = |node: &NodeId| *node != from && known.binary_search(&short_name(node, salt)).is_err();
        // Who has no link to somebody does not know whether it lives.
        let linked = self.table.members_in(ids.clone()).filter(wanted);
        let mut linked: Vec<_> = linked.filter_map(|node| self.table.get(&node)?.record()).collect();
        let own = self.own.record();
        if ids.contains(&own.content.node) && own.content.serving && wanted(&own.content.node) {
            linked.push(own);
        }
        linked.shuffle(&mut world.rng);
        let most = usize::from(most).min(MAX_SUPERNODE_LIST);
        let records: Vec<_> = linked.into_iter().take(most).map(|record| record.signed.clone()).collect();
        if !records.is_empty() {
            world.tell_mesh(from, Mesh::Members(records));
        }
    }

    /// A mate says what it sees.
    pub(in super::super) fn on_digest(&mut self, from: NodeId, bits: u8, sees: u64, world: &mut World) {
        if bits != self.groups().bits() || !self.is_mate(&from) || sees == self.sees() {
            return;
        }
        self.be_restless();
        let waits = self.mates().nth(FEW_MATES).is_some();
        let wait = if waits { world.rng.random_range(PULL_WAIT) } else { 0 };
        let soon = world.now.instant + Duration::from_millis(wait);
        let at = self.spreading.pulled_at.map_or(soon, |before| soon.max(before + PULL_EVERY));
        self.spreading.pull.get_or_insert(Pull { at, from, sees });
        self.pull_if_due(world);
    }

    pub(super) fn pull_if_due(&mut self, world: &mut World) {
        let Some(pull) = self.spreading.pull.take_if(|pull| pull.at <= world.now.instant) else { return };
        if pull.sees != self.sees() && self.is_member(&pull.from) {
            self.spreading.pulled_at = Some(world.now.instant);
            self.ask_for_mates(pull.from, world);
        }
    }

    /// Asks for all members of our group that we have no link to.
    pub(super) fn ask_for_mates(&self, whom: NodeId, world: &mut World) {
        self.ask(whom, self.own_group(), MOST_MATES, world);
    }

    /// Asks for members of a group that we have no link to.
    pub(super) fn ask(&self, whom: NodeId, group: super::Group, most: u8, world: &mut World) {
        let salt = world.rng.random();
        let ids = self.groups().ids(group);
        let known = self.table.all_in(ids).filter(|(_, known)| !known.is_resting());
        let known = known.map(|(node, _)| short_name(node, salt)).take(MAX_ASKED_KNOWN).collect();
        let bits = self.groups().bits();
        world.tell_mesh(whom, Mesh::AskMembers { bits, group: group.number(), most, salt, known });
    }

    /// Tells one mate what we see.
    pub(super) fn tell_digest(&self, world: &mut World) {
        if let Some(mate) = self.mates().choose(&mut world.rng) {
            world.tell_mesh(mate, self.digest());
        }
    }

    /// Tells every mate what we see.
    pub(super) fn tell_digest_to_all(&self, world: &mut World) {
        let message = self.digest();
        self.mates().for_each(|mate| world.tell_mesh(mate, message.clone()));
    }

    /// What we see, for a mate.
    pub(in super::super) fn digest(&self) -> Mesh {
        Mesh::Digest { bits: self.groups().bits(), members: self.sees() }
    }

    /// Tells some mates of one of our group, except itself and who told us.
    pub(super) fn rumour(&self, node: NodeId, from: NodeId, world: &mut World) {
        let record = self.table.get(&node).and_then(Known::record).filter(|_| self.is_of_ours(&node));
        let Some(signed) = record.map(|record| record.signed.clone()) else { return };
        let others = self.mates().filter(|mate| *mate != node && *mate != from);
        for mate in others.sample(&mut world.rng, RUMOURS) {
            world.tell_mesh(mate, Mesh::Members(vec![signed.clone()]));
        }
    }

    /// Our group as we see it: the same for all who see the same.
    fn sees(&self) -> u64 {
        digest_of(&self.own.record().content.node) ^ self.table.mates_digest()
    }
}
