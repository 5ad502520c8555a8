//! Query routing tables: for each ultrapeer a table of bits, one for each word that its leaves' names have.

/// Entries of a table: LimeWire's setting. The draft on query routing between ultrapeers advises 64 KB.
pub(super) const ENTRIES: u32 = 128 * 1024;
/// Bytes of one, as bits.
pub(super) const BYTES: u32 = ENTRIES / 8;
const WORDS: usize = ENTRIES as usize / 64;

/// The tables of all ultrapeers.
#[derive(Debug)]
pub(super) struct RoutingTables {
    bits: Vec<u64>,
}

impl RoutingTables {
    pub(super) fn new(peers: u32) -> Self {
        Self { bits: vec![0; peers as usize * WORDS] }
    }

    pub(super) fn clear(&mut self) {
        self.bits.fill(0);
    }

    pub(super) fn add(&mut self, peer: u32, word: u32) {
        let (at, bit) = Self::place(peer, word);
        self.bits[at] |= bit;
    }

    /// Whether a peer may have a name with all of these words.
    pub(super) fn may_have(&self, peer: u32, words: &[u32]) -> bool {
        words.iter().all(|word| {
            let (at, bit) = Self::place(peer, *word);
            self.bits[at] & bit != 0
        })
    }

    /// Multiplicative hashing.
    fn place(peer: u32, word: u32) -> (usize, u64) {
        let entry = word.wrapping_mul(0x4f1b_bcdc) >> (32 - ENTRIES.ilog2());
        (peer as usize * WORDS + entry as usize / 64, 1 << (entry % 64))
    }
}
