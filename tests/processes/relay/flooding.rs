//! More packets than anybody should send.

use std::{
    net::UdpSocket as StdSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::*;

/// How many packets alice has to drop before a flood ends.
const FLOODED: u64 = 10_000;
/// How strong it is at most: 20,000 packets of 1,200 bytes a second are 190 Mbit/s.
const PACKETS_A_MILLISECOND: usize = 20;

/// Sends on a thread of its own until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Flood {
    fn new(to: SocketAddr, packets: Vec<Vec<u8>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let sockets: Vec<StdSocket> =
                (0..4).map(|_| StdSocket::bind("127.0.0.1:0").expect("a socket")).collect();
            let (mut packets, mut sent) = (packets.iter().cycle(), 0);
            while !stopped.load(Ordering::Relaxed) {
                for (socket, packet) in sockets.iter().cycle().zip(&mut packets).take(PACKETS_A_MILLISECOND) {
                    sent += u64::from(socket.send_to(packet, to).is_ok());
                }
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        Self { stop, thread: Some(thread) }
    }

    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_flood_of_strangers_takes_neither_memory_nor_another_pairs_service() {
    let scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        talk.ask().await;
        let before = scene.alice.resident_kib();
        let mut packets: Vec<_> = guesses(1_000).map(|guess| packet_on(guess, 1_192)).collect();
        packets.extend((0..1_000).map(|_| packet_on(talk.first.1, 1_192)));
        let flood = Flood::new(address_of(&scene.alice), packets);
        talk.goes_on_during("a flood of strangers", counted_meanwhile(&scene, "dropped", FLOODED)).await;
        println!("{} packets sent, {} counted", flood.end(), scene.relaying("dropped"));
        scene.alice_has_not_grown(before, 32);
        assert_eq!((bob.stray().await, carol.stray().await), (None, None));
    });
}

#[test]
fn a_member_that_floods_its_own_pair_gets_its_share_and_others_theirs() {
    let scene = Scene::with(&["--relay-rate", "4000000"]);
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    let (mallory, eve) = (scene.member("mallory"), scene.member("eve"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        let to_alice = scene.dial(&mallory).await;
        let from_eve = scene.dial(&eve).await;
        let mut one = mallory.reserve(&to_alice, request(eve.id, 1));
        let mut other = eve.reserve(&from_eve, request(mallory.id, 1));
        let (channel, _) = tokio::join!(opened(&mut one), opened(&mut other));
        let before = (scene.alice.resident_kib(), scene.relaying("bytes"));
        let began = Instant::now();
        let packet = packet_on(channel, 1_192);
        let flood = async {
            loop {
                for _ in 0..PACKETS_A_MILLISECOND {
                    mallory.send(address_of(&scene.alice), &packet).await;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        talk.goes_on_during("a member's flood", async {
            tokio::select! {
                never = flood => never,
                () = counted_meanwhile(&scene, "dropped", FLOODED) => {}
            }
        })
        .await;
        let rate = (scene.relaying("bytes") - before.1) as f64 / began.elapsed().as_secs_f64();
        println!("{rate:.0} bytes a second forwarded in all");
        assert!(rate < 4_000_000.0 * 1.25, "{rate}");
        scene.alice_has_not_grown(before.0, 32);
    });
}
