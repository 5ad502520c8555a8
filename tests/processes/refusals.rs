//! What is refused, with the reason and the exit code that a script can rely on.

use std::net::UdpSocket;

use tests::process::{Lab, eventually};

use crate::PROGRAM;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const NO_NODE: i32 = 4;
const REFUSED: i32 = 5;

#[test]
fn tickets_that_do_not_hold_are_refused_with_the_reason() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let ticket = alice.ok(&["net", "invite", "bob"]).stdout;
    assert_eq!(ticket.lines().count(), 1, "a ticket is one line and nothing else");
    let ticket = ticket.trim();

    let carol = lab.node("carol");
    let garbage = carol.run(&["net", "join", "not-a-ticket"]);
    assert_eq!(garbage.code, USAGE, "{garbage:?}");
    let cut = carol.run(&["net", "join", &ticket[..ticket.len() - 3]]);
    assert_eq!(cut.code, USAGE, "{cut:?}");
    assert!(cut.stderr.contains("damaged"), "{cut:?}");
    let other_name = carol.run(&["net", "join", ticket, "--user", "carol"]);
    assert_eq!(other_name.code, REFUSED, "{other_name:?}");
    assert!(other_name.stderr.contains("bob"), "{other_name:?}");

    lab.node("bob").ok(&["net", "join", ticket]);
    let used = carol.run(&["net", "join", ticket]);
    assert_eq!(used.code, REFUSED, "{used:?}");
    assert!(used.stderr.contains("used"), "{used:?}");

    let twice = lab.node("bob").run(&["net", "join", ticket]);
    assert_eq!(twice.code, REFUSED, "{twice:?}");
    assert!(twice.stderr.contains("bob@lab already"), "{twice:?}");
}

#[test]
fn a_ticket_does_not_lead_into_another_net_that_answers_at_its_address() {
    let lab = Lab::new(PROGRAM);
    let mut alice = lab.authority("lab", "alice");
    let ticket = alice.ok(&["net", "invite", "bob"]).stdout;
    let address = alice.listen().to_owned();
    alice.kill();

    let mut mallory = lab.node("mallory");
    mallory.ok(&["net", "create", "lab", "--user", "alice"]);
    let up = mallory.command(&["--json", "up", "--listen", &address, "--promote", "always"]);
    mallory.start(up);
    let lured = lab.node("bob").run(&["net", "join", ticket.trim()]);
    assert_eq!(lured.code, FAILED, "{lured:?}");
    assert!(!lab.path().join("bob/profile/membership").exists(), "nothing of the other net is kept");
}

#[test]
fn two_users_cannot_have_the_same_name() {
    let lab = Lab::new(PROGRAM);
    let mut alice = lab.node("alice");
    alice.ok(&["net", "create", "club", "--user", "alice", "--open"]);
    alice.up(&["--promote", "always"]);
    let ticket = alice.ok(&["net", "invite"]).stdout;

    lab.node("bob").ok(&["net", "join", ticket.trim(), "--user", "bob"]);
    let second = lab.node("another").run(&["net", "join", ticket.trim(), "--user", "bob"]);
    assert_eq!(second.code, REFUSED, "{second:?}");
    assert!(second.stderr.contains("bob") || second.stderr.contains("name"), "{second:?}");
    lab.node("another").ok(&["net", "join", ticket.trim(), "--user", "carol"]);
}

#[test]
fn commands_that_make_no_sense_say_so_by_their_exit_code() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let stranger = lab.node("stranger");

    assert_eq!(stranger.run(&["status"]).code, NO_NODE);
    assert_eq!(stranger.run(&["frobnicate"]).code, USAGE);
    assert_eq!(alice.run(&["up", "--listen", "127.0.0.1:0"]).code, REFUSED, "one node for each profile");
    assert_eq!(alice.run(&["lookup", "nobody@lab"]).code, NOT_FOUND);
    assert_eq!(alice.run(&["lookup", "alice@elsewhere"]).code, NOT_FOUND);
    assert_eq!(alice.run(&["lookup", "no such name"]).code, USAGE);
    assert_eq!(alice.run(&["search", "nothinghasthisword"]).code, NOT_FOUND);
    assert_eq!(alice.run(&["search", "!?"]).code, USAGE, "a query without a word");
    assert_eq!(alice.run(&["search", &"word ".repeat(1000)]).code, USAGE, "a query of a thousand words");
    assert_eq!(alice.run(&["search", "x", "--limit", "0"]).code, USAGE);
    assert_eq!(alice.run(&["get", "7"]).code, NOT_FOUND, "a number that no result has");
    assert_eq!(alice.run(&["get", &"0".repeat(64)]).code, NOT_FOUND);
    assert_eq!(alice.run(&["get", "xyz"]).code, USAGE);
    assert_eq!(alice.run(&["share", "add", "/does/not/exist"]).code, NOT_FOUND);
    assert_eq!(alice.run(&["share", "rm", "/does/not/exist"]).code, NOT_FOUND);
    assert_eq!(alice.run(&["net", "revoke", "nobody"]).code, NOT_FOUND);
    let profile = alice.profile.to_str().unwrap();
    assert_eq!(alice.run(&["share", "add", profile]).code, REFUSED, "a profile holds keys");

    let json = alice.run(&["--json", "lookup", "nobody@lab"]);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).expect("one JSON object on stderr");
    assert_eq!(error["code"], "not_found");
}

#[test]
fn a_revoked_user_is_out_and_everybody_else_goes_on() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let bob = lab.member(&alice, "bob", &[]);
    let carol = lab.member(&alice, "carol", &[]);
    carol.ok(&["lookup", "bob@lab"]);

    assert_eq!(bob.run(&["net", "revoke", "carol"]).code, REFUSED, "only the authority revokes");
    alice.ok(&["net", "revoke", "bob"]);
    eventually("bob is not found any more", || {
        let lookup = carol.run(&["--json", "lookup", "bob@lab"]);
        (lookup.code == NOT_FOUND || lookup.stdout.contains("\"online\":false")).then_some(())
    });
    eventually("bob's node is without a home", || bob.json(&["status"])["home"].is_null().then_some(()));
    carol.ok(&["lookup", "alice@lab"]);
    let ticket = alice.ok(&["net", "invite", "dave"]).stdout;
    lab.node("dave").ok(&["net", "join", ticket.trim()]);
}

#[test]
fn garbage_on_the_port_costs_nobody_anything() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let bob = lab.member(&alice, "bob", &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1u64;
    for round in 0..2000usize {
        let mut packet = vec![0u8; 1 + round % 1400];
        for byte in &mut packet {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        socket.send_to(&packet, alice.listen()).unwrap();
    }
    bob.ok(&["lookup", "alice@lab"]);
    alice.ok(&["lookup", "bob@lab"]);
}
