//! A disk that is full.

use std::{path::Path, process::Command};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tests::process::{Lab, Node, eventually};

use crate::PROGRAM;

/// Makes small disks of two folders, for one process and its children, and becomes that process.
const ON_SMALL_DISKS: &str = r#"for folder in "$1" "$2"; do mount -t tmpfs -o size=8m tmpfs "$folder" || exit 1; done; shift 2; exec "$@""#;

#[test]
fn a_full_disk_ends_a_download_with_a_clear_error_and_nothing_else() {
    let lab = Lab::new(PROGRAM);
    let alice = lab.authority("lab", "alice");
    let mut bob = lab.joined(&alice, "bob");
    let (folder, inbox) = (bob.home.join("small disk"), bob.profile.join("inbox"));
    for folder in [&folder, &inbox] {
        std::fs::create_dir_all(folder).unwrap();
    }
    if !small_disks(&folder, &inbox, &mut Command::new("true")).status().is_ok_and(|status| status.success())
    {
        assert!(
            std::env::var_os("NEARMESH_NO_SKIP").is_none(),
            "this machine lets nobody mount a small disk"
        );
        println!("skipped: this machine lets nobody mount a small disk");
        return;
    }
    let mut up = bob.command(&["--json", "up", "--listen", "127.0.0.1:0"]);
    bob.start(small_disks(&folder, &inbox, &mut up));

    let mut big = vec![0; 32 << 20];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut big);
    let path = alice.write("papers/Zzdisk big.bin", &big);
    alice.write("papers/Zzdisk small.txt", b"small");
    alice.ok(&["share", "add", alice.home.join("papers").to_str().unwrap()]);
    eventually("both are found", || (bob.json_lines(&["search", "zzdisk"]).len() == 2).then_some(()));

    let get = |content: &[u8], into: &Path| {
        let hash = blake3::hash(content).to_hex();
        bob.run(&["get", hash.as_str(), "--output", into.to_str().unwrap()])
    };
    for _ in 0..2 {
        let full = get(&big, &folder);
        assert_eq!(full.code, 1, "{full:?}");
        assert!(full.stderr.contains("no room") && full.stderr.contains("small disk"), "{full:?}");
    }
    assert_eq!(bob.json(&["downloads"])[0]["state"], "failed");
    let send = alice.run(&["send", path.to_str().unwrap(), "bob@lab"]);
    assert_eq!(send.code, 1, "{send:?}");
    assert!(send.stderr.contains("disk is full"), "{send:?}");

    // All else goes on, and with room the download does too.
    assert_eq!(alice.json(&["lookup", "bob@lab"])["online"], true);
    assert_eq!(get(b"small", &bob.home.join("elsewhere")).code, 0);
    assert_eq!(std::fs::read(bob.home.join("elsewhere/Zzdisk small.txt")).unwrap(), b"small");
    assert!(kept(&bob, &folder) > 0, "what was fetched is kept");
    assert_eq!(get(&big, &bob.home.join("elsewhere")).code, 0);
    assert!(std::fs::read(bob.home.join("elsewhere/Zzdisk big.bin")).unwrap() == big, "the same bytes");
}

fn small_disks(one: &Path, two: &Path, of: &mut Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", ON_SMALL_DISKS, "sh"]).arg(one).arg(two);
    command.arg(of.get_program()).args(of.get_args()).env_remove("NEARMESH_PROFILE");
    command
}

/// Bytes of unfinished files in a folder, as the node itself sees it.
fn kept(node: &Node, folder: &Path) -> u64 {
    let folder =
        Path::new("/proc").join(node.pid().to_string()).join("root").join(folder.strip_prefix("/").unwrap());
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}
