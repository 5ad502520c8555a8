//! Who is let in, and how much of it.

use std::sync::Arc;

use nearmesh_common::{
    frame::{MAX_LINK_FRAME, MAX_OPEN_FRAME, frame, read_frame},
    identity::enrol_client_config,
    wire::{ALPN, Open, stream::Pong},
};
use nearmesh_relay::io::transport::FEW_STREAMS;
use quinn::{Connection, ConnectionError};
use tests::{
    process::Lab,
    rogue::{MISBEHAVED, Rogue, TOO_MANY, address_of, closed, id_of},
};

use super::Scene;
use crate::PROGRAM;

#[test]
fn nobody_comes_in_with_the_certificate_of_another_net_or_with_none() {
    let scene = Scene::new();
    let elsewhere = Lab::new(PROGRAM);
    let boss = elsewhere.authority("lab", "alice");
    let eve = Rogue::of(&elsewhere.joined(&boss, "mallory"));
    let ours = scene.mallory.configs();

    let mut foreign = (*ours.client).clone();
    foreign.client_auth_cert_resolver = eve.configs().client.client_auth_cert_resolver.clone();
    let mut nameless = (*enrol_client_config(scene.mallory.member.membership.trust()).unwrap()).clone();
    nameless.alpn_protocols = vec![ALPN.to_vec()];
    for client in [foreign, nameless] {
        let mut tampered = scene.mallory.configs();
        tampered.client = Arc::new(client);
        scene.mallory.endpoint.set_tls(tampered).unwrap();
        scene.mallory.run(async {
            let endpoint = &scene.mallory.endpoint;
            // In TLS 1.3 the client may believe for a moment that it is in.
            if let Ok(connection) = endpoint.dial(id_of(&scene.alice), address_of(&scene.alice)).await {
                assert_eq!(ping(&connection).await, None, "a stranger is answered");
                let reason = connection.closed().await;
                assert!(matches!(reason, ConnectionError::ConnectionClosed(_)), "{reason}");
            }
        });
    }
    scene.honest_people_go_on();
}

#[test]
fn one_member_has_no_more_connections_than_its_share() {
    let scene = Scene::new();
    scene.mallory.run(async {
        let mut open = Vec::new();
        for _ in 0..8 {
            let connection = scene.mallory.connect(&scene.alice).await;
            assert!(ping(&connection).await.is_some());
            open.push(connection);
        }
        for _ in 0..20 {
            let surplus = scene.mallory.connect(&scene.alice).await;
            assert_eq!(closed(&surplus).await, TOO_MANY);
        }
        for connection in &open {
            assert!(ping(connection).await.is_some(), "what was open stays open");
        }
        open.pop().unwrap().close(0u32.into(), b"");
        let mut again = scene.mallory.connect(&scene.alice).await;
        while ping(&again).await.is_none() {
            again = scene.mallory.connect(&scene.alice).await;
        }
    });
    scene.honest_people_go_on();
}

#[test]
fn streams_that_say_nothing_are_ended_and_cost_little() {
    let scene = Scene::new();
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        let mut silent = Vec::new();
        for _ in 0..8 {
            let connection = scene.mallory.connect(&scene.alice).await;
            // A frame as long as it may be, all but its last byte.
            let mut frame = vec![0; MAX_OPEN_FRAME + 3];
            frame[..4].copy_from_slice(&u32::try_from(MAX_OPEN_FRAME).unwrap().to_le_bytes());
            let mut streams = Vec::new();
            // As many as one may have that did nothing else yet.
            for _ in 0..FEW_STREAMS {
                let (mut send, receive) = connection.open_bi().await.unwrap();
                send.write_all(&frame).await.unwrap();
                streams.push((send, receive));
            }
            silent.push((connection, streams));
        }
        scene.alice_has_not_grown(before, 150);
        scene.honest_people_go_on();
        for (connection, _) in &silent {
            assert_eq!(closed(connection).await, MISBEHAVED);
        }
    });
    scene.honest_people_go_on();
}

#[test]
fn links_that_stop_inside_a_frame_cost_no_more_than_the_frame() {
    let scene = Scene::new();
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        for _ in 0..50 {
            let mut link = scene.mallory.link(&scene.alice).await;
            let mut bytes = vec![0; MAX_LINK_FRAME];
            bytes[..4].copy_from_slice(&u32::try_from(MAX_LINK_FRAME).unwrap().to_le_bytes());
            // The next link replaces this one, perhaps in the middle of it.
            let _ = link.send.write_all(&bytes).await;
        }
    });
    scene.alice_has_not_grown(before, 64);
    scene.honest_people_go_on();
}

async fn ping(connection: &Connection) -> Option<Pong> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(&frame(&Open::Ping)).await.ok()?;
    read_frame(&mut receive, MAX_OPEN_FRAME).await.ok()
}
