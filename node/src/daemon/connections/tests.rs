//! Alice's connections to bob.

use std::pin::pin;

use futures_util::{FutureExt, poll};
use nearmesh_common::identity::NodeKey;
use nearmesh_relay::{Endpoint, io::endpoint::Accepted};
use tempfile::TempDir;

use super::{super::clock::wall, *};
use crate::{
    authority::{Authority, Policy},
    daemon::start::tls_of,
};

/// Two ports; the certificate of both is alice's, which does not matter here.
struct Pair {
    alice: Endpoint,
    bob: Endpoint,
    id: NodeId,
}

impl Pair {
    fn new() -> Self {
        let scratch = TempDir::new().unwrap();
        let (net, user) = ("lab".parse().unwrap(), "alice".parse().unwrap());
        let created = Authority::create(
            &scratch.path().join("authority"),
            net,
            Policy::Invite,
            user,
            NodeKey::generate(),
            wall(),
        );
        let (_authority, membership) = created.unwrap();
        let port = || {
            let tls = tls_of(&membership, false).unwrap();
            Endpoint::bind("127.0.0.1:0".parse().unwrap(), tls).unwrap()
        };
        Self { alice: port(), bob: port(), id: membership.node() }
    }

    /// Alice's end of a connection that she opens, and bob's.
    async fn connect(&self) -> (Connection, Connection) {
        let (dialled, accepted) =
            tokio::join!(self.alice.dial(self.id, self.bob.local_addr()), self.bob.accept());
        let Some(Accepted::Member(accepted)) = accepted else { panic!("a member") };
        (dialled.unwrap(), accepted)
    }
}

#[tokio::test]
async fn a_second_connection_of_ours_does_not_hide_the_first() {
    let pair = Pair::new();
    let (alices, bob) = (Connections::default(), NodeId([2; 32]));
    let (first, _firsts_end) = pair.connect().await;
    let (second, _seconds_end) = pair.connect().await;
    let (_one, _other) = (alices.adopt(bob, first.clone()), alices.adopt(bob, second.clone()));
    let all: Vec<_> = alices.all().into_iter().map(|(_, connection)| connection.stable_id()).collect();
    assert_eq!(all, [first.stable_id(), second.stable_id()], "both end when bob is revoked");
    let newest = alices.leased(bob).unwrap();
    assert_eq!(newest.connection().stable_id(), second.stable_id());
    second.close(CloseCode::Done.into(), b"");
    let left = alices.leased(bob).unwrap();
    assert_eq!(left.connection().stable_id(), first.stable_id());
    assert_eq!(alices.open(bob).unwrap().stable_id(), first.stable_id());
    assert!(alices.is_at(pair.bob.local_addr()) && !alices.is_at(pair.alice.local_addr()));
}

#[tokio::test]
async fn who_gives_up_waiting_for_its_turn_leaves_nothing_behind() {
    let (alices, bob) = (Connections::default(), NodeId([2; 32]));
    let first = alices.turn(bob).now_or_never().unwrap();
    {
        let mut second = pin!(alices.turn(bob));
        assert!(poll!(&mut second).is_pending());
        drop(first);
    }
    assert!(alices.turns.is_empty());
}
