//! What simulated people share: a catalogue of which the popular part is everywhere, and files of their own.

use std::collections::BTreeSet;

use nearmesh_common::{
    ContentHash,
    wire::file::{Change, FileEntry, FileNumber, JournalMark, Kind},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Words that names are made of. All have the same length, so that none is the beginning of another.
const VOCABULARY: u32 = 600;
/// Different contents in the catalogue.
const CATALOGUE: u32 = 1500;

/// One shared file.
#[derive(Clone, Debug)]
pub struct SharedFile {
    /// Its words, as the index should split them.
    pub words: BTreeSet<String>,
    /// Its content.
    pub hash: ContentHash,
}

/// The files of one process, as its journal tells them. Files are only added.
#[derive(Clone, Debug)]
pub struct Library {
    /// In the order in which they were added.
    pub files: Vec<SharedFile>,
    epoch: u64,
    names: Vec<String>,
}

impl Library {
    /// `count` files: half of the catalogue's, the more popular the likelier, half of this node's own.
    pub(super) fn new(owner: usize, count: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut library = Self { files: Vec::new(), epoch: 1 + owner as u64, names: Vec::new() };
        for number in 0..count {
            library.add(owner, number, rng);
        }
        library
    }

    fn add(&mut self, owner: usize, number: usize, rng: &mut ChaCha8Rng) {
        let own = number % 2 == 1;
        let (content, title) = if own {
            (format!("{owner} {number}"), format!("own{owner:05}n{number:03}"))
        } else {
            // The square of a uniform draw: a tenth of the catalogue makes up a third of all copies.
            let draw: f64 = rng.random();
            let track = (draw * draw * f64::from(CATALOGUE)) as u32;
            (format!("track {track}"), format!("track{track:05}"))
        };
        let hash = ContentHash(*blake3::hash(content.as_bytes()).as_bytes());
        if self.files.iter().any(|file| file.hash == hash) {
            return;
        }
        let draws = [hash.0[0], hash.0[1], hash.0[2], hash.0[3]].map(u32::from);
        let first = (draws[0] * 256 + draws[1]) % VOCABULARY;
        let second = (draws[2] * 256 + draws[3]) % VOCABULARY;
        let words = [format!("word{first:03}"), format!("word{second:03}"), title];
        self.names.push(format!("{}.mp3", words.join(" ")));
        self.files.push(SharedFile { words: words.into(), hash });
    }

    /// Where the journal stands.
    pub(super) fn mark(&self) -> JournalMark {
        JournalMark { epoch: self.epoch, revision: self.files.len() as u64 }
    }

    /// Up to `limit` changes after `after`, and where they end.
    pub(super) fn changes(&self, after: JournalMark, limit: usize) -> (u64, Vec<Change>) {
        let from = usize::try_from(after.revision).unwrap_or(usize::MAX).min(self.files.len());
        let upto = from.saturating_add(limit).min(self.files.len());
        let entry = |number: usize| {
            Change::Add(FileEntry {
                number: FileNumber(number as u32),
                name: self.names[number].as_str().into(),
                size: 1_000_000 + number as u64,
                hash: self.files[number].hash,
                kind: Kind::Audio,
                tags: None,
            })
        };
        (upto as u64, (from..upto).map(entry).collect())
    }
}

impl SharedFile {
    /// Whether it answers a query for all of `words`.
    pub fn has(&self, words: &[String]) -> bool {
        words.iter().all(|word| self.words.contains(word))
    }
}
