//! Strangers who write somebody else's address into their packets. That takes a raw socket, and the right to open one.

use std::net::{SocketAddrV4, UdpSocket as StdSocket};

use nearmesh_common::wire::relay::{PROOF_REQUEST_LENGTH, read_proof_request};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::time::sleep;

use super::*;

/// IPPROTO_RAW of raw(7): the header is ours, but for what the kernel fills in.
const RAW: i32 = 255;
const UDP: u8 = 17;
const PACKETS: usize = 300;

/// Sends packets from addresses that are not its own.
struct Forger(Socket);

impl Forger {
    /// None where it is not allowed.
    fn or_skip() -> Option<Self> {
        match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))) {
            Ok(socket) => Some(Self(socket)),
            Err(error) => {
                assert!(std::env::var_os("NEARMESH_NO_SKIP").is_none(), "no raw socket: {error}");
                eprintln!("skipped: sources cannot be forged here: {error}");
                None
            }
        }
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { panic!("IPv4 only") };
        self.0.send_to(&datagram(from, to, payload), &SockAddr::from(to)).unwrap();
    }
}

/// An IPv4 packet (RFC 791) with a UDP packet without checksum in it (RFC 768).
fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = |headers: usize| ((headers + payload.len()) as u16).to_be_bytes();
    let mut packet = vec![0x45, 0];
    packet.extend(length(28));
    packet.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(length(8));
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

#[test]
fn a_forged_source_opens_no_channel_that_the_forger_does_not_know() {
    let Some(forger) = Forger::or_skip() else { return };
    let scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        talk.goes_on_during("bob's address forged", async {
            for guess in guesses(PACKETS as u64) {
                forger.send(bob.address(), address_of(&scene.alice), &packet_on(guess, 1_000));
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        dropped(&scene, PACKETS as u64 / 2);
        assert_eq!((bob.stray().await, carol.stray().await), (None, None));
    });
}

#[test]
fn garbage_on_an_overheard_channel_reaches_its_other_end_alone_and_harms_no_connection() {
    let Some(forger) = Forger::or_skip() else { return };
    let scene = Scene::new();
    let (bob, carol, dave) = (scene.member("bob"), scene.member("carol"), scene.member("dave"));
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        let to_alice = scene.dial(&dave).await;
        talk.ask().await;
        let packets = scene.relaying("packets");
        for _ in 0..PACKETS {
            forger.send(bob.address(), address_of(&scene.alice), &packet_on(talk.first.1, 1_000));
            sleep(Duration::from_millis(1)).await;
        }
        // Carol's QUIC is what refuses it.
        counted(&scene, "packets", packets + PACKETS as u64 / 2);
        talk.ask().await;
        assert_eq!((bob.stray().await, carol.stray().await, dave.stray().await), (None, None, None));
        assert!(talk.connection.close_reason().is_none() && to_alice.close_reason().is_none());
    });
}

#[test]
fn a_third_address_is_sent_a_few_short_questions_and_nothing_else() {
    let Some(forger) = Forger::or_skip() else { return };
    let scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    let victim = StdSocket::bind("127.0.0.1:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let there = victim.local_addr().unwrap();
    scene.runtime.block_on(async {
        let talk = Talk::between(&scene, &bob, &carol).await;
        let began = Instant::now();
        let mut sent = 0;
        talk.goes_on_during("a third one's address forged", async {
            for guess in guesses(PACKETS as u64) {
                for channel in [talk.first.1, talk.second.1, guess] {
                    let packet = packet_on(channel, 1_000);
                    forger.send(there, address_of(&scene.alice), &packet);
                    sent += packet.len();
                }
                sleep(Duration::from_millis(3)).await;
            }
        })
        .await;
        dropped(&scene, PACKETS as u64);
        let (mut questions, mut packet) = (0, [0; 2048]);
        while let Ok((length, from)) = victim.recv_from(&mut packet) {
            assert_eq!(from, address_of(&scene.alice));
            assert!(read_proof_request(&packet[..length]).is_some(), "{:02x?}", &packet[..length]);
            questions += 1;
        }
        println!("{sent} bytes sent in the victim's name, which was asked {questions} times");
        // Five a second for each of the two ends, and one to begin with.
        let most = 2 * (began.elapsed().as_secs_f64() * 5.0) as usize + 2;
        assert!((1..=most).contains(&questions), "{questions}");
        assert!(questions * PROOF_REQUEST_LENGTH * 50 < sent);
        talk.ask().await;
    });
}
