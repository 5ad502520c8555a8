//! What a follower may rely on.

use nearmesh_common::{
    ContentHash,
    wire::{
        mesh::{SummaryEntry, SummaryVersion},
        query::Subject,
    },
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Probe, Summary, SummaryChanges, SummaryView, ViewError};

const FIRST: SummaryVersion = SummaryVersion { epoch: 1, number: 1 };

fn probe(text: &str) -> Probe {
    Probe::new(&Subject::Words(text.into()))
}

fn whole(entries: &[SummaryEntry]) -> SummaryView {
    let mut view = SummaryView::default();
    view.apply_part(FIRST, (true, true), entries).unwrap();
    view
}

fn view_of(summary: &Summary) -> SummaryView {
    whole(&summary.all().collect::<Vec<_>>())
}

#[test]
fn a_word_that_nobody_has_is_not_asked_for() {
    let mut summary = Summary::default();
    ["julia", "fractals", "東", "京"].iter().for_each(|word| summary.add_word(word));
    let view = view_of(&summary);
    for query in ["julia", "julia fractals", "fractals jul", "julia fract", "fractals j", "東京", "京"] {
        assert!(view.may_match(&probe(query)), "{query}");
    }
    for query in ["mandelbrot", "julia mandel", "fractal julia", "fractals jux", "julia fracx", "北 京", ""]
    {
        assert!(!view.may_match(&probe(query)), "{query}");
    }
}

#[test]
fn a_word_leaves_with_its_last_entry() {
    let mut summary = Summary::default();
    summary.add_word("fractal");
    summary.add_word("fraction");
    summary.remove_word("fraction");
    assert!(view_of(&summary).may_match(&probe("fractal")));
    assert!(view_of(&summary).may_match(&probe("fra")));
    summary.remove_word("fractal");
    assert!(summary.is_empty());
}

#[test]
fn what_came_and_went_is_not_told() {
    let mut summary = Summary::default();
    let (kept, passing) = (ContentHash([1; 32]), ContentHash([2; 32]));
    summary.add_content(&kept);
    summary.add_content(&passing);
    summary.remove_content(&passing);
    let told = summary.take_changes(100);
    assert_eq!((told.added.len(), told.removed.len()), (1, 0));
    summary.remove_content(&kept);
    summary.add_content(&kept);
    assert_eq!(summary.take_changes(100), SummaryChanges::default());
}

#[test]
fn everything_may_match_until_the_whole_is_known() {
    let mut view = SummaryView::default();
    assert!(view.may_match(&probe("julia")));
    view.apply_part(FIRST, (true, false), &[1]).unwrap();
    assert!(view.may_match(&probe("julia")));
    assert_eq!(view.version(), SummaryVersion::default());
    view.apply_part(FIRST, (false, true), &[2]).unwrap();
    assert!(!view.may_match(&probe("julia")));
    assert_eq!((view.version(), view.len()), (FIRST, 2));
}

#[test]
fn a_change_out_of_step_is_refused_and_the_whole_asked_for() {
    let mut view = whole(&[1, 2]);
    view.apply_change(FIRST, &[3], &[1]).unwrap();
    assert_eq!((view.version().number, view.len()), (2, 2));
    assert_eq!(view.apply_change(FIRST, &[4], &[]), Err(ViewError::OutOfStep));
    assert_eq!((view.version(), view.len()), (SummaryVersion::default(), 0));
    assert_eq!(view.apply_part(FIRST, (false, true), &[4]), Err(ViewError::OutOfStep));
}

#[test]
fn fewer_than_one_question_in_a_hundred_is_in_vain() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut summary = Summary::default();
    while summary.len() < 200_000 {
        summary.add_content(&ContentHash(rng.random()));
    }
    let view = view_of(&summary);
    let asked = 100_000;
    let in_vain = (0..asked).filter(|at| view.may_match(&probe(&format!("word{at} {at}")))).count();
    println!("{in_vain} of {asked} in vain, {} bytes", view.memory());
    assert!(in_vain * 1000 < asked);
    let unknown = (0..asked)
        .filter(|_| view.may_match(&Probe::new(&Subject::Content(ContentHash(rng.random())))))
        .count();
    assert!(unknown * 1000 < asked);
}

proptest! {
    #[test]
    fn a_follower_of_changes_holds_what_the_owner_holds(
        steps in proptest::collection::vec((0u8..40, any::<bool>(), any::<bool>()), 1..200),
        most in 1usize..9,
    ) {
        let mut summary = Summary::default();
        let mut counts = [0; 40];
        let mut view = whole(&[]);
        for (word, add, tell) in steps {
            let text = format!("{}word{word}", word % 3);
            if add {
                summary.add_word(&text);
                counts[usize::from(word)] += 1;
            } else if counts[usize::from(word)] > 0 {
                summary.remove_word(&text);
                counts[usize::from(word)] -= 1;
            }
            if tell {
                let changes = summary.take_changes(most);
                view.apply_change(view.version(), &changes.added, &changes.removed).unwrap();
            }
        }
        loop {
            let changes = summary.take_changes(most);
            if changes.is_empty() {
                break;
            }
            view.apply_change(view.version(), &changes.added, &changes.removed).unwrap();
        }
        prop_assert_eq!(view.len(), summary.len());
        for (word, count) in counts.into_iter().enumerate() {
            let text = format!("{}word{word}", word % 3);
            prop_assert_eq!(view.may_match(&probe(&format!("{text} {text}"))), count > 0);
        }
    }
}
