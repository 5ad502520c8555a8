//! Files that nobody asked for.

use nearmesh_common::{
    ContentHash,
    frame::{MAX_OPEN_FRAME, frame, read_frame},
    wire::{
        Open,
        stream::{ByteRange, Offer, OfferDecline, OfferReply, RangesReply},
    },
};
use quinn::{Connection, RecvStream};

use super::Scene;

const GIFT: &[u8] = b"a present";

#[test]
fn a_gift_with_a_hostile_name_stays_in_the_inbox() {
    let scene = Scene::new();
    let names = [
        "../../../../tmp/evil",
        "/etc/passwd",
        "..",
        "",
        ".hidden",
        "a\nb\u{1b}[2J",
        "x/../../y",
        "n\u{202e}txt.exe",
    ];
    scene.mallory.run(async {
        let connection = scene.mallory.connect(&scene.alice).await;
        let size = GIFT.len() as u64;
        let reply = frame(&RangesReply::Content { size, available: vec![ByteRange { start: 0, end: size }] });
        scene.mallory.serve_on(&connection, move |_| [reply.as_slice(), GIFT].concat());
        for name in names {
            let mut replies = offer(&connection, name, size, GIFT).await;
            match last(&mut replies).await {
                OfferReply::Stored { name: stored } => {
                    assert!(
                        scene.alice.profile.join("inbox").join(&*stored).is_file(),
                        "{name:?} as {stored:?}"
                    );
                }
                other => panic!("{name:?}: {other:?}"),
            }
        }
    });
    let inbox = std::fs::read_dir(scene.alice.profile.join("inbox")).unwrap();
    let stored: Vec<_> = inbox.map(|entry| entry.unwrap()).collect();
    assert_eq!(stored.len(), names.len(), "{stored:?}");
    for entry in stored {
        assert_eq!(std::fs::read(entry.path()).unwrap(), GIFT);
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.starts_with('.') && !name.contains(char::is_control), "{name:?}");
    }
    scene.honest_people_go_on();
}

#[test]
fn a_gift_of_an_exabyte_is_declined_and_leaves_nothing() {
    let scene = Scene::new();
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        for claimed in [1u64 << 60, u64::MAX, 16 << 40, 0] {
            let connection = scene.mallory.connect(&scene.alice).await;
            let available = vec![ByteRange { start: 0, end: claimed }];
            let reply = frame(&RangesReply::Content { size: claimed, available });
            scene.mallory.serve_on(&connection, move |_| [reply.as_slice(), &[7; 100_000]].concat());
            let mut replies = offer(&connection, "exabyte", claimed, GIFT).await;
            assert_eq!(last(&mut replies).await, OfferReply::Declined(OfferDecline::Failed), "{claimed}");
        }
    });
    let left = std::fs::read_dir(scene.alice.profile.join("inbox")).unwrap();
    let left: u64 = left.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(left < 4096, "{left} bytes are left");
    scene.alice_has_not_grown(before, 64);
    scene.honest_people_go_on();
}

#[test]
fn two_hundred_gifts_at_once_leave_room_for_an_honest_one() {
    let scene = Scene::new();
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        let (mut offered, mut declined) = (Vec::new(), 0);
        for _ in 0..4 {
            let connection = scene.mallory.connect(&scene.alice).await;
            for number in 0..50u32 {
                let replies = offer(&connection, "many", 1 << 30, &number.to_le_bytes()).await;
                offered.push(replies);
            }
            std::mem::forget(connection);
        }
        for replies in &mut offered {
            // Those that are received say so at once; mallory then sends nothing.
            let reply: OfferReply = read_frame(replies, MAX_OPEN_FRAME).await.expect("an answer to each");
            declined += usize::from(reply == OfferReply::Declined(OfferDecline::TooMany));
        }
        assert_eq!(declined, 200 - 4);
        let letter = scene.bob.write("letter.txt", b"Dear Alice,\n");
        scene.bob.ok(&["send", letter.to_str().unwrap(), "alice@lab"]);
    });
    assert_eq!(std::fs::read(scene.alice.profile.join("inbox/letter.txt")).unwrap(), b"Dear Alice,\n");
    scene.alice_has_not_grown(before, 64);
    scene.honest_people_go_on();
}

async fn offer(connection: &Connection, name: &str, size: u64, content: &[u8]) -> RecvStream {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    let hash = ContentHash(*blake3::hash(content).as_bytes());
    let open = Open::Offer(Offer { name: name.into(), size, hash });
    send.write_all(&frame(&open)).await.unwrap();
    receive
}

/// How an offer ended.
async fn last(replies: &mut RecvStream) -> OfferReply {
    loop {
        match read_frame(replies, MAX_OPEN_FRAME).await.expect("a last word") {
            OfferReply::Receiving { .. } => {}
            ended => return ended,
        }
    }
}
