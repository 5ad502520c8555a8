//! Alice and bob, each with a path to the other, and something to send.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use nearmesh_common::wire::signal::SessionId;
use nearmesh_relay::{Accepted, Endpoint, PathNews, PeerPath, proto::path::Route};
use quinn::{Connection, RecvStream, SendStream};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    net::{Net, node},
    wire::Wire,
};

pub const MIB: usize = 1 << 20;
/// Longer than anything here takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const SESSION: SessionId = SessionId([7; 16]);

pub struct Pair {
    pub alice: Endpoint,
    pub bob: Endpoint,
    pub to_bob: PeerPath,
    pub to_alice: PeerPath,
    pub news_of_bob: mpsc::Receiver<PathNews>,
    pub news_of_alice: mpsc::Receiver<PathNews>,
}

pub fn pair() -> Pair {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    let (to_bob, news_of_bob) = alice.peer_path(node(2), SESSION).expect("room");
    let (to_alice, news_of_alice) = bob.peer_path(node(1), SESSION).expect("room");
    Pair { alice, bob, to_bob, to_alice, news_of_bob, news_of_alice }
}

impl Pair {
    pub async fn cable(&self) -> Wire {
        Wire::cable([self.alice.local_addr(), self.bob.local_addr()]).await
    }

    pub async fn relay(&self) -> Wire {
        Wire::relay([self.alice.local_addr(), self.bob.local_addr()]).await
    }

    /// Both believe what comes by `wire`.
    pub fn accept(&self, wire: &Wire) {
        self.to_bob.accept(wire.route(0), true);
        self.to_alice.accept(wire.route(1), true);
    }

    /// Both send by `wire` from now on.
    pub fn use_wire(&self, wire: &Wire) {
        self.to_bob.use_route(Some(wire.route(0)));
        self.to_alice.use_route(Some(wire.route(1)));
    }

    /// A connection over the routes in use: alice's end, bob's end.
    pub async fn connect(&self) -> (Connection, Connection) {
        let both = async { tokio::join!(self.alice.dial_path(&self.to_bob), member(&self.bob)) };
        let (dialled, accepted) = timeout(PATIENCE, both).await.expect("in time");
        (dialled.expect("a connection"), accepted)
    }
}

pub async fn member(endpoint: &Endpoint) -> Connection {
    match endpoint.accept().await.expect("the endpoint is open") {
        Accepted::Member(connection) => connection,
        Accepted::Enrol(_) => panic!("a member came in as a newcomer"),
    }
}

/// One stream, with data under way from alice to bob.
pub struct Transfer {
    received: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Transfer {
    /// Sends `length` bytes; both ends check that nothing is missing.
    pub async fn begin(from: &Connection, to: &Connection, length: usize) -> Self {
        let received = Arc::new(AtomicUsize::new(0));
        let (mut send, mut verdict) = from.open_bi().await.expect("a stream");
        let (to, progress) = (to.clone(), received.clone());
        let task = tokio::spawn(async move {
            let receiving = async {
                let (mut answer, stream) = to.accept_bi().await.expect("a stream");
                receive(stream, length, &progress).await;
                answer.write_all(b"whole").await.expect("written");
                answer.finish().expect("finished");
                answer.stopped().await.expect("alice has it");
            };
            let sending = async {
                send_all(&mut send, length).await;
                assert_eq!(verdict.read_to_end(8).await.expect("bob's verdict"), b"whole");
            };
            tokio::join!(receiving, sending);
        });
        Self { received, task }
    }

    pub fn received(&self) -> usize {
        self.received.load(SeqCst)
    }

    /// Until bob has so many bytes, and how long that took.
    pub async fn reached(&self, bytes: usize) -> Duration {
        let began = Instant::now();
        until(|| self.received() >= bytes).await;
        began.elapsed()
    }

    /// Until nothing more comes.
    pub async fn stalled(&self) {
        const SILENCE: Duration = Duration::from_millis(300);
        let mut last = (self.received(), Instant::now());
        until(|| {
            let received = self.received();
            if received != last.0 {
                last = (received, Instant::now());
            }
            last.1.elapsed() >= SILENCE
        })
        .await;
    }

    pub async fn finished(self) {
        timeout(PATIENCE, self.task).await.expect("in time").expect("whole");
    }
}

async fn send_all(send: &mut SendStream, length: usize) {
    let block: Vec<u8> = (0..MIB).map(byte).collect();
    for start in (0..length).step_by(MIB) {
        send.write_all(&block[..MIB.min(length - start)]).await.expect("written");
    }
    send.finish().expect("finished");
}

async fn receive(mut stream: RecvStream, length: usize, progress: &AtomicUsize) {
    let (mut buffer, mut at) = (vec![0; 64 << 10], 0);
    while let Some(read) = stream.read(&mut buffer).await.expect("no error") {
        let right = buffer[..read].iter().enumerate().all(|(i, found)| *found == byte((at + i) % MIB));
        assert!(right, "other bytes were sent");
        at += read;
        progress.store(at, SeqCst);
    }
    assert_eq!(at, length);
}

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Until it is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("in time");
}

/// The next probe among the news.
pub async fn next_probe(news: &mut mpsc::Receiver<PathNews>) -> (Route, Vec<u8>) {
    let waiting = async {
        loop {
            if let PathNews::Probe { route, packet } = news.recv().await.expect("the path lives") {
                return (route, packet);
            }
        }
    };
    timeout(PATIENCE, waiting).await.expect("in time")
}

/// A packet that looks like a probe of the session.
pub fn probe(fill: u8) -> Vec<u8> {
    use nearmesh_relay::proto::path::{FIRST_BYTE, LENGTH};
    let mut packet = vec![fill; LENGTH];
    packet[0] = FIRST_BYTE;
    packet[1..9].copy_from_slice(&SESSION.0[..8]);
    packet
}
