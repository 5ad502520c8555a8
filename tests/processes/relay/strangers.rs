//! Those without a certificate of the net: whoever can send a UDP packet.

use tokio::net::UdpSocket;

use super::*;

const PACKETS: usize = 500;

#[test]
fn no_packet_of_a_stranger_passes_whatever_channel_it_names() {
    let scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (mut sent, mut packets) = (0, Vec::new());
        for guess in guesses(PACKETS as u64) {
            // The second one was overheard.
            packets.extend([packet_on(guess, 1_000), packet_on(talk.first.1, 1_000)]);
        }
        for packet in &packets {
            sent += stranger.send_to(packet, address_of(&scene.alice)).await.unwrap();
            tokio::task::yield_now().await;
        }
        dropped(&scene, PACKETS as u64);
        talk.ask().await;
        assert_eq!((bob.stray().await, carol.stray().await), (None, None));

        // All that comes back is the question whether bob is there now, a few times, and shorter than what was sent.
        let (mut back, mut answer) = (0, [0; 2048]);
        while let Ok((length, from)) = stranger.try_recv_from(&mut answer) {
            assert_eq!(from, address_of(&scene.alice));
            let asked = nearmesh_common::wire::relay::read_proof_request(&answer[..length]);
            assert_eq!(asked.expect("only a question").0, talk.first.1);
            back += length;
        }
        println!("{sent} bytes sent, {back} came back");
        assert!(back * 100 < sent);
    });
}

#[test]
fn garbage_on_every_port_costs_nothing_but_its_own_counting() {
    let scene = Scene::new();
    let dave = scene.lab.member(&scene.alice, "dave", &[]);
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        talk.ask().await;
        let before = (scene.alice.resident_kib(), dave.resident_kib());
        let ports = [address_of(&scene.alice), address_of(&dave), bob.address(), carol.address()];
        talk.goes_on_during("garbage", async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            for round in 0..5_000usize {
                // Every first byte, all kinds of lengths, on channels in use too.
                let mut packet: Vec<u8> = (0..round * 7 % 1_473).map(|i| ((i * round) >> 3) as u8).collect();
                if let Some(first) = packet.first_mut() {
                    *first = round as u8;
                }
                if round % 5 == 0 && packet.len() >= ChannelId::LENGTH {
                    packet[..ChannelId::LENGTH].copy_from_slice(&talk.second.1.to_bytes());
                }
                for port in ports {
                    let _ = socket.send_to(&packet, port).await;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        scene.alice_has_not_grown(before.0, 32);
        assert!(dave.resident_kib().saturating_sub(before.1) / 1024 <= 32);
    });
    assert_eq!(scene.alice.json(&["lookup", "dave@lab"])["online"], true);
}
