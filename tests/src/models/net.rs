//! Index holders and those who hang on them.

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::workload::{FileId, Node, Workload, places::Place};

/// How a node chooses among index holders.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    /// Any one.
    Random,
    /// The nearest of five: KaZaA probed so many (slides on the FastTrack overlay), and Nearmesh's nodes do.
    NearestOfFive,
}

/// Well-placed index holders, and the nodes attached to them.
#[derive(Debug)]
pub(super) struct Net<'w> {
    pub(super) workload: &'w Workload,
    choice: Choice,
    /// Index holders that live.
    alive: Vec<bool>,
    /// Those that each node is attached to.
    homes: Vec<u32>,
    /// How many that is for one node.
    each: usize,
}

impl<'w> Net<'w> {
    /// All nodes attached to `each` of `holders` index holders.
    pub(super) fn new(
        workload: &'w Workload,
        holders: u32,
        each: usize,
        choice: Choice,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let each = each.min(holders as usize);
        let mut net = Self {
            workload,
            choice,
            alive: vec![true; holders as usize],
            homes: vec![u32::MAX; workload.nodes() as usize * each],
            each,
        };
        net.attach(rng);
        net
    }

    pub(super) fn holders(&self) -> u32 {
        self.alive.len() as u32
    }

    pub(super) fn lives(&self, holder: u32) -> bool {
        self.alive[holder as usize]
    }

    pub(super) fn living(&self) -> Vec<u32> {
        (0..self.holders()).filter(|holder| self.lives(*holder)).collect()
    }

    pub(super) fn place(&self, holder: u32) -> Place {
        self.workload.supernode_place(holder)
    }

    /// The living index holders of a node.
    pub(super) fn homes_of(&self, node: Node) -> impl Iterator<Item = u32> + '_ {
        let first = node.0 as usize * self.each;
        self.homes[first..first + self.each].iter().copied().filter(|home| self.lives(*home))
    }

    /// Who indexes a file, and for whom: sorted by index holder.
    pub(super) fn index(&self, file: Option<FileId>) -> Vec<(u32, Node)> {
        let holders = file.map_or(&[][..], |file| self.workload.holders_of(file));
        let mut index: Vec<(u32, Node)> =
            holders.iter().flat_map(|node| self.homes_of(*node).map(move |home| (home, *node))).collect();
        index.sort_unstable();
        index
    }

    /// Those of `index` that this one answers for.
    pub(super) fn answers(index: &[(u32, Node)], holder: u32) -> &[(u32, Node)] {
        let from = index.partition_point(|(home, _)| *home < holder);
        let upto = index.partition_point(|(home, _)| *home <= holder);
        &index[from..upto]
    }

    /// Ends this part of all index holders.
    pub(super) fn kill(&mut self, part: f64, rng: &mut ChaCha8Rng) {
        let mut living = self.living();
        living.shuffle(rng);
        let dying = (living.len() as f64 * part).round() as usize;
        for holder in living.into_iter().take(dying) {
            self.alive[holder as usize] = false;
        }
    }

    /// Attaches nodes to living index holders where they have none.
    pub(super) fn attach(&mut self, rng: &mut ChaCha8Rng) {
        let living = self.living();
        for position in 0..self.homes.len() {
            let home = self.homes[position];
            if home != u32::MAX && self.lives(home) {
                continue;
            }
            let node = Node((position / self.each) as u32);
            let first = node.0 as usize * self.each;
            let mut chosen = self.choose(node, &living, rng);
            // The same one twice would be of no use.
            while self.homes[first..first + self.each].contains(&chosen) && living.len() > self.each {
                chosen = self.choose(node, &living, rng);
            }
            self.homes[position] = chosen;
        }
    }

    fn choose(&self, node: Node, living: &[u32], rng: &mut ChaCha8Rng) -> u32 {
        let mut any = || living[rng.random_range(0..living.len())];
        match self.choice {
            Choice::Random => any(),
            Choice::NearestOfFive => {
                let own = self.workload.place(node);
                let candidates = [(); 5].map(|()| any());
                let nearest = candidates.into_iter().min_by_key(|holder| own.rtt(self.place(*holder)));
                nearest.unwrap_or_default()
            }
        }
    }

    /// For each index holder, how many nodes and files are attached to it.
    pub(super) fn loads(&self) -> Vec<[u32; 2]> {
        let mut loads = vec![[0, 0]; self.alive.len()];
        for node in (0..self.workload.nodes()).map(Node) {
            let files = self.workload.files_of(node).len() as u32;
            for home in self.homes_of(node) {
                loads[home as usize][0] += 1;
                loads[home as usize][1] += files;
            }
        }
        loads
    }
}

/// Who has had a message: cleared in no time.
#[derive(Debug)]
pub(super) struct Marks {
    marks: Vec<u32>,
    round: u32,
}

impl Marks {
    pub(super) fn new(count: u32) -> Self {
        Self { marks: vec![0; count as usize], round: 0 }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.round += 1;
    }

    /// Marks, and tells whether that is new.
    pub(super) fn mark(&mut self, which: u32) -> bool {
        std::mem::replace(&mut self.marks[which as usize], self.round) != self.round
    }
}
