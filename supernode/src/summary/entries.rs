//! A set of entries: ascending runs of bounded length, at little more than 4 bytes an entry.
//!
//! Entries are hashes, so they are spread evenly: a roaring bitmap of 200,000 would have a container for every
//! three of them, some 20 bytes an entry, and shift all the containers behind each new one.

use nearmesh_common::wire::mesh::SummaryEntry;

/// Most entries in a run: 2 KiB are moved for one that comes or goes.
const MAX_RUN: usize = 512;
/// Room that a run gets at a time.
const STEP: usize = 32;

#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// The first entry of each run, to look for it in one place.
    firsts: Vec<SummaryEntry>,
    runs: Vec<Vec<SummaryEntry>>,
    len: usize,
}

impl Entries {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn contains(&self, entry: SummaryEntry) -> bool {
        let at = self.run_of(entry);
        self.runs.get(at).is_some_and(|run| run.binary_search(&entry).is_ok())
    }

    pub fn iter(&self) -> impl Iterator<Item = SummaryEntry> {
        self.runs.iter().flatten().copied()
    }

    /// Those that are not below `first`.
    pub fn iter_from(&self, first: SummaryEntry) -> impl Iterator<Item = SummaryEntry> {
        let runs = self.runs[self.run_of(first)..].iter();
        runs.flatten().copied().skip_while(move |entry| *entry < first)
    }

    /// Whether it is new.
    pub fn insert(&mut self, entry: SummaryEntry) -> bool {
        let at = self.run_of(entry);
        let Some(run) = self.runs.get_mut(at) else {
            self.begin(0, vec![entry]);
            self.len = 1;
            return true;
        };
        let Err(place) = run.binary_search(&entry) else { return false };
        self.len += 1;
        if run.len() == MAX_RUN {
            let behind = if place == MAX_RUN { vec![entry] } else { run.split_off(MAX_RUN / 2) };
            run.shrink_to_fit();
            self.begin(at + 1, behind);
            if place < MAX_RUN {
                self.len -= 1;
                return self.insert(entry);
            }
            return true;
        }
        if run.len() == run.capacity() {
            run.reserve_exact(STEP);
        }
        run.insert(place, entry);
        self.firsts[at] = run[0];
        true
    }

    /// Whether it was there.
    pub fn remove(&mut self, entry: SummaryEntry) -> bool {
        let at = self.run_of(entry);
        let Some(run) = self.runs.get_mut(at) else { return false };
        let Ok(place) = run.binary_search(&entry) else { return false };
        run.remove(place);
        self.len -= 1;
        if run.is_empty() {
            self.runs.remove(at);
            self.firsts.remove(at);
        } else {
            self.firsts[at] = run[0];
        }
        true
    }

    /// Bytes it takes, about.
    pub fn memory(&self) -> usize {
        /// A run's place in both lists, and the allocator's header.
        const RUN_BYTES: usize = size_of::<Vec<SummaryEntry>>() + size_of::<SummaryEntry>() + 16;
        self.runs.iter().map(|run| run.capacity() * size_of::<SummaryEntry>() + RUN_BYTES).sum()
    }

    /// The run in which an entry is, or would be.
    fn run_of(&self, entry: SummaryEntry) -> usize {
        self.firsts.partition_point(|first| *first <= entry).saturating_sub(1)
    }

    fn begin(&mut self, at: usize, run: Vec<SummaryEntry>) {
        self.firsts.insert(at, run[0]);
        self.runs.insert(at, run);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_is_the_set_that_was_put_in(
            ascending in 0u32..3000,
            steps in proptest::collection::vec((0u32..4000, any::<bool>()), 0..3000),
        ) {
            let mut entries = Entries::default();
            let mut model: BTreeSet<u32> = (0..ascending).map(|entry| entry * 3).collect();
            model.iter().for_each(|entry| assert!(entries.insert(*entry)));
            for (entry, insert) in steps {
                if insert {
                    prop_assert_eq!(entries.insert(entry), model.insert(entry));
                } else {
                    prop_assert_eq!(entries.remove(entry), model.remove(&entry));
                }
            }
            prop_assert_eq!(entries.len(), model.len());
            prop_assert!(entries.iter().eq(model.iter().copied()));
            prop_assert!((0..9000).all(|entry| entries.contains(entry) == model.contains(&entry)));
        }
    }
}
