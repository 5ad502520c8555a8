//! Nodes of which neither can be dialled.

use std::path::Path;

use tests::{
    lab::{Internet, NatKind, Resident, Town},
    process::eventually,
};

use crate::PROGRAM;

/// Bytes of the file that is fetched.
const SIZE: usize = 3 << 20;

/// A town with alice and bob, each behind a NAT of such a kind, who know that by now.
fn town(kind: NatKind) -> Option<Town> {
    let mut town = Town::found(Internet::or_skip()?, Path::new(PROGRAM));
    town.settle(["alice", "bob"].map(|name| (name.to_owned(), kind.into())));
    Some(town)
}

fn pair(town: &Town) -> [&Resident; 2] {
    ["alice", "bob"].map(|name| town.find(name).unwrap())
}

/// What ping says when it came back by such a path.
fn pinged(from: &Resident, to: &Resident, path: &str) -> serde_json::Value {
    let user = format!("{}@lab", to.name);
    let (found, took) = eventually(&format!("a path that is {path}"), || {
        let replies = from.node.json_lines(&["ping", &user, "--count", "3"]);
        replies.into_iter().find(|reply| reply["path"] == path)
    });
    println!("{path} after {took:?}: {found}");
    found
}

/// Fetches a file of bob's at alice's and compares.
fn fetch(alice: &Resident, bob: &Resident) {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shared = bob.node.write("shared/film.mkv", &bytes);
    bob.node.ok(&["share", "add", shared.parent().unwrap().to_str().unwrap()]);
    eventually("alice finds the file", || {
        (!alice.node.json_lines(&["search", "film"]).is_empty()).then_some(())
    });
    let into = alice.node.home.join("fetched");
    let got = alice.node.ok(&["get", "1", "--output", into.to_str().unwrap()]);
    println!("{}", got.stdout);
    assert!(std::fs::read(into.join("film.mkv")).unwrap() == bytes, "the same bytes");
}

#[test]
fn two_behind_symmetric_nats_reach_each_other_through_a_relay() {
    let Some(town) = town(NatKind::Symmetric) else { return };
    let [alice, bob] = pair(&town);
    let reply = pinged(alice, bob, "relayed");
    let relay = reply["relay"].as_str().unwrap();
    assert!(town.supernodes.iter().any(|hub| relay == format!("{}@lab", hub.name)), "{relay}");
    fetch(alice, bob);
    let carried = town.internet.carried(&bob.site, &alice.site).bytes;
    assert!(carried < SIZE as u64 / 10, "{carried} bytes went directly: more than attempts");
}

#[test]
fn two_behind_port_restricted_nats_reach_each_other_directly() {
    let Some(town) = town(NatKind::PortRestricted) else { return };
    let [alice, bob] = pair(&town);
    pinged(alice, bob, "direct");
    fetch(alice, bob);
    let carried = town.internet.carried(&bob.site, &alice.site).bytes;
    assert!(carried > SIZE as u64, "{carried} bytes went directly");
}
