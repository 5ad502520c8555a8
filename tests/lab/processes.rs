//! Real processes in the lab.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use tests::{
    lab::{Internet, NatKind},
    process::{Lab, Place, eventually},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nearmesh-under-test");

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
    // Another copy of this test binary builds a site with a process in it, and says which.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "processes::a_site_that_waits", "--ignored", "--nocapture"])
        .stdout(Stdio::piped());
    let mut victim = command.spawn().unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.skip_while(|line| !line.ends_with("sleeps")).take(2).collect();
    let [pid, namespace] = [&said[0], &said[1]].map(|line| line.split(' ').next().unwrap());
    assert!(lives_in(pid, namespace) && namespaces().contains(&namespace.to_owned()));

    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("the process in the site is gone", || (!lives_in(pid, namespace)).then_some(()));
    assert!(!namespaces().contains(&namespace.to_owned()));
}

#[test]
#[ignore = "for another test: it waits to be killed"]
fn a_site_that_waits() {
    let internet = Internet::new().unwrap();
    let alice = internet.site("home", NatKind::Symmetric).host("alice");
    let mut sleep = alice.command("sleep");
    sleep.arg("600");
    let sleep = std::thread::scope(|scope| {
        // A thread that ends takes nothing with it.
        scope.spawn(|| alice.spawn(sleep)).join().unwrap().unwrap()
    });
    let namespace = std::fs::read_link(format!("/proc/{}/ns/net", sleep.id())).unwrap();
    println!("{} sleeps\n{} is where", sleep.id(), namespace.display());
    loop {
        std::thread::park();
    }
}

fn lives_in(pid: &str, namespace: &str) -> bool {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link.to_str() == Some(namespace))
}

/// The network namespaces in which any process lives.
fn namespaces() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let links = processes.filter_map(|process| std::fs::read_link(process.path().join("ns/net")).ok());
    links.map(|link| link.display().to_string()).collect()
}
