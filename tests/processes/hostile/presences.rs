//! Lies about who is where.

use std::time::Duration;

use nearmesh_common::{
    ContentHash, NodeId,
    frame::{MAX_LINK_FRAME, frame, read_frame},
    presence::{LIFETIME, Presence},
    signed::Signed,
    supernode_record,
    wire::{
        LinkMessage,
        file::{JournalMark, Kind},
        home::{DirectoryEntry, Refusal, RequestId, ToChild, ToHome},
        mesh::{Counts, MAX_HOPS, Mesh, Stored},
        query::{Hit, Source},
    },
};
use quinn::SendStream;
use tests::{
    process::{Lab, Node},
    rogue::{Link, MISBEHAVED, Rogue, ago, id_of, wall},
};

use super::Scene;
use crate::PROGRAM;

const MARK: JournalMark = JournalMark { epoch: 1, revision: 0 };

#[test]
fn a_forged_expired_or_replayed_presence_makes_nobody_a_child() {
    let scene = Scene::new();
    let (mallory, alice) = (&scene.mallory, id_of(&scene.alice));
    let (_elsewhere, eve) = member_of_another_net();
    let bad = lies(&scene, &eve);
    mallory.run(async {
        let stolen = bobs_presence(&scene).await;
        let mut link = mallory.link(&scene.alice).await;
        for (what, presence) in &bad {
            let reply = link.attach(presence.clone(), MARK).await;
            assert_eq!(reply, ToChild::Refused(Refusal::Presence), "{what}");
        }
        let good = mallory.seal(&mallory.presence(alice));
        assert!(matches!(link.attach(good.clone(), MARK).await, ToChild::Attached { .. }));
        assert_eq!(link.attach(good.clone(), MARK).await, ToChild::Refused(Refusal::Presence), "a replay");
        let mut again = mallory.link(&scene.alice).await;
        assert_eq!(again.attach(good, MARK).await, ToChild::Refused(Refusal::Presence), "a replay later");
        // Bob's own words, which mallory has from the directory, say nothing about mallory.
        assert_eq!(again.attach(stolen.clone(), MARK).await, ToChild::Refused(Refusal::Presence), "bob's");
        for presence in bad.iter().map(|(_, presence)| presence).chain([&stolen]) {
            again.say(&LinkMessage::ToHome(ToHome::Refresh(presence.clone()))).await;
        }
        again.say(&LinkMessage::ToHome(ToHome::Detach(stolen))).await;
        again.say(&LinkMessage::ToHome(ToHome::ListSupernodes)).await;
        again
            .hear(|message| matches!(message, LinkMessage::ToChild(ToChild::Supernodes(_))).then_some(()))
            .await;
    });
    scene.honest_people_go_on();
}

#[test]
fn a_supernode_that_speaks_for_another_is_thrown_out_or_ignored() {
    let scene = Scene::new();
    let mallory = &scene.mallory;
    let (bob, alice) = (id_of(&scene.bob), id_of(&scene.alice));
    let about = |node| supernode_record::SupernodeRecord { node, ..mallory.record() };
    let mut old = mallory.record();
    old.sequence = ago(supernode_record::LIFETIME + Duration::from_secs(1));
    let mut early = mallory.record();
    early.sequence = wall().after(Duration::from_secs(3600));
    let mut nowhere = mallory.record();
    nowhere.addresses.clear();
    mallory.run(async {
        for record in [about(bob), about(alice), old, early, nowhere] {
            let mut link = mallory.link(&scene.alice).await;
            let record = mallory.seal(&record);
            link.say(&LinkMessage::Mesh(Mesh::Hello { record, summary: Default::default() })).await;
            assert_eq!(link.closed().await, MISBEHAVED);
        }
        let mut link = mallory.meshed(&scene.alice).await;
        let records = [bob, alice, NodeId([9; 32])].map(|node| mallory.seal(&about(node)));
        link.say(&LinkMessage::Mesh(Mesh::Members(records.into()))).await;
        settled(&mut link).await;
    });
    let known: Vec<_> =
        scene.alice.json(&["supernodes"]).to_string().matches("node_id").map(str::to_owned).collect();
    assert!(known.len() <= 2, "alice knows herself and mallory: {}", scene.alice.json(&["supernodes"]));
    scene.honest_people_go_on();
}

#[test]
fn lies_in_the_directory_do_not_move_anybody() {
    let scene = Scene::new();
    let mallory = &scene.mallory;
    let (_elsewhere, eve) = member_of_another_net();
    let lies: Vec<_> = lies(&scene, &eve).into_iter().map(|(_, presence)| presence).collect();
    let told: Vec<_> =
        lies.iter().cloned().map(|presence| DirectoryEntry { presence, online: true }).collect();
    let link = mallory.run(async {
        let mut link = mallory.meshed(&scene.alice).await;
        let stored = |presence| Stored { user: "bob".parse().unwrap(), presence, here: true };
        for hops in 0..=MAX_HOPS {
            let presences = lies.iter().cloned().map(stored).collect();
            link.say(&LinkMessage::Mesh(Mesh::Store { number: 1, presences, hops })).await;
            for user in ["bob", "alice"] {
                let node = if user == "bob" { id_of(&scene.bob) } else { id_of(&scene.alice) };
                let (user, home) = (user.parse().unwrap(), id_of(&scene.alice));
                link.say(&LinkMessage::Mesh(Mesh::Gone { node, user, home, sequence: wall(), hops })).await;
            }
        }
        for number in 0..100 {
            let done = (number % 2 == 1).then_some(Counts { asked: 1, answered: 1 });
            link.say(&LinkMessage::Mesh(Mesh::Answer { number, hits: vec![lie(&scene)], done })).await;
            link.say(&LinkMessage::Mesh(Mesh::Held { number, nodes: told.clone() })).await;
        }
        settled(&mut link).await;
        let Link { connection, send, receive } = link;
        tokio::spawn(answer_with_lies(receive, send, told));
        connection
    });
    scene.honest_people_go_on();
    assert!(link.close_reason().is_none(), "mallory was asked and believed in nothing, all the time");
}

/// Presences that nobody may believe, each with what is wrong.
fn lies(scene: &Scene, eve: &Rogue) -> Vec<(&'static str, Signed<Presence>)> {
    let mallory = &scene.mallory;
    let home = id_of(&scene.alice);
    let (mut expired, mut early, mut crowded) =
        (mallory.presence(home), mallory.presence(home), mallory.presence(home));
    (expired.sequence, expired.expires) = (ago(LIFETIME * 2), ago(LIFETIME));
    early.sequence = wall().after(Duration::from_secs(3600));
    crowded.addresses = vec![mallory.endpoint.local_addr(); 17];
    let of_bob = Presence { node: id_of(&scene.bob), ..mallory.presence(home) };
    let elsewhere = Presence { home: NodeId([1; 32]), ..mallory.presence(home) };
    vec![
        ("about bob, signed by mallory", mallory.seal(&of_bob)),
        ("about bob, signed in another net", eve.seal(&of_bob)),
        ("signed by a member of another net", eve.seal(&eve.presence(home))),
        ("expired", mallory.seal(&expired)),
        ("from the future", mallory.seal(&early)),
        ("seventeen addresses", mallory.seal(&crowded)),
        ("attached to another home", mallory.seal(&elsewhere)),
    ]
}

/// A hit that says bob has something, at mallory's address.
fn lie(scene: &Scene) -> Hit {
    let addresses = vec![scene.mallory.endpoint.local_addr()].into();
    Hit {
        name: "Honest Evidence lie.txt".into(),
        size: 1,
        hash: ContentHash([3; 32]),
        kind: Kind::Document,
        score: u16::MAX,
        source: Source {
            user: "bob".parse().unwrap(),
            node: id_of(&scene.bob),
            addresses,
            home: scene.mallory.id(),
            reach: nearmesh_common::nat::Reach::Reachable,
        },
    }
}

fn member_of_another_net() -> (Lab, Rogue) {
    let lab = Lab::new(PROGRAM);
    let boss: Node = lab.authority("lab", "alice");
    let eve = Rogue::of(&lab.joined(&boss, "bob"));
    (lab, eve)
}

/// Bob's presence, as the directory gives it to everybody.
async fn bobs_presence(scene: &Scene) -> Signed<Presence> {
    let mut link = scene.mallory.attached(&scene.alice).await;
    let question = ToHome::Lookup { id: RequestId(5), user: "bob".parse().unwrap() };
    link.say(&LinkMessage::ToHome(question)).await;
    let mut nodes = link
        .hear(|message| match message {
            LinkMessage::ToChild(ToChild::Found { nodes, .. }) => Some(nodes),
            _ => None,
        })
        .await;
    nodes.remove(0).presence
}

/// All that was said on the link has been read.
async fn settled(link: &mut Link) {
    link.say(&LinkMessage::ToHome(ToHome::ListSupernodes)).await;
    link.hear(|message| matches!(message, LinkMessage::ToChild(ToChild::Supernodes(_))).then_some(())).await;
}

/// A directory holder and supernode that answers every question, and never truly.
async fn answer_with_lies(mut receive: quinn::RecvStream, mut send: SendStream, told: Vec<DirectoryEntry>) {
    while let Ok(message) = read_frame(&mut receive, MAX_LINK_FRAME).await {
        let reply = match message {
            LinkMessage::Mesh(Mesh::Find { number, .. }) => Mesh::Held { number, nodes: told.clone() },
            LinkMessage::Mesh(Mesh::Query { number, .. }) => {
                Mesh::Answer { number, hits: Vec::new(), done: None }
            }
            _ => continue,
        };
        if send.write_all(&frame(&LinkMessage::Mesh(reply))).await.is_err() {
            return;
        }
    }
}
