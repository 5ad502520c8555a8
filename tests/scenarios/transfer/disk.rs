//! A real full disk: a tmpfs of a few MiB in a mount namespace of its own, in which this test program runs itself.

use std::{path::Path, process::Command};

use nearmesh::transfer::fetch::FetchError;

use super::peers::{MIB, Peer, bytes, fetch, names, request};

const INSIDE: &str = "NEARMESH_TEST_SMALL_DISK";

#[test]
fn a_full_disk_is_a_clear_error_and_the_download_goes_on_once_there_is_room() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let script = "mount -t tmpfs -o size=8m none \"$1\" && exec \"$2\" --exact --nocapture transfer::disk::inside_a_small_disk";
    let small_disk = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(disk.path()).arg(&program).env(INSIDE, disk.path()).output()
    };
    match small_disk("mount -t tmpfs -o size=8m none \"$1\"") {
        Ok(output) if output.status.success() => {}
        _ => return eprintln!("skipped: no mount namespace for a small disk here"),
    }
    let output = small_disk(script).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("the disk was full"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_a_small_disk() {
    let Some(disk) = std::env::var_os(INSIDE) else { return };
    let disk = Path::new(&disk);
    let bob = Peer::honest(1);
    let content = bytes(1, 12 * MIB);
    let hash = bob.share("file.bin", &content);
    let outcome = fetch(request(hash, disk, &[&bob])).await;
    let Err(error @ FetchError::NoRoom { .. }) = outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("no room"), "{error}");
    assert_eq!(names(disk).len(), 2, "the verified part is kept");
    let remounted = Command::new("mount").args(["-o", "remount,size=64m"]).arg(disk).status().unwrap();
    assert!(remounted.success());
    let finished = fetch(request(hash, disk, &[&bob])).await.unwrap();
    assert!(finished.resumed_bytes >= 4 * MIB as u64, "{finished:?}");
    assert!(std::fs::read(&finished.path).unwrap() == content);
    println!("the disk was full");
}
