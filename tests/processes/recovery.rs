//! What survives: kill -9, a stale socket, a lost supernode, a file that changes.

use std::fs;

use tests::process::{Lab, Node, eventually};

use crate::PROGRAM;

/// Bytes of the file that is interrupted: large enough to be caught in the middle on any machine.
const LARGE: usize = 512 << 20;

#[test]
fn a_download_that_was_killed_goes_on_without_fetching_twice() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let bob = lab.member(&alice, "bob", &[]);
    let mut carol = lab.member(&alice, "carol", &[]);
    let content = noise(LARGE);
    let source = bob.write("shared/large.bin", &content);
    bob.ok(&["share", "add", source.parent().unwrap().to_str().unwrap()]);
    let hash = blake3::hash(&content).to_hex().to_string();

    let folder = carol.home.join("here");
    let target = folder.to_str().unwrap().to_owned();
    let mut get = carol.command(&["get", &hash, "--output", &target]).spawn().unwrap();
    eventually("a part of it is there", || {
        let received = carol.json(&["downloads"])[0]["received"].as_u64()?;
        (received > 32 << 20).then_some(())
    });
    carol.kill();
    let _ = get.wait();
    assert!(!folder.join("large.bin").exists(), "the final name is for a complete file only");

    carol.up(&[]);
    eventually("the download is complete", || {
        (carol.json(&["downloads"])[0]["state"] == "done").then_some(())
    });
    assert!(fs::read(folder.join("large.bin")).unwrap() == content, "byte for byte");
    let finished = carol.log_line("downloaded");
    let resumed = number_after(&finished, "resumed=");
    assert!(resumed >= 16 << 20, "what was verified was not fetched again: {finished}");
    assert_eq!(resumed + number_after(&finished, "fetched="), LARGE as u64, "{finished}");
}

#[test]
fn a_crashed_node_leaves_a_socket_that_the_next_one_replaces() {
    let lab = Lab::new(PROGRAM);
    let mut alice = lab.authority("lab", "alice");
    let port = alice.listen().to_owned();
    alice.kill();
    assert_eq!(alice.run(&["status"]).code, 4, "nobody answers at a stale socket");
    alice.up(&["--promote", "always"]);
    alice.ok(&["status"]);
    assert_eq!(alice.listen(), port, "a node keeps its port");
    assert_eq!(alice.stop(), 0, "a node that is asked to end ends well");
}

#[test]
fn the_children_of_a_killed_supernode_are_found_again() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let mut second = lab.member(&alice, "bob", &["--promote", "always"]);
    let third = lab.member(&alice, "carol", &["--promote", "always"]);
    let nodes: Vec<Node> = ["dave", "erin", "frank"]
        .iter()
        .map(|user| lab.member(&alice, user, &["--promote", "never"]))
        .collect();
    for node in &nodes {
        node.write("shared/unique.txt", node.id().as_bytes());
        let name = format!("shared/only {}.txt", user(node));
        node.write(&name, node.id().as_bytes());
        node.ok(&["share", "add", node.home.join("shared").to_str().unwrap()]);
    }
    second.kill();
    for node in &nodes {
        let ((), took) = eventually("the user is found and searchable again", || {
            let lookup = alice.run(&["--json", "lookup", user(node)]);
            let online = lookup.code == 0 && lookup.stdout.contains("\"online\":true");
            let found = third.run(&["search", "only", user(node)]).code == 0;
            let home = node.json(&["status"])["home"]["node_id"] != second.id();
            (online && found && home).then_some(())
        });
        eprintln!("{} is found again after {took:?}", user(node));
    }
}

#[test]
fn a_file_that_changes_or_goes_while_it_is_shared_never_arrives_wrong() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let bob = lab.member(&alice, "bob", &[]);
    let path = bob.write("shared/changing.txt", b"the first version");
    bob.ok(&["share", "add", path.parent().unwrap().to_str().unwrap()]);
    let first = blake3::hash(b"the first version").to_hex().to_string();
    eventually("it is registered", || (alice.run(&["search", "changing"]).code == 0).then_some(()));

    fs::write(&path, b"the second version, longer").unwrap();
    let folder = alice.home.join("got");
    let old = alice.run(&["get", &first, "--output", folder.to_str().unwrap()]);
    assert_ne!(old.code, 0, "the old content is gone: {old:?}");
    let second = blake3::hash(b"the second version, longer").to_hex().to_string();
    eventually("the new version is registered", || {
        (alice.run(&["get", &second, "--output", folder.to_str().unwrap()]).code == 0).then_some(())
    });
    assert_eq!(fs::read(folder.join("changing.txt")).unwrap(), b"the second version, longer");

    fs::remove_file(&path).unwrap();
    eventually("it is not found any more", || (alice.run(&["search", "changing"]).code == 3).then_some(()));
}

fn user(node: &Node) -> &str {
    node.home.file_name().and_then(|name| name.to_str()).expect("a node is called like its user")
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut content);
    content
}

fn number_after(text: &str, key: &str) -> u64 {
    let rest = text.split(key).nth(1).unwrap_or_else(|| panic!("{key} in {text}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a number")
}
