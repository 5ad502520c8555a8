//! What a supernode's children and their searchers notice of the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use nearmesh_common::{
    ContentHash,
    wire::{
        file::{FileEntry, FileNumber, Kind, Tags},
        query::{Filter, Query, Subject},
    },
};
use proptest::prelude::*;

use super::{Catalogue, ChildId, MAX_SOURCES, Match, Terms};
use crate::summary::{Probe, SummaryView};

const ALICE: ChildId = ChildId(1);
const BOB: ChildId = ChildId(2);

fn file(number: u32, name: &str) -> FileEntry {
    let hash = ContentHash(*blake3::hash(format!("{number} {name}").as_bytes()).as_bytes());
    let (size, kind) = (1000 + u64::from(number), Kind::Other);
    FileEntry { number: FileNumber(number), name: name.into(), size, hash, kind, tags: None }
}

fn words(text: &str, limit: u32) -> Query {
    Query { subject: Subject::Words(text.into()), filter: Filter::default(), limit }
}

fn names(found: &[Match]) -> Vec<&str> {
    found.iter().map(|found| &*found.name).collect()
}

#[test]
fn alice_finds_a_file_by_any_of_its_words() {
    let mut catalogue = Catalogue::default();
    catalogue.add(BOB, &file(1, "Julia Fractal (Blue).webm"));
    catalogue.add(BOB, &file(2, "Mandelbrot.webm"));
    for query in ["julia", "FRACTAL julia", "blue fra", "j", "webm julia", "Julia Fractal (Blue).webm"] {
        assert_eq!(names(&catalogue.search(&words(query, 50))), ["Julia Fractal (Blue).webm"], "{query}");
    }
    assert_eq!(catalogue.search(&words("webm", 50)).len(), 2);
    for query in ["", "--", "julia mandel", "ractal"] {
        assert!(catalogue.search(&words(query, 50)).is_empty(), "{query}");
    }
}

#[test]
fn tags_are_found_but_names_come_first() {
    let mut catalogue = Catalogue::default();
    let tags = Tags { title: "Julia".into(), artist: "Béla".into(), album: "".into() };
    catalogue.add(BOB, &FileEntry { tags: Some(tags), ..file(1, "01.mp3") });
    catalogue.add(BOB, &file(2, "bela.mp3"));
    assert_eq!(names(&catalogue.search(&words("bela", 50))), ["bela.mp3", "01.mp3"]);
    assert_eq!(names(&catalogue.search(&words("bela jul", 50))), ["01.mp3"]);
    assert!(catalogue.remove(BOB, FileNumber(1)));
    assert!(catalogue.search(&words("julia", 50)).is_empty());
}

#[test]
fn an_entry_replaces_the_one_with_its_number() {
    let mut catalogue = Catalogue::default();
    catalogue.add(BOB, &file(1, "old name"));
    catalogue.add(BOB, &file(1, "new name"));
    assert_eq!(names(&catalogue.search(&words("name", 50))), ["new name"]);
    assert!(catalogue.search(&words("old", 50)).is_empty());
    assert_eq!(catalogue.len(), 1);
    assert!(!catalogue.remove(ALICE, FileNumber(1)) && !catalogue.remove(BOB, FileNumber(2)));
}

#[test]
fn a_hidden_child_is_not_found_until_it_is_back() {
    let mut catalogue = Catalogue::default();
    let shared = file(1, "fractal");
    catalogue.add(BOB, &shared);
    catalogue.hide(BOB);
    assert!(catalogue.search(&words("fractal", 50)).is_empty());
    assert!(catalogue.search(&content(shared.hash, 5)).is_empty());
    catalogue.unhide(BOB);
    assert_eq!(catalogue.search(&words("fractal", 50)).len(), 1);
}

#[test]
fn a_departed_childs_files_are_gone_at_once_and_leave_the_summary_when_purged() {
    let mut catalogue = Catalogue::default();
    (0..300).for_each(|at| assert!(catalogue.add(BOB, &file(at, &format!("fractal number{at}")))));
    catalogue.add(ALICE, &file(1, "another fractal"));
    catalogue.drop_child(BOB);
    assert_eq!(names(&catalogue.search(&words("fractal", 50))), ["another fractal"]);
    assert_eq!(catalogue.len(), 1);
    catalogue.add(BOB, &file(1, "bob again"));
    assert_eq!(catalogue.search(&words("bob", 50))[0].child, BOB);
    while catalogue.purge(100) == 100 {}
    assert_eq!(names(&catalogue.search(&words("number", 50))), [""; 0]);
    let mut fresh = Catalogue::default();
    fresh.add(ALICE, &file(1, "another fractal"));
    fresh.add(BOB, &file(1, "bob again"));
    assert!(catalogue.summary().all().eq(fresh.summary().all()));
}

#[test]
fn one_popular_content_does_not_crowd_out_the_others() {
    let mut catalogue = Catalogue::default();
    let popular = file(1, "fractal");
    (0..500).for_each(|child| assert!(catalogue.add(ChildId(child), &popular)));
    (0..10).for_each(|at| assert!(catalogue.add(ChildId(1000), &file(at, &format!("fractal {at}")))));
    let found = catalogue.search(&words("fractal", 5));
    let contents: BTreeSet<ContentHash> = found.iter().map(|found| found.hash).collect();
    assert_eq!(contents.len(), 5);
    assert_eq!(found.iter().filter(|found| found.hash == popular.hash).count(), MAX_SOURCES);
    assert_eq!(catalogue.search(&content(popular.hash, 30)).len(), 30);
}

#[test]
fn size_and_kind_are_conditions_and_not_opinions() {
    let mut catalogue = Catalogue::default();
    for number in 0..3000 {
        let kind = if number % 1000 == 7 { Kind::Audio } else { Kind::Video };
        catalogue.add(BOB, &FileEntry { kind, ..file(number, "fractal") });
    }
    let search = |filter| catalogue.search(&Query { filter, ..words("fractal", 50) }).len();
    assert_eq!(search(Filter { kind: Some(Kind::Audio), ..Filter::default() }), 3);
    assert_eq!(search(Filter { min_size: Some(3990), max_size: Some(3994), kind: None }), 5);
}

#[test]
fn the_longest_names_and_tags_fit() {
    let mut catalogue = Catalogue::default();
    let long = "щ".repeat(64);
    let tags =
        Tags { title: long.as_str().into(), artist: long.as_str().into(), album: "a ".repeat(64).into() };
    for name in ["я".repeat(382), "x ".repeat(382), "\u{fffd}".repeat(255), "語".repeat(255), String::new()]
    {
        catalogue.add(BOB, &FileEntry { tags: Some(tags.clone()), ..file(1, &name) });
        assert_eq!(names(&catalogue.search(&words(&long, 1))), [name.as_str()]);
    }
    catalogue.add(BOB, &file(1, &"x".repeat(5000)));
    assert!(catalogue.remove(BOB, FileNumber(1)));
    assert!(catalogue.summary().is_empty());
}

fn content(hash: ContentHash, limit: u32) -> Query {
    Query { subject: Subject::Content(hash), ..words("", limit) }
}

/// Few different words, so that they meet often; some share beginnings, some are not Latin.
fn any_name() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[ab]{1,6}",
        "fract(al|als|ion|ure)?",
        Just("Été".to_owned()),
        Just("東京".to_owned()),
        Just("タワー".to_owned()),
    ];
    proptest::collection::vec(word, 1..5).prop_map(|words| words.join(" "))
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32, u32, String),
    Remove(u32, u32),
    Drop(u32),
    Hide(u32, bool),
    Purge(usize),
    Follow,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..4u32, 0..40u32, any_name()).prop_map(|(child, number, name)| Step::Add(child, number, name)),
        3 => (0..4u32, 0..40u32).prop_map(|(child, number)| Step::Remove(child, number)),
        1 => (0..4u32).prop_map(Step::Drop),
        1 => (0..4u32, any::<bool>()).prop_map(|(child, hidden)| Step::Hide(child, hidden)),
        1 => (0..60usize).prop_map(Step::Purge),
        1 => Just(Step::Follow),
    ]
}

/// The same by brute force.
#[derive(Default)]
struct Model {
    files: BTreeMap<(u32, u32), FileEntry>,
    hidden: BTreeSet<u32>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Add(child, number, name) => {
                self.files.insert((*child, *number), file(*number % 20, name));
            }
            Step::Remove(child, number) => {
                self.files.remove(&(*child, *number));
            }
            Step::Drop(child) => {
                self.files.retain(|(owner, _), _| owner != child);
                self.hidden.remove(child);
            }
            Step::Hide(child, true) => {
                self.hidden.insert(*child);
            }
            Step::Hide(child, false) => {
                self.hidden.remove(child);
            }
            Step::Purge(_) | Step::Follow => {}
        }
    }

    fn search(&self, text: &str) -> BTreeMap<(u32, u32), u16> {
        let Some(terms) = Terms::parse(text) else { return BTreeMap::new() };
        (self.files.iter().filter(|((child, _), _)| !self.hidden.contains(child)))
            .filter_map(|(key, entry)| Some((*key, terms.score(&entry.name, "")?)))
            .collect()
    }
}

fn apply(catalogue: &mut Catalogue, view: &mut SummaryView, step: &Step) {
    match step {
        Step::Add(child, number, name) => {
            let entry = FileEntry { number: FileNumber(*number), ..file(*number % 20, name) };
            catalogue.add(ChildId(*child), &entry);
        }
        Step::Remove(child, number) => {
            catalogue.remove(ChildId(*child), FileNumber(*number));
        }
        Step::Drop(child) => catalogue.drop_child(ChildId(*child)),
        Step::Hide(child, true) => catalogue.hide(ChildId(*child)),
        Step::Hide(child, false) => catalogue.unhide(ChildId(*child)),
        Step::Purge(most) => {
            catalogue.purge(*most);
        }
        Step::Follow => follow(catalogue, view),
    }
}

fn follow(catalogue: &mut Catalogue, view: &mut SummaryView) {
    loop {
        let changes = catalogue.take_changes(7);
        if changes.is_empty() {
            return;
        }
        assert!(changes.added.len() + changes.removed.len() <= 7);
        view.apply_change(view.version(), &changes.added, &changes.removed).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_finds_what_a_look_at_every_file_finds_and_its_summary_never_denies_it(
        steps in proptest::collection::vec(any_step(), 1..200),
        queries in proptest::collection::vec((any_name(), 1usize..12), 1..12),
        limit in 1u32..6,
    ) {
        let (mut catalogue, mut model) = (Catalogue::default(), Model::default());
        let mut view = SummaryView::default();
        view.apply_part(view.version(), (true, true), &[]).unwrap();
        for step in &steps {
            apply(&mut catalogue, &mut view, step);
            model.apply(step);
        }
        prop_assert_eq!(catalogue.len(), model.files.len());
        follow(&mut catalogue, &mut view);
        prop_assert_eq!(view.len(), catalogue.summary().len());
        for (query, chars) in queries {
            let query: String = query.chars().take(chars).collect();
            let expected = model.search(&query);
            let found = catalogue.search(&words(&query, 500));
            let by_key: BTreeMap<(u32, u32), u16> =
                found.iter().map(|found| ((found.child.0, found.number.0), found.score)).collect();
            prop_assert_eq!(by_key.len(), found.len());
            prop_assert_eq!(&by_key, &expected, "query {:?}", query);
            prop_assert!(expected.is_empty() || view.may_match(&Probe::new(&words(&query, 1).subject)));

            let contents: BTreeSet<ContentHash> = found.iter().map(|found| found.hash).collect();
            let few: BTreeSet<ContentHash> =
                catalogue.search(&words(&query, limit)).iter().map(|found| found.hash).collect();
            prop_assert_eq!(few.len(), contents.len().min(limit as usize));
            prop_assert!(few.is_subset(&contents));
        }
        for child in 0..4 {
            catalogue.drop_child(ChildId(child));
        }
        while catalogue.purge(1000) == 1000 {}
        follow(&mut catalogue, &mut view);
        prop_assert!(catalogue.is_empty() && catalogue.summary().is_empty() && view.is_empty());
    }
}
