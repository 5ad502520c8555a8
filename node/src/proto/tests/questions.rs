//! What alice asks, and what she is told.

use nearmesh_common::{
    ContentHash,
    presence::{LIFETIME, Presence},
    wire::{
        file::Kind,
        home::{Decline, DirectoryEntry, RequestId},
        query::{Filter, Hit, Query, SearchSummary, Source, Subject},
    },
};

use super::*;
use crate::proto::{Failure, Question};

const FIRST: RequestId = RequestId(1);
const BOB: u8 = 77;

fn fractals() -> Question {
    let filter = Filter { min_size: Some(100), ..Filter::default() };
    Question::Search(Query { subject: Subject::Words("julia fractal".into()), filter, limit: 50 })
}

fn hit(content: u8, source: u8, size: u64) -> Hit {
    Hit {
        name: "julia.png".into(),
        size,
        hash: ContentHash([content; 32]),
        kind: Kind::Image,
        score: 1,
        source: Source {
            user: "bob".parse().unwrap(),
            node: id(source),
            addresses: Box::default(),
            home: id(source),
            reach: nearmesh_common::nat::Reach::default(),
        },
    }
}

fn hits(scene: &Scene) -> Vec<(u8, u8)> {
    let all = scene.events.iter().filter_map(|event| match event {
        Event::Hits { hits, .. } => Some(hits),
        _ => None,
    });
    all.flatten().map(|hit| (hit.hash.0[0], hit.source.node.0[0])).collect()
}

fn bobs(scene: &Scene, signer_user: &str, sequence: u64, online: bool) -> DirectoryEntry {
    let keyring: Arc<dyn Keyring> = Arc::new(FakeKeyring::new(id(BOB), signer_user));
    let presence = keyring.seal(&Presence {
        node: id(BOB),
        sequence: UnixMillis(sequence),
        since: UnixMillis(sequence),
        expires: UnixMillis(sequence).after(LIFETIME),
        addresses: address(BOB).addresses,
        home: id(2),
        reach: nearmesh_common::nat::Reach::default(),
        relays: false,
        online,
    });
    let _ = scene;
    DirectoryEntry { presence, online: true }
}

fn ask(scene: &mut Scene, question: Question) {
    scene.handle(Input::Ask { id: FIRST, question });
}

fn look_up_bob(nodes: impl FnOnce(&Scene) -> Vec<DirectoryEntry>) -> Vec<DirectoryEntry> {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, Question::Lookup("bob".parse().unwrap()));
    let nodes = nodes(&scene);
    scene.receive(1, ToChild::Found { id: FIRST, nodes });
    match scene.events.pop() {
        Some(Event::Found { id: FIRST, nodes }) => nodes,
        other => panic!("expected an answer, not {other:?}"),
    }
}

fn searches(scene: &Scene, number: u8) -> usize {
    scene.sent_to(number, |message| matches!(message, ToHome::Search { .. }))
}

#[test]
fn a_question_waits_for_a_home_and_is_asked_there() {
    let mut scene = Scene::new(&[10]);
    ask(&mut scene, fractals());
    assert_eq!(searches(&scene, 1), 0);
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(1000));
    assert_eq!(searches(&scene, 1), 1);
}

#[test]
fn a_question_without_a_home_fails_in_time() {
    let mut scene = Scene::new(&[]);
    ask(&mut scene, fractals());
    scene.advance(Duration::from_secs(10));
    assert_eq!(scene.events, [Event::Failed { id: FIRST, reason: Failure::NoAnswer }]);
}

#[test]
fn results_stream_and_each_is_shown_once() {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, fractals());
    scene.receive(1, ToChild::Hits { id: FIRST, hits: vec![hit(1, 50, 200), hit(1, 51, 200)] });
    scene.receive(1, ToChild::Hits { id: FIRST, hits: vec![hit(1, 50, 200), hit(2, 50, 200)] });
    scene.receive(1, ToChild::Hits { id: FIRST, hits: vec![hit(3, 50, 99)] });
    assert_eq!(hits(&scene), [(1, 50), (1, 51), (2, 50)], "and what the filter excludes never");
    scene.receive(1, ToChild::SearchDone { id: FIRST, summary: SearchSummary::default() });
    scene.receive(1, ToChild::Hits { id: FIRST, hits: vec![hit(9, 50, 200)] });
    assert_eq!(hits(&scene).len(), 3, "what comes after the end is dropped");
}

#[test]
fn more_contents_than_were_asked_for_are_not_shown_but_more_sources_are() {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, fractals());
    let many = (0..80).map(|content| hit(content, 50, 200)).collect();
    scene.receive(1, ToChild::Hits { id: FIRST, hits: many });
    assert_eq!(hits(&scene).len(), 50);
    scene.receive(1, ToChild::Hits { id: FIRST, hits: vec![hit(7, 51, 200), hit(70, 51, 200)] });
    assert_eq!(hits(&scene).last(), Some(&(7, 51)));
}

#[test]
fn a_search_is_asked_again_when_the_home_dies_but_only_once() {
    let mut scene = Scene::at_home(&[10, 20, 30]);
    ask(&mut scene, fractals());
    scene.receive(1, ToChild::Hits { id: FIRST, hits: vec![hit(1, 50, 200)] });
    scene.kill(1);
    assert_eq!(searches(&scene, 2), 1);
    scene.receive(2, ToChild::Hits { id: FIRST, hits: vec![hit(1, 50, 200), hit(2, 50, 200)] });
    assert_eq!(hits(&scene), [(1, 50), (2, 50)]);
    scene.advance(ms(5000));
    scene.kill(2);
    assert_eq!(scene.home(), Some(3));
    assert_eq!(searches(&scene, 3), 0);
    assert!(scene.events.contains(&Event::Failed { id: FIRST, reason: Failure::NoAnswer }));
}

#[test]
fn a_home_that_does_not_answer_costs_a_question_only_its_deadline() {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, Question::Lookup("bob".parse().unwrap()));
    scene.advance(Duration::from_secs(8));
    assert!(scene.events.contains(&Event::Failed { id: FIRST, reason: Failure::NoAnswer }));
}

#[test]
fn too_many_questions_at_once_are_declined() {
    let mut scene = Scene::at_home(&[10]);
    for number in 0..100 {
        scene.handle(Input::Ask { id: RequestId(number), question: fractals() });
    }
    let declined =
        |event: &&Event| matches!(event, Event::Failed { reason: Failure::Declined(Decline::TooMany), .. });
    assert_eq!(scene.events.iter().filter(declined).count(), 36);
}

#[test]
fn a_home_that_was_asked_too_much_is_asked_again_a_little_later() {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, fractals());
    for again in 2..=4 {
        scene.receive(1, ToChild::Declined { id: FIRST, reason: Decline::TooMany });
        assert_eq!(searches(&scene, 1), again - 1, "not at once");
        scene.advance(ms(500));
        assert_eq!(searches(&scene, 1), again);
    }
    scene.receive(1, ToChild::SearchDone { id: FIRST, summary: SearchSummary::default() });
    let done = Event::SearchDone { id: FIRST, summary: SearchSummary::default() };
    assert_eq!(scene.events.last(), Some(&done));
}

#[test]
fn a_home_that_steps_down_costs_a_question_nothing_but_time() {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, fractals());
    for again in 2..=5 {
        scene.receive(1, ToChild::Declined { id: FIRST, reason: Decline::Leaving });
        scene.advance(ms(500));
        assert_eq!(searches(&scene, 1), again);
    }
    assert!(!scene.events.iter().any(|event| matches!(event, Event::Failed { .. })));
}

#[test]
fn a_home_that_never_has_time_is_not_asked_for_ever() {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, fractals());
    for _ in 0..40 {
        scene.receive(1, ToChild::Declined { id: FIRST, reason: Decline::TooMany });
        scene.advance(ms(500));
    }
    let reason = Failure::Declined(Decline::TooMany);
    assert!(scene.events.contains(&Event::Failed { id: FIRST, reason }));
    assert_eq!(searches(&scene, 1), 21, "twice a second for ten seconds");
}

#[test]
fn a_flood_of_results_is_cut_off() {
    let mut scene = Scene::at_home(&[10]);
    ask(&mut scene, fractals());
    for content in 0..50u8 {
        let flood = (0..=255).map(|source| hit(content, source, 200)).collect();
        scene.receive(1, ToChild::Hits { id: FIRST, hits: flood });
    }
    assert_eq!(hits(&scene).len(), 10_000);
}

#[test]
fn a_user_is_shown_where_the_newest_presence_says() {
    let found = look_up_bob(|scene| {
        vec![bobs(scene, "bob", WALL.0 - 900, true), bobs(scene, "bob", WALL.0 - 100, true)]
    });
    let keyring = keyring(0);
    let newest = keyring.verify(found[0].presence.clone(), WALL).unwrap();
    assert_eq!((found.len(), found[0].online), (1, true));
    assert_eq!(newest.content.sequence, UnixMillis(WALL.0 - 100));
}

#[test]
fn an_expired_presence_is_shown_as_offline_never_as_online() {
    let found = look_up_bob(|scene| vec![bobs(scene, "bob", WALL.0 - 3_600_000, true)]);
    assert_eq!(found.iter().map(|entry| entry.online).collect::<Vec<_>>(), [false]);
}

#[test]
fn who_left_is_offline_whatever_the_supernode_says() {
    let found = look_up_bob(|scene| vec![bobs(scene, "bob", WALL.0 - 100, false)]);
    assert!(!found[0].online);
}

#[test]
fn forged_foreign_and_future_presences_are_not_shown() {
    let found = look_up_bob(|scene| {
        let mut forged = bobs(scene, "bob", WALL.0, true);
        forged.presence.payload[40] ^= 1;
        let foreign = bobs(scene, "mallory", WALL.0, true);
        let future = bobs(scene, "bob", WALL.0 + 3_600_000, true);
        vec![forged, foreign, future]
    });
    assert_eq!(found, []);
}
