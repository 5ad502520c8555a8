//! Neighbours in one local network find each other without anybody's help.

use std::fs;

use tests::{
    lab::{Internet, NatKind},
    process::{Lab, eventually},
};

use crate::PROGRAM;

#[test]
fn a_node_that_remembers_nobody_finds_a_supernode_in_its_local_network() {
    let Some(internet) = Internet::or_skip() else { return };
    let site = internet.site("office", NatKind::FullCone);
    let lab = Lab::new(PROGRAM);
    let mut alice = lab.node_in("alice", &site.host("alice")).founds("lab", "alice", &[]);
    let neighbour = ["--promote", "always", "--local-discovery", "true"];
    let bob = lab.node_in("bob", &site.host("bob")).joins(&alice, "bob", &neighbour);
    // Of another net, in the same network: nobody's business.
    let eve = lab.node_in("eve", &site.host("eve")).founds("other", "eve", &["--local-discovery", "true"]);
    let mut carol = lab.node_in("carol", &site.host("carol"));
    carol.try_join(&alice, "carol").unwrap();
    fs::remove_file(carol.profile.join("hosts")).unwrap();
    alice.kill();

    carol.up(&["--promote", "never", "--local-discovery", "true"]);
    eventually("carol is at home with bob", || {
        (carol.json(&["status"])["home"]["node_id"] == bob.id()).then_some(())
    });
    let found = eventually("the way is told", || {
        let status = carol.json(&["status"]);
        let local = status["bootstrap"].as_array()?.iter().find(|way| way["way"] == "local")?.clone();
        local["found"].as_u64()
    });
    assert_eq!(found.0, 1, "bob, and not {}", eve.id());
}
