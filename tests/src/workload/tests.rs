use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rand::RngExt;

use super::{sessions::Sessions, *};

fn thousands(nodes: u32) -> Workload {
    Workload::new(1, Shape::of(nodes * 1000))
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

#[test]
fn the_same_seed_gives_the_same_workload() {
    let [one, same, other] = [1, 1, 2].map(|seed| Workload::new(seed, Shape::of(2000)));
    let shared = |workload: &Workload| -> Vec<Vec<FileId>> {
        (0..workload.nodes()).map(|node| workload.files_of(Node(node)).collect()).collect()
    };
    assert_eq!(shared(&one), shared(&same));
    assert_ne!(shared(&one), shared(&other));
    let asked = |workload: &Workload| {
        let mut rng = rng();
        (0..50).map(|_| workload.next_query(&mut rng)).collect::<Vec<_>>()
    };
    assert_eq!(asked(&one), asked(&same));
    assert_eq!(one.name(FileId(3)), same.name(FileId(3)));
    assert_ne!(one.hash(FileId(3)), other.hash(FileId(3)));
}

#[test]
fn files_of_and_holders_of_are_two_views_of_one_truth() {
    let workload = thousands(5);
    let mut copies = 0;
    for node in (0..workload.nodes()).map(Node) {
        for file in workload.files_of(node) {
            assert!(workload.holders_of(file).contains(&node));
            copies += 1;
        }
    }
    let held: usize = (0..workload.files()).map(|file| workload.holders_of(FileId(file)).len()).sum();
    assert_eq!((copies, held), (workload.copies() as usize, workload.copies() as usize));
    assert!((0..workload.files()).all(|file| !workload.holders_of(FileId(file)).is_empty()));
}

#[test]
fn seven_in_ten_share_nothing_and_one_in_a_hundred_shares_half() {
    let workload = thousands(100);
    let mut shares: Vec<usize> =
        (0..workload.nodes()).map(|node| workload.files_of(Node(node)).len()).collect();
    let free_riders = shares.iter().filter(|files| **files == 0).count() as f64 / shares.len() as f64;
    assert!((0.69..0.71).contains(&free_riders), "{free_riders}");
    shares.sort_unstable_by(|a, b| b.cmp(a));
    let top: usize = shares[..shares.len() / 100].iter().sum();
    let part = top as f64 / f64::from(workload.copies());
    assert!((0.40..0.60).contains(&part), "{part}");
    let average = f64::from(workload.copies()) / (shares.len() as f64 * 0.3);
    assert!((8.0..12.0).contains(&average), "{average}");
}

#[test]
fn most_files_exist_once_and_hardly_any_are_common() {
    let workload = thousands(100);
    let files = f64::from(workload.files());
    let single = workload.single_copies().len() as f64 / files;
    assert!((0.65..0.85).contains(&single), "{single}");
    let rare = (0..workload.files()).filter(|file| workload.holders_of(FileId(*file)).len() < 100).count();
    assert!(rare as f64 / files > 0.98, "a hundred copies are 0.1 % of the nodes: {rare} of {files}");
    assert!(workload.popular().len() > 100);
}

#[test]
fn the_head_of_the_popularity_curve_is_flat() {
    let workload = thousands(100);
    let copies = |rank: u32| workload.holders_of(FileId(rank)).len() as f64;
    // Zipf would have the first file ten times as often as the tenth; who fetches at most once cannot.
    assert!(copies(0) / copies(9) < 7.0, "{} {}", copies(0), copies(9));
    let tail = (1000..1100).map(copies).sum::<f64>() / (10_000..10_100).map(copies).sum::<f64>();
    assert!((4.0..10.0).contains(&tail), "{tail}");
}

#[test]
fn a_question_for_a_file_matches_that_file_alone() {
    let workload = thousands(2);
    let mut rng = rng();
    for _ in 0..30 {
        let file = FileId(rng.random_range(0..workload.files()));
        let question = workload.word_question(file, &mut rng);
        let matching: Vec<u32> =
            (0..workload.files()).filter(|other| workload.matches(FileId(*other), &question.words)).collect();
        assert_eq!(matching, [file.0], "{question:?}");
    }
}

#[test]
fn a_question_in_vain_matches_nothing() {
    let workload = thousands(2);
    let mut rng = rng();
    for _ in 0..30 {
        let words = workload.vain_question(&mut rng).words;
        assert!((0..workload.files()).all(|file| !workload.matches(FileId(file), &words)), "{words:?}");
    }
}

#[test]
fn questions_have_the_measured_length_and_mix() {
    let workload = thousands(50);
    let mut rng = rng();
    let (mut words, mut asked, mut vain, mut rare, mut popular, mut users) = (0, 0, 0, 0, 0, 0);
    for _ in 0..20_000 {
        let question = workload.next_query(&mut rng);
        match question.asked {
            Asked::Nothing => vain += 1,
            Asked::Rare(_) => rare += 1,
            Asked::Popular(_) => popular += 1,
            Asked::User(_) => users += 1,
            Asked::Hash(_) => {}
        }
        if !question.words.is_empty() {
            asked += 1;
            words += question.words.len();
        }
    }
    let length = words as f64 / f64::from(asked);
    assert!((3.2..3.9).contains(&length), "{length}");
    let part = f64::from(vain) / f64::from(asked);
    assert!((0.43..0.46).contains(&part), "{part}");
    assert!(rare > 2000 && popular > 1000, "{rare} {popular}");
    assert!((1800..2200).contains(&users), "{users}");
}

#[test]
fn the_words_that_are_asked_for_most_are_not_those_of_most_names() {
    let workload = thousands(50);
    let mut rng = rng();
    let mut asked = BTreeMap::new();
    for _ in 0..30_000 {
        for word in workload.next_query(&mut rng).words {
            *asked.entry(word).or_default() += 1;
        }
    }
    let mut named = BTreeMap::new();
    for file in (0..workload.files()).map(FileId) {
        for word in workload.words(file) {
            *named.entry(word).or_default() += workload.holders_of(file).len();
        }
    }
    let top = |counts: BTreeMap<String, usize>| -> BTreeSet<String> {
        let mut counts: Vec<_> = counts.into_iter().map(|(word, count)| (count, word)).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts.into_iter().take(100).map(|(_, word)| word).collect()
    };
    let (asked, named) = (top(asked), top(named));
    let both = asked.intersection(&named).count() as f64;
    let similarity = both / asked.union(&named).count() as f64;
    assert!(similarity < 0.2, "Acosta and Chandra: less than 20 %, here {similarity}");
}

#[test]
fn words_are_eight_letters_and_different() {
    let spelled: BTreeSet<String> = (0..100_000).map(|word| names::Word(word).spelled()).collect();
    assert_eq!(spelled.len(), 100_000);
    let name = thousands(1).name(FileId(0));
    let as_indexed: Vec<String> = nearmesh_common::text::words(&name).map(|word| word.to_string()).collect();
    assert!(as_indexed.len() >= 4 && as_indexed.last().is_some_and(|word| word == "mp3"), "{as_indexed:?}");
}

#[test]
fn sessions_meet_both_figures_of_their_source() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let measured = Sessions::measured();
    assert!((measured.survival(hours(4)) - 0.60).abs() < 1e-3, "{measured:?}");
    assert!((measured.survival(hours(24)) - 0.25).abs() < 1e-3, "{measured:?}");
    let mut rng = rng();
    let long = (0..20_000).filter(|_| sessions::session(&mut rng) > hours(24)).count();
    assert!((4700..5300).contains(&long), "{long}");
    let mean = Sessions::of_mean(Duration::from_secs(9000));
    let drawn: Duration = (0..200_000).map(|_| mean.draw(&mut rng)).sum();
    let drawn = drawn.as_secs_f64() / 200_000.0;
    assert!((8000.0..10_000.0).contains(&drawn), "{drawn}");
}

#[test]
fn round_trips_are_symmetric_and_well_placed_peers_are_near() {
    let workload = thousands(1);
    let [alice, bob] = [workload.place(Node(1)), workload.place(Node(2))];
    assert_eq!(alice.rtt(bob), bob.rtt(alice));
    assert!(alice.rtt(bob) >= Duration::from_millis(8));
    let supernode = workload.supernode_place(0);
    assert!(supernode.rtt(supernode) < Duration::from_millis(15));
    let behind = (0..1000).filter(|node| workload.behind_nat(Node(*node))).count();
    assert!((650..750).contains(&behind), "{behind}");
}

#[test]
#[ignore = "a million nodes, to see what it takes; run by hand with --nocapture"]
fn a_million_nodes_are_made_in_seconds() {
    #[allow(clippy::disallowed_methods)]
    let began = Instant::now();
    let workload = thousands(1000);
    let single = workload.single_copies().len();
    println!(
        "{:?}: {} files, {} copies, {single} once, {} popular, first {}",
        began.elapsed(),
        workload.files(),
        workload.copies(),
        workload.popular().len(),
        workload.holders_of(FileId(0)).len()
    );
    assert!(began.elapsed() < Duration::from_secs(60));
}
