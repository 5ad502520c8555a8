use rand::{RngExt, SeedableRng};

use super::{
    chord::Chord,
    gnutella::Gnutella,
    kazaa::{Kazaa, PUSHED, Reach},
    napster::Napster,
    ultrapeers::{self, Ultrapeers},
    *,
};
use crate::{
    scenario::ScenarioFile,
    workload::{Asked, FileId, Shape},
};

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(3)
}

fn workload(nodes: u32) -> Workload {
    Workload::new(5, Shape::of(nodes))
}

/// The part of `tries` questions for a file of `copies` that a KaZaA finds which asks `asked` supernodes in all.
fn kazaa_recall(supernodes: u32, copies: usize, asked: u32, tries: u32) -> f64 {
    let workload = workload(supernodes * 10);
    let mut rng = rng();
    let reach = Reach { first: asked - 1, most: asked - 1, enough: u32::MAX };
    let mut kazaa = Kazaa::reaching(&workload, supernodes, reach, &mut rng);
    let of_so_many = |file: &FileId| workload.holders_of(*file).len() == copies;
    let files: Vec<FileId> = (0..workload.files()).map(FileId).filter(of_so_many).collect();
    let mut found = 0;
    for _ in 0..tries {
        let file = files[rng.random_range(0..files.len())];
        let question = Question { asked: Asked::Rare(file), words: Vec::new(), numbers: Vec::new() };
        let asker = Node(rng.random_range(0..workload.nodes()));
        found += u32::from(kazaa.search(asker, &question, &mut rng).found > 0);
    }
    f64::from(found) / f64::from(tries)
}

#[test]
fn asking_a_part_of_all_supernodes_finds_what_the_formula_says() {
    // recall = 1 - (1 - f)^c: of 1,000 supernodes, 67 give 50 % at ten copies, 206 give 90 %; of 100, 50 give half of the single copies.
    for (supernodes, copies, asked, expected) in
        [(1000, 10, 67, 0.50), (1000, 10, 206, 0.90), (100, 1, 50, 0.50)]
    {
        let recall = kazaa_recall(supernodes, copies, asked, 4000);
        assert!((recall - expected).abs() < 0.04, "{supernodes} {copies} {asked}: {recall}");
    }
}

#[test]
fn kazaa_finds_a_single_copy_among_30_000_supernodes_once_in_2_500_to_3_000_questions() {
    assert_eq!((PUSHED.first, PUSHED.most), (6, 10));
    let recall = kazaa_recall(30_000, 1, PUSHED.most + 1, 1_500_000);
    let once_in = 1.0 / recall;
    assert!((2500.0..3000.0).contains(&once_in), "once in {once_in}");
}

#[test]
fn kazaa_is_content_with_its_own_supernode_when_that_gives_enough() {
    let workload = workload(2000);
    let mut rng = rng();
    let mut kazaa = Kazaa::build(&workload, 2, &mut rng);
    let question = workload.word_question(FileId(0), &mut rng);
    let outcome = kazaa.search(Node(1), &question, &mut rng);
    assert!(outcome.found >= PUSHED.enough);
    assert_eq!(outcome.queries, 1, "{outcome:?}");
}

#[test]
fn a_flood_that_nothing_stops_crosses_every_link_once_and_is_dropped_where_it_was_before() {
    let workload = workload(2000);
    let mut gnutella = Gnutella::build(&workload, 0, &mut rng());
    let (levels, messages) = gnutella.flood(Node(0), 100);
    let reached = levels.iter().sum::<u32>() as usize - 1;
    assert!(reached > 1980, "a random graph of degree 7 holds together: {reached}");
    // Everybody sends on all links but the one that it came on: twice the links, less one for each node reached.
    let expected = 2 * gnutella.links() - reached;
    assert!((messages as usize).abs_diff(expected) <= 20, "{messages} {expected}");
}

#[test]
fn a_flood_of_seven_hops_reaches_as_many_as_a_tree_of_that_degree_until_it_meets_itself() {
    let workload = workload(100_000);
    let mut gnutella = Gnutella::build(&workload, 0, &mut rng());
    let mut levels = [0_u32; 8];
    for from in 0..20 {
        for (level, reached) in levels.iter_mut().zip(gnutella.flood(Node(from), 7).0) {
            *level += reached;
        }
    }
    // 7.35 neighbours; each has as many others as a link's end has on average, 6.4.
    let per_level: Vec<f64> = levels.iter().map(|reached| f64::from(*reached) / 20.0).collect();
    assert!((6.9..7.8).contains(&per_level[1]), "{per_level:?}");
    assert!((per_level[3] / per_level[2] - 6.38).abs() < 0.5, "{per_level:?}");
    let all: f64 = per_level.iter().sum();
    assert!(all > 60_000.0 && all < 100_000.0, "7 x 6.4^6 is more than there are: {all}");
}

#[test]
fn the_horizon_is_that_of_the_draft() {
    // Section 2.5.2.2 with degree 32: 993 ultrapeers down one link at depth 3, of which 97 % at the last hop; degree 6, depth 7: 80 %.
    assert_eq!(ultrapeers::horizon(32, 3), 993);
    assert_eq!(32 * ultrapeers::horizon(32, 3), 31_776);
    let last = |degree: u32, ttl: u32| {
        let all = ultrapeers::horizon(degree, ttl);
        (all - ultrapeers::horizon(degree, ttl - 1)) as f64 / all as f64
    };
    assert!((last(32, 3) - 0.968).abs() < 0.001 && (last(6, 7) - 0.800).abs() < 0.001);
    let workload = workload(30_000);
    let mut ultrapeers = Ultrapeers::build(&workload, 30_000, &mut rng());
    let reached = ultrapeers.flooded(7, 2);
    assert!((980..=1024).contains(&reached), "32 + 32 x 31 = 1,024 less those met twice: {reached}");
}

#[test]
fn a_question_in_vain_takes_ultrapeers_almost_four_minutes() {
    let workload = workload(40_000);
    let mut rng = rng();
    let mut ultrapeers = Ultrapeers::build(&workload, 1000, &mut rng);
    let question = workload.vain_question(&mut rng);
    let outcome = ultrapeers.search(Node(3), &question, &mut rng);
    assert_eq!(outcome.found, 0);
    let took = outcome.ended.as_secs();
    assert!((200..240).contains(&took), "the draft says almost four minutes: {took} s");
}

#[test]
fn the_depth_of_the_next_query_follows_from_what_was_found() {
    assert_eq!(ultrapeers::next_ttl(0, 96, 29), 3, "nothing yet: as deep as it goes");
    assert_eq!(ultrapeers::next_ttl(49, 96, 29), 1, "one more is wanted");
    assert_eq!(ultrapeers::next_ttl(5, 96, 29), 2, "864 ultrapeers on 29 links");
    assert_eq!(ultrapeers::next_ttl(1, 993, 5), 3);
}

#[test]
fn routing_tables_spare_ultrapeers_what_they_cannot_answer_and_nothing_else() {
    let workload = workload(40_000);
    let mut rng = rng();
    let mut ultrapeers = Ultrapeers::build(&workload, 400, &mut rng);
    let mut found = 0;
    for _ in 0..40 {
        let file = workload.a_single_copy(&mut rng).unwrap();
        let outcome = ultrapeers.search(Node(9), &workload.word_question(file, &mut rng), &mut rng);
        found += outcome.found;
    }
    assert!(found >= 39, "a horizon of 31,776 takes in all of 400: {found}");
    let outcome = ultrapeers.search(Node(9), &workload.vain_question(&mut rng), &mut rng);
    let flooding = 400 * 32;
    assert!(outcome.queries < flooding, "{} of {flooding}", outcome.queries);
}

/// The average number of hops of a look-up, as the paper counts: up to the key's predecessor, who names its successor.
fn chord_hops(peers: u32, successors: usize) -> f64 {
    let workload = workload(1000);
    let mut rng = rng();
    let chord = Chord::knowing(&workload, peers, successors, &mut rng);
    let tries = 3000;
    let hops: u32 =
        (0..tries).map(|user| chord.route_to_user(rng.random_range(0..peers), Node(user % 1000)).hops).sum();
    f64::from(hops) / f64::from(tries) - 1.0
}

#[test]
fn chord_takes_half_the_logarithm_of_its_size() {
    for peers in [256, 1024, 8192] {
        let hops = chord_hops(peers, 1);
        let expected = f64::from(peers).log2() / 2.0;
        assert!((hops - expected).abs() < 0.6, "{peers}: {hops} hops, expected {expected}");
    }
}

#[test]
fn chord_with_1000_peers_and_20_successors_takes_3_84_hops() {
    let hops = chord_hops(1000, 20);
    assert!((hops - 3.84).abs() < 0.4, "the paper measured 3.84: {hops}");
}

#[test]
fn chord_loses_a_key_only_with_all_three_copies() {
    let workload = workload(20_000);
    let mut rng = rng();
    let mut chord = Chord::build(&workload, 500, &mut rng);
    chord.kill(0.3, &mut rng);
    let (mut asked, mut found) = (0, 0);
    for number in 0..3000 {
        let outcome = chord.lookup(Node(number), Node(rng.random_range(0..20_000)), &mut rng).unwrap();
        asked += u32::from(outcome.messages > 0);
        found += outcome.found;
    }
    let orphans = 1.0 - f64::from(asked) / 3000.0;
    assert!((0.25..0.35).contains(&orphans), "{orphans}");
    let part = f64::from(found) / f64::from(asked);
    assert!((part - 0.973).abs() < 0.02, "1 - 0.3^3 = 97.3 %: {part}");
    chord.repair(&mut rng);
    let all = (0..500).map(|number| chord.lookup(Node(number), Node(number * 7), &mut rng).unwrap().found);
    assert_eq!(all.sum::<u32>(), 500);
}

#[test]
fn napster_finds_what_is_on_the_own_server_and_nothing_else() {
    let workload = workload(60_000);
    let mut rng = rng();
    let mut napster = Napster::build(&workload, 0, &mut rng);
    assert_eq!(napster.holders(), 4, "18,000 users each");
    let mut found = 0;
    for _ in 0..2000 {
        let file = workload.a_single_copy(&mut rng).unwrap();
        let asker = Node(rng.random_range(0..60_000));
        let outcome = napster.search(asker, &workload.word_question(file, &mut rng), &mut rng);
        assert_eq!(outcome.queries, 1);
        found += outcome.found;
    }
    assert!((440..560).contains(&found), "one in four: {found}");
}

#[test]
fn the_same_seed_gives_the_same_comparison() {
    let scenario =
        compare::Scenario { supernodes: 30, nodes: 3000, questions: 10, ..compare::Scenario::default() };
    let [one, same] = [(); 2].map(|()| compare::standings(scenario, 9, |_| {}));
    assert_eq!(one, same);
    assert_eq!(one.len(), 6);
    let nearmesh = compare::Standing { system: "Nearmesh".to_owned(), ..one[0].clone() };
    let table = compare::compare(scenario, 9, Some(nearmesh));
    assert_eq!((table.rows.len(), table.rows[6][0].as_str()), (7, "Nearmesh"));
    for standing in &one {
        let settled = standing.after_repair.unwrap();
        assert!(settled >= standing.after_loss.unwrap() - 0.15, "{standing:?}");
        assert!(standing.bytes > 0.0 && standing.messages >= standing.queries, "{standing:?}");
    }
}

#[test]
#[ignore = "by hand: minutes. Prints the table for a thousand supernodes, or NEARMESH_SUPERNODES, and writes its page to /tmp"]
#[allow(clippy::disallowed_methods)]
fn all_systems_compared() {
    let supernodes =
        std::env::var("NEARMESH_SUPERNODES").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let scenario = compare::Scenario { supernodes, nodes: supernodes * 100, ..compare::Scenario::default() };
    let began = std::time::Instant::now();
    let standings = compare::standings(scenario, 1, |standing| {
        println!("{:6.1} s  {}", began.elapsed().as_secs_f64(), standing.system);
    });
    println!("{}", compare::table(&standings).to_markdown());
    let folder = std::env::temp_dir().join(format!("nearmesh-compare-{supernodes}"));
    compare::report(scenario, 1, &standings).write(&folder).unwrap();
    println!("{}", folder.join("report.html").display());
}

#[test]
fn the_comparison_that_is_shipped_can_be_read_and_names_a_scenario_that_can() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation");
    let path = folder.join("compare.toml");
    let read =
        |path: &std::path::Path| comparison::Comparison::of(ScenarioFile::read(path).unwrap()).unwrap();
    let comparison = read(&path).expect("it has a table [compare]");
    assert_eq!(comparison.compare, compare::Scenario::default());
    assert!(comparison.nearmesh(&path).unwrap().is_some());
    assert!(read(&folder.join("rest.toml")).is_none());
}
