//! What was verified is never fetched again, however the attempt ended.

use std::{io::Write as _, sync::atomic::Ordering};

use nearmesh::transfer::{Progress, fetch::download};
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use super::peers::{Dialer, MIB, Manner, Peer, bytes, fetch, names, request};

/// Fetches until at least `enough` bytes are verified, then drops the download; returns what was verified.
async fn fetch_some(request: nearmesh::transfer::fetch::DownloadRequest, enough: u64) -> u64 {
    let dialer = Dialer::new();
    let (sender, mut progress) = watch::channel(Progress::default());
    tokio::select! {
        outcome = download(request, &dialer, sender) => panic!("too early: {outcome:?}"),
        seen = progress.wait_for(|progress| progress.verified >= enough) => seen.unwrap().verified,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_goes_on_where_it_was() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    let content = bytes(1, 40 * MIB);
    let hash = bob.share("file.bin", &content);
    let seen = fetch_some(request(hash, alice.path(), &[&bob]), 10 * MIB as u64).await;
    assert_eq!(names(alice.path()).len(), 2, "only working files, no final name");
    bob.sent.store(0, Ordering::Relaxed);
    let finished = fetch(request(hash, alice.path(), &[&bob])).await.unwrap();
    assert!(finished.resumed_bytes >= seen, "{} of {seen} were kept", finished.resumed_bytes);
    assert_eq!(finished.fetched_bytes + finished.resumed_bytes, content.len() as u64);
    assert!(std::fs::read(&finished.path).unwrap() == content);
    assert_eq!(names(alice.path()), ["file.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_dropped_again_and_again_still_ends_with_the_right_bytes() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    let content = bytes(2, 24 * MIB + 5);
    let hash = bob.share("file.bin", &content);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut verified = 0;
    for _ in 0..8 {
        let enough = verified + random.random_range(1..2 * MIB as u64);
        if enough >= content.len() as u64 / 2 {
            break;
        }
        let seen = fetch_some(request(hash, alice.path(), &[&bob]), enough).await;
        assert!(seen >= verified, "nothing is lost between attempts");
        verified = seen;
    }
    let finished = fetch(request(hash, alice.path(), &[&bob])).await.unwrap();
    assert!(finished.resumed_bytes >= verified);
    assert!(std::fs::read(&finished.path).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_power_cut_damaged_is_fetched_again_and_nothing_else() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    let content = bytes(3, 32 * MIB);
    let hash = bob.share("file.bin", &content);
    fetch_some(request(hash, alice.path(), &[&bob]), 8 * MIB as u64).await;
    let kept = alice.path().join(&names(alice.path())[0]);
    assert!(kept.to_string_lossy().ends_with("-part"));
    // Zeros where written blocks did not reach the disk: a whole piece's worth, in the middle of what was verified.
    let before = std::fs::read(&kept).unwrap();
    let start =
        (0..before.len()).step_by(16384).find(|at| before[*at..][..4] == content[*at..][..4]).unwrap();
    let file = std::fs::File::options().write(true).open(&kept).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 16384], start as u64).unwrap();
    let finished = fetch(request(hash, alice.path(), &[&bob])).await.unwrap();
    assert!(finished.resumed_bytes >= 7 * MIB as u64, "only the damaged group was lost");
    assert!(std::fs::read(&finished.path).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_state_file_costs_time_and_no_correctness() {
    let bob = Peer::honest(1);
    let content = bytes(4, 12 * MIB);
    let hash = bob.share("file.bin", &content);
    for spoil in ["empty", "noise", "cut", "wrong size"] {
        let alice = tempfile::tempdir().unwrap();
        fetch_some(request(hash, alice.path(), &[&bob]), 3 * MIB as u64).await;
        let state = alice.path().join(&names(alice.path())[1]);
        assert!(state.to_string_lossy().ends_with("-state"));
        let mut record = std::fs::read(&state).unwrap();
        match spoil {
            "empty" => record.clear(),
            "noise" => record = bytes(9, record.len()),
            "cut" => record.truncate(100),
            _ => record[8] ^= 1,
        }
        std::fs::File::create(&state).unwrap().write_all(&record).unwrap();
        let finished = fetch(request(hash, alice.path(), &[&bob])).await.unwrap();
        assert!(std::fs::read(&finished.path).unwrap() == content, "{spoil}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_up_now_and_then_is_dialled_again() {
    let bob = Peer::new(1, Manner::HangsUpAfter(3));
    let carol = Peer::honest(2);
    let alice = tempfile::tempdir().unwrap();
    let content = bytes(5, 24 * MIB);
    let hash = bob.share("file.bin", &content);
    carol.share("file.bin", &content);
    let finished = fetch(request(hash, alice.path(), &[&bob, &carol])).await.unwrap();
    assert!(std::fs::read(&finished.path).unwrap() == content);
    assert_eq!(finished.fetched_bytes, content.len() as u64, "no verified byte was fetched twice");
}
