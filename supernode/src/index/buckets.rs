//! A hash table that grows by one bucket at a time (linear hashing, Litwin 1980): no pause and no second copy
//! when it doubles. Its items live elsewhere and link to the next of their bucket.

use super::chunked::Chunked;

/// Items a bucket holds on average before one more is made: 2 would save 2 bytes an item and cost a cache miss
/// each time.
const LOAD: usize = 1;
/// No item.
pub(super) const END: u32 = u32::MAX;

/// The items: where they hash to, and the link that each keeps.
pub(super) trait Links {
    fn hash(&self, item: u32) -> u32;
    fn next(&self, item: u32) -> u32;
    fn set_next(&mut self, item: u32, next: u32);
}

#[derive(Debug, Default)]
pub(super) struct Buckets {
    heads: Chunked<u32>,
    items: usize,
}

impl Buckets {
    /// The items of a hash's bucket, those of other hashes among them.
    pub fn chain<'a>(&self, hash: u32, links: &'a impl Links) -> impl Iterator<Item = u32> + 'a {
        let first = if self.heads.len() == 0 { END } else { self.heads[self.bucket(hash)] };
        let some = |at| Some(at).filter(|at| *at != END);
        std::iter::successors(some(first), move |at| some(links.next(*at)))
    }

    pub fn insert(&mut self, item: u32, links: &mut impl Links) {
        self.items += 1;
        if self.items > self.heads.len() * LOAD {
            self.grow(links);
        }
        self.link(item, links);
    }

    pub fn remove(&mut self, item: u32, links: &mut impl Links) {
        let bucket = self.bucket(links.hash(item));
        let next = links.next(item);
        let mut at = self.heads[bucket];
        if at == item {
            self.heads[bucket] = next;
        } else {
            while links.next(at) != item {
                at = links.next(at);
            }
            links.set_next(at, next);
        }
        self.items -= 1;
    }

    pub fn memory(&self) -> usize {
        self.heads.memory()
    }

    fn bucket(&self, hash: u32) -> u32 {
        let half = 1 << self.heads.len().ilog2();
        let wide = hash & (2 * half - 1) as u32;
        if (wide as usize) < self.heads.len() { wide } else { hash & (half - 1) as u32 }
    }

    fn link(&mut self, item: u32, links: &mut impl Links) {
        let bucket = self.bucket(links.hash(item));
        links.set_next(item, self.heads[bucket]);
        self.heads[bucket] = item;
    }

    /// Adds a bucket, which takes its share of the one whose hashes it splits.
    fn grow(&mut self, links: &mut impl Links) {
        let added = self.heads.push(END);
        if added == 0 {
            return;
        }
        let split = added - (1 << added.ilog2());
        let mut at = std::mem::replace(&mut self.heads[split], END);
        while at != END {
            let next = links.next(at);
            self.link(at, links);
            at = next;
        }
    }
}
