//! What nodes share, computed from their numbers whenever it is needed: nothing is stored.
//!
//! A node's first file is its own, and nobody else has it. The others are titles of a catalogue of which the popular part is everywhere.

use nearmesh_common::wire::file::{Change, FileEntry, FileNumber, Kind, MAX_BATCH};

use super::names::{self, Peer, mix};

/// The catalogue's popularity falls with rank to this power (guess below Zipf's 1: fetch-at-most-once flattens the head, as Gummadi
/// et al. found in 2003).
const FLATTENED: f64 = 0.8;

/// What is shared.
#[derive(Clone, Debug)]
pub struct Content {
    seed: u64,
    /// Files of each node.
    pub files: u32,
    /// Titles in the catalogue.
    pub catalogue: u32,
}

/// One file of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Which content.
    pub content: u64,
    /// Its file's name.
    pub name: String,
}

impl Content {
    pub(super) fn new(seed: u64, files: u32, catalogue: u32) -> Self {
        Self { seed: mix(seed ^ 0xf11e5), files, catalogue: catalogue.max(1) }
    }

    /// The file that only `peer` has.
    pub fn own(&self, peer: Peer) -> Shared {
        Shared { content: 1 << 40 | u64::from(peer), name: format!("own{peer:07} rare.mp3") }
    }

    /// The words by which one asks for it.
    pub fn own_words(&self, peer: Peer) -> String {
        format!("own{peer:07} rare")
    }

    /// A title of the catalogue by its rank.
    pub fn title(&self, rank: u32) -> Shared {
        Shared { content: u64::from(rank), name: format!("{}.mp3", self.title_words(rank)) }
    }

    /// The words by which one asks for it.
    pub fn title_words(&self, rank: u32) -> String {
        format!("track{rank:05} popular")
    }

    /// The rank that a draw (0 to 1) hits: the inverse of the popularity's distribution.
    pub fn rank(&self, draw: f64) -> u32 {
        let exponent = 1.0 - FLATTENED;
        let most = f64::from(self.catalogue).powf(exponent);
        let rank = (1.0 + draw * (most - 1.0)).powf(1.0 / exponent) - 1.0;
        (rank as u32).min(self.catalogue - 1)
    }

    /// The `number`th file of a node.
    pub fn file(&self, peer: Peer, number: u32) -> Shared {
        if number == 0 {
            return self.own(peer);
        }
        let bits = mix(self.seed ^ u64::from(peer) << 20 ^ u64::from(number));
        self.title(self.rank((bits >> 11) as f64 / (1u64 << 53) as f64))
    }

    /// A batch of a node's journal after `registered` changes, and where it ends.
    pub(super) fn changes(&self, peer: Peer, registered: u32) -> (u64, Vec<Change>) {
        let upto = self.files.min(registered.saturating_add(MAX_BATCH as u32));
        let entry = |number: u32| {
            let file = self.file(peer, number);
            Change::Add(FileEntry {
                number: FileNumber(number),
                name: file.name.into(),
                size: 3_000_000 + file.content % 1_000_000,
                hash: names::content(file.content),
                kind: Kind::Audio,
                tags: None,
            })
        };
        (u64::from(upto), (registered..upto).map(entry).collect())
    }
}
