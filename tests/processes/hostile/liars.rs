//! A source that does not send what it promised.

use std::process::Stdio;

use nearmesh_common::{
    ContentHash,
    frame::frame,
    wire::{
        LinkMessage,
        file::{Change, FileEntry, FileNumber, JournalMark, Kind},
        home::{ToChild, ToHome},
        stream::{ByteRange, RangesReply, RangesRequest},
    },
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tests::{process::eventually, rogue::Link};

use super::Scene;

const SIZE: u64 = 300_000;

type Lie = fn(&RangesRequest) -> Vec<u8>;

/// What mallory answers, and what that is called.
const LIES: [(&str, Lie); 8] = [
    ("it sent wrong bytes", |request| with_noise(request, SIZE, SIZE as usize)),
    ("it ended in the middle", |request| with_noise(request, SIZE, 10)),
    ("it claims a wrong size", |_| content(0)),
    ("it claims a wrong size", |_| content(1 << 60)),
    ("it claims a wrong size", |_| content(u64::MAX)),
    ("it sent wrong bytes", |request| with_noise(request, 16 << 40, SIZE as usize)),
    ("it does not keep to the protocol", |_| vec![0xff; 5000]),
    ("it does not keep to the protocol", |_| {
        frame(&RangesReply::Content { size: SIZE, available: backwards() })
    }),
];

#[test]
fn a_liar_alone_is_named_and_nothing_of_it_is_kept() {
    let scene = Scene::new();
    let contents: Vec<Vec<u8>> = (0..LIES.len()).map(noise).collect();
    let hashes: Vec<ContentHash> = contents.iter().map(|content| hash_of(content)).collect();
    let (_link, liar) = lie_about(&scene, &hashes, "Zzpromise");
    for ((said, _), hash) in LIES.iter().zip(&hashes) {
        let folder = scene.bob.home.join(hash.short());
        let output = folder.to_str().unwrap();
        let mut get = scene.bob.command(&["get", &hash.to_string(), "--output", output]);
        let mut get = get.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (id, _) = eventually(&format!("{said}: the liar is named"), || {
            let all = scene.bob.json(&["downloads"]);
            let ours =
                all.as_array().unwrap().iter().find(|download| download["hash"] == hash.to_string())?;
            let named =
                ours["error"].as_str().is_some_and(|error| error.contains(said) && error.contains(&liar));
            (named && ours["received"] == 0).then(|| ours["id"].to_string())
        });
        scene.bob.ok(&["downloads", "--cancel", id.trim_matches('"')]);
        assert_eq!(get.wait().unwrap().code(), Some(1), "get says that it failed");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{said}: nothing is left");
    }
    scene.honest_people_go_on();
}

#[test]
fn beside_a_liar_an_honest_source_is_enough() {
    let scene = Scene::new();
    let carol = scene.lab.member(&scene.alice, "carol", &[]);
    let contents: Vec<Vec<u8>> = (0..LIES.len()).map(noise).collect();
    let hashes: Vec<ContentHash> = contents.iter().map(|content| hash_of(content)).collect();
    let (_link, _) = lie_about(&scene, &hashes, "Zzpromise");
    for (number, content) in contents.iter().enumerate() {
        carol.write(&format!("true/Zzpromise {number}.bin"), content);
    }
    carol.ok(&["share", "add", carol.home.join("true").to_str().unwrap()]);
    eventually("both are sources of all", || {
        let results = scene.bob.json_lines(&["search", "zzpromise"]);
        let both = results.iter().filter(|result| result["sources"].as_array().unwrap().len() == 2);
        (both.count() == LIES.len()).then_some(())
    });
    for (content, hash) in contents.iter().zip(&hashes) {
        let folder = scene.bob.home.join(hash.short());
        scene.bob.ok(&["get", &hash.to_string(), "--output", folder.to_str().unwrap()]);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert!(std::fs::read(&files[0]).unwrap() == *content, "the true bytes");
    }
    scene.bob.log_line("source left");
    scene.honest_people_go_on();
}

/// Has mallory promise these contents and lie about each in its own way. Gives mallory's id as people see it.
fn lie_about(scene: &Scene, hashes: &[ContentHash], name: &str) -> (Link, String) {
    let mallory = &scene.mallory;
    let known = hashes.to_vec();
    mallory.serve(move |request| {
        let which = known.iter().position(|hash| *hash == request.hash).expect("asked for what was promised");
        LIES[which].1(&request)
    });
    let entry = |(number, hash): (usize, &ContentHash)| FileEntry {
        number: FileNumber(u32::try_from(number).unwrap()),
        name: format!("{name} {number}.bin").into(),
        size: SIZE,
        hash: *hash,
        kind: Kind::Other,
        tags: None,
    };
    let changes: Vec<Change> = hashes.iter().enumerate().map(entry).map(Change::Add).collect();
    let link = mallory.run(async {
        let mut link = mallory.attached(&scene.alice).await;
        let upto = changes.len() as u64;
        let after = JournalMark { epoch: 1, revision: 0 };
        link.say(&LinkMessage::ToHome(ToHome::Publish { after, upto, changes })).await;
        link.hear(|message| matches!(message, LinkMessage::ToChild(ToChild::Published(_))).then_some(()))
            .await;
        link
    });
    (link, mallory.id().short().to_string())
}

fn content(size: u64) -> Vec<u8> {
    let all = Some(ByteRange { start: 0, end: size }).filter(|_| size > 0);
    frame(&RangesReply::Content { size, available: all.into_iter().collect() })
}

fn with_noise(request: &RangesRequest, size: u64, bytes: usize) -> Vec<u8> {
    let mut answer = content(size);
    if !request.ranges.is_empty() {
        answer.extend(std::iter::repeat_n(7, bytes));
    }
    answer
}

fn backwards() -> Vec<ByteRange> {
    vec![ByteRange { start: 16_384, end: 32_768 }, ByteRange { start: 0, end: 16_384 }]
}

fn noise(seed: usize) -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    ChaCha8Rng::seed_from_u64(seed as u64).fill_bytes(&mut bytes);
    bytes
}

fn hash_of(content: &[u8]) -> ContentHash {
    ContentHash(*blake3::hash(content).as_bytes())
}
