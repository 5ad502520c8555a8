//! Members whose address changes.

use std::sync::Arc;

use nearmesh_common::{
    frame::{MAX_OPEN_FRAME, read_frame, write_frame},
    wire::{Open, stream::Pong},
};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
};

use super::*;

/// A NAT in front of one member, which may forget its mapping.
struct Nat {
    inside: SocketAddr,
    rebind: mpsc::Sender<()>,
    task: AbortHandle,
}

impl Nat {
    /// In front of whoever sends to its inside; `there` is on the other side.
    async fn towards(there: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let (rebind, commands) = mpsc::channel(1);
        let task: JoinHandle<()> = tokio::spawn(translate(Arc::new(inside), there, commands));
        Self { inside: address, rebind, task: task.abort_handle() }
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn translate(inside: Arc<UdpSocket>, there: SocketAddr, mut commands: mpsc::Receiver<()>) {
    let mut outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut here, mut out, mut back) = (None, [0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            Some(()) = commands.recv() => outside = UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            Ok((length, from)) = inside.recv_from(&mut out) => {
                here = Some(from);
                let _ = outside.send_to(&out[..length], there).await;
            }
            Ok((length, _)) = outside.recv_from(&mut back) => {
                if let Some(here) = here {
                    let _ = inside.send_to(&back[..length], here).await;
                }
            }
        }
    }
}

async fn ping(connection: &Connection) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    write_frame(&mut send, &Open::Ping).await.unwrap();
    read_frame::<Pong>(&mut receive, MAX_OPEN_FRAME).await.unwrap();
}

#[test]
fn the_relay_follows_a_nat_that_rebinds_in_the_middle_of_a_talk() {
    let scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let nat = Nat::towards(address_of(&scene.alice)).await;
        let talk = Talk::by_way_of(&scene, &bob, nat.inside, &carol).await;
        for _ in 0..3 {
            talk.ask().await;
            nat.rebind.send(()).await.unwrap();
            let took = talk.ask().await;
            println!("the first answer after a rebinding took {took:?}");
        }
        assert_eq!(scene.relaying("sessions"), 1, "the same reservation");
        assert!(talk.to_alice.close_reason().is_none(), "and the same connection");
    });
}

#[test]
fn a_member_whose_nat_has_rebound_may_reserve_afterwards() {
    let scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let nat = Nat::towards(address_of(&scene.alice)).await;
        let to_alice = bob.connect(id_of(&scene.alice), nat.inside).await;
        // Before the handshake is confirmed at both ends a connection does not follow.
        ping(&to_alice).await;
        nat.rebind.send(()).await.unwrap();
        let mut at_bob = bob.reserve(&to_alice, request(carol.id, 1));
        let from_carol = scene.dial(&carol).await;
        let mut at_carol = carol.reserve(&from_carol, request(bob.id, 1));
        let (of_bob, of_carol) = tokio::join!(opened(&mut at_bob), opened(&mut at_carol));
        let there = bob.route(nat.inside, of_bob);
        carol.route(address_of(&scene.alice), of_carol);
        let began = Instant::now();
        let (connection, _accepted) = tokio::join!(bob.connect(carol.id, there), carol.accept());
        println!("connected in {:?}", began.elapsed());
        assert!(connection.close_reason().is_none());
    });
}
