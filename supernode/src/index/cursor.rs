//! Walking through postings, and through what several have in common.

use smallvec::SmallVec;

use super::{
    arena::Arena,
    merge,
    postings::{Block, Postings, lower_bound, number},
};

/// A place in a word's postings.
#[derive(Clone, Debug)]
pub(super) enum Cursor<'a> {
    None,
    One(u32),
    Few { bytes: &'a [u8], at: usize },
    Many { blocks: &'a [Block], bytes: &'a [u8], at: usize, arena: &'a Arena },
}

impl<'a> Cursor<'a> {
    pub fn new(postings: &'a Postings, arena: &'a Arena) -> Self {
        match postings {
            Postings::None => Self::None,
            Postings::One(record) => Self::One(*record),
            Postings::Few(run) => Self::Few { bytes: run.bytes::<4>(arena), at: 0 },
            Postings::Many(many) => Self::Many { blocks: &many.list, bytes: &[], at: 0, arena }.settle(),
        }
    }

    /// The first record from here on that is `least` or more. It never goes back.
    #[inline]
    pub fn seek(&mut self, least: u32) -> Option<u32> {
        match self {
            Self::None => None,
            Self::One(record) => (*record >= least).then_some(*record),
            Self::Few { bytes, at } => {
                *at = lower_bound::<4>(bytes, *at, least);
                (*at < bytes.len() / 4).then(|| number::<4>(bytes, *at))
            }
            Self::Many { blocks, bytes, at, arena } => loop {
                let passed = passed_blocks(blocks, least);
                if passed > 0 {
                    enter(&blocks[passed..], blocks, bytes, at, arena);
                }
                let block = blocks.first()?;
                *at = lower_bound::<2>(bytes, *at, least.saturating_sub(block.base));
                if *at < bytes.len() / 2 {
                    return Some(block.base + number::<2>(bytes, *at));
                }
                enter(&blocks[1..], blocks, bytes, at, arena);
            },
        }
    }

    fn settle(mut self) -> Self {
        if let Self::Many { blocks, bytes, at, arena } = &mut self {
            let all = *blocks;
            enter(all, blocks, bytes, at, arena);
        }
        self
    }
}

fn enter<'a>(
    rest: &'a [Block],
    blocks: &mut &'a [Block],
    bytes: &mut &'a [u8],
    at: &mut usize,
    arena: &'a Arena,
) {
    *blocks = rest;
    *bytes = rest.first().map_or(&[], |block| block.run.bytes::<2>(arena));
    *at = 0;
}

/// How many blocks end before `least`: those whose successor begins at or before it. Galloping.
pub(super) fn passed_blocks(blocks: &[Block], least: u32) -> usize {
    if blocks.get(1).is_none_or(|next| next.base > least) {
        return 0;
    }
    let mut step = 1;
    while blocks.get(step * 2).is_some_and(|block| block.base <= least) {
        step *= 2;
    }
    let end = blocks.len().min(step * 2);
    step + blocks[step..end].partition_point(|block| block.base <= least) - 1
}

/// Visits what all have in common, ascending, until `visit` says stop or `steps` are used up; returns what is
/// left of them. The first should be the shortest.
pub(super) fn intersect(
    lists: &[&Postings],
    arena: &Arena,
    steps: usize,
    mut visit: impl FnMut(u32) -> bool,
) -> usize {
    if let [Postings::Many(shorter), Postings::Many(longer), rest @ ..] = lists
        && merge::is_worth_it(shorter, longer)
    {
        let mut rest = cursors(rest, arena);
        return merge::merge(shorter, longer, arena, steps, |record| {
            !rest.iter_mut().all(|other| other.seek(record) == Some(record)) || visit(record)
        });
    }
    seek_common(&mut cursors(lists, arena), steps, visit)
}

fn cursors<'a>(lists: &[&'a Postings], arena: &'a Arena) -> SmallVec<[Cursor<'a>; 4]> {
    lists.iter().map(|list| Cursor::new(list, arena)).collect()
}

fn seek_common(cursors: &mut [Cursor<'_>], mut steps: usize, mut visit: impl FnMut(u32) -> bool) -> usize {
    let Some((first, others)) = cursors.split_first_mut() else { return steps };
    let mut least = 0;
    'candidates: while let Some(record) = first.seek(least) {
        if steps == 0 {
            return 0;
        }
        steps -= 1;
        for other in &mut *others {
            match other.seek(record) {
                Some(found) if found == record => {}
                Some(beyond) => {
                    least = beyond;
                    continue 'candidates;
                }
                None => return steps,
            }
        }
        if !visit(record) {
            return steps;
        }
        least = record + 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn postings_of(records: impl IntoIterator<Item = u32>, arena: &mut Arena) -> Postings {
        let mut postings = Postings::default();
        records.into_iter().for_each(|record| postings.insert(record, arena));
        postings
    }

    fn all(postings: &Postings, arena: &Arena) -> Vec<u32> {
        let mut found = Vec::new();
        intersect(&[postings], arena, usize::MAX, |record| {
            found.push(record);
            true
        });
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn postings_are_the_set_that_was_put_in(
            steps in proptest::collection::vec((0u32..200_000, any::<bool>()), 1..3000),
            ascending in 0u32..5000,
        ) {
            let mut arena = Arena::default();
            let mut postings = postings_of(0..ascending, &mut arena);
            let mut model: BTreeSet<u32> = (0..ascending).collect();
            for (record, insert) in steps {
                if insert {
                    postings.insert(record, &mut arena);
                    model.insert(record);
                } else {
                    postings.remove(record % 10_000, &mut arena);
                    model.remove(&(record % 10_000));
                }
            }
            prop_assert_eq!(postings.len(), model.len());
            prop_assert_eq!(all(&postings, &arena), model.iter().copied().collect::<Vec<_>>());
            for record in model {
                postings.remove(record, &mut arena);
            }
            prop_assert!(matches!(postings, Postings::None));
        }

        #[test]
        fn an_intersection_is_what_is_in_all(
            left in proptest::collection::btree_set(0u32..300_000, 0..4000),
            right in proptest::collection::btree_set(0u32..30_000, 0..4000),
            multiple in 1u32..4,
        ) {
            let mut arena = Arena::default();
            let sets = [
                postings_of(left.iter().copied(), &mut arena),
                postings_of(right.iter().copied(), &mut arena),
                postings_of((0..200_000).filter(|record| record % multiple == 0), &mut arena),
            ];
            let mut found = Vec::new();
            intersect(&sets.each_ref(), &arena, usize::MAX, |record| { found.push(record); true });
            let expected: Vec<u32> =
                left.intersection(&right).copied().filter(|record| record % multiple == 0).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
