//! Nodes of which neither can be dialled.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    thread,
    time::Instant,
};

use tests::{
    lab::{Internet, NatKind, Resident, Town},
    process::{Place, eventually},
};

use crate::PROGRAM;

/// Bytes of the file that is fetched.
const SIZE: usize = 3 << 20;
/// Pings that are answered before something happens.
const ANSWERS_BEFORE: usize = 3;

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

/// Pings once a second, so many times; after a few answers something happens. Every answer and change of the path.
fn pinged_while(
    from: &Resident,
    to: &Resident,
    count: u32,
    happens: impl FnOnce(),
) -> Vec<serde_json::Value> {
    let (user, count) = (format!("{}@lab", to.name), count.to_string());
    let mut command = from.node.command(&["--json", "ping", &user, "--count", &count]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut ping = from.host.spawn(command).unwrap();
    let stdout = ping.stdout.take().unwrap();
    let (mut said, mut happens) = (Vec::new(), Some(happens));
    for line in BufReader::new(stdout).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let [at, path, relay, rtt] = ["at_ms", "path", "relay", "rtt_ms"].map(|key| &line[key]);
        println!("{} at {at} ms: {path} by {relay}, {rtt} ms", from.name);
        said.push(line);
        if answers(&said) >= ANSWERS_BEFORE
            && let Some(happens) = happens.take()
        {
            happens();
        }
    }
    ping.wait().unwrap();
    said
}

/// How many pings were answered.
fn answers(said: &[serde_json::Value]) -> usize {
    said.iter().filter(|line| line.get("address").is_some()).count()
}

#[test]
fn two_who_call_each_other_at_once_are_connected() {
    let Some(town) = town(NatKind::Symmetric) else { return };
    let [alice, bob] = pair(&town);
    thread::scope(|threads| {
        let calls = [(alice, bob), (bob, alice)];
        let calls = calls.map(|(from, to)| threads.spawn(move || pinged_while(from, to, 3, || ())));
        for call in calls {
            assert_eq!(answers(&call.join().unwrap()), 3);
        }
    });
}

#[test]
fn a_session_outlives_the_home_and_relay_of_both() {
    let Some(mut town) = town(NatKind::Symmetric) else { return };
    let [alice, bob] = pair(&town);
    let first = pinged(alice, bob, "relayed")["relay"].clone();
    let dies = town.supernodes.iter().position(|hub| first == format!("{}@lab", hub.name)).unwrap();
    let mut hub = town.supernodes.remove(dies);
    let [alice, bob] = pair(&town);
    let said = pinged_while(alice, bob, 12, || {
        hub.node.kill();
    });
    assert_eq!(answers(&said), 12, "none was lost");
    let last = said.last().unwrap();
    assert!(last["path"] == "relayed" && last["relay"] != first, "{last}");
    // Signals go by the new homes: the NAT of one gives it other addresses, and both still find each other.
    alice.site.rebind();
    assert_eq!(answers(&pinged_while(bob, alice, 3, || ())), 3);
}

#[test]
fn a_peer_that_was_killed_and_came_back_is_reached_again_by_both() {
    let Some(mut town) = town(NatKind::Symmetric) else { return };
    let [alice, bob] = pair(&town);
    pinged(alice, bob, "relayed");
    let bob = town.people.iter_mut().find(|resident| resident.name == "bob").unwrap();
    bob.node.kill();
    bob.node.up(&["--promote", "never"]);
    let [alice, bob] = pair(&town);
    let begun = Instant::now();
    pinged(bob, alice, "relayed");
    pinged(alice, bob, "relayed");
    println!("both after {:?}", begun.elapsed());
}

#[test]
fn a_session_outlives_a_change_of_the_machines_address() {
    for kind in [NatKind::PortRestricted, NatKind::Symmetric] {
        let Some(town) = town(kind) else { return };
        let [alice, bob] = pair(&town);
        pinged(alice, bob, if kind == NatKind::Symmetric { "relayed" } else { "direct" });
        let said = pinged_while(alice, bob, 14, || {
            alice.host.change_address();
        });
        assert_eq!(answers(&said), 14, "none was lost");
    }
}
