//! Random graphs.

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Who is linked with whom, both ways.
#[derive(Debug)]
pub(super) struct Graph {
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl Graph {
    /// Links `members` at random so that each has about `degree` links, an average that need not be whole. Others of the `count` have none.
    pub(super) fn random(count: u32, members: &[u32], degree: f64, rng: &mut ChaCha8Rng) -> Self {
        let mut stubs = Vec::with_capacity((members.len() as f64 * degree) as usize + members.len());
        for member in members {
            let extra = rng.random_bool(degree.fract());
            stubs.extend(std::iter::repeat_n(*member, degree as usize + usize::from(extra)));
        }
        stubs.shuffle(rng);
        let pairs = stubs.chunks_exact(2).filter(|pair| pair[0] != pair[1]);
        let mut starts = vec![0_u32; count as usize + 1];
        for end in pairs.clone().flatten() {
            starts[*end as usize + 1] += 1;
        }
        for position in 0..count as usize {
            starts[position + 1] += starts[position];
        }
        let mut next = starts.clone();
        let mut ends = vec![0; starts[count as usize] as usize];
        for pair in pairs {
            for (from, to) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                let slot = &mut next[from as usize];
                ends[*slot as usize] = to;
                *slot += 1;
            }
        }
        Self { starts, ends }
    }

    pub(super) fn neighbours(&self, of: u32) -> &[u32] {
        &self.ends[self.starts[of as usize] as usize..self.starts[of as usize + 1] as usize]
    }

    /// Links, each counted once.
    pub(super) fn links(&self) -> usize {
        self.ends.len() / 2
    }
}
