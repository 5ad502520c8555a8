//! A file given unasked, to one peer.

use std::sync::Arc;

use nearmesh::{
    content::ContentStore,
    transfer::{
        Progress,
        offer::{OfferError, offer_file},
    },
};
use nearmesh_common::NodeId;
use quinn::Connection;
use tokio::sync::watch;

use super::peers::{MIB, Peer, bytes, fetch, names, request};

/// A connection from alice to bob on which both answer.
async fn connect(alice: &Arc<Peer>, bob: &Arc<Peer>) -> Connection {
    let address = bob.endpoint.local_addr().unwrap();
    let connection = alice.endpoint.connect(address, "peer").unwrap().await.unwrap();
    tokio::spawn(alice.clone().answer(connection.clone(), bob.node));
    connection
}

async fn offer(alice: &Arc<Peer>, bob: &Arc<Peer>, name: &str) -> Result<Box<str>, OfferError> {
    let connection = connect(alice, bob).await;
    let progress = watch::Sender::new(Progress::default());
    let given = offer_file(&connection, bob.node, &alice.path(name), &alice.offers, progress).await;
    given.map(|given| given.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offered_file_is_in_the_inbox_under_a_safe_name() {
    let (alice, bob) = (Peer::honest(1), Peer::honest(2));
    let content = bytes(1, 5 * MIB + 9);
    std::fs::write(alice.path("photo\n\u{202e}gpj.exe"), &content).unwrap();
    let stored = offer(&alice, &bob, "photo\n\u{202e}gpj.exe").await.unwrap();
    assert_eq!(&*stored, "photo_gpj.exe");
    let again = offer(&alice, &bob, "photo\n\u{202e}gpj.exe").await.unwrap();
    assert_eq!(&*again, "photo_gpj (1).exe");
    assert_eq!(names(&bob.path("inbox")), ["photo_gpj (1).exe", "photo_gpj.exe"]);
    assert!(std::fs::read(bob.path("inbox").join(&*stored)).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_for_one_peer_and_ends_with_the_transfer() {
    let (alice, bob) = (Peer::honest(1), Peer::honest(2));
    let content = bytes(1, MIB);
    std::fs::write(alice.path("secret"), &content).unwrap();
    offer(&alice, &bob, "secret").await.unwrap();
    let hash = nearmesh_common::ContentHash(*blake3::hash(&content).as_bytes());
    let carol = tempfile::tempdir().unwrap();
    assert!(fetch(request(hash, carol.path(), &[&alice])).await.is_err());
    let shares: Arc<dyn ContentStore> = alice.store.clone();
    for peer in [bob.node, NodeId([9; 32])] {
        assert_eq!(alice.offers.view_of(peer, shares.clone()).locate(&hash), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_can_be_sent_and_a_missing_one_is_a_clear_error() {
    let (alice, bob) = (Peer::honest(1), Peer::honest(2));
    std::fs::write(alice.path("empty"), "").unwrap();
    assert_eq!(&*offer(&alice, &bob, "empty").await.unwrap(), "empty");
    let error = offer(&alice, &bob, "nothing").await.unwrap_err().to_string();
    assert!(error.contains("nothing") && error.contains("No such file"), "{error}");
}
