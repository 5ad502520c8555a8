//! Real processes in the lab.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use tests::{
    lab::{Internet, NatKind},
    process::{Lab, eventually},
};

use crate::PROGRAM;

#[test]
fn a_member_behind_a_nat_finds_another() {
    let Some(internet) = Internet::or_skip() else { return };
    let [north, south] = ["north", "south"].map(|name| internet.site(name, NatKind::Open));
    let home = internet.site("home", NatKind::FullCone);
    let lab = Lab::new(PROGRAM);
    let alice =
        lab.node_in("alice", &north.host("alice")).founds("lab", "alice", &["--listen", "0.0.0.0:7117"]);
    let bob = lab.node_in("bob", &south.host("bob")).joins(&alice, "bob", &["--promote", "always"]);
    let laptop = home.host("carol");
    let carol = lab.node_in("carol", &laptop).joins(&alice, "carol", &["--promote", "never"]);

    let (lookup, _) = eventually("carol finds bob", || {
        let ran = carol.run(&["--json", "lookup", "bob@lab"]);
        (ran.code == 0).then(|| serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap())
    });
    assert_eq!((&lookup["user"], &lookup["nodes"][0]["node_id"]), (&"bob@lab".into(), &bob.id().into()));
    let ping = carol.ok(&["ping", "bob@lab", "--count", "1"]);
    assert!(ping.stdout.contains("direct"), "{ping:?}");
    assert!(internet.carried(&home, &south).packets > 0);
}

#[test]
fn nothing_is_left_over_when_the_process_is_killed() {
    if !tests::lab::available_or_skip() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut shell = Command::new(env!("CARGO_BIN_EXE_lab"));
    shell.args(["shell", "--kinds", "cgn,sym"]).env("TMPDIR", directory.path());
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap);
    let hosts: Vec<String> = lines.take_while(|line| line != "help, or quit").collect();
    assert_eq!(hosts.len(), 5, "{hosts:?}");

    let nodes = children(shell.id());
    let namespaces: Vec<PathBuf> = nodes.iter().filter_map(|node| namespace(*node)).collect();
    assert_eq!((nodes.len(), namespaces.len()), (5, 5));
    assert!(!namespaces.contains(&namespace(std::process::id()).unwrap()), "none is in ours");

    shell.kill().unwrap();
    shell.wait().unwrap();
    eventually("all nodes are gone", || {
        let left =
            nodes.iter().zip(&namespaces).filter(|(node, before)| namespace(**node).as_ref() == Some(before));
        (left.count() == 0).then_some(())
    });
}

fn children(parent: u32) -> Vec<u32> {
    let list = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let lists = list.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// The network namespace that a process lives in.
fn namespace(process: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/net")).ok()
}
