//! A node that relays for others, and those who would abuse it.
//!
//! Alice runs the program and relays, as every node does. Bob and carol are members who talk to each other through her, end to end
//! encrypted. Mallory and eve are members too, and mean harm. Every test of theirs ends with bob and carol still being served.
//!
//! What is asked of alice does not depend on how fast the machine is: her counters, her memory, and that bob and carol lose nothing.
//! Times are printed. Of what is thrown at her a part may be lost in the kernel before she sees it.
#![allow(clippy::unwrap_used)] // All of this is test.

mod flooding;
mod forged;
mod lending;
mod members;
mod moving;
mod strangers;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh::enrol::saved;
use nearmesh_common::{
    NodeId,
    wire::{
        relay::{ChannelId, RelayRequest},
        signal::SessionId,
    },
};
use nearmesh_relay::io::reservation::Reservation;
use quinn::Connection;
use tests::{
    process::{Lab, Node, PATIENCE, eventually},
    relay_client::{RelayClient, opened},
    rogue::{address_of, id_of, wall},
};
use tokio::{runtime::Runtime, time::timeout};

use crate::PROGRAM;

/// Bytes of one question, and of its answer.
const QUESTION: usize = 32 * 1024;

struct Scene {
    lab: Lab,
    alice: Node,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        Self::with(&[])
    }

    /// Alice is up with these further options.
    fn with(options: &[&str]) -> Self {
        let lab = Lab::new(PROGRAM);
        let mut alice = lab.node("alice");
        alice.ok(&["net", "create", "lab", "--user", "alice"]);
        alice.up(&[&["--promote", "always"], options].concat());
        Self { lab, alice, runtime: Runtime::new().unwrap() }
    }

    /// A member with a port of its own.
    fn member(&self, name: &str) -> RelayClient {
        let joined = self.lab.joined(&self.alice, name);
        let member = saved::load(&joined.profile.join("membership"), wall()).unwrap();
        let _inside = self.runtime.enter();
        RelayClient::of(&member.membership)
    }

    /// A connection to alice.
    async fn dial(&self, member: &RelayClient) -> Connection {
        member.connect(id_of(&self.alice), address_of(&self.alice)).await
    }

    fn relaying(&self, what: &str) -> u64 {
        self.alice.json(&["status"])["relaying"][what].as_u64().unwrap()
    }

    /// Fails if alice's memory grew by more than this since `before`.
    fn alice_has_not_grown(&self, before: u64, at_most_mib: u64) {
        let grown = self.alice.resident_kib().saturating_sub(before) / 1024;
        println!("alice grew by {grown} MiB");
        assert!(grown <= at_most_mib, "alice grew by {grown} MiB");
    }
}

/// Two members that talk through alice.
struct Talk {
    connection: Connection,
    /// The first one's reservation, and its channel.
    first: (Reservation, ChannelId),
    /// The other's.
    second: (Reservation, ChannelId),
    /// The first one's connection to alice.
    to_alice: Connection,
}

impl Talk {
    async fn between(scene: &Scene, first: &RelayClient, second: &RelayClient) -> Self {
        Self::by_way_of(scene, first, address_of(&scene.alice), second).await
    }

    /// The first one reaches alice at another address.
    async fn by_way_of(scene: &Scene, first: &RelayClient, alice: SocketAddr, second: &RelayClient) -> Self {
        let to_alice = first.connect(id_of(&scene.alice), alice).await;
        let from_second = scene.dial(second).await;
        let mut one = first.reserve(&to_alice, request(second.id, 1));
        let mut other = second.reserve(&from_second, request(first.id, 1));
        let (channel, other_channel) = tokio::join!(opened(&mut one), opened(&mut other));
        let there = first.route(alice, channel);
        second.route(address_of(&scene.alice), other_channel);
        let (connection, accepted) = tokio::join!(first.connect(second.id, there), second.accept());
        tokio::spawn(answer_everything(accepted));
        Self { connection, first: (one, channel), second: (other, other_channel), to_alice }
    }

    /// Asks one question, and gives the time that the answer took.
    async fn ask(&self) -> Duration {
        let began = Instant::now();
        let asking = async {
            let (mut send, mut receive) = self.connection.open_bi().await.unwrap();
            let question: Vec<u8> = (0..QUESTION).map(|at| (at % 251) as u8).collect();
            send.write_all(&question).await.unwrap();
            send.finish().unwrap();
            assert!(receive.read_to_end(QUESTION).await.unwrap() == question, "another answer");
        };
        timeout(PATIENCE, asking).await.expect("an answer");
        began.elapsed()
    }

    /// Asks questions for as long as `meanwhile` lasts, at least one after it has begun, and fails if one is not answered.
    async fn goes_on_during<T>(&self, what: &str, meanwhile: impl Future<Output = T>) -> T {
        let before = self.ask().await;
        tokio::pin!(meanwhile);
        let mut took = Vec::new();
        let done = loop {
            tokio::select! {
                done = &mut meanwhile => break done,
                time = self.ask() => took.push(time),
            }
        };
        took.push(self.ask().await);
        took.sort();
        let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "{what}: {} questions, median {median:?}, longest {longest:?}; before {before:?}",
            took.len()
        );
        assert!(self.connection.close_reason().is_none() && self.to_alice.close_reason().is_none());
        done
    }
}

fn request(peer: NodeId, session: u8) -> RelayRequest {
    RelayRequest { session: SessionId([session; 16]), peer }
}

async fn answer_everything(connection: Connection) {
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        tokio::spawn(async move {
            if let Ok(question) = receive.read_to_end(QUESTION).await {
                let _ = send.write_all(&question).await;
                let _ = send.finish();
            }
        });
    }
}

/// `bytes` on a channel.
fn packet_on(channel: ChannelId, bytes: usize) -> Vec<u8> {
    let mut packet = channel.to_bytes().to_vec();
    // As QUIC begins.
    packet.resize(ChannelId::LENGTH + bytes, 0x41);
    packet
}

/// Channels that nobody has.
fn guesses(count: u64) -> impl Iterator<Item = ChannelId> {
    (1..=count).map(|bits| ChannelId::from_random(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Waits until alice has dropped so many packets.
fn dropped(scene: &Scene, at_least: u64) {
    counted(scene, "dropped", at_least);
}

/// Waits until alice has counted so many.
fn counted(scene: &Scene, what: &str, at_least: u64) {
    eventually(&format!("alice counts {at_least} {what}"), || {
        (scene.relaying(what) >= at_least).then_some(())
    });
}

/// The same while other things go on.
async fn counted_meanwhile(scene: &Scene, what: &str, at_least: u64) {
    let counting = async {
        while scene.relaying(what) < at_least {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, counting).await.unwrap_or_else(|_| panic!("alice counts {at_least} {what}"));
}
