//! The program as its user meets it: arguments, stdout, stderr, exit codes. Behind it answers a scripted node.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Output, Stdio},
    sync::atomic::Ordering,
};

use crate::scripted::{HOSTILE_NAME, RESULTS, TICKET, hash, node, start};
use serde_json::{Value, json};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn exit(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn objects(output: &Output) -> Vec<Value> {
    assert_eq!(exit(output), 0, "{}", stderr(output));
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_who_and_where_and_what_is_wrong() {
    let alice = start();
    let text = stdout(&alice.run("status").await);
    for part in [
        "alice@lab",
        "ordinary node",
        "127.0.0.1:3",
        "0.25 ms",
        "3 files, 3.0 MiB",
        "reach       behind a NAT: direct connections work with most peers\n",
        "NAT         endpoint-independent mapping, address-and-port-dependent filtering, remembers for 32 s at least\n",
        "router      lets everybody in at 203.0.113.7:7117 (UPnP)\n",
        "relays      for 2 pairs of nodes, 5.0 MiB so far\n",
        ": relayed by hub@lab, 31 ms",
        "1 min 1 s",
        "The disk",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let status = &objects(&alice.run("status --json").await)[0];
    assert_eq!(status["node_id"], json!(node(1).to_string()));
    assert_eq!(
        status["home"],
        json!({"node_id": node(3).to_string(), "address": "127.0.0.1:3", "rtt_ms": 0.25})
    );
    assert_eq!(status["role"], "ordinary");
    assert_eq!(status["shared"], json!({"files": 3, "bytes": 3 << 20}));
    let reachability = &status["reachability"];
    assert_eq!((&reachability["reach"], &reachability["port_step"]), (&json!("behind"), &Value::Null));
    assert_eq!(
        reachability["port_mapping"],
        json!({"state": "mapped", "protocol": "UPnP", "address": "203.0.113.7:7117", "public": true})
    );
    assert_eq!(
        status["relaying"],
        json!({"sessions": 2, "bytes": 5 << 20, "packets": 4_000, "refused": 1, "dropped": 7})
    );
    let path = &status["paths"][0];
    assert_eq!((&path["user"], &path["path"]), (&json!("bob@lab"), &json!("relayed")));
    assert_eq!((&path["relay"], &path["rtt_ms"]), (&json!("hub@lab"), &json!(31.0)));
    assert_eq!(
        (&status["children"], &status["supernodes"], &status["standby"]),
        (&json!(0), &json!(3), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn search_prints_one_object_a_line_with_all_sources_of_each() {
    let alice = start();
    let found = objects(&alice.run("search twice --json").await);
    assert_eq!(found.len(), 1, "a result with more sources replaces the one without");
    assert_eq!(found[0]["hash"], json!(hash(7).to_string()));
    assert_eq!(found[0]["kind"], "audio");
    assert_eq!(found[0]["sources"][1], json!({"user": "carol@lab", "node_id": node(4).to_string()}));
}

#[tokio::test(flavor = "multi_thread")]
async fn search_prints_results_as_they_arrive() {
    let alice = start();
    let mut search = alice.command("search endless").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = search.stdout.take().unwrap();
    let first = tokio::task::spawn_blocking(move || BufReader::new(stdout).lines().next().unwrap().unwrap());
    assert!(first.await.unwrap().contains("first.ogg"), "though the search has not ended");
    search.kill().unwrap();
    search.wait().unwrap();
    alice.alice.search_dropped.notified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_with_no_result_says_so_and_exits_3() {
    let alice = start();
    let output = alice.run("search nothing like this").await;
    assert_eq!(exit(&output), 3);
    assert!(stdout(&output).is_empty());
    assert!(stderr(&output).contains("nothing like this") && stderr(&output).contains("1 of 3 supernodes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn search_that_breaks_keeps_what_it_found_and_exits_1() {
    let alice = start();
    for (words, reason) in [("broken", "the home went away"), ("cut", "in the middle")] {
        let output = alice.run(&format!("search {words}")).await;
        assert_eq!(exit(&output), 1, "{words}");
        assert!(stdout(&output).contains("first.ogg"));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_the_search_quietly() {
    let alice = start();
    let mut search =
        alice.command("search many").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = search.stdout.take().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let first = BufReader::new(stdout).lines().next();
        assert!(first.unwrap().unwrap().contains("many.ogg"));
        search.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!((exit(&output), stderr(&output).as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_results_arrive_once_and_in_order() {
    let alice = start();
    let numbers: Vec<u64> = objects(&alice.run("search many --json").await)
        .iter()
        .map(|result| result["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=u64::from(RESULTS)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_name_is_harmless_as_text_and_whole_as_json() {
    let alice = start();
    let text = stdout(&alice.run("search hostile").await);
    assert_eq!(text.lines().count(), 1);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    let output = alice.run("search hostile --json").await;
    assert!(output.stdout.is_ascii());
    assert_eq!(objects(&output)[0]["name"], HOSTILE_NAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_makes_the_folder_and_says_where_the_file_is() {
    let alice = start();
    let output = alice.run("get 1 --output new/folder").await;
    assert_eq!(exit(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).starts_with("/got/julia fractal.ogg\n"));
    assert!(alice.home.path().join("new/folder").is_dir());
    assert_eq!(objects(&alice.run(&format!("get {} --json", hash(7))).await)[0]["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn get_that_fails_gives_the_reason_and_exits_1_and_an_unknown_number_exits_3() {
    let alice = start();
    let output = alice.run("get 2").await;
    assert_eq!(exit(&output), 1);
    assert!(stderr(&output).contains("every source sent wrong bytes"));
    assert_eq!(exit(&alice.run("get 3").await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_name_means_somebody_of_this_net() {
    let alice = start();
    assert!(stdout(&alice.run("lookup bob").await).starts_with("bob@lab is online"));
    let lookup = &objects(&alice.run("lookup bob@lab --json").await)[0];
    assert_eq!(lookup["nodes"][0]["addresses"], json!(["127.0.0.1:2"]));
    assert_eq!(lookup["nodes"][0]["path"], "relayed");
    assert_eq!(lookup["nodes"][0]["seen"], json!(1_700_000_060_000_u64));
    assert_eq!(exit(&alice.run("lookup bob@elsewhere").await), 3);
    assert_eq!(exit(&alice.run("net invite bob@elsewhere").await), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn invite_prints_the_ticket_and_nothing_else() {
    let alice = start();
    let output = alice.run("net invite bob").await;
    assert_eq!(stdout(&output), format!("{TICKET}\n"));
    assert!(stderr(&output).contains("bob@lab"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_counts_what_comes_back() {
    let alice = start();
    let replies = objects(&alice.run("ping bob --count 2 --json").await);
    let said = |at: usize| ["path", "relay", "rtt_ms", "at_ms"].map(|key| replies[at][key].clone());
    assert_eq!(said(0), [json!("relayed"), json!("hub@lab"), json!(0.3), json!(40.0)]);
    assert_eq!(said(1), [json!("direct"), json!(null), json!(12.0), json!(1400.0)], "the path changed");
    assert_eq!((said(2)[0].clone(), replies.len()), (json!("direct"), 3));
    let text = stdout(&alice.run("ping bob --count 2").await);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(", relayed by hub@lab: 0.30 ms"), "{text}");
    assert_eq!(lines[1], "path changed after 1.4 s: direct, 12 ms");
    assert!(lines[2].ends_with(", direct at 127.0.0.1:2: 0.30 ms"), "{text}");
    let silence = alice.run("ping carol").await;
    assert_eq!(exit(&silence), 1);
    assert!(stderr(&silence).contains("none of 4 pings"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_added_listed_and_missed() {
    let alice = start();
    fs::create_dir(alice.home.path().join("Music")).unwrap();
    let added = alice.run("share add Music").await;
    assert!(stdout(&added).contains("Music (3 files, 3.0 MiB)"), "{}", stdout(&added));
    assert!(stderr(&added).contains("1 file could not be read"));
    assert!(stdout(&alice.run("share ls").await).contains("/music"));
    assert_eq!(exit(&alice.run("share add Muzak").await), 3);
    assert_eq!(exit(&alice.run("share rm Music").await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_and_a_folder_is_not() {
    let alice = start();
    fs::write(alice.home.path().join("hello.txt"), "hello").unwrap();
    assert!(stdout(&alice.run("send hello.txt bob@lab").await).contains("bob@lab's inbox as hello.txt"));
    assert_eq!(exit(&alice.run("send . bob").await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_downloads_and_supernodes_show_what_matters() {
    let alice = start();
    let downloads = stdout(&alice.run("downloads").await);
    assert!(
        downloads.contains("running")
            && downloads.contains("500 B/s")
            && downloads.contains("relayed by hub@lab")
            && downloads.contains("julia fractal.ogg")
    );
    let supernodes = stdout(&alice.run("supernodes").await);
    assert!(supernodes.contains("0.25 ms") && supernodes.contains("127.0.0.1:3"), "{supernodes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_exits_5_and_is_one_object_with_json() {
    let alice = start();
    let output = alice.run("net revoke bob --json").await;
    assert_eq!(exit(&output), 5);
    let error: Value = serde_json::from_str(&stderr(&output)).unwrap();
    let expected = json!({"code": "refused", "message": "only the authority of lab can revoke", "hint": "ask alice@lab"});
    assert_eq!(error, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_in_use_is_not_used_twice() {
    let alice = start();
    for line in ["up --listen 127.0.0.1:0", "net create lab --user alice", "net join TICKET"] {
        let output = alice.run(line).await;
        assert_eq!(exit(&output), 5, "{line}");
        assert!(stderr(&output).contains("already running"), "{}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_commands_exit_4_and_say_how_to_start_one() {
    let alice = start();
    // The socket of a node that crashed: there, but nobody listens.
    let dead = alice.home.path().join("dead");
    fs::create_dir(&dead).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dead.join("control.sock")).unwrap());
    for profile in ["missing", "dead"] {
        let output = alice.run(&format!("status --profile {profile}")).await;
        assert_eq!(exit(&output), 4, "{profile}");
        assert!(stderr(&output).contains("no node is running") && stderr(&output).contains("nearmesh up"));
    }
    assert!(!alice.home.path().join("missing").exists(), "asking makes no profile");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_2_and_is_one_object_with_json() {
    let alice = start();
    assert_eq!(exit(&alice.run("get nonsense").await), 2);
    let output = alice.run("search --json").await;
    assert_eq!(exit(&output), 2);
    let error: Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(error["code"], "usage");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_an_unknown_key_is_refused_by_its_name() {
    let alice = start();
    fs::write(alice.home.path().join("wrong.toml"), "listn = \"127.0.0.1:0\"\n").unwrap();
    let output = alice.run("up --profile fresh --config wrong.toml").await;
    assert_eq!(exit(&output), 2);
    assert!(stderr(&output).contains("listn"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn down_ends_the_node() {
    let alice = start();
    assert_eq!(exit(&alice.run("down").await), 0);
    assert!(alice.alice.stopped.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_exist_for_every_shell() {
    let alice = start();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&alice.run(&format!("completions {shell}")).await);
        assert!(script.contains("nearmesh") && script.contains("supernodes"), "{shell}");
    }
}
