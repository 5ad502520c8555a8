//! Whatever a peer sends, nothing panics and nothing grows without bound.

use std::time::Duration;

use nearmesh_common::{
    UnixMillis,
    presence::Presence,
    supernode_record::SupernodeRecord,
    wire::{
        NodeAddress,
        file::{Change, FileNumber, JournalMark},
        home::{DirectoryEntry, RequestId, ToHome},
        mesh::{Counts, Mesh, Part, Scope, Stored, SummaryVersion},
        signal::{End, Offer, SessionId, Signal, SignalBody},
    },
};
use proptest::{collection::vec, prelude::*};

use crate::proto::{
    Input,
    answers::MAX_REMEMBERED,
    testing::{Net, address, file, node, user, words},
};

#[derive(Clone, Debug)]
enum Step {
    Child(u8, ToHome),
    Mesh(Mesh),
    Attach { who: u8, about: u8, home: u8, age: i64, epoch: u64 },
    Store { about: u8, home: u8, age: i64, forged: bool, hops: u8 },
    Hello { who: u8, about: u8, age: i64, serving: bool },
    LinkDown(u8),
    Input(u8),
    Wait(u64),
}

fn name(number: u8) -> String {
    ["mallory", "bob", "carol", "s0", "s1", "x1", "x2", "x3"][usize::from(number % 8)].to_owned()
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, Just(u64::MAX), any::<u64>()]
}

fn journal() -> impl Strategy<Value = JournalMark> {
    (number(), number()).prop_map(|(epoch, revision)| JournalMark { epoch, revision })
}

fn version() -> impl Strategy<Value = SummaryVersion> {
    (prop_oneof![Just(1_700_000_000_000u64), number()], number())
        .prop_map(|(epoch, number)| SummaryVersion { epoch, number })
}

fn signal() -> impl Strategy<Value = Box<Signal>> {
    let body = prop_oneof![
        Just(SignalBody::Push(Vec::new())),
        Just(SignalBody::End(End::NotHere)),
        any::<u32>().prop_map(SignalBody::Heard),
        any::<u32>().prop_map(|number| SignalBody::Answer(Offer { number, ..Offer::default() })),
    ];
    (any::<u8>(), any::<u8>(), body).prop_map(|(from, to, body)| {
        let (from, to) = (node(&name(from)), node(&name(to)));
        Box::new(Signal { from, to, session: SessionId([0; 16]), body })
    })
}

fn child_message() -> impl Strategy<Value = ToHome> {
    let change = prop_oneof![
        (0..9u32, "[a-c ]{0,6}").prop_map(|(number, name)| Change::Add(file(number, &name))),
        (0..9u32).prop_map(|number| Change::Remove(FileNumber(number))),
    ];
    prop_oneof![
        Just(ToHome::Standby),
        Just(ToHome::ListSupernodes),
        Just(ToHome::ListRelays),
        (journal(), number(), vec(change, 0..5)).prop_map(|(after, upto, changes)| ToHome::Publish {
            after,
            upto,
            changes
        }),
        (0..4u64, "[a-c ]{0,6}", 1..9u32)
            .prop_map(|(id, text, limit)| ToHome::Search { id: RequestId(id), query: words(&text, limit) }),
        (0..4u64).prop_map(|id| ToHome::Cancel(RequestId(id))),
        (0..4u64, any::<u8>())
            .prop_map(|(id, who)| ToHome::Lookup { id: RequestId(id), user: user(&name(who)) }),
        (any::<u8>(), signal()).prop_map(|(home, signal)| ToHome::Signal { home: node(&name(home)), signal }),
        vec(any::<u8>(), 0..9).prop_map(|crl| ToHome::Crl(crl.into())),
    ]
}

fn mesh_message() -> impl Strategy<Value = Mesh> {
    let scope = || {
        prop_oneof![
            Just(Scope::Own),
            (0..3u8, 0..2u8, 1..3u8).prop_map(|(bits, number, hops)| Scope::Part {
                part: Part { bits, number: u16::from(number) & ((1 << bits) - 1) },
                hops,
            }),
        ]
    };
    let entries = || vec(any::<u32>(), 0..9);
    prop_oneof![
        (version(), any::<(bool, bool)>(), entries()).prop_map(|(version, (first, last), entries)| {
            Mesh::SummaryPart { version, first, last, entries }
        }),
        (version(), entries(), entries()).prop_map(|(from, added, removed)| Mesh::SummaryChange {
            from,
            added,
            removed
        }),
        Just(Mesh::SummaryLost),
        (number(), "[a-c ]{0,6}", scope(), any::<u32>()).prop_map(|(number, text, scope, deadline_ms)| {
            Mesh::Query { number, query: words(&text, 5), scope, deadline_ms }
        }),
        (number(), any::<bool>(), any::<(u32, u32)>()).prop_map(|(number, more, (asked, answered))| {
            let done = (!more).then_some(Counts { asked, answered });
            Mesh::Answer { number, hits: Vec::new(), done }
        }),
        number().prop_map(Mesh::Cancel),
        (any::<u8>(), any::<u8>(), 0..3u8).prop_map(|(who, home, hops)| Mesh::Gone {
            node: node(&name(who)),
            user: user(&name(who)),
            home: node(&name(home)),
            sequence: UnixMillis(u64::MAX),
            hops
        }),
        (number(), any::<u8>(), 0..3u8).prop_map(|(number, who, hops)| Mesh::Find {
            number,
            user: user(&name(who)),
            hops
        }),
        number().prop_map(|number| Mesh::Held { number, nodes: Vec::new() }),
        (any::<u8>(), any::<u8>(), 0..3u8, signal()).prop_map(|(from, to, hops, signal)| Mesh::Signal {
            from: node(&name(from)),
            to: node(&name(to)),
            hops,
            signal
        }),
        vec(any::<u8>(), 0..9).prop_map(|crl| Mesh::Crl(crl.into())),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let age = || prop_oneof![Just(0i64), -2_000_000..2_000_000i64, Just(i64::MAX / 2)];
    prop_oneof![
        4 => (any::<u8>(), child_message()).prop_map(|(who, message)| Step::Child(who, message)),
        4 => mesh_message().prop_map(Step::Mesh),
        2 => (any::<u8>(), any::<u8>(), 3..5u8, age(), number())
            .prop_map(|(who, about, home, age, epoch)| Step::Attach { who, about, home, age, epoch }),
        1 => (any::<u8>(), any::<u8>(), age(), any::<bool>(), 0..3u8)
            .prop_map(|(about, home, age, forged, hops)| Step::Store { about, home, age, forged, hops }),
        2 => (any::<u8>(), any::<u8>(), age(), any::<bool>())
            .prop_map(|(who, about, age, serving)| Step::Hello { who, about, age, serving }),
        1 => any::<u8>().prop_map(Step::LinkDown),
        1 => any::<u8>().prop_map(Step::Input),
        2 => (0..100_000u64).prop_map(Step::Wait),
    ]
}

fn dated(net: &Net, age: i64) -> UnixMillis {
    UnixMillis(net.now.wall.0.saturating_add_signed(age))
}

fn take(net: &mut Net, step: Step) {
    match step {
        Step::Child(who, message) => net.say(&name(who), "s0", message),
        Step::Mesh(message) => net.say_mesh("mallory", "s0", message),
        Step::Attach { who, about, home, age, epoch } => {
            let presence = Presence { sequence: dated(net, age), ..net.presence(&name(about), &name(home)) };
            let presence = net.seal(&name(who), &presence);
            let journal = JournalMark { epoch, revision: epoch };
            net.say(&name(who), "s0", ToHome::Attach { presence, journal });
        }
        Step::Store { about, home, age, forged, hops } => {
            let presence = Presence { sequence: dated(net, age), ..net.presence(&name(about), &name(home)) };
            let signer = if forged { "mallory".to_owned() } else { name(about) };
            let presence = net.seal(&signer, &presence);
            let entry = DirectoryEntry { presence: presence.clone(), online: true };
            let stored = Stored { user: user(&name(about)), presence, here: true };
            net.say_mesh("mallory", "s0", Mesh::Store { number: 1, presences: vec![stored], hops });
            net.say_mesh("mallory", "s0", Mesh::Held { number: 1, nodes: vec![entry] });
        }
        Step::Hello { who, about, age, serving } => {
            let record = SupernodeRecord {
                node: node(&name(about)),
                sequence: dated(net, age),
                addresses: address(&name(about)).addresses,
                children: 0,
                capacity: 5,
                serving,
                group_bits: 0,
                group_size: 1,
                group_load: 0,
            };
            // What the honest supernodes sign, mallory cannot.
            let signer = if matches!(&*name(who), "s0" | "s1") { "mallory".to_owned() } else { name(who) };
            let record = net.keyring(&signer).seal(&record);
            let summary = SummaryVersion { epoch: net.now.wall.0, number: 3 };
            net.say_mesh("mallory", "s0", Mesh::Members(vec![record.clone()]));
            net.say_mesh("mallory", "s0", Mesh::Hello { record, summary });
            net.link("mallory", "s0");
        }
        Step::LinkDown(who) => net.cut(&name(who), "s0"),
        Step::Input(which) => net.tell(
            "s0",
            match which % 4 {
                0 => Input::Candidates(vec![NodeAddress { node: node("x"), addresses: Vec::new() }]),
                1 => Input::Addresses(address("s0").addresses),
                2 => Input::Rtt { node: node("mallory"), rtt: Duration::from_secs(u64::from(which)) },
                _ => Input::DialFailed { node: node("mallory") },
            },
        ),
        Step::Wait(millis) => net.run(Duration::from_millis(millis)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_messages_breaks_a_supernode(steps in vec(step(), 1..120)) {
        let mut net = Net::of(2);
        net.attach("alice", "s0", 0);
        net.share("dora", "s1", &["julia"]);
        net.link("mallory", "s0");
        for step in steps {
            take(&mut net, step);
        }
        net.run(Duration::from_secs(30));
        prop_assert!(net.supernode("s0").children() <= 10 && net.supernode("s0").listed() <= 12);
        prop_assert!(net.supernode("s0").files() <= 8 * 9);
        let found = net.search("alice", "s0", words("julia", 50)).0;
        prop_assert_eq!(found.len(), 1, "others are still served");
    }
}

#[test]
fn a_supernode_that_floods_us_gets_empty_answers_and_costs_bounded_memory() {
    let mut net = Net::of(2);
    net.share("bob", "s0", &["julia"]);
    for number in 0..2 * MAX_REMEMBERED as u64 {
        let (query, scope) = (words("julia", 5), Scope::Own);
        let query = Mesh::Query { number, query, scope, deadline_ms: 1 };
        net.say_mesh("s1", "s0", query);
    }
    let counters = *net.supernode("s0").counters();
    assert!(counters.over_budget > MAX_REMEMBERED as u64);
    assert_eq!(net.search("bob", "s0", words("julia", 5)).0.len(), 1);
}

#[test]
fn records_without_end_leave_room_for_the_living() {
    let mut net = Net::of(2);
    for batch in 0..40 {
        let record = |n: u32| {
            let name = format!("ghost{}", batch * 100 + n);
            net.keyring(&name).seal(&SupernodeRecord {
                node: node(&name),
                sequence: net.now.wall,
                addresses: address(&name).addresses,
                children: 0,
                capacity: 300,
                serving: true,
                group_bits: 0,
                group_size: 1,
                group_load: 0,
            })
        };
        let records = (0..100).map(record).collect();
        net.say_mesh("s1", "s0", Mesh::Members(records));
        net.run(Duration::from_secs(1));
    }
    assert_eq!(net.supernode("s0").members().count(), 2, "nobody that we do not reach");
    net.start("s2", crate::proto::Config::default(), &["s0"]);
    net.run(Duration::from_secs(5));
    assert_eq!(net.supernode("s0").members().count(), 3);
}

#[test]
fn a_hello_in_another_name_costs_the_link() {
    let mut net = Net::of(2);
    net.link("mallory", "s0");
    let signed = net.supernode("s1").members().next().unwrap().signed.clone();
    net.say_mesh("mallory", "s0", Mesh::Hello { record: signed, summary: SummaryVersion::default() });
    net.say_mesh("mallory", "s0", Mesh::Cancel(0));
    assert_eq!(net.supernode("s0").counters().misbehaved, 1);
    assert_eq!(net.supernode("s0").counters().strange, 1, "it has no link to speak on");
}
