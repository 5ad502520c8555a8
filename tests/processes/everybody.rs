//! Three supernodes, twelve nodes: everybody finds everything and everybody.

use tests::process::{Lab, Node, eventually};

use crate::PROGRAM;

const ORDINARY: [&str; 12] =
    ["dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "leo", "mia", "nina", "olaf"];

#[test]
fn every_file_and_every_user_is_found_from_every_node() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let supernodes = [
        lab.member(&alice, "bob", &["--promote", "always"]),
        lab.member(&alice, "carol", &["--promote", "always"]),
    ];
    for node in &supernodes {
        eventually("the supernodes know one another", || {
            (node.json(&["status"])["supernodes"] == 3).then_some(())
        });
    }
    let nodes: Vec<Node> =
        ORDINARY.iter().map(|user| lab.member(&alice, user, &["--promote", "never"])).collect();
    for (node, user) in nodes.iter().zip(ORDINARY) {
        node.write(&format!("shared/only copy of {user}.txt"), user.as_bytes());
        node.write("shared/copied to everybody.txt", b"the same everywhere");
        node.ok(&["share", "add", node.home.join("shared").to_str().unwrap()]);
    }

    for (node, asker) in nodes.iter().zip(ORDINARY) {
        for user in ORDINARY {
            eventually(&format!("{asker} finds the only copy of {user}"), || {
                let found = node.json_lines(&["search", "only", "copy", user]);
                let [result] = found.as_slice() else { return None };
                assert_eq!(result["sources"].as_array().map(Vec::len), Some(1));
                (result["sources"][0]["user"] == format!("{user}@lab")).then_some(())
            });
            let lookup = node.json(&["lookup", &format!("{user}@lab")]);
            assert_eq!(lookup["online"], true, "{asker} looks {user} up: {lookup}");
        }
        eventually("all copies of a file are one result", || {
            let found = node.json_lines(&["search", "copied", "everybody"]);
            let [result] = found.as_slice() else { return None };
            (result["sources"].as_array().map(Vec::len) == Some(ORDINARY.len())).then_some(())
        });
    }
}
