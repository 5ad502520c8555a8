//! Sources that lie, fall silent, or lose what they share.

use std::{fs::File, time::Duration};

use nearmesh::transfer::{Blamed, Fault, fetch::FetchError};
use nearmesh_common::wire::stream::Unavailable;

use super::peers::{MIB, Manner, Peer, bytes, fetch, names, request};

/// A file from one source of that manner and an honest one: who was blamed for what, and how much the honest one sent.
async fn with_help(manner: Manner, size: usize) -> (Vec<Fault>, u64) {
    let mallory = Peer::new(1, manner);
    let bob = Peer::honest(2);
    let alice = tempfile::tempdir().unwrap();
    let content = bytes(1, size);
    let hash = mallory.share("file.bin", &content);
    bob.share("file.bin", &content);
    let mut request = request(hash, alice.path(), &[&mallory, &bob]);
    request.stall = Duration::from_millis(500);
    let finished = fetch(request).await.unwrap();
    assert!(std::fs::read(&finished.path).unwrap() == content, "{manner:?}");
    assert!(finished.blamed.iter().all(|blamed| blamed.node == mallory.node), "bob is blameless");
    assert_eq!(finished.fetched_bytes, size as u64);
    (finished.blamed.into_iter().map(|blamed| blamed.fault).collect(), bob.sent())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_named_and_what_it_sent_truthfully_is_kept() {
    let size = 24 * MIB;
    let (faults, honest) = with_help(Manner::WrongAt(20 * MIB as u64), size).await;
    assert_eq!(faults, [Fault::WrongBytes]);
    assert!(honest < size as u64, "the true part of the liar's bytes counts");
    let (faults, _) = with_help(Manner::WrongAt(5), 100).await;
    assert_eq!(faults, [Fault::WrongBytes]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_never_written() {
    let mallory = Peer::new(1, Manner::WrongAt(3 * MIB as u64 + 12_345));
    let alice = tempfile::tempdir().unwrap();
    let content = bytes(1, 8 * MIB);
    let hash = mallory.share("file.bin", &content);
    let outcome = fetch(request(hash, alice.path(), &[&mallory])).await;
    let Err(FetchError::NoSource { blamed }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(blamed, [Blamed { node: mallory.node, fault: Fault::WrongBytes }]);
    let part = alice.path().join(&names(alice.path())[0]);
    let written = std::fs::read(part).unwrap();
    for (group, truth) in written.chunks(16384).zip(content.chunks(16384)) {
        assert!(group == truth || group.iter().all(|byte| *byte == 0), "verified, or never written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_breaks_the_protocol_is_left_for_the_next() {
    let size = 3 * MIB + 1;
    let cases = [
        (Manner::Noise, Fault::Garbage),
        (Manner::NoiseAfterReply, Fault::WrongBytes),
        (Manner::EndsAfter(0), Fault::Truncated),
        (Manner::EndsAfter(700), Fault::Truncated),
        (Manner::EndsAfter(300_000), Fault::Truncated),
        (Manner::Silent, Fault::Stalled),
        (Manner::ClaimsSize(0), Fault::WrongSize),
        (Manner::ClaimsSize(u64::MAX), Fault::WrongSize),
        (Manner::ClaimsSize(size as u64 - 1), Fault::WrongBytes),
        (Manner::ClaimsSize(size as u64 + 1), Fault::WrongBytes),
        (Manner::ClaimsSize(size as u64 / 2), Fault::WrongBytes),
        (Manner::ClaimsSize(1 << 40), Fault::WrongBytes),
    ];
    for (manner, fault) in cases {
        let (faults, _) = with_help(manner, size).await;
        let truncated_by_shape = matches!(manner, Manner::ClaimsSize(_)) && faults == [Fault::Truncated];
        assert!(faults == [fault] || truncated_by_shape, "{manner:?}: {faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_only_a_part_gives_that_part() {
    let (size, half) = (24 * MIB, 12 * MIB);
    let (faults, honest) = with_help(Manner::HasOnly(half as u64, size as u64), size).await;
    assert_eq!((faults, honest), (vec![], half as u64), "bob sends the rest and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_with_a_part_each_make_a_whole() {
    let (size, half) = (24 * MIB as u64, 12 * MIB as u64);
    let first = Peer::new(1, Manner::HasOnly(0, half));
    let second = Peer::new(2, Manner::HasOnly(half, size));
    let alice = tempfile::tempdir().unwrap();
    let content = bytes(1, size as usize);
    let hash = first.share("file.bin", &content);
    second.share("file.bin", &content);
    let finished = fetch(request(hash, alice.path(), &[&first, &second])).await.unwrap();
    assert!(std::fs::read(&finished.path).unwrap() == content);
    let alone = fetch(request(hash, &alice.path().join("alone"), &[&first])).await;
    let Err(FetchError::NoSource { blamed }) = alone else { panic!("{alone:?}") };
    assert_eq!(blamed, [Blamed { node: first.node, fault: Fault::Incomplete }]);
    assert!(names(&alice.path().join("alone")).is_empty(), "nothing of use was left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_source_is_asked_again() {
    let (faults, honest) = with_help(Manner::BusyFor(1), MIB).await;
    assert_eq!((faults, honest), (vec![], MIB as u64), "bob was free meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_on_disk_is_noticed_while_it_is_served_and_never_sent() {
    let bob = Peer::honest(1);
    let alice = tempfile::tempdir().unwrap();
    let hash = bob.share("file.bin", &bytes(1, 8 * MIB));
    let path = bob.path("file.bin");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"changed", 5 * MIB as u64).unwrap();
    // As if it changed after it was opened: size and time still agree.
    file.set_modified(modified).unwrap();
    let outcome = fetch(request(hash, alice.path(), &[&bob])).await;
    let Err(FetchError::NoSource { blamed }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(blamed, [Blamed { node: bob.node, fault: Fault::Changed }]);
    assert!(bob.store.changed.lock().unwrap().contains(&hash), "bob will hash it again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_cut_or_deleted_is_refused_with_the_reason() {
    let cases: [(&str, Unavailable); 3] = [
        ("changed", Unavailable::Changed),
        ("cut", Unavailable::Changed),
        ("deleted", Unavailable::NotShared),
    ];
    for (what, reason) in cases {
        let bob = Peer::honest(1);
        let alice = tempfile::tempdir().unwrap();
        let hash = bob.share("file.bin", &bytes(1, MIB));
        let path = bob.path("file.bin");
        match what {
            "changed" => std::fs::write(&path, bytes(2, MIB + 1)).unwrap(),
            "cut" => File::options().write(true).open(&path).unwrap().set_len(1000).unwrap(),
            _ => std::fs::remove_file(&path).unwrap(),
        }
        let outcome = fetch(request(hash, alice.path(), &[&bob])).await;
        let Err(error @ FetchError::NoSource { .. }) = outcome else { panic!("{outcome:?}") };
        let FetchError::NoSource { blamed } = &error else { unreachable!() };
        assert_eq!(blamed[0].fault, Fault::Unavailable(reason), "{what}");
        assert!(error.to_string().contains("this file"), "{error}");
        assert!(bob.store.changed.lock().unwrap().contains(&hash), "{what}");
    }
}
