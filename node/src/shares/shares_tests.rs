//! Alice shares folders; what a home and a downloader would notice.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::{ffi::OsStrExt, fs::symlink},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use nearmesh_common::wire::file::{Change, FileEntry, FileNumber, Kind};
use tempfile::TempDir;

use super::*;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const VICTIM: &str = "NEARMESH_TEST_VICTIM";

struct Alice {
    shares: Shares,
    events: broadcast::Receiver<ShareEvent>,
    profile: TempDir,
}

impl Alice {
    fn starts() -> Self {
        Self::starts_on(tempfile::tempdir().unwrap())
    }

    fn starts_on(profile: TempDir) -> Self {
        let (sender, events) = broadcast::channel(1024);
        Self { shares: Shares::open(profile.path(), sender).unwrap(), events, profile }
    }

    fn restarts(self) -> Self {
        let Self { shares, profile, .. } = self;
        drop(shares);
        Self::starts_on(profile)
    }

    async fn shares(&self, path: &Path) -> Summary {
        let scan = self.shares.add(path).unwrap();
        tokio::time::timeout(PATIENCE, scan.finished()).await.unwrap().expect("the scan ends")
    }

    /// Waits for the scan of a folder to end, as the events tell.
    async fn scanned(&mut self, root: &Path) -> Summary {
        let root = root.canonicalize().unwrap();
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("a scan ends");
            match event.unwrap() {
                ShareEvent::Done(summary) if summary.root == root => return summary,
                _ => {}
            }
        }
    }

    /// Waits until a home that asks would know exactly these names.
    async fn is_known_for(&self, names: &[&str]) -> Vec<FileEntry> {
        let mut mark = self.shares.watch_mark();
        loop {
            let mut home = Home::default();
            home.asks(&self.shares);
            let mut entries: Vec<FileEntry> = home.files.into_values().collect();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            if entries.iter().map(|entry| &*entry.name).eq(names.iter().copied()) {
                return entries;
            }
            let known: Vec<_> = entries.iter().map(|entry| entry.name.clone()).collect();
            let moved = tokio::time::timeout(PATIENCE, mark.changed()).await;
            moved.unwrap_or_else(|_| panic!("known for {known:?}, not for {names:?}")).unwrap();
        }
    }
}

#[derive(Default)]
struct Home {
    mark: JournalMark,
    files: BTreeMap<FileNumber, FileEntry>,
    heard: usize,
}

impl Home {
    fn asks(&mut self, shares: &Shares) {
        loop {
            let batch = shares.changes_after(self.mark, 3).unwrap();
            if batch.after != self.mark {
                self.files.clear();
            }
            self.heard += batch.changes.len();
            for change in batch.changes {
                match change {
                    Change::Add(entry) => self.files.insert(entry.number, entry),
                    Change::Remove(number) => self.files.remove(&number),
                };
            }
            let reached = JournalMark { epoch: batch.after.epoch, revision: batch.upto };
            if std::mem::replace(&mut self.mark, reached) == reached {
                return;
            }
        }
    }
}

fn folder_with(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash(blake3::hash(bytes).into())
}

#[tokio::test]
async fn a_watched_folder_follows_what_the_user_does() {
    let folder = folder_with(&[("song.mp3", b"la"), ("sub/poem.txt", b"o"), ("draft.txt", b"one")]);
    let at = |name: &str| folder.path().join(name);
    let alice = Alice::starts();
    let summary = alice.shares(folder.path()).await;
    assert_eq!((summary.files, summary.bytes, summary.problems), (3, 6, 0));
    assert_eq!(alice.shares.list().unwrap()[0].state, RootState::Watched);

    let before = alice.is_known_for(&["draft.txt", "poem.txt", "song.mp3"]).await;
    fs::rename(at("song.mp3"), at("sub/hymn.mp3")).unwrap();
    let renamed = alice.is_known_for(&["draft.txt", "hymn.mp3", "poem.txt"]).await;
    assert_eq!(renamed[1].hash, before[2].hash);
    assert_eq!(alice.shares.hashed_bytes(), 6, "a renamed file is not hashed again");

    fs::remove_file(at("sub/poem.txt")).unwrap();
    alice.is_known_for(&["draft.txt", "hymn.mp3"]).await;

    // Edited in place, and replaced by another file: the name stays, so wait for the hash.
    let mut mark = alice.shares.watch_mark();
    fs::write(at("draft.txt"), b"two words").unwrap();
    fs::write(at(".new"), b"other song").unwrap();
    fs::rename(at(".new"), at("sub/hymn.mp3")).unwrap();
    loop {
        let entries = alice.is_known_for(&["draft.txt", "hymn.mp3"]).await;
        if [entries[0].hash, entries[1].hash] == [hash_of(b"two words"), hash_of(b"other song")] {
            assert_eq!(entries[0].number, before[0].number, "an edited file keeps its number");
            break;
        }
        tokio::time::timeout(PATIENCE, mark.changed()).await.unwrap().unwrap();
    }

    // A folder that appears with files in it, and one that goes.
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/b/deep.txt"), b"deep").unwrap();
    alice.is_known_for(&["deep.txt", "draft.txt", "hymn.mp3"]).await;
    fs::remove_dir_all(at("sub")).unwrap();
    alice.is_known_for(&["deep.txt", "draft.txt"]).await;
    assert_eq!(alice.shares.totals(), Totals { files: 2, bytes: 13 });
}

#[tokio::test]
async fn a_single_shared_file_is_followed_when_an_editor_replaces_it() {
    let folder = folder_with(&[("shared.txt", b"one"), ("private.txt", b"secret")]);
    let alice = Alice::starts();
    alice.shares(&folder.path().join("shared.txt")).await;
    fs::write(folder.path().join("swap"), b"second").unwrap();
    let mut mark = alice.shares.watch_mark();
    fs::rename(folder.path().join("swap"), folder.path().join("shared.txt")).unwrap();
    tokio::time::timeout(PATIENCE, mark.changed()).await.unwrap().unwrap();
    let entries = alice.is_known_for(&["shared.txt"]).await;
    assert_eq!(entries[0].hash, hash_of(b"second"));
}

#[tokio::test]
async fn a_restart_hashes_nothing_again_and_finds_what_changed_meanwhile() {
    let folder = folder_with(&[("a.txt", b"aaa"), ("b.txt", b"bb"), ("c/d.txt", b"d")]);
    let mut alice = Alice::starts();
    alice.shares(folder.path()).await;
    assert_eq!(alice.shares.hashed_bytes(), 6);
    let mark = alice.shares.mark();

    alice = alice.restarts();
    assert_eq!(alice.scanned(folder.path()).await.files, 3);
    assert_eq!((alice.shares.hashed_bytes(), alice.shares.mark()), (0, mark));

    let Alice { shares, profile, .. } = alice;
    drop(shares);
    fs::write(folder.path().join("b.txt"), b"bbbb").unwrap();
    fs::remove_file(folder.path().join("a.txt")).unwrap();
    let mut alice = Alice::starts_on(profile);
    alice.scanned(folder.path()).await;
    assert_eq!(alice.shares.hashed_bytes(), 4);
    alice.is_known_for(&["b.txt", "d.txt"]).await;
}

#[tokio::test]
async fn a_home_resumes_the_journal_after_a_restart() {
    let folder = folder_with(&[("a.txt", b"aaa"), ("b.txt", b"bb"), ("c.txt", b"c")]);
    let mut alice = Alice::starts();
    alice.shares(folder.path()).await;
    let mut home = Home::default();
    home.asks(&alice.shares);
    assert_eq!(home.heard, 3);

    let Alice { shares, profile, .. } = alice;
    drop(shares);
    fs::remove_file(folder.path().join("a.txt")).unwrap();
    fs::write(folder.path().join("d.txt"), b"dddd").unwrap();
    alice = Alice::starts_on(profile);
    alice.scanned(folder.path()).await;
    home.asks(&alice.shares);
    let names: Vec<&str> = home.files.values().map(|entry| &*entry.name).collect();
    assert_eq!((names, home.heard), (vec!["b.txt", "c.txt", "d.txt"], 5));
}

#[test]
#[ignore = "the other half of a_scan_that_is_killed_goes_on_where_it_was, which runs it"]
fn victim() {
    let folder = std::env::var_os(VICTIM).expect("run by the other half");
    let profile = Path::new(&folder).join("profile");
    let shares = Shares::open(&profile, broadcast::channel(16).0).unwrap();
    shares.add(&Path::new(&folder).join("shared")).unwrap();
    while shares.totals().files < 700 {
        thread::yield_now();
    }
    println!("\nVICTIM: committed");
    thread::park();
}

#[tokio::test]
async fn a_scan_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir_all(shared.join("later")).unwrap();
    let profile = tempfile::Builder::new().prefix("profile").rand_bytes(0).tempdir_in(folder.path()).unwrap();
    for i in 0..700 {
        fs::write(shared.join(format!("{i}.txt")), format!("file number {i}")).unwrap();
    }
    // Keeps the victim busy until it is killed: many seconds of hashing. Nothing is stored of a sparse file.
    let large = File::create(shared.join("later/large")).unwrap();
    large.set_len(64 << 30).unwrap();

    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "shares::tests::victim", "--ignored", "--nocapture"])
        .env(VICTIM, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "VICTIM: committed"), "the victim died by itself");
    victim.kill().unwrap();
    victim.wait().unwrap();

    large.set_len(1000).unwrap();
    let mut alice = Alice::starts_on(profile);
    let summary = alice.scanned(&shared).await;
    assert_eq!((summary.files, summary.problems), (701, 0));
    assert_eq!(alice.shares.hashed_bytes(), 1000, "only what the victim had not committed");
}

#[tokio::test]
async fn any_name_that_a_disk_allows_is_shared() {
    let long = "x".repeat(255);
    let folder = folder_with(&[("two\nlines", b"1"), (&long, b"2")]);
    // A file system may refuse what is not UTF-8 (macOS does); Linux takes it.
    let strange = OsStr::from_bytes(b"\xff\xfe caf\xe9 \xff");
    fs::write(folder.path().join(strange), b"3").unwrap();
    let worst = [0xff; 255];
    fs::write(folder.path().join(OsStr::from_bytes(&worst)), b"4").unwrap();
    let mut alice = Alice::starts();
    alice.shares(folder.path()).await;
    let replaced = "\u{fffd}".repeat(255);
    let names = ["two\nlines", long.as_str(), "\u{fffd}\u{fffd} caf\u{fffd} \u{fffd}", replaced.as_str()];
    let entries = alice.is_known_for(&names).await;
    assert_eq!(entries[3].name.len(), nearmesh_common::wire::file::MAX_NAME_BYTES);
    let found = alice.shares.locate(&entries[2].hash).unwrap();
    assert_eq!(found.path.file_name(), Some(strange));

    alice = alice.restarts();
    alice.scanned(folder.path()).await;
    assert_eq!(alice.shares.hashed_bytes(), 0);
}

#[tokio::test]
async fn audio_is_known_by_its_tags_and_a_broken_file_is_shared_without() {
    let song = tags::tests::tiny_mp3("Fractal Dreams", "Julia", "Sets");
    let folder = folder_with(&[("01.mp3", &song), ("02.mp3", &song[..25]), ("03.txt", &song)]);
    let alice = Alice::starts();
    assert_eq!(alice.shares(folder.path()).await.problems, 0);
    let entries = alice.is_known_for(&["01.mp3", "02.mp3", "03.txt"]).await;
    let tags = entries[0].tags.as_ref().unwrap();
    assert_eq!((&*tags.title, &*tags.artist, &*tags.album), ("Fractal Dreams", "Julia", "Sets"));
    assert_eq!((entries[1].kind, &entries[1].tags), (Kind::Audio, &None));
    assert_eq!((entries[2].kind, &entries[2].tags), (Kind::Document, &None));
}

#[tokio::test]
async fn the_keys_of_a_profile_are_never_shared() {
    let home = folder_with(&[
        ("music/song.mp3", b"la"),
        ("profile/identity.key", b"alice's private key"),
        ("profile/inbox/letter", b"private"),
        // Another node of hers, that is not running.
        ("second/shares.redb", b""),
        ("second/identity.key", b"alice's other key"),
    ]);
    let at = |name: &str| home.path().join(name);
    let (sender, _events) = broadcast::channel(16);
    let shares = Shares::open(&at("profile"), sender).unwrap();
    for private in ["profile", "profile/identity.key", "profile/inbox", "second", "second/identity.key"] {
        assert!(matches!(shares.add(&at(private)), Err(AddError::Profile(_))), "{private}");
    }
    symlink(at("profile"), at("link")).unwrap();
    assert!(matches!(shares.add(&at("link")), Err(AddError::Profile(_))));

    let summary = shares.add(home.path()).unwrap().finished().await.unwrap();
    assert_eq!(summary.files, 1);
    // Nor when the watcher sees it change.
    let mut mark = shares.watch_mark();
    fs::write(at("profile/identity.key"), b"a new private key").unwrap();
    fs::write(at("second/identity.key"), b"another private key").unwrap();
    fs::write(at("music/other.mp3"), b"la la").unwrap();
    tokio::time::timeout(PATIENCE, mark.changed()).await.unwrap().unwrap();
    let mut bobs_home = Home::default();
    bobs_home.asks(&shares);
    let names: Vec<&str> = bobs_home.files.values().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["song.mp3", "other.mp3"]);
    assert_eq!(shares.locate(&hash_of(b"alice's private key")), None);
}

#[tokio::test]
async fn links_hidden_files_and_half_fetched_files_are_not_shared() {
    let outside = folder_with(&[("secret.txt", b"secret"), ("dir/deep.txt", b"deep")]);
    let folder = folder_with(&[
        ("shown.txt", b"shown"),
        (".hidden", b"hidden"),
        (".git/config", b"hidden"),
        (".song.mp3.nearmesh-part", b"half"),
    ]);
    symlink(outside.path().join("secret.txt"), folder.path().join("link.txt")).unwrap();
    symlink(outside.path(), folder.path().join("linked")).unwrap();
    symlink(folder.path(), folder.path().join("loop")).unwrap();
    let alice = Alice::starts();
    assert_eq!(alice.shares(folder.path()).await.files, 1);
    alice.is_known_for(&["shown.txt"]).await;
}

#[tokio::test]
async fn a_folder_that_becomes_a_link_is_not_shared_any_more() {
    let outside = tempfile::tempdir().unwrap();
    let folder = folder_with(&[("dir/song.mp3", b"la"), ("stays.txt", b"stays")]);
    let alice = Alice::starts();
    alice.shares(folder.path()).await;
    fs::rename(folder.path().join("dir"), outside.path().join("dir")).unwrap();
    symlink(outside.path().join("dir"), folder.path().join("dir")).unwrap();
    assert_eq!(alice.shares.locate(&hash_of(b"la")), None, "not even before it is noticed");
    alice.is_known_for(&["stays.txt"]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_cannot_be_hashed_is_reported_and_the_others_are_shared() {
    // The kernel says that this file has 4096 bytes and then gives fewer.
    let liar = Path::new("/sys/kernel/mm/transparent_hugepage/enabled");
    if !liar.exists() {
        eprintln!("SKIPPED: this kernel has no {}", liar.display());
        return;
    }
    let folder = folder_with(&[("fine.txt", b"fine")]);
    let mut alice = Alice::starts();
    let summary = alice.shares(liar).await;
    assert_eq!((summary.files, summary.problems), (0, 1));
    assert_eq!(alice.shares(folder.path()).await.files, 1);
    loop {
        if let ShareEvent::Problem { path, .. } = alice.events.recv().await.unwrap() {
            assert_eq!(path, liar);
            break;
        }
    }
}

#[tokio::test]
async fn a_file_whose_outboard_cannot_be_kept_is_reported_and_the_others_are_shared() {
    let folder = folder_with(&[("large", &[7; 50_000]), ("small", b"needs none")]);
    let mut alice = Alice::starts();
    fs::remove_dir(alice.profile.path().join("outboards")).unwrap();
    let summary = alice.shares(folder.path()).await;
    assert_eq!((summary.files, summary.problems), (1, 1));
    loop {
        if let ShareEvent::Problem { path, why } = alice.events.recv().await.unwrap() {
            assert_eq!(path.file_name(), Some(OsStr::new("large")));
            assert!(why.starts_with("failed to keep its hash tree"), "{why}");
            break;
        }
    }
}

#[tokio::test]
async fn removing_a_share_deletes_the_outboards_that_nothing_else_uses() {
    let (common, own) = (vec![1; 50_000], vec![2; 50_000]);
    let first = folder_with(&[("common", &common), ("own", &own)]);
    let second = folder_with(&[("copy", &common)]);
    let alice = Alice::starts();
    alice.shares(first.path()).await;
    alice.shares(second.path()).await;
    let outboard = |bytes: &[u8]| alice.profile.path().join("outboards").join(hash_of(bytes).to_string());
    assert!(outboard(&common).exists() && outboard(&own).exists());
    alice.shares.remove(first.path()).unwrap();
    assert!(outboard(&common).exists() && !outboard(&own).exists());
    assert_eq!(alice.shares.totals(), Totals { files: 1, bytes: 50_000 });
    alice.is_known_for(&["copy"]).await;
    assert!(matches!(alice.shares.remove(first.path()), Err(RemoveError::NotShared(_))));

    let gone = second.path().to_owned();
    drop(second);
    alice.shares.remove(&gone).expect("a folder that is gone can be removed");
    assert!(!outboard(&common).exists());
}

#[tokio::test]
async fn a_folder_within_a_shared_one_is_refused_and_one_around_it_takes_it_in() {
    let folder =
        folder_with(&[("a/song.mp3", b"la"), ("a/b/poem.txt", b"oh"), ("c.txt", b"see"), (".x/y", b"y")]);
    let at = |name: &str| folder.path().join(name);
    let alice = Alice::starts();
    alice.shares(&at("a")).await;
    for path in ["a", "a/b", "a/../a/song.mp3"] {
        assert!(matches!(alice.shares.add(&at(path)), Err(AddError::Already { .. })), "{path}");
    }
    assert!(matches!(alice.shares.add(&at("nothing")), Err(AddError::Unreadable { .. })));
    assert!(matches!(alice.shares.add(Path::new("/dev/null")), Err(AddError::NoFile(_))));

    alice.shares(&at(".x")).await;
    assert!(matches!(alice.shares.add(folder.path()), Err(AddError::Hides { .. })));
    alice.shares.remove(&at(".x")).unwrap();

    let hashed = alice.shares.hashed_bytes();
    let numbers = alice.is_known_for(&["poem.txt", "song.mp3"]).await;
    assert_eq!(alice.shares(folder.path()).await.files, 3);
    assert_eq!(alice.shares.hashed_bytes(), hashed + 3, "what was shared is not hashed again");
    assert_eq!(alice.is_known_for(&["c.txt", "poem.txt", "song.mp3"]).await[1..], numbers);
    let roots = alice.shares.list().unwrap();
    assert_eq!(roots.len(), 1);
    assert_eq!((roots[0].files, roots[0].bytes), (3, 7));

    // The watch moved with it.
    fs::remove_file(at("a/b/poem.txt")).unwrap();
    alice.is_known_for(&["c.txt", "song.mp3"]).await;
}

#[tokio::test]
async fn a_file_that_changed_is_not_served_but_its_copy_is() {
    let folder = folder_with(&[("one.txt", b"same"), ("two.txt", b"same")]);
    let alice = Alice::starts();
    alice.shares(folder.path()).await;
    let hash = hash_of(b"same");
    for name in ["one.txt", "two.txt"] {
        let found = alice.shares.locate(&hash).expect("one of them is unchanged");
        assert_eq!((found.size, fs::read(&found.path).unwrap()), (4, b"same".to_vec()));
        assert_eq!(found.modified, found.path.metadata().unwrap().modified().unwrap());
        fs::write(folder.path().join(name), b"changed").unwrap();
    }
    assert_eq!(alice.shares.locate(&hash), None);
    let mut mark = alice.shares.watch_mark();
    while alice.shares.locate(&hash_of(b"changed")).is_none() {
        tokio::time::timeout(PATIENCE, mark.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_file_that_changed_behind_its_stamp_is_hashed_again_when_that_is_reported() {
    let folder = folder_with(&[("disk.img", b"old bytes")]);
    let path = folder.path().join("disk.img");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let alice = Alice::starts();
    alice.shares(folder.path()).await;
    // The watcher sees this, and that the stamp is the same.
    fs::write(&path, b"new bytes").unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let mut mark = alice.shares.watch_mark();
    assert!(alice.shares.locate(&hash_of(b"old bytes")).is_some(), "the stamp is the same");
    alice.shares.report_changed(&hash_of(b"old bytes"));
    tokio::time::timeout(PATIENCE, mark.changed()).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    let found = alice.shares.locate(&hash_of(b"new bytes")).unwrap();
    File::open(found.path).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes.as_slice(), alice.shares.locate(&hash_of(b"old bytes"))), (&b"new bytes"[..], None));
}

#[tokio::test]
async fn a_folder_that_is_removed_while_it_is_hashed_stops_being_hashed() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("large")).unwrap().set_len(64 << 30).unwrap();
    let mut alice = Alice::starts();
    let scan = alice.shares.add(folder.path()).unwrap();
    let hashing = async {
        while !matches!(alice.events.recv().await.unwrap(), ShareEvent::Hashing { total, .. } if total == 64 << 30)
        {
        }
    };
    tokio::time::timeout(PATIENCE, hashing).await.unwrap();
    assert_eq!(alice.shares.list().unwrap()[0].state, RootState::Scanning);
    alice.shares.remove(folder.path()).unwrap();
    let end = tokio::time::timeout(PATIENCE, scan.finished()).await.unwrap();
    assert_eq!(end.map(|summary| summary.files), None);
    assert_eq!(alice.shares.totals(), Totals::default());
}
