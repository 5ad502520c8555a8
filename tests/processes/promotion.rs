//! Supernodes that make themselves.

use tests::process::{Lab, eventually};

use crate::PROGRAM;

#[test]
fn a_node_makes_itself_a_supernode_when_its_home_is_too_full_and_takes_over_children() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.node("alice");
    alice.write("profile/nearmesh.toml", b"capacity = 1\n");
    std::process::Command::new("chmod").arg("700").arg(&alice.profile).status().expect("chmod runs");
    let alice = alice.founds("lab", "alice", &[]);
    let carol = lab.member(&alice, "carol", &["--promote", "never"]);
    let shared = carol.write("shared/mandelbrot zoom.txt", b"deep");
    carol.ok(&["share", "add", shared.parent().unwrap().to_str().unwrap()]);
    let bob = lab.member(&alice, "bob", &["--promote", "auto"]);

    let ((), took) = eventually("bob makes himself a supernode", || {
        (bob.json(&["status"])["role"] == "supernode").then_some(())
    });
    eprintln!("bob is a supernode after {took:?}");
    let why = bob.json(&["status"])["role_reason"].as_str().expect("a sentence").to_owned();
    assert!(why.starts_with("it is a supernode because the net needs"), "{why}");
    let ((), took) = eventually("carol goes where there is room", || {
        (carol.json(&["status"])["home"]["node_id"] == *bob.id()).then_some(())
    });
    eprintln!("carol is bob's child {took:?} later");
    eventually("bob has two children, himself and carol", || {
        (bob.json(&["status"])["children"] == 2).then_some(())
    });
    let why = carol.json(&["status"])["role_reason"].as_str().expect("a sentence").to_owned();
    assert!(why.contains("--promote never"), "{why}");
    eventually("what carol shares is found from alice's", || {
        (alice.run(&["search", "mandelbrot"]).code == 0).then_some(())
    });
}
