//! How many streams a peer may have open.

use std::time::Duration;

use nearmesh_relay::{
    Accepted,
    io::transport::{FEW_STREAMS, MAX_STREAMS, allow_more_streams},
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use crate::net::{Net, node};

/// One that is not allowed waits until it is.
async fn opens_another_at_once(connection: &Connection) -> bool {
    timeout(Duration::ZERO, connection.open_bi()).await.is_ok()
}

async fn open(connection: &Connection, count: u32) -> Vec<(SendStream, RecvStream)> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(connection.open_bi().await.expect("a stream"));
    }
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alice_has_few_streams_until_bob_allows_more_and_so_has_bob() {
    let net = Net::new();
    let (alice, bob) = (net.endpoint(node(1), false), net.endpoint(node(2), false));
    let (dialled, accepted) = tokio::join!(alice.dial(node(2), bob.local_addr()), bob.accept());
    let (dialled, accepted) = (dialled.expect("a connection"), accepted.expect("bob's endpoint is open"));
    let Accepted::Member(accepted) = accepted else { panic!("a member came in as a newcomer") };
    for (one, other) in [(&dialled, &accepted), (&accepted, &dialled)] {
        let few = open(one, FEW_STREAMS).await;
        assert!(!opens_another_at_once(one).await);
        allow_more_streams(other);
        let more = open(one, MAX_STREAMS - FEW_STREAMS).await;
        assert!(!opens_another_at_once(one).await);
        drop((few, more));
    }
}
