//! Every file is found, once, and nobody is asked for nothing.

use std::time::Duration;

use nearmesh_common::{
    ContentHash, NodeId,
    wire::{
        LinkMessage,
        file::{Change, FileNumber, Kind},
        home::{Decline, RequestId, ToChild, ToHome},
        mesh::{Counts, Mesh, Scope},
        query::{Filter, Hit, Query, Source, Subject},
    },
};

use crate::proto::testing::{LATENCY, Net, file, mark, node, words};

const SECOND: Duration = Duration::from_secs(1);

fn asked(net: &Net) -> Vec<NodeId> {
    let queries = net.sent.iter().filter(|(.., m)| matches!(m, LinkMessage::Mesh(Mesh::Query { .. })));
    queries.map(|(_, to, _)| *to).collect()
}

#[test]
fn a_single_copy_is_found_from_every_supernode() {
    let mut net = Net::of(12);
    net.share("bob", "s3", &["Julia Fractal.mp4"]);
    net.run(SECOND);
    for home in 0..12 {
        let (child, home) = (format!("c{home}"), format!("s{home}"));
        net.attach(&child, &home, 0);
        let (hits, summary) = net.search(&child, &home, words("julia fra", 50));
        assert_eq!(hits.len(), 1, "from {home}");
        assert_eq!((hits[0].source.node, &*hits[0].source.user.to_string()), (node("bob"), "bob"));
        assert_eq!(summary.asked, summary.answered);
        assert!(!summary.limit_reached);
    }
}

#[test]
fn only_those_whose_summary_matches_are_asked() {
    let mut net = Net::of(6);
    net.share("bob", "s3", &["Julia Fractal.mp4"]);
    net.share("carol", "s4", &["Julia Roberts.jpg"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.sent.clear();
    net.search("alice", "s0", words("julia fractal", 50));
    assert_eq!(asked(&net), [node("s3")]);
    net.sent.clear();
    let content = Subject::Content(file(1, "Julia Roberts.jpg").hash);
    let query = Query { subject: content, filter: Filter::default(), limit: 50 };
    assert_eq!(net.search("alice", "s0", query).0[0].source.node, node("carol"));
    assert_eq!(asked(&net), [node("s4")]);
}

#[test]
fn the_limit_stops_the_asking() {
    let mut net = Net::of(40);
    for number in 0..40 {
        let names: Vec<_> = (0..10).map(|n| format!("common song {number} {n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        net.share(&format!("c{number}"), &format!("s{number}"), &names);
    }
    net.run(SECOND);
    net.sent.clear();
    let (hits, summary) = net.search("c0", "s0", words("common song", 50));
    assert_eq!(hits.len(), 50);
    assert!(summary.limit_reached);
    assert!(asked(&net).len() <= 8, "{} were asked", asked(&net).len());
    let cancelled = net.sent.iter().any(|(.., m)| matches!(m, LinkMessage::Mesh(Mesh::Cancel(_))));
    assert!(cancelled, "those that had not answered yet are told");
    net.sent.clear();
    assert_eq!(net.search("c0", "s0", words("common song", 400)).0.len(), 400);
    assert_eq!(asked(&net).len(), 39);
}

#[test]
fn who_asks_for_one_content_is_told_of_all_who_have_it() {
    let mut net = Net::of(3);
    for number in 0..60 {
        net.share(&format!("c{number}"), &format!("s{}", 1 + number % 2), &["julia.mp4"]);
    }
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    let subject = Subject::Content(file(1, "julia.mp4").hash);
    let query = Query { subject, filter: Filter::default(), limit: 50 };
    let (hits, summary) = net.search("alice", "s0", query);
    assert_eq!((hits.len(), summary.limit_reached), (60, false));
}

#[test]
fn a_supernode_that_restarts_is_asked_again_and_its_own_questions_are_no_repetitions() {
    let mut net = Net::of(2);
    net.share("bob", "s1", &["julia"]);
    net.share("alice", "s0", &["mandelbrot"]);
    net.run(SECOND);
    assert_eq!(net.search("alice", "s0", words("julia", 50)).0.len(), 1);
    assert_eq!(net.search("bob", "s1", words("mandelbrot", 50)).0.len(), 1);
    net.kill("s1");
    net.start("s1", crate::proto::Config::default(), &["s0"]);
    net.run(SECOND * 3);
    assert!(net.search("alice", "s0", words("julia", 50)).0.is_empty(), "bob has not come back yet");
    net.share("carol", "s1", &["julia"]);
    net.run(SECOND);
    assert_eq!(net.search("alice", "s0", words("julia", 50)).0[0].source.node, node("carol"));
    assert_eq!(net.search("carol", "s1", words("mandelbrot", 50)).0.len(), 1);
    assert_eq!(net.supernode("s0").counters().repeated_queries, 0);
}

#[test]
fn the_same_file_of_two_nodes_is_two_results_and_of_one_node_one() {
    let mut net = Net::of(3);
    net.share("bob", "s1", &["julia.mp4"]);
    net.share("carol", "s2", &["julia.mp4"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    // Bob moves, and his old home has not noticed yet.
    net.share("bob", "s2", &["julia.mp4"]);
    net.run(SECOND);
    let (hits, _) = net.search("alice", "s0", words("julia", 50));
    let mut sources: Vec<_> = hits.iter().map(|hit| hit.source.node).collect();
    sources.sort();
    let mut expected = [node("bob"), node("carol")];
    expected.sort();
    assert_eq!(sources, expected);
}

#[test]
fn a_removed_file_and_a_departed_child_are_not_found() {
    let mut net = Net::of(2);
    net.share("bob", "s1", &["julia one", "julia two"]);
    net.attach("alice", "s0", 0);
    let changes = vec![Change::Remove(FileNumber(1))];
    net.say("bob", "s1", ToHome::Publish { after: mark(2), upto: 3, changes });
    net.run(SECOND);
    assert_eq!(&*net.search("alice", "s0", words("julia", 50)).0[0].name, "julia two");
    net.cut("bob", "s1");
    net.run(SECOND);
    assert!(net.search("alice", "s0", words("julia", 50)).0.is_empty());
}

#[test]
fn a_supernode_that_falls_silent_costs_the_deadline_and_is_admitted() {
    let mut net = Net::of(3);
    net.share("bob", "s1", &["julia one"]);
    net.share("carol", "s2", &["julia two"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.silence("s2");
    let start = net.now.instant;
    let (hits, summary) = net.search("alice", "s0", words("julia", 50));
    assert_eq!((hits.len(), summary.asked, summary.answered), (1, 3, 2));
    let took = net.now.instant - start;
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_supernode_that_dies_in_the_middle_is_not_waited_for() {
    let mut net = Net::of(3);
    net.share("bob", "s1", &["julia one"]);
    net.share("carol", "s2", &["julia two"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.silence("s2");
    net.say("alice", "s0", ToHome::Search { id: RequestId(9), query: words("julia", 50) });
    net.kill("s2");
    net.run(LATENCY * 4);
    let done = net.heard("alice").into_iter().find_map(|message| match message {
        ToChild::SearchDone { summary, .. } => Some(summary),
        _ => None,
    });
    let done = done.expect("the search ends as soon as the death is known");
    assert_eq!((done.asked, done.answered), (3, 2));
}

#[test]
fn a_lost_summary_change_is_recovered() {
    let mut net = Net::of(2);
    net.attach("alice", "s0", 0);
    net.lose_next(|message| matches!(message, LinkMessage::Mesh(Mesh::SummaryChange { .. })));
    net.share("bob", "s1", &["julia"]);
    net.run(SECOND);
    net.share("carol", "s1", &["mandelbrot"]);
    net.run(SECOND);
    assert_eq!(net.supernode("s0").counters().summaries_lost, 1);
    assert_eq!(net.search("alice", "s0", words("julia", 50)).0.len(), 1);
    assert_eq!(net.search("alice", "s0", words("mandelbrot", 50)).0.len(), 1);
    net.sent.clear();
    net.search("alice", "s0", words("nothing", 50));
    assert!(asked(&net).is_empty(), "the summary is held in full again");
}

#[test]
fn who_comes_back_gets_only_the_changes_it_missed() {
    let mut net = Net::of(2);
    net.share("bob", "s1", &["julia"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.cut("s0", "s1");
    net.share("carol", "s1", &["mandelbrot"]);
    net.sent.clear();
    net.run(SECOND * 5);
    let part = |m: &LinkMessage| matches!(m, LinkMessage::Mesh(Mesh::SummaryPart { .. }));
    assert!(!net.sent.iter().any(|(.., message)| part(message)));
    assert_eq!(net.search("alice", "s0", words("mandelbrot", 50)).0.len(), 1);
    assert_eq!(net.search("alice", "s0", words("julia", 50)).0.len(), 1);
}

#[test]
fn a_summary_of_many_parts_arrives_while_it_changes() {
    let mut net = Net::of(1);
    net.attach("bob", "s0", 100_000);
    for batch in 0..80u64 {
        let number = |n: u64| (batch * 1000 + n) as u32;
        let changes =
            (1..=1000).map(|n| Change::Add(file(number(n), &format!("word{}", number(n))))).collect();
        net.say(
            "bob",
            "s0",
            ToHome::Publish { after: mark(batch * 1000), upto: (batch + 1) * 1000, changes },
        );
    }
    net.start("s1", crate::proto::Config::default(), &["s0"]);
    net.run(LATENCY * 5);
    // The first part is on its way: what was told in it goes, and something new comes.
    let changes = (1..=500).map(|n| Change::Remove(FileNumber(n))).collect();
    net.say("bob", "s0", ToHome::Publish { after: mark(80_000), upto: 80_500, changes });
    let changes = vec![Change::Add(file(90_000, "latecomer"))];
    net.say("bob", "s0", ToHome::Publish { after: mark(80_500), upto: 80_501, changes });
    net.run(SECOND * 2);
    let parts = net.sent.iter().filter(|(.., m)| matches!(m, LinkMessage::Mesh(Mesh::SummaryPart { .. })));
    assert!(parts.count() > 3);
    net.attach("alice", "s1", 0);
    for (query, found) in [("latecomer", 1), ("word501", 1), ("word79999", 1), ("word77", 0)] {
        let exact = net.search("alice", "s1", words(&format!("{query} {query}"), 500)).0;
        assert_eq!(exact.iter().filter(|hit| &*hit.name == query).count(), found, "{query}");
    }
    net.sent.clear();
    net.search("alice", "s1", words("absent word", 5));
    assert!(asked(&net).is_empty(), "the summary is held in full");
    assert_eq!(net.supernode("s1").counters().summaries_lost, 0);
}

#[test]
fn a_query_is_answered_once() {
    let mut net = Net::of(2);
    net.share("bob", "s1", &["julia"]);
    net.run(SECOND);
    net.sent.clear();
    let (query, scope) = (words("julia", 50), Scope::Own);
    let query = Mesh::Query { number: 5, query, scope, deadline_ms: 1000 };
    net.say_mesh("s0", "s1", query.clone());
    net.say_mesh("s0", "s1", query);
    let answers = net.sent.iter().filter(|(.., m)| matches!(m, LinkMessage::Mesh(Mesh::Answer { .. })));
    assert_eq!(answers.count(), 1);
    assert_eq!(net.supernode("s1").counters().repeated_queries, 1);
}

#[test]
fn questions_beyond_the_bounds_are_declined_with_the_reason() {
    let mut net = Net::of(1);
    net.attach("alice", "s0", 0);
    net.heard("alice");
    let text = "a ".repeat(200);
    let thousand = (0..1000).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    let cases = [(" .. ", Decline::NoWords), (&text, Decline::TooLong), (&thousand, Decline::TooLong)];
    for (text, expected) in cases {
        net.say("alice", "s0", ToHome::Search { id: RequestId(4), query: words(text, 5) });
        net.run(LATENCY);
        assert_eq!(net.heard("alice"), [ToChild::Declined { id: RequestId(4), reason: expected }]);
    }
    net.say("mallory", "s0", ToHome::Search { id: RequestId(4), query: words("julia", 5) });
    net.run(LATENCY);
    let reason = Decline::NotAttached;
    assert_eq!(net.heard("mallory"), [ToChild::Declined { id: RequestId(4), reason }]);
}

#[test]
fn children_of_one_that_steps_down_are_told_to_ask_elsewhere() {
    let mut net = Net::of(2);
    net.attach("alice", "s0", 0);
    net.share("bob", "s1", &["julia"]);
    net.run(SECOND);
    net.silence("s1");
    net.say("alice", "s0", ToHome::Search { id: RequestId(3), query: words("julia", 5) });
    net.say("alice", "s0", ToHome::Lookup { id: RequestId(4), user: "carol".parse().unwrap() });
    net.run(LATENCY);
    net.heard("alice");
    net.tell("s0", crate::proto::Input::StepDown);
    net.say("alice", "s0", ToHome::Search { id: RequestId(5), query: words("julia", 5) });
    net.run(LATENCY);
    let mut told: Vec<_> = net.heard("alice").into_iter().filter_map(declined_by).collect();
    told.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(told, [3, 4, 5].map(|id| (RequestId(id), Decline::Leaving)));
}

fn declined_by(message: ToChild) -> Option<(RequestId, Decline)> {
    if let ToChild::Declined { id, reason } = message { Some((id, reason)) } else { None }
}

#[test]
fn a_child_that_asks_without_end_is_told_so_and_others_are_served() {
    let mut net = Net::of(1);
    net.attach("alice", "s0", 0);
    net.share("bob", "s0", &["julia"]);
    for number in 0..1000 {
        net.say("alice", "s0", ToHome::Search { id: RequestId(number), query: words("julia", 5) });
    }
    net.run(LATENCY);
    let declined = |m: &ToChild| matches!(m, ToChild::Declined { reason: Decline::TooMany, .. });
    assert!(net.heard("alice").iter().filter(|message| declined(message)).count() >= 900);
    assert_eq!(net.search("bob", "s0", words("julia", 5)).0.len(), 1);
}

#[test]
fn what_does_not_answer_the_question_is_not_shown() {
    let mut net = Net::of(2);
    net.share("bob", "s1", &["julia"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.silence("s1");
    let wanted = file(1, "julia").hash;
    let query = Query { subject: Subject::Content(wanted), filter: Filter::default(), limit: 5 };
    net.sent.clear();
    net.say("alice", "s0", ToHome::Search { id: RequestId(3), query });
    net.run(LATENCY);
    let number = net.sent.iter().find_map(|(.., message)| match message {
        LinkMessage::Mesh(Mesh::Query { number, .. }) => Some(*number),
        _ => None,
    });
    let number = number.expect("s1 was asked");
    net.say_mesh(
        "s1",
        "s0",
        Mesh::Answer {
            number,
            hits: vec![of_another_content()],
            done: Some(Counts { asked: 1, answered: 1 }),
        },
    );
    net.run(LATENCY);
    let hits = net.heard("alice").into_iter().any(|message| matches!(message, ToChild::Hits { .. }));
    assert!(!hits);
}

fn of_another_content() -> Hit {
    let source = Source {
        user: "bob".parse().unwrap(),
        node: node("bob"),
        addresses: Box::default(),
        home: node("s1"),
        reach: nearmesh_common::nat::Reach::default(),
    };
    Hit { name: "julia".into(), size: 1000, hash: ContentHash([9; 32]), kind: Kind::Other, score: 9, source }
}
