//! How one node reaches another: by the connection that is there, or by asking it to dial.
//!
//! Mallory is a node under the test's control (see [`tests::rogue`]) and does nothing bad here, unless it says so.
#![allow(clippy::unwrap_used)] // All of this is test.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use nearmesh_common::{
    frame::{MAX_OPEN_FRAME, frame, read_frame},
    nat::{Nat, Reach},
    presence::Presence,
    wire::{
        LinkMessage, Open,
        file::JournalMark,
        home::{ToChild, ToHome},
        signal::{SessionId, Signal, SignalBody},
        stream::Pong,
    },
};
use nearmesh_relay::io::endpoint::Accepted;
use tests::{
    process::{Lab, Node},
    rogue::{Link, Rogue, address_of, answer_pings, id_of},
};

use crate::PROGRAM;

struct Scene {
    mallory: Rogue,
    alice: Node,
    bob: Node,
    _lab: Lab,
}

impl Scene {
    /// Alice is a supernode, bob and mallory are members.
    fn new() -> Self {
        let lab = Lab::new(PROGRAM);
        let alice = lab.authority("lab", "alice");
        let bob = lab.member(&alice, "bob", &[]);
        let mallory = Rogue::of(&lab.joined(&alice, "mallory"));
        Self { mallory, alice, bob, _lab: lab }
    }

    /// Mallory is alice's child, with a presence like that of somebody behind a NAT.
    async fn hidden(&self) -> Link {
        let mut link = self.mallory.link(&self.alice).await;
        let presence = self.mallory.presence(id_of(&self.alice));
        let hidden =
            Presence { reach: Reach::Behind(Nat::default()), addresses: vec![nowhere()], ..presence };
        let reply = link.attach(self.mallory.seal(&hidden), JournalMark::default()).await;
        assert!(matches!(reply, ToChild::Attached { .. }), "{reply:?}");
        link
    }

    /// Mallory asks bob, by way of alice, to dial these addresses.
    async fn push(&self, link: &mut Link, addresses: Vec<SocketAddr>) {
        let signal = Signal {
            from: self.mallory.id(),
            to: id_of(&self.bob),
            session: SessionId([1; 16]),
            body: SignalBody::Push(addresses),
        };
        let (home, signal) = (id_of(&self.alice), Box::new(signal));
        link.say(&LinkMessage::ToHome(ToHome::Signal { home, signal })).await;
    }
}

/// An address of a documentation network, at which nobody answers.
fn nowhere() -> SocketAddr {
    "192.0.2.77:4000".parse().unwrap()
}

#[test]
fn a_connection_that_the_other_has_open_is_used() {
    let scene = Scene::new();
    let link = scene.mallory.run(scene.hidden());
    thread::scope(|threads| {
        let ping = threads.spawn(|| scene.alice.json_lines(&["ping", "mallory@lab", "--count", "2"]));
        scene.mallory.run(answer_pings(&link.connection, 2));
        assert_eq!(ping.join().unwrap().len(), 2, "though there is no address at which mallory answers");
    });
}

#[test]
fn a_connection_whose_owner_does_not_let_others_keep_it_is_not_used() {
    let scene = Scene::new();
    let _deaf = scene.mallory.run(async {
        let link = scene.mallory.link(&scene.alice).await;
        let mut link = link;
        let presence = scene.mallory.presence(id_of(&scene.alice));
        link.attach(scene.mallory.seal(&presence), JournalMark::default()).await;
        link
    });
    thread::scope(|threads| {
        let ping = threads.spawn(|| scene.alice.json_lines(&["ping", "mallory@lab", "--count", "1"]));
        let _open = scene.mallory.run(async {
            let Some(Accepted::Member(connection)) = scene.mallory.endpoint.accept().await else { panic!() };
            answer_pings(&connection, 1).await;
            connection
        });
        assert_eq!(ping.join().unwrap().len(), 1, "mallory was dialled");
    });
}

#[test]
fn a_node_that_cannot_be_dialled_is_asked_to_dial() {
    let scene = Scene::new();
    let mut link = scene.mallory.run(scene.hidden());
    thread::scope(|threads| {
        let ping = threads.spawn(|| scene.bob.json_lines(&["ping", "mallory@lab", "--count", "1"]));
        let _open = scene.mallory.run(async {
            let pushed = link.hear(|message| match message {
                LinkMessage::ToChild(ToChild::Signal { home, signal }) => Some((home, signal)),
                _ => None,
            });
            let (home, signal) = pushed.await;
            let bob = id_of(&scene.bob);
            assert_eq!((home, signal.from, signal.to), (id_of(&scene.alice), bob, scene.mallory.id()));
            assert_eq!(signal.body, SignalBody::Push(vec![address_of(&scene.bob)]));
            let connection = scene.mallory.endpoint.dial(bob, address_of(&scene.bob)).await.unwrap();
            answer_pings(&connection, 1).await;
            connection
        });
        let replies = ping.join().unwrap();
        assert_eq!(replies.len(), 1);
        let own = scene.mallory.endpoint.local_addr().to_string();
        assert_eq!(replies[0]["address"], own.as_str(), "by the connection that mallory opened");
    });
}

#[test]
fn a_node_that_is_asked_to_dial_does_so_and_serves_on_that_connection() {
    let scene = Scene::new();
    scene.mallory.run(async {
        let mut link = scene.hidden().await;
        scene.push(&mut link, vec![nowhere(), scene.mallory.endpoint.local_addr()]).await;
        let Some(Accepted::Member(connection)) = scene.mallory.endpoint.accept().await else { panic!() };
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&frame(&Open::Ping)).await.unwrap();
        let pong: Pong = read_frame(&mut receive, MAX_OPEN_FRAME).await.unwrap();
        assert_eq!(pong.observed, scene.mallory.endpoint.local_addr());
    });
}

#[test]
fn a_node_that_is_not_at_its_home_any_more_is_not_waited_for() {
    let scene = Scene::new();
    // Her presence stays in the directory, she herself is gone.
    let mut link = scene.mallory.run(scene.hidden());
    let gone = Presence {
        reach: Reach::Behind(Nat::default()),
        home: id_of(&scene.bob),
        ..scene.mallory.presence(id_of(&scene.bob))
    };
    let gone = Presence { addresses: vec![nowhere()], ..gone };
    scene.mallory.run(link.say(&LinkMessage::ToHome(ToHome::Detach(scene.mallory.seal(&gone)))));
    let ran = scene.bob.run(&["ping", "mallory@lab", "--count", "1"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    println!("{ran:?}");
}

#[test]
fn nobody_makes_a_node_send_much_to_others() {
    let scene = Scene::new();
    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    victim.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let target = victim.local_addr().unwrap();
    let _link = scene.mallory.run(async {
        let mut link = scene.hidden().await;
        for _ in 0..1000 {
            scene.push(&mut link, vec![target; 4]).await;
        }
        // What has not left with it open would be lost.
        link
    });
    let (mut packets, mut bytes, mut buffer) = (0, 0, [0; 2000]);
    let begun = Instant::now();
    while let Ok(length) = victim.recv(&mut buffer) {
        (packets, bytes) = (packets + 1, bytes + length);
    }
    println!("{packets} packets of {bytes} bytes in {:?}", begun.elapsed());
    assert!((1..=40).contains(&packets), "{packets} packets for a thousand requests");
}
