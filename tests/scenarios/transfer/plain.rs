//! Files arrive as they are, under a name that harms nobody.

use super::peers::{MIB, Peer, bytes, fetch, names, request};

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_odd_size_arrive_byte_for_byte() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    for size in [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, MIB, MIB + 7, 20 * MIB] {
        let content = bytes(size as u64, size);
        let hash = bob.share("file.bin", &content);
        let hints = [Some(size as u64), None, Some(size as u64 / 2), Some(3 * size as u64 + 5)];
        for (number, hint) in hints.into_iter().enumerate() {
            let directory = alice.path().join(format!("{size}-{number}"));
            let mut request = request(hash, &directory, &[&bob]);
            request.size = hint;
            let finished = fetch(request).await.unwrap();
            assert_eq!(finished.path, directory.join("file.bin"));
            assert_eq!((finished.fetched_bytes, finished.resumed_bytes), (size as u64, 0));
            assert_eq!(finished.blamed, []);
            assert!(std::fs::read(&finished.path).unwrap() == content, "{size} bytes, hint {hint:?}");
            assert_eq!(names(&directory), ["file.bin"], "no working file is left");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_size_hint_makes_a_small_file_cost_one_question_and_no_byte_twice() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    let hash = bob.share("file.bin", &bytes(1, MIB - 3));
    let mut request = request(hash, alice.path(), &[&bob]);
    request.size = Some(MIB as u64 - 3);
    fetch(request).await.unwrap();
    assert_eq!(bob.sent(), MIB as u64 - 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_gets_a_number_and_nothing_is_overwritten() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    std::fs::write(alice.path().join("file.bin"), "alice's own").unwrap();
    let mut contents = Vec::new();
    for seed in 0..3 {
        let content = bytes(seed, 100_000);
        let hash = bob.share("file.bin", &content);
        fetch(request(hash, alice.path(), &[&bob])).await.unwrap();
        contents.push(content);
    }
    assert_eq!(names(alice.path()), ["file (1).bin", "file (2).bin", "file (3).bin", "file.bin"]);
    assert_eq!(std::fs::read(alice.path().join("file.bin")).unwrap(), b"alice's own");
    assert!(std::fs::read(alice.path().join("file (2).bin")).unwrap() == contents[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_from_the_network_never_leaves_the_folder() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    let hash = bob.share("file.bin", b"hello");
    let downloads = alice.path().join("downloads");
    let long = format!("{}.txt", "x".repeat(700));
    let absolute = alice.path().join("absolute").to_string_lossy().into_owned();
    for name in ["../../up", &absolute, "a/b\\c", "..", "", "nul", "line\nbreak", &long] {
        let mut request = request(hash, &downloads, &[&bob]);
        request.name = name.to_owned();
        let finished = fetch(request).await.unwrap();
        assert_eq!(finished.path.parent(), Some(downloads.as_path()), "for {name:?}");
    }
    assert_eq!(names(alice.path()), ["downloads"]);
    assert_eq!(names(&downloads).len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_downloads_of_the_same_file_into_the_same_folder_do_not_mix() {
    let bob = Peer::honest(1);
    let silent = Peer::new(2, super::peers::Manner::Silent);
    let alice = tempfile::tempdir().unwrap();
    let hash = bob.share("file.bin", &bytes(1, MIB));
    let running = tokio::spawn(fetch(request(hash, alice.path(), &[&silent])));
    while names(alice.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    let second = fetch(request(hash, alice.path(), &[&bob])).await;
    assert!(matches!(second, Err(nearmesh::transfer::fetch::FetchError::AlreadyRunning)), "{second:?}");
    running.abort();
    let _ = running.await;
    fetch(request(hash, alice.path(), &[&bob])).await.unwrap();
}
