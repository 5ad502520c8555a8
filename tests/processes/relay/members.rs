//! Members that mean harm: with a certificate, connections and reservations of their own.

use std::net::UdpSocket as StdSocket;

use nearmesh_common::{
    frame::{frame, read_frame},
    wire::{
        Open,
        relay::{FromRelay, MAX_RELAY_FRAME, PROOF_REQUEST_LENGTH, RelayClosed, ToRelay, read_proof_request},
    },
};
use nearmesh_relay::io::reservation::{ReservationEnd, ReservationEvent};
use tests::relay_client::next;
use tokio::time::sleep;

use super::*;

#[test]
fn another_ones_channel_is_of_no_use_even_to_a_member_who_repeats_the_cookie() {
    let scene = Scene::new();
    let (bob, carol, mallory) = (scene.member("bob"), scene.member("carol"), scene.member("mallory"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        let to_alice = scene.dial(&mallory).await;
        // Mallory holds a reservation too, so that she has a stream on which to speak.
        let (mut send, mut receive) = to_alice.open_bi().await.unwrap();
        send.write_all(&frame(&Open::Relay(request(carol.id, 9)))).await.unwrap();
        assert_eq!(read_frame::<FromRelay>(&mut receive, MAX_RELAY_FRAME).await.unwrap(), FromRelay::Waiting);
        // She asks from a socket of her own, because her port gives cookies to its reservations only.
        let overheard = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        overheard.send_to(&packet_on(talk.first.1, 1_000), address_of(&scene.alice)).await.unwrap();
        let mut answer = [0; 2048];
        let (length, _) = timeout(PATIENCE, overheard.recv_from(&mut answer)).await.unwrap().unwrap();
        let (channel, cookie) = read_proof_request(&answer[..length]).expect("a question");
        assert_eq!(channel, talk.first.1);
        send.write_all(&frame(&ToRelay::Proof(cookie))).await.unwrap();
        for _ in 0..200 {
            mallory.send(address_of(&scene.alice), &packet_on(talk.first.1, 1_000)).await;
            overheard.send_to(&packet_on(talk.first.1, 1_000), address_of(&scene.alice)).await.unwrap();
        }
        dropped(&scene, 200);
        talk.goes_on_during("another one's channel", sleep(Duration::from_millis(500))).await;
        assert_eq!((bob.stray().await, carol.stray().await), (None, None));
    });
}

#[test]
fn an_expired_reservation_is_of_no_use() {
    let scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        talk.ask().await;
        let Talk { first, second: (mut at_carol, of_carol), to_alice, .. } = talk;
        drop(first.0);
        assert_eq!(
            next(&mut at_carol).await,
            ReservationEvent::Closed(ReservationEnd::ByRelay(RelayClosed::PeerGone))
        );
        let (before, packets) = (scene.relaying("dropped"), scene.relaying("packets"));
        assert_eq!(scene.relaying("sessions"), 0);
        for _ in 0..100 {
            bob.send(address_of(&scene.alice), &packet_on(first.1, 1_000)).await;
            carol.send(address_of(&scene.alice), &packet_on(of_carol, 1_000)).await;
        }
        dropped(&scene, before + 100);
        assert_eq!(scene.relaying("packets"), packets);
        assert!(to_alice.close_reason().is_none());
        // The same two, anew.
        Talk::between(&scene, &bob, &carol).await.ask().await;
    });
}

#[test]
fn a_thousand_reservations_of_one_member_leave_room_and_memory_for_others() {
    const ASKED: usize = 1_000;
    let scene = Scene::new();
    let (bob, carol, mallory) = (scene.member("bob"), scene.member("carol"), scene.member("mallory"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        let before = scene.alice.resident_kib();
        let mut connections = Vec::new();
        for _ in 0..8 {
            connections.push(scene.dial(&mallory).await);
        }
        let greedy = async {
            let mut asked: Vec<Reservation> = (0..ASKED)
                .map(|number| {
                    let nobody = NodeId([(number % 251) as u8; 32]);
                    mallory.reserve(&connections[number % 8], request(nobody, (number / 251) as u8))
                })
                .collect();
            let (mut full, mut taken) = (0, 0);
            for reservation in &mut asked {
                match next(reservation).await {
                    ReservationEvent::Waiting => taken += 1,
                    ReservationEvent::Closed(ReservationEnd::ByRelay(RelayClosed::Full)) => full += 1,
                    other => panic!("{other:?}"),
                }
            }
            println!("{taken} were taken, {full} refused");
            assert!(taken <= 32, "{taken}");
            assert_eq!(taken + full, ASKED);
        };
        talk.goes_on_during("a thousand reservations", greedy).await;
        assert!(scene.relaying("refused") >= (ASKED - 32) as u64);
        scene.alice_has_not_grown(before, 32);
        // There is room for another pair.
        let (dave, erin) = (scene.member("dave"), scene.member("erin"));
        Talk::between(&scene, &dave, &erin).await.ask().await;
    });
}

#[test]
fn packets_are_never_aimed_at_an_address_whose_owner_did_not_prove_it() {
    let scene = Scene::new();
    let (mallory, eve) = (scene.member("mallory"), scene.member("eve"));
    scene.runtime.block_on(async {
        let victim = StdSocket::bind("127.0.0.1:0").unwrap();
        victim.set_nonblocking(true).unwrap();
        let (to_alice, from_eve) = (scene.dial(&mallory).await, scene.dial(&eve).await);
        // With an address that was proved, before the source is forged.
        let mut one = mallory.reserve(&to_alice, request(eve.id, 1));
        let mut other = eve.reserve(&from_eve, request(mallory.id, 1));
        let (of_mallory, of_eve) = tokio::join!(opened(&mut one), opened(&mut other));
        // From now on all of mallory's QUIC says that it comes from the victim, and alice's end of the connection follows it.
        mallory.forge_source(victim.try_clone().unwrap());
        let began = Instant::now();
        // Without one: the relay knows the victim's address as hers when she asks.
        let _second = mallory.reserve(&to_alice, request(eve.id, 2));
        let mut other_second = eve.reserve(&from_eve, request(mallory.id, 2));
        let of_eve_too = opened(&mut other_second).await;
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(3) {
            for channel in [of_eve, of_eve_too] {
                eve.send(address_of(&scene.alice), &packet_on(channel, 1_192)).await;
                sent += 1_200;
            }
            let forged = packet_on(of_mallory, 1_192);
            victim.send_to(&forged, address_of(&scene.alice)).unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        mallory.forge_no_more();
        let (mut relayed, mut questions, mut packet) = (0, 0, [0; 2048]);
        while let Ok((length, _)) = victim.recv_from(&mut packet) {
            match read_proof_request(&packet[..length]) {
                Some(_) => questions += 1,
                None => relayed += usize::from(ChannelId::of(&packet[..length]).is_some()),
            }
        }
        println!(
            "{sent} bytes sent on, the victim was asked {questions} times and got {relayed} relayed packets"
        );
        assert_eq!(relayed, 0);
        // Five a second for each of the two reservations, and one to begin with.
        let most = 2 * (began.elapsed().as_secs_f64() * 5.0) as usize + 2;
        assert!((1..=most).contains(&questions), "{questions}");
        assert!(questions * PROOF_REQUEST_LENGTH * 100 < sent);
    });
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async { Talk::between(&scene, &bob, &carol).await.ask().await });
}
