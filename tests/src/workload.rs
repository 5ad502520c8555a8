//! What people share and ask for, as the literature measured it: one workload for the simulator and for the models of the
//! older systems.
//!
//! Everything follows from a seed and a [`Shape`]. Nodes, files and words are numbers; names, hashes, places and user
//! names are made on demand, so that a million nodes with three million copies take some 35 MB.
//!
//! **Files.** A file is born at one node: half of all copies are such originals. The other half was fetched: every sharer
//! draws from a Zipf popularity, never the same file twice, which is what flattens the head of the popularity curve
//! (Gummadi et al. 2003). [`FileId`]s are popularity ranks: 0 is the most wanted. About three quarters of all files exist
//! once.
//!
//! **Names.** A name is a few common words, drawn from a Zipf vocabulary, and one title word that no other file has. A
//! question for a file always has its title word, so that the truth is exact: its answers are the
//! [`Workload::holders_of`] that file, and no others. Its common words are what a filter of single words has to cope
//! with.
//!
//! **Questions** are drawn by a popularity of their own: what is asked for most is not what is shared most (Acosta and
//! Chandra 2008), and 44.4 % of all word questions match nothing.
//!
//! Invariant: the same seed and shape give the same workload on every machine.

mod catalogue;
pub(crate) mod draw;
mod names;
pub mod parameters;
mod people;
pub mod places;
mod questions;
pub mod sessions;

use std::ops::Range;

use catalogue::Catalogue;
use names::Names;
pub use questions::{Asked, Question};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A node's number, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u32);

/// A file's number: its rank by popularity, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// How large a workload is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Ordinary nodes.
    pub nodes: u32,
    /// Files that a sharing node shares, on average. [`parameters::FILES_PER_SHARER`] unless memory asks for fewer.
    pub files_per_sharer: u32,
    /// The part of all nodes that share nothing. [`parameters::FREE_RIDERS`].
    pub free_riders: f64,
    /// The part of all nodes that are behind a NAT. [`parameters::BEHIND_NAT`].
    pub behind_nat: f64,
}

impl Shape {
    /// So many nodes, and for the rest what the literature says.
    pub fn of(nodes: u32) -> Self {
        Self {
            nodes,
            files_per_sharer: parameters::FILES_PER_SHARER,
            free_riders: parameters::FREE_RIDERS,
            behind_nat: parameters::BEHIND_NAT,
        }
    }
}

/// Who shares what, and what is asked for.
#[derive(Debug)]
pub struct Workload {
    seed: u64,
    shape: Shape,
    catalogue: Catalogue,
    names: Names,
    /// Files of one copy, by rank.
    single: Vec<FileId>,
    /// The files before this one have at least [`parameters::POPULAR`] copies, but for a few.
    popular: u32,
}

impl Workload {
    /// The workload that follows from `seed`.
    pub fn new(seed: u64, shape: Shape) -> Self {
        let catalogue = Catalogue::new(shape, &mut ChaCha8Rng::seed_from_u64(seed));
        let copies = |file: &u32| catalogue.holders(FileId(*file)).len();
        let single = (0..catalogue.files()).filter(|file| copies(file) == 1).map(FileId).collect();
        let popular = (0..catalogue.files()).take_while(|file| copies(file) >= parameters::POPULAR).count();
        let names = Names::new(seed, catalogue.files());
        Self { seed, shape, names, single, popular: popular as u32, catalogue }
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How large it is.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u32 {
        self.shape.nodes
    }

    /// How many different files there are. Each has a copy somewhere.
    pub fn files(&self) -> u32 {
        self.catalogue.files()
    }

    /// How many copies there are of all files together.
    pub fn copies(&self) -> u32 {
        self.catalogue.copies()
    }

    /// What a node shares, the most popular first. Nothing twice; often nothing at all.
    pub fn files_of(&self, node: Node) -> impl ExactSizeIterator<Item = FileId> + '_ {
        self.catalogue.shared(node).iter().copied()
    }

    /// Who shares a file, in order. Never nobody.
    pub fn holders_of(&self, file: FileId) -> &[Node] {
        self.catalogue.holders(file)
    }

    /// The files that exist once.
    pub fn single_copies(&self) -> &[FileId] {
        &self.single
    }

    /// The most popular files: all of the first [`parameters::POPULAR`] copies and more. Empty in a very small net.
    pub fn popular(&self) -> Range<u32> {
        0..self.popular
    }
}

#[cfg(test)]
mod tests;
