//! Members that do not keep to the protocol: what they do on the wire, put between their machine and the others.

use std::time::Duration;

use nearmesh_common::{
    NodeId, UnixMillis,
    signed::Keyring,
    supernode_record::SupernodeRecord,
    wire::{
        LinkMessage,
        file::{Change, FileEntry, FileNumber, JournalMark, Kind, MAX_BATCH},
        home::{MAX_SUPERNODE_LIST, ToHome},
        mesh::Mesh,
    },
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{
    Event, Net,
    asking::NO_CAUSE,
    calendar::{Moment, nanos},
    machines::OWN_RTT,
    names::{self, Peer},
};

/// Between two floods of one liar.
const FLOOD_EVERY: Duration = Duration::from_millis(500);
/// What a liar says it takes.
const INFINITE: u32 = 1_000_000;

/// How a peer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// A supernode takes queries and answers none.
    DropsQueries,
    /// A supernode seems to be next to everybody, and to have room for all.
    ZeroRoundTrip,
    /// A supernode tells all members of supernodes that do not exist, all the time.
    FloodsMembers,
    /// A supernode says that its children have nothing.
    EmptySummary,
    /// A node publishes without end.
    FloodsFiles,
}

impl Net {
    /// From now on `peer` lies.
    pub fn corrupt(&mut self, peer: Peer, lie: Lie) {
        self.lies.insert(peer, lie);
        match lie {
            Lie::ZeroRoundTrip | Lie::EmptySummary => {
                self.kill(peer);
                self.start(peer);
            }
            Lie::FloodsMembers | Lie::FloodsFiles => {
                self.calendar.at(self.calendar.now(), Event::Flood(peer));
            }
            Lie::DropsQueries => {}
        }
    }

    /// Whether a peer lies.
    pub fn lies(&self, peer: Peer) -> bool {
        self.lies.contains_key(&peer)
    }

    /// Whether what is at a supernode is not found, by its will.
    pub(super) fn hides(&self, peer: Peer) -> bool {
        matches!(self.lies.get(&peer), Some(Lie::DropsQueries | Lie::EmptySummary))
    }

    /// How many children a supernode says it takes.
    pub(super) fn capacity_of(&self, peer: Peer) -> u32 {
        let lies = self.lies.get(&peer) == Some(&Lie::ZeroRoundTrip);
        if lies { INFINITE } else { self.setup.capacity }
    }

    /// What a liar at one of its ends makes of a message; none if it is lost.
    pub(super) fn tampered(&self, (from, to): (Peer, Peer), mut message: LinkMessage) -> Option<LinkMessage> {
        if self.lies.is_empty() {
            return Some(message);
        }
        let lie = |peer: Peer, lie: Lie| self.lies.get(&peer) == Some(&lie);
        let LinkMessage::Mesh(mesh) = &mut message else { return Some(message) };
        match mesh {
            Mesh::Query { .. } if lie(to, Lie::DropsQueries) => return None,
            Mesh::Answer { .. } if lie(from, Lie::DropsQueries) => return None,
            Mesh::SummaryPart { entries, .. } if lie(from, Lie::EmptySummary) => entries.clear(),
            Mesh::SummaryChange { added, .. } if lie(from, Lie::EmptySummary) => added.clear(),
            _ => {}
        }
        Some(message)
    }

    /// The round trip as `peer` measures it.
    pub(super) fn shown_rtt(&self, peer: Peer, other: Peer) -> Moment {
        match self.lies.get(&other) {
            Some(Lie::ZeroRoundTrip) => OWN_RTT,
            _ => self.rtt(peer, other),
        }
    }

    /// A liar floods once more.
    pub(super) fn flood(&mut self, peer: Peer) {
        if !self.runs(peer) {
            return;
        }
        match self.lies.get(&peer) {
            Some(Lie::FloodsMembers) => self.flood_members(peer),
            Some(Lie::FloodsFiles) => self.flood_files(peer),
            _ => return,
        }
        self.calendar.at(self.calendar.now() + nanos(FLOOD_EVERY), Event::Flood(peer));
    }

    fn flood_members(&mut self, peer: Peer) {
        let wall = self.calendar.moment().wall;
        let keyring: &dyn Keyring = &names::keyring(self.seed, peer);
        let invented = (0..MAX_SUPERNODE_LIST)
            .map(|_| {
                let record = SupernodeRecord {
                    node: NodeId(self.rng.random()),
                    sequence: UnixMillis(wall.0),
                    addresses: vec![names::address(peer)],
                    children: 0,
                    capacity: INFINITE,
                    serving: true,
                    group_bits: 0,
                    group_size: u16::MAX,
                    group_load: 0,
                };
                keyring.seal(&record)
            })
            .collect::<Vec<_>>();
        for (other, side) in self.sides[peer as usize].all() {
            if side.up && other != peer && self.serves(other) {
                let message = LinkMessage::Mesh(Mesh::Members(invented.clone()));
                self.send(peer, other, message, NO_CAUSE);
            }
        }
    }

    fn flood_files(&mut self, peer: Peer) {
        let home = self.children[peer as usize].home;
        let mark = self.journal(peer);
        let revision = self.flooded;
        self.flooded += MAX_BATCH as u64;
        let entry = |number: u64| {
            Change::Add(FileEntry {
                number: FileNumber(number as u32),
                name: format!("flood{number}").into(),
                size: number,
                hash: nearmesh_common::ContentHash(names::node(number, peer).0),
                kind: Kind::Other,
                tags: None,
            })
        };
        let changes = (revision..revision + MAX_BATCH as u64).map(entry).collect();
        let epoch = mark.epoch ^ (1 << 60);
        let after = JournalMark { epoch, revision };
        self.say(peer, home, ToHome::Publish { after, upto: revision + MAX_BATCH as u64, changes });
    }
}
