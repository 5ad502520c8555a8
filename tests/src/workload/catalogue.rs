//! Which node shares which file, both ways round, in two flat arrays.

use std::collections::BTreeSet;

use rand::{Rng, RngExt, seq::SliceRandom};

use super::{FileId, Node, Shape, draw, parameters};

/// Who shares what.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// Where each node's files begin, and one past the last.
    starts: Vec<u32>,
    shared: Vec<FileId>,
    /// Where each file's holders begin, and one past the last.
    firsts: Vec<u32>,
    holders: Vec<Node>,
}

impl Catalogue {
    /// A catalogue in which everybody shares what they made and what they fetched.
    pub(super) fn new(shape: Shape, rng: &mut impl Rng) -> Self {
        let counts: Vec<[u32; 2]> = (0..shape.nodes).map(|_| shares(shape, rng)).collect();
        let made = |node: usize| (0..counts[node][0]).map(move |_| Node(node as u32));
        let mut origins: Vec<Node> = (0..counts.len()).flat_map(made).collect();
        if origins.is_empty() {
            origins.push(Node(0));
        }
        // A file's rank says nothing about its maker.
        origins.shuffle(rng);
        let files = origins.len() as u32;
        let (own_starts, own) = grouped(shape.nodes, &origins, |node| node.0, FileId);

        let mut starts = vec![0];
        let mut shared = Vec::new();
        for (node, [_, fetched]) in counts.iter().enumerate() {
            let own = &own[own_starts[node] as usize..own_starts[node + 1] as usize];
            shared.extend(with_fetched(own, *fetched, files, rng));
            starts.push(shared.len() as u32);
        }
        let owners: Vec<Node> = (0..shape.nodes)
            .flat_map(|node| (starts[node as usize]..starts[node as usize + 1]).map(move |_| Node(node)))
            .collect();
        let (firsts, holders) = grouped(files, &shared, |file| file.0, |copy| owners[copy as usize]);
        Self { starts, shared, firsts, holders }
    }

    pub(super) fn files(&self) -> u32 {
        (self.firsts.len() - 1) as u32
    }

    pub(super) fn copies(&self) -> u32 {
        self.shared.len() as u32
    }

    pub(super) fn shared(&self, node: Node) -> &[FileId] {
        let node = node.0 as usize;
        &self.shared[self.starts[node] as usize..self.starts[node + 1] as usize]
    }

    pub(super) fn holders(&self, file: FileId) -> &[Node] {
        let file = file.0 as usize;
        &self.holders[self.firsts[file] as usize..self.firsts[file + 1] as usize]
    }
}

/// How many files a node made, and how many it fetches.
fn shares(shape: Shape, rng: &mut impl Rng) -> [u32; 2] {
    if rng.random_bool(shape.free_riders) {
        return [0, 0];
    }
    let average = f64::from(shape.files_per_sharer);
    // The mean of a Pareto distribution is its least value times a / (a - 1); half is what rounding down takes away.
    let least = (average + 0.5) * (1.0 - 1.0 / parameters::SHARING_EXPONENT);
    let uniform: f64 = 1.0 - rng.random::<f64>();
    let most = average * f64::from(parameters::MOST_FILES);
    let files = (least * uniform.powf(-1.0 / parameters::SHARING_EXPONENT)).clamp(1.0, most) as u32;
    let made = (0..files).filter(|_| rng.random_bool(parameters::ORIGINALS)).count() as u32;
    [made, files - made]
}

/// `own` and up to `fetched` others, by popularity, none twice.
fn with_fetched(own: &[FileId], fetched: u32, files: u32, rng: &mut impl Rng) -> BTreeSet<FileId> {
    let mut library: BTreeSet<FileId> = own.iter().copied().collect();
    let wanted = library.len() + fetched as usize;
    let mut in_vain = 0;
    while library.len() < wanted && in_vain < parameters::FETCH_TRIES {
        if library.insert(FileId(draw::zipf_rank(rng, files))) {
            in_vain = 0;
        } else {
            in_vain += 1;
        }
    }
    library
}

/// The positions of `items`, grouped by key: where each group of `0..groups` begins, and the groups after one another.
fn grouped<I: Copy, V>(
    groups: u32,
    items: &[I],
    key: impl Fn(I) -> u32,
    value: impl Fn(u32) -> V,
) -> (Vec<u32>, Vec<V>) {
    let mut starts = vec![0_u32; groups as usize + 1];
    for item in items {
        starts[key(*item) as usize + 1] += 1;
    }
    for group in 0..groups as usize {
        starts[group + 1] += starts[group];
    }
    let mut next = starts.clone();
    let mut order = vec![0_u32; items.len()];
    for (position, item) in items.iter().enumerate() {
        let slot = &mut next[key(*item) as usize];
        order[*slot as usize] = position as u32;
        *slot += 1;
    }
    (starts, order.into_iter().map(value).collect())
}
