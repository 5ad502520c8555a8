//! What there is to know of a node or a file beside who shares what: made on demand.

use nearmesh_common::ContentHash;

use super::{
    FileId, Node, Workload,
    draw::{self, Purpose},
    places::Place,
};

/// Sizes are spread evenly on a logarithmic scale between these, in bytes. Guess: a song of a minute to a film.
const SIZES: (f64, f64) = (1e6, 1e9);
/// The numbers of places of supernodes begin here, those of nodes at 0.
const SUPERNODES: u32 = 1 << 31;

impl Workload {
    /// The name of a file, with its extension.
    pub fn name(&self, file: FileId) -> String {
        let mut name = self.words(file).join(" ");
        name.push_str(".mp3");
        name
    }

    /// The words of a name, without the extension. No other file's name has the first.
    pub fn words(&self, file: FileId) -> Vec<String> {
        self.names.words(file.0).into_iter().map(|word| word.spelled()).collect()
    }

    /// The words of a name as numbers, without repetitions: each number is one word.
    pub fn word_numbers(&self, file: FileId) -> Vec<u32> {
        self.names.words(file.0).into_iter().map(|word| word.0).collect()
    }

    /// What names the content of a file.
    pub fn hash(&self, file: FileId) -> ContentHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&file.0.to_le_bytes());
        ContentHash(*hasher.finalize().as_bytes())
    }

    /// Bytes of a file.
    pub fn size(&self, file: FileId) -> u64 {
        let (least, most) = SIZES;
        (least * (most / least).powf(draw::unit(self.seed, file.0, Purpose::Size))) as u64
    }

    /// The user of a node, without the net.
    pub fn user(&self, node: Node) -> String {
        format!("user{}", node.0)
    }

    /// Whether a node is behind a NAT.
    pub fn behind_nat(&self, node: Node) -> bool {
        draw::unit(self.seed, node.0, Purpose::Nat) < self.shape.behind_nat
    }

    /// Where a node is: at home.
    pub fn place(&self, node: Node) -> Place {
        Place::at_home(draw::bits(self.seed, node.0, Purpose::Place))
    }

    /// Where the supernode or server of this number is: well placed.
    pub fn supernode_place(&self, number: u32) -> Place {
        Place::well_placed(draw::bits(self.seed, SUPERNODES | number, Purpose::Place))
    }
}
