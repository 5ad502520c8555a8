//! What mallory publishes, and what becomes of it on other people's screens and disks.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use nearmesh_common::{
    ContentHash,
    frame::frame,
    wire::{
        LinkMessage,
        file::{Change, FileEntry, FileNumber, JournalMark, Kind, MAX_NAME_BYTES},
        home::{ToChild, ToHome},
        stream::{ByteRange, RangesReply, RangesRequest},
    },
};
use tests::{process::eventually, rogue::Link};

use super::Scene;

/// Begins every hostile name's content, so that each has its own hash.
const BAIT: &str = "bait";
const EPOCH: u64 = 7;

#[test]
fn a_hostile_name_is_harmless_on_the_screen_and_stays_inside_the_folder() {
    let scene = Scene::new();
    let names = hostile_names();
    let contents: Vec<Vec<u8>> = (0..names.len()).map(|n| format!("{BAIT} {n}").into_bytes()).collect();
    let served = contents.clone();
    scene.mallory.serve(move |request| serve(&served, &request));
    let entries =
        names.iter().zip(&contents).enumerate().map(|(number, (name, content))| entry(number, name, content));
    let changes: Vec<Change> = entries.map(Change::Add).collect();
    let link = scene.mallory.run(async {
        let mut link = scene.mallory.attached(&scene.alice).await;
        publish(&mut link, 0, changes).await;
        link
    });

    let search = &["search", "zzbait", "--limit", "100"];
    eventually("all of them are found", || (scene.bob.json_lines(search).len() == names.len()).then_some(()));
    let shown = scene.bob.ok(search).stdout;
    assert_eq!(shown.lines().count(), names.len(), "a line each: {shown:?}");
    assert!(shown.chars().all(|c| c == '\n' || !acts_on_a_terminal(c)), "{shown:?}");
    let json = scene.bob.ok(&[&["--json"], search.as_slice()].concat()).stdout;
    assert!(json.chars().all(|c| c == '\n' || !acts_on_a_terminal(c)), "{json:?}");

    let folder = scene.bob.home.join("deep/in/a/folder");
    for content in &contents {
        let hash = blake3::hash(content).to_hex();
        let got = scene.bob.ok(&["get", hash.as_str(), "--output", folder.to_str().unwrap()]).stdout;
        assert!(got.chars().all(|c| c == '\n' || !acts_on_a_terminal(c)), "{got:?}");
    }
    assert_eq!(baits(&scene.bob.home), {
        let mut all = contents.clone();
        all.sort();
        all
    });
    let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries.len(), names.len(), "every file lies in the folder itself: {entries:?}");
    for entry in &entries {
        let name = entry.file_name().into_string().unwrap();
        assert!(entry.file_type().unwrap().is_file() && !name.starts_with('.'), "{name:?}");
        assert!(!name.chars().any(acts_on_a_terminal), "{name:?}");
    }
    let downloads = scene.bob.ok(&["downloads"]).stdout;
    assert!(downloads.chars().all(|c| c == '\n' || !acts_on_a_terminal(c)), "{downloads:?}");
    drop(link);
    scene.honest_people_go_on();
}

#[test]
fn a_journal_that_does_not_follow_on_is_not_taken() {
    let scene = Scene::new();
    scene.mallory.run(async {
        let mut link = scene.mallory.attached(&scene.alice).await;
        let held = publish(&mut link, 0, vec![Change::Add(entry(1, "zzfirst", b"1"))]).await;
        assert_eq!(held, JournalMark { epoch: EPOCH, revision: 1 });
        let second = || vec![Change::Add(entry(2, "zzsecond", b"2"))];
        for after in [5, 0, u64::MAX] {
            assert_eq!(publish(&mut link, after, second()).await, held, "after {after}");
        }
        assert_eq!(publish_upto(&mut link, (EPOCH + 1, 9), 10, second()).await, held, "another epoch");
        assert_eq!(publish_upto(&mut link, (EPOCH, 1), 0, second()).await, held, "backwards");
    });
    scene.honest_people_go_on();
}

#[test]
fn changes_without_end_cost_no_more_than_what_a_child_may_register() {
    let scene = Scene::new();
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        let mut link = scene.mallory.attached(&scene.alice).await;
        // The same file a hundred thousand times over.
        let mut revision = 0;
        for round in 0..100usize {
            let again = |n: usize| Change::Add(entry(1, &format!("zz again {round} {n}"), &[1]));
            revision = publish_at_last(&mut link, revision, (0..1000).map(again).collect()).await;
        }
        assert_eq!(revision, 100_000);
        scene.alice_has_not_grown(before, 64);
        // More files than a quarter of a million, which are taken.
        for round in 0..260usize {
            let more = |n: usize| {
                Change::Add(entry(2 + round * 1000 + n, &format!("zz{:06}", round * 1000 + n), &[2]))
            };
            revision = publish_at_last(&mut link, revision, (0..1000).map(more).collect()).await;
        }
        scene.alice_has_not_grown(before, 100);
        let found = |words: &str| scene.bob.json_lines(&["search", words]).len();
        assert_eq!(found("zz249000"), 1, "a quarter of a million are taken");
        assert_eq!(found("zz251000"), 0, "and no more");
        scene.honest_people_go_on();
    });
    scene.honest_people_go_on();
}

#[test]
fn odd_names_of_honest_people_are_shared_and_fetched() {
    let scene = Scene::new();
    let folder = scene.alice.home.join("odd");
    std::fs::create_dir(&folder).unwrap();
    let names: [&[u8]; 4] = [
        b"zzodd \xff\xfe\x80.txt",
        &[b"zzodd ".as_slice(), &[b'n'; 245], b".txt"].concat(),
        &[b"zzodd ".as_slice(), &[0xff; 245], b".txt"].concat(),
        b"zzodd new\nline \x1b[2J.txt",
    ];
    for (number, name) in names.iter().enumerate() {
        std::fs::write(folder.join(OsStr::from_bytes(name)), format!("{BAIT} {number}")).unwrap();
    }
    scene.alice.ok(&["share", "add", folder.to_str().unwrap()]);
    let (results, _) = eventually("all are found", || {
        let results = scene.bob.json_lines(&["search", "zzodd"]);
        (results.len() == names.len()).then_some(results)
    });
    let here = scene.bob.home.join("odd");
    for result in &results {
        let hash = result["hash"].as_str().unwrap();
        scene.bob.ok(&["get", hash, "--output", here.to_str().unwrap()]);
    }
    let expected: Vec<_> = (0..names.len()).map(|number| format!("{BAIT} {number}").into_bytes()).collect();
    assert_eq!(baits(&here), expected);
    let listed = scene.alice.ok(&["share", "ls"]).stdout;
    assert!(listed.chars().all(|c| c == '\n' || !acts_on_a_terminal(c)), "{listed:?}");
    scene.honest_people_go_on();
}

fn hostile_names() -> Vec<String> {
    let long = |filler: &str| {
        let mut name = "zzbait ".to_owned();
        while name.len() + filler.len() <= MAX_NAME_BYTES {
            name.push_str(filler);
        }
        name
    };
    let mut names: Vec<String> = [
        "../../../zzbait-up.txt",
        "/tmp/zzbait-absolute.txt",
        "..\\..\\zzbait-windows.txt",
        "C:\\zzbait.txt",
        "zzbait/../../../../x",
        "zzbait\nsecond line\r\n.txt",
        "zzbait\u{1b}[2J\u{1b}]0;owned\u{7}.txt",
        "zzbait\u{202e}txt.exe",
        "zzbait\u{2066}\u{200b}\u{feff}\u{e0041}.txt",
        "zzbait\0.txt",
        "zzbait\u{9b}31m\u{85}\u{2028}.txt",
        ".zzbait.nearmesh-part",
        ".zzbait",
        "-rf zzbait",
        "~/zzbait",
        "$(touch zzbait)`id`",
        "zzbait. . .",
        "  zzbait  ",
    ]
    .map(str::to_owned)
    .into();
    names.extend([
        long("n"),
        long("€"),
        long("../"),
        long("\u{1b}[1m"),
        format!("{}.txt", long("\u{10348}")),
    ]);
    names.retain(|name| name.len() <= MAX_NAME_BYTES);
    names
}

fn entry(number: usize, name: &str, content: &[u8]) -> FileEntry {
    FileEntry {
        number: FileNumber(u32::try_from(number).unwrap()),
        name: name.into(),
        size: content.len() as u64,
        hash: ContentHash(*blake3::hash(content).as_bytes()),
        kind: Kind::Document,
        tags: None,
    }
}

/// Publishes after this revision of the journal, and gives what the home then holds.
async fn publish(link: &mut Link, after: u64, changes: Vec<Change>) -> JournalMark {
    let upto = after.saturating_add(changes.len() as u64);
    publish_upto(link, (EPOCH, after), upto, changes).await
}

/// The same, again and again while there is too much at once.
async fn publish_at_last(link: &mut Link, after: u64, changes: Vec<Change>) -> u64 {
    loop {
        let held = publish(link, after, changes.clone()).await.revision;
        if held != after {
            return held;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn publish_upto(
    link: &mut Link,
    (epoch, revision): (u64, u64),
    upto: u64,
    changes: Vec<Change>,
) -> JournalMark {
    let after = JournalMark { epoch, revision };
    link.say(&LinkMessage::ToHome(ToHome::Publish { after, upto, changes })).await;
    link.hear(|message| match message {
        LinkMessage::ToChild(ToChild::Published(held)) => Some(held),
        _ => None,
    })
    .await
}

/// Content of at most one chunk group is its own proof.
fn serve(contents: &[Vec<u8>], request: &RangesRequest) -> Vec<u8> {
    let content =
        contents.iter().find(|content| blake3::hash(content).as_bytes() == &request.hash.0).unwrap();
    let size = content.len() as u64;
    let mut answer =
        frame(&RangesReply::Content { size, available: vec![ByteRange { start: 0, end: size }] });
    if !request.ranges.is_empty() {
        answer.extend_from_slice(content);
    }
    answer
}

fn acts_on_a_terminal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The contents of all baits below a folder, sorted, wherever they lie.
fn baits(folder: &Path) -> Vec<Vec<u8>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if let Ok(content) = std::fs::read(entry.path())
                && content.starts_with(BAIT.as_bytes())
            {
                found.push(content);
            }
        }
    }
    found.sort();
    found
}
