//! Too many questions, and questions that are none.

use nearmesh_common::{
    frame::frame,
    wire::{
        LinkMessage,
        home::{Decline, RequestId, ToChild, ToHome},
        query::{Filter, Query, Subject},
    },
};
use tests::rogue::Link;

use super::Scene;

#[test]
fn a_flood_of_questions_is_declined_and_nobody_else_notices() {
    let scene = Scene::new();
    let before = scene.alice.resident_kib();
    let kinds: [fn(u64) -> ToHome; 2] = [search_for_everything, look_for_bob];
    for kind in kinds {
        scene.mallory.run(async {
            let mut link = scene.mallory.attached(&scene.alice).await;
            for number in 0..3000 {
                link.say(&LinkMessage::ToHome(kind(number))).await;
            }
            let ended = ended(&mut link, 3000).await;
            let declined = ended.iter().filter(|decline| **decline == Some(Decline::TooMany)).count();
            assert!(declined > 2000, "{declined} of 3000 were declined");
            scene.honest_people_go_on();
        });
    }
    scene.alice_has_not_grown(before, 64);
}

#[test]
fn a_peer_that_asks_and_does_not_listen_costs_little() {
    let scene = Scene::new();
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        let mut link = scene.mallory.attached(&scene.alice).await;
        let question = frame(&LinkMessage::ToHome(ToHome::ListSupernodes)).repeat(1000);
        for _ in 0..100 {
            if link.send.write_all(&question).await.is_err() {
                break;
            }
        }
        scene.honest_people_go_on();
        scene.alice_has_not_grown(before, 64);
    });
    scene.honest_people_go_on();
}

#[test]
fn questions_that_make_no_sense_are_declined_with_the_reason() {
    let scene = Scene::new();
    let words = |text: &str| ToHome::Search {
        id: RequestId(1),
        query: Query { subject: Subject::Words(text.into()), filter: Filter::default(), limit: 1 },
    };
    scene.mallory.run(async {
        let mut stranger = scene.mallory.link(&scene.alice).await;
        stranger.say(&LinkMessage::ToHome(words("evidence"))).await;
        assert_eq!(ended(&mut stranger, 1).await, [Some(Decline::NotAttached)]);

        let mut child = scene.mallory.attached(&scene.alice).await;
        let cases = [("a ".repeat(17), Decline::TooLong), ("?! \u{202e}".to_owned(), Decline::NoWords)];
        for (text, reason) in cases {
            child.say(&LinkMessage::ToHome(words(&text))).await;
            assert_eq!(ended(&mut child, 1).await, [Some(reason)], "{text:?}");
        }
        for odd in ["\0\0\0 a", "../../etc/passwd", "\u{fdfa}\u{fdfa}", "%s%n%x", "evidence\n\r\n"] {
            child.say(&LinkMessage::ToHome(words(odd))).await;
            assert_eq!(ended(&mut child, 1).await, [None], "{odd:?}");
        }
    });
    scene.honest_people_go_on();
}

fn search_for_everything(number: u64) -> ToHome {
    let query = Query { subject: Subject::Words("evid".into()), filter: Filter::default(), limit: 500 };
    ToHome::Search { id: RequestId(number), query }
}

fn look_for_bob(number: u64) -> ToHome {
    ToHome::Lookup { id: RequestId(number), user: "bob".parse().unwrap() }
}

/// How so many questions ended: with an answer, or declined.
async fn ended(link: &mut Link, count: usize) -> Vec<Option<Decline>> {
    let mut ended = Vec::new();
    while ended.len() < count {
        let outcome = link
            .hear(|message| match message {
                LinkMessage::ToChild(ToChild::Found { .. } | ToChild::SearchDone { .. }) => Some(None),
                LinkMessage::ToChild(ToChild::Declined { reason, .. }) => Some(Some(reason)),
                _ => None,
            })
            .await;
        ended.push(outcome);
    }
    ended
}
