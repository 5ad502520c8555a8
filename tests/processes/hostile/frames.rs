//! Bytes that are no messages, and messages out of bounds.

use nearmesh_common::{
    ContentHash, UnixMillis,
    frame::{MAX_LINK_FRAME, MAX_OPEN_FRAME, frame},
    identity::enrol_client_config,
    wire::{
        LinkMessage, Open,
        enrol::{EnrolRefusal, EnrolReply, EnrolRequest},
        file::{Change, FileEntry, FileNumber, JournalMark, Kind, MAX_BATCH, MAX_NAME_BYTES, Tags},
        home::{MAX_CRL_BYTES, RequestId, ToChild, ToHome},
        mesh::{MAX_HOPS, MAX_STORED, MAX_SUMMARY_ENTRIES, Mesh, Part, Scope, Stored, SummaryVersion},
        query::{Filter, Hit, MAX_QUERY_BYTES, MAX_RESULTS, Query, Source, Subject},
        stream::{
            ByteRange, InviteReply, Offer, OfferDecline, OfferReply, RangesReply, RangesRequest, Unavailable,
        },
    },
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tests::{
    process::eventually,
    rogue::{MISBEHAVED, Rogue, address_of, id_of, wall},
};

use super::Scene;

const FOUR_GIB: [u8; 4] = u32::MAX.to_le_bytes();

#[test]
fn a_stream_that_opens_with_garbage_costs_its_peer_the_connection() {
    let scene = Scene::new();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let offer = Offer { name: "gift".into(), size: 4, hash: ContentHash([7; 32]) };
    let ranges = RangesRequest { hash: ContentHash([7; 32]), ranges: vec![ByteRange { start: 0, end: 4 }] };
    let mut openings = vec![Vec::new(), FOUR_GIB.to_vec(), [FOUR_GIB.as_slice(), &[0; 65_000]].concat()];
    for open in [Open::Link, Open::Ranges(ranges), Open::Offer(offer), Open::Ping, Open::Invite] {
        let whole = frame(&open);
        openings.extend((1..whole.len()).map(|cut| whole[..cut].to_vec()));
        let mut longer = whole.clone();
        longer[0] += 1;
        longer.push(0);
        openings.push(longer);
    }
    for length in [1u32, 2, 16, 300, 60_000] {
        let mut noise = vec![0; length as usize];
        rng.fill_bytes(&mut noise);
        noise[0] |= 0x80;
        openings.push([length.to_le_bytes().as_slice(), &noise].concat());
    }
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        for bytes in &openings {
            let mut stream = scene.mallory.opening(&scene.alice, bytes).await;
            let _ = stream.send.finish();
            assert_eq!(stream.closed().await, MISBEHAVED, "after {:?}", &bytes[..bytes.len().min(16)]);
        }
    });
    scene.alice_has_not_grown(before, 64);
    scene.honest_people_go_on();
}

#[test]
fn garbage_on_a_link_costs_its_peer_the_connection() {
    let scene = Scene::new();
    let bad: [&[u8]; 4] = [&FOUR_GIB, &[1, 0, 0, 0, 99], &[0, 0, 0, 0], &[3, 0, 0, 0, 0, 1, 0]];
    let over_limit = u32::try_from(MAX_LINK_FRAME + 1).unwrap().to_le_bytes();
    let before = scene.alice.resident_kib();
    scene.mallory.run(async {
        for bytes in bad.iter().copied().chain([over_limit.as_slice()]) {
            let mut link = scene.mallory.link(&scene.alice).await;
            link.send.write_all(bytes).await.unwrap();
            assert_eq!(link.closed().await, MISBEHAVED, "after {bytes:?}");
        }
        let whole = frame(&LinkMessage::ToHome(ToHome::ListSupernodes));
        for cut in 1..whole.len() {
            let mut link = scene.mallory.link(&scene.alice).await;
            link.send.write_all(&whole[..cut]).await.unwrap();
            let _ = link.send.finish();
            while link.reply::<LinkMessage>().await.is_some() {}
        }
    });
    scene.alice_has_not_grown(before, 64);
    scene.honest_people_go_on();
}

#[test]
fn a_message_out_of_bounds_costs_its_peer_the_connection() {
    let scene = Scene::new();
    scene.mallory.run(async {
        for message in out_of_bounds(&scene.mallory) {
            let mut link = scene.mallory.link(&scene.alice).await;
            link.say(&message).await;
            let kind = format!("{message:?}").chars().take(40).collect::<String>();
            assert_eq!(link.closed().await, MISBEHAVED, "after {kind}");
        }
    });
    scene.honest_people_go_on();
}

#[test]
fn ranges_and_offers_out_of_bounds_are_refused() {
    let scene = Scene::new();
    let hash = ContentHash(*blake3::hash(super::EVIDENCE).as_bytes());
    let range = |start, end| ByteRange { start, end };
    let descending = vec![range(16_384 * 4, 16_384 * 5), range(0, 16_384)];
    let overlapping = vec![range(0, 16_384 * 2), range(16_384, 16_384 * 3)];
    let crumbs = (0..1000).map(|n| range(n * 32_768, n * 32_768 + 16_384)).collect();
    scene.mallory.run(async {
        for ranges in [vec![range(9, 3)], vec![range(1, 7)], descending, overlapping, crumbs] {
            let open = frame(&Open::Ranges(RangesRequest { hash, ranges: ranges.clone() }));
            let mut stream = scene.mallory.opening(&scene.alice, &open).await;
            let reply = stream.reply::<RangesReply>().await;
            assert_eq!(reply, Some(RangesReply::Unavailable(Unavailable::BadRange)), "{:?}", &ranges[..1]);
        }
        let name = "n".repeat(MAX_NAME_BYTES + 1).into();
        let open = frame(&Open::Offer(Offer { name, size: 1, hash }));
        let mut stream = scene.mallory.opening(&scene.alice, &open).await;
        let reply = stream.reply::<OfferReply>().await;
        assert_eq!(reply, Some(OfferReply::Declined(OfferDecline::TooMany)));
    });
    scene.honest_people_go_on();
}

#[test]
fn one_member_cannot_take_all_the_invitations_there_are() {
    let scene = Scene::new();
    let (tickets, refusals) = scene.mallory.run(async {
        let (mut tickets, mut refusals) = (0, 0);
        for _ in 0..100 {
            let mut stream = scene.mallory.opening(&scene.alice, &frame(&Open::Invite)).await;
            match stream.reply::<InviteReply>().await.expect("an answer") {
                InviteReply::Ticket(_) => tickets += 1,
                InviteReply::NotTheAuthority => refusals += 1,
            }
        }
        (tickets, refusals)
    });
    assert!(tickets < 32 && refusals > 60, "{tickets} tickets, {refusals} refusals");
    scene.lab.member(&scene.alice, "carol", &[]);
    scene.honest_people_go_on();
}

#[test]
fn garbage_from_newcomers_does_not_keep_an_honest_one_out() {
    let scene = Scene::new();
    let config = enrol_client_config(scene.mallory.member.membership.trust()).unwrap();
    let request =
        |csr: &[u8]| EnrolRequest { csr: csr.into(), secret: Box::default(), user: "eve".parse().unwrap() };
    let whole = frame(&request(&[7; 300]));
    let bad: [&[u8]; 6] = [&[], &FOUR_GIB, &whole[..3], &whole[..100], &[2, 0, 0, 0, 9, 9], &[0, 0, 0, 0]];
    scene.mallory.run(async {
        let dial = || {
            scene.mallory.endpoint.dial_enrol(address_of(&scene.alice), id_of(&scene.alice), config.clone())
        };
        // More of them than there are places: each must be given back when it has come to nothing.
        for bytes in bad.iter().cycle().take(60) {
            let connection = dial().await.expect("a newcomer finds a place");
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            let _ = send.write_all(bytes).await;
            let _ = send.finish();
            let reply = nearmesh_common::frame::read_frame::<EnrolReply>(&mut receive, MAX_OPEN_FRAME).await;
            assert!(reply.is_err(), "{reply:?} after {bytes:?}");
            // It does not hang up: that is the authority's to do.
            std::mem::forget(connection);
        }
        let connection = dial().await.expect("a newcomer finds a place");
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&whole).await.unwrap();
        let reply = nearmesh_common::frame::read_frame::<EnrolReply>(&mut receive, MAX_OPEN_FRAME).await;
        let refused = [EnrolRefusal::BadRequest, EnrolRefusal::UnknownTicket].map(EnrolReply::Refused);
        assert!(refused.contains(reply.as_ref().unwrap()), "{reply:?}");
    });
    scene.lab.member(&scene.alice, "carol", &[]);
    scene.honest_people_go_on();
}

#[test]
fn newcomers_who_say_nothing_lose_their_places() {
    let scene = Scene::new();
    let config = enrol_client_config(scene.mallory.member.membership.trust()).unwrap();
    let silent = scene.mallory.run(async {
        let mut silent = Vec::new();
        for _ in 0..32 {
            let endpoint = &scene.mallory.endpoint;
            silent.push(
                endpoint
                    .dial_enrol(address_of(&scene.alice), id_of(&scene.alice), config.clone())
                    .await
                    .unwrap(),
            );
        }
        silent
    });
    let ticket = scene.alice.ok(&["net", "invite", "carol"]).stdout;
    let carol = scene.lab.node("carol");
    scene.honest_people_go_on();
    eventually("carol joins", || (carol.run(&["net", "join", ticket.trim()]).code == 0).then_some(()));
    drop(silent);
}

fn out_of_bounds(mallory: &Rogue) -> Vec<LinkMessage> {
    let to_home = LinkMessage::ToHome;
    let mesh = LinkMessage::Mesh;
    let id = RequestId(1);
    let publish = |changes| to_home(ToHome::Publish { after: JournalMark::default(), upto: 1, changes });
    let entry = |name: String, title: String| FileEntry {
        number: FileNumber(1),
        name: name.into(),
        size: 1,
        hash: ContentHash([1; 32]),
        kind: Kind::Audio,
        tags: Some(Tags { title: title.into(), ..Tags::default() }),
    };
    let words = |text: String, limit| Query {
        subject: Subject::Words(text.into()),
        filter: Filter::default(),
        limit,
    };
    let long = words("a".repeat(MAX_QUERY_BYTES + 1), 1);
    let asked = |query: Query, bits, hops| {
        let scope = Scope::Part { part: Part { bits, number: 1 }, hops };
        mesh(Mesh::Query { number: 1, query, scope, deadline_ms: 1000 })
    };
    let source = |addresses: usize| Source {
        user: "mallory".parse().unwrap(),
        node: mallory.id(),
        addresses: vec![mallory.endpoint.local_addr(); addresses].into(),
        home: mallory.id(),
        reach: nearmesh_common::nat::Reach::default(),
    };
    let hit = |name: usize, addresses| Hit {
        name: "n".repeat(name).into(),
        size: 1,
        hash: ContentHash([1; 32]),
        kind: Kind::Other,
        score: u16::MAX,
        source: source(addresses),
    };
    let mut late = mallory.presence(mallory.id());
    late.expires = UnixMillis(wall().0 + 1000);
    let stored = Stored { user: "mallory".parse().unwrap(), presence: mallory.seal(&late), here: true };
    let version = SummaryVersion::default();
    vec![
        publish(vec![Change::Remove(FileNumber(1)); MAX_BATCH + 1]),
        publish(vec![Change::Add(entry("n".repeat(MAX_NAME_BYTES + 1), String::new()))]),
        publish(vec![Change::Add(entry("n".to_owned(), "t".repeat(129)))]),
        to_home(ToHome::Search { id, query: long.clone() }),
        to_home(ToHome::Search { id, query: words("a".to_owned(), 0) }),
        to_home(ToHome::Search { id, query: words("a".to_owned(), MAX_RESULTS + 1) }),
        to_home(ToHome::Crl(vec![0; MAX_CRL_BYTES + 1].into())),
        LinkMessage::ToChild(ToChild::Hits { id, hits: vec![hit(MAX_NAME_BYTES + 1, 1)] }),
        LinkMessage::ToChild(ToChild::Hits { id, hits: vec![hit(1, 1); 501] }),
        LinkMessage::ToChild(ToChild::Supernodes(vec![mallory.seal(&mallory.record()); 201])),
        mesh(Mesh::Members(vec![mallory.seal(&mallory.record()); 201])),
        mesh(Mesh::Store { number: 1, presences: vec![stored.clone(); MAX_STORED + 1], hops: 0 }),
        mesh(Mesh::Store { number: 1, presences: vec![stored], hops: MAX_HOPS + 1 }),
        mesh(Mesh::SummaryPart {
            version,
            first: true,
            last: true,
            entries: vec![1; MAX_SUMMARY_ENTRIES + 1],
        }),
        mesh(Mesh::SummaryChange { from: version, added: vec![1; MAX_SUMMARY_ENTRIES], removed: vec![1] }),
        mesh(Mesh::Answer { number: 1, hits: vec![hit(1, 17)], done: None }),
        asked(long, 1, 1),
        asked(words("a".to_owned(), 1), 1, MAX_HOPS + 1),
        asked(words("a".to_owned(), 1), 1, 0),
        asked(words("a".to_owned(), 1), 0, 1),
        asked(words("a".to_owned(), 1), 9, 1),
    ]
}
