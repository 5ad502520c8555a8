//! The main job, as the README tells it, step by step.

use tests::process::{Lab, eventually};

use crate::PROGRAM;

#[test]
fn people_join_find_each_other_and_fetch_a_file() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let bob = lab.member(&alice, "bob", &[]);
    assert_eq!(bob.ready["home"]["node_id"], alice.id());

    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    bob.write("Music/Julia Fractal.mp3", &content);
    bob.ok(&["share", "add", bob.home.join("Music").to_str().unwrap()]);

    let (results, _) = eventually("bob's file is found", || {
        let results = alice.json_lines(&["search", "julia", "fract"]);
        (!results.is_empty()).then_some(results)
    });
    let result = &results[0];
    assert_eq!(result["name"], "Julia Fractal.mp3");
    assert_eq!(result["size"], content.len());
    assert_eq!(result["hash"], blake3::hash(&content).to_hex().as_str());
    assert_eq!(result["kind"], "audio");
    assert_eq!(result["sources"][0]["user"], "bob@lab");
    assert_eq!(result["sources"][0]["node_id"], bob.id());

    let downloads = alice.home.join("downloads");
    alice.ok(&["get", "1", "--output", downloads.to_str().unwrap()]);
    assert!(std::fs::read(downloads.join("Julia Fractal.mp3")).unwrap() == content, "the same bytes");

    let lookup = alice.json(&["lookup", "bob@lab"]);
    assert_eq!((&lookup["user"], &lookup["online"]), (&"bob@lab".into(), &true.into()));
    assert_eq!(lookup["nodes"][0]["node_id"], bob.id());
    assert_eq!(lookup["nodes"][0]["home"], alice.id());
    assert_eq!(lookup["nodes"][0]["addresses"][0], bob.listen());
    assert!(lookup["nodes"][0]["seen"].is_u64());

    let ping = alice.ok(&["ping", "bob@lab", "--count", "1"]);
    assert!(ping.stdout.contains(" lan"), "{ping:?}");

    let letter = alice.write("letter.txt", b"Dear Bob,\n");
    alice.ok(&["send", letter.to_str().unwrap(), "bob@lab"]);
    assert_eq!(std::fs::read(bob.profile.join("inbox/letter.txt")).unwrap(), b"Dear Bob,\n");

    let status = bob.json(&["status"]);
    assert_eq!(status["shared"]["files"], 1);
    assert_eq!(status["supernodes"], 1);
    assert_eq!(alice.json(&["status"])["children"], 1);
}
