//! With more supernodes than one group holds, everybody and everything is still found.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use nearmesh_common::{
    NodeId,
    wire::{
        LinkMessage,
        home::{RequestId, ToChild, ToHome},
        mesh::{Mesh, Scope},
        query::{Filter, Query, Subject},
        signal::{SessionId, Signal, SignalBody},
    },
};

use crate::proto::{
    Config,
    placement::{Groups, Place},
    testing::{LATENCY, Net, file, node, user, words},
};

const SECOND: Duration = Duration::from_secs(1);
const MANY: usize = 200;

/// So many supernodes in their groups, long after the last change.
pub(super) fn grouped(supernodes: usize) -> Net {
    let mut net = Net::of(supernodes);
    net.run(SECOND * 240);
    let bits: BTreeSet<u8> = net.supernodes.values().map(crate::proto::Supernode::group_bits).collect();
    assert_eq!(bits.len(), 1, "they agree: {bits:?}");
    assert!(*bits.first().unwrap() > 0, "they are more than one group");
    net
}

pub(super) fn s(number: usize) -> String {
    format!("s{number}")
}

fn queries(net: &Net) -> Vec<(NodeId, NodeId, Scope)> {
    let queries = net.sent.iter().filter_map(|(from, to, message)| match message {
        LinkMessage::Mesh(Mesh::Query { scope, .. }) => Some((*from, *to, *scope)),
        _ => None,
    });
    queries.collect()
}

/// Supernodes that gave results.
fn givers(net: &Net) -> BTreeSet<NodeId> {
    let answers = net.sent.iter().filter_map(|(from, _, message)| match message {
        LinkMessage::Mesh(Mesh::Answer { hits, .. }) if !hits.is_empty() => Some(*from),
        _ => None,
    });
    answers.collect()
}

fn finds(net: &Net, from: &str) -> usize {
    let find = |(by, _, message): &&(NodeId, NodeId, LinkMessage)| {
        *by == node(from) && matches!(message, LinkMessage::Mesh(Mesh::Find { .. }))
    };
    net.sent.iter().filter(find).count()
}

/// The supernodes' names whose directory holds a user.
fn holders(net: &Net, name: &str) -> Vec<String> {
    let some = net.supernodes.values().next().unwrap();
    let groups = Groups::new(some.group_bits());
    let place = Place::of_user(&user(name));
    let members = net.supernodes.keys().copied().filter(|id| groups.of(&id.0) == place.group(groups));
    let holders = place.holders(members);
    (0..MANY * 2).map(s).filter(|name| holders.contains(&node(name))).collect()
}

/// The supernodes of another group than `home`'s, in which `of` is.
pub(super) fn is_elsewhere(net: &Net, home: &str, of: &str) -> bool {
    let groups = Groups::new(net.supernode(home).group_bits());
    groups.of(&node(home).0) != groups.of(&node(of).0)
}

#[test]
fn a_single_copy_anywhere_is_found_from_everywhere_within_the_law_of_messages() {
    let mut net = grouped(MANY);
    for number in [3, 77, 150] {
        net.share(&format!("bob{number}"), &s(number), &[&format!("unique{number} thing.mp4")]);
    }
    net.run(SECOND * 2);
    let law = |answering: usize| 2.0 * (MANY as f64).sqrt() + answering as f64 + 0.01 * MANY as f64;
    for home in (0..MANY).step_by(9) {
        net.attach(&format!("c{home}"), &s(home), 0);
        for (words_asked, found) in
            [("unique3", 1), ("unique77 thi", 1), ("unique150 thing", 1), ("thing", 3), ("nothing", 0)]
        {
            net.sent.clear();
            let (hits, summary) = net.search(&format!("c{home}"), &s(home), words(words_asked, 50));
            assert_eq!(hits.len(), found, "{words_asked} from {home}");
            assert_eq!(summary.asked, summary.answered, "{words_asked} from {home}");
            let (asked, answering) = (queries(&net).len(), givers(&net).len());
            assert!(asked as f64 <= law(answering), "{asked} queries from {home}, {answering} answered");
        }
    }
}

#[test]
fn what_everybody_has_is_found_in_the_first_wave() {
    let mut net = grouped(100);
    for number in 0..100 {
        let names: Vec<_> = (0..10).map(|n| format!("common song {number} {n}")).collect();
        net.share(&format!("c{number}"), &s(number), &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    net.run(SECOND * 3);
    net.sent.clear();
    let start = net.now.instant;
    let (hits, summary) = net.search("c7", "s7", words("common song", 50));
    assert_eq!((hits.len(), summary.limit_reached), (50, true));
    assert!(queries(&net).len() <= 8 + 8, "{} queries", queries(&net).len());
    assert!(net.now.instant - start < LATENCY * 8);
    assert_eq!(net.search("c7", "s7", words("common song", 500)).0.len(), 500);
    // Two homes of one child: its file comes once.
    let subject = Subject::Content(file(1, "common song 3 4").hash);
    let query = Query { subject, filter: Filter::default(), limit: 50 };
    assert_eq!(net.search("c7", "s7", query).0.len(), 1);
}

#[test]
fn a_file_that_two_homes_tell_of_comes_once() {
    let mut net = grouped(100);
    net.share("bob", "s3", &["unique.mp4"]);
    net.run(SECOND);
    // Bob moves, and his old home has not noticed yet.
    let elsewhere = (0..100).map(s).find(|name| is_elsewhere(&net, "s3", name)).unwrap();
    net.share("bob", &elsewhere, &["unique.mp4"]);
    net.attach("alice", "s50", 0);
    net.run(SECOND);
    assert_eq!(net.search("alice", "s50", words("unique", 50)).0.len(), 1);
}

#[test]
fn a_contact_that_says_nothing_is_replaced_by_the_second() {
    let mut net = grouped(100);
    net.share("bob", "s3", &["unique.mp4"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND * 2);
    net.sent.clear();
    assert_eq!(net.search("alice", "s0", words("unique", 50)).0.len(), 1);
    let contacts: Vec<_> = queries(&net)
        .into_iter()
        .filter(|(from, to, scope)| {
            *from == node("s0") && *to != node("s3") && matches!(scope, Scope::Part { .. })
        })
        .map(|(_, to, _)| to)
        .collect();
    let silent = (0..100).map(s).filter(|name| contacts.contains(&node(name))).collect::<Vec<_>>();
    assert!(silent.len() >= 6);
    silent.iter().for_each(|name| net.silence(name));
    let start = net.now.instant;
    let (hits, summary) = net.search("alice", "s0", words("unique", 50));
    assert_eq!((hits.len(), summary.answered), (1, summary.asked));
    assert!(net.now.instant - start < SECOND * 2, "{:?}", net.now.instant - start);
    // And one that dies in the middle at once.
    net.say("alice", "s0", ToHome::Search { id: RequestId(9), query: words("absent", 50) });
    silent.iter().for_each(|name| net.kill(name));
    net.run(SECOND);
    let done = net.heard("alice").into_iter().find_map(|message| match message {
        ToChild::SearchDone { summary, .. } => Some(summary),
        _ => None,
    });
    let done = done.expect("it ends without waiting for the dead");
    assert_eq!(done.asked, done.answered);
}

#[test]
fn a_cancel_travels_to_those_whom_a_contact_asked() {
    let mut net = grouped(100);
    net.attach("alice", "s0", 0);
    let far: Vec<_> = (1..100).map(s).filter(|name| is_elsewhere(&net, "s0", name)).collect();
    net.share("bob", &far[0], &["unique.mp4"]);
    net.run(SECOND * 2);
    net.sent.clear();
    assert_eq!(net.search("alice", "s0", words("unique", 50)).0.len(), 1);
    let asker = queries(&net).into_iter().find(|(_, to, scope)| *to == node(&far[0]) && *scope == Scope::Own);
    let Some((contact, ..)) = asker else { return };
    net.silence(&far[0]);
    net.say("alice", "s0", ToHome::Search { id: RequestId(9), query: words("unique", 50) });
    net.run(LATENCY * 20);
    net.sent.clear();
    net.say("alice", "s0", ToHome::Cancel(RequestId(9)));
    net.run(LATENCY * 5);
    let cancels: Vec<_> =
        net.sent.iter().filter(|(.., m)| matches!(m, LinkMessage::Mesh(Mesh::Cancel(_)))).collect();
    assert!(cancels.iter().any(|(from, to, _)| (*from, *to) == (node("s0"), contact)));
    assert!(cancels.iter().any(|(from, to, _)| (*from, *to) == (contact, node(&far[0]))));
}

/// Starts those of these supernodes that are of the group of a user of `s3`, who is found from each; how many they are.
fn newcomers_find(net: &mut Net, whom: &str, numbers: Range<usize>) -> usize {
    let (place, groups) = (Place::of_user(&user(whom)), Groups::new(net.supernode("s0").group_bits()));
    let names = numbers.map(s).filter(|name| groups.of(&node(name).0) == place.group(groups));
    names.fold(0, |asked, name| {
        net.start(&name, Config::default(), &["s0"]);
        net.run(SECOND * 2);
        net.attach("alice", &name, 0);
        assert_eq!(net.whereabouts("alice", &name, whom), [(node("s3"), true)], "from {name}");
        asked + 1
    })
}

#[test]
fn who_comes_after_the_net_was_divided_finds_what_only_the_former_holders_know() {
    let mut net = Net::of(60);
    let groups = Groups::new(3);
    let is_in = |place: Place, id: &NodeId| place.group(groups) == groups.of(&id.0);
    // The holders of this user are in other groups than the key.
    let apart = |name: &String| {
        let place = Place::of_user(&user(name));
        place.holders((0..80).map(|number| node(&s(number)))).iter().all(|holder| !is_in(place, holder))
    };
    let bob = (0..100).map(|number| format!("bob{number}")).find(apart).unwrap();
    net.attach(&bob, "s3", 0);
    net.run(SECOND * 5);
    // Nothing of him reaches those who hold the key from now on.
    net.lose_all(|message| matches!(message, LinkMessage::Mesh(Mesh::Store { .. })));
    for number in 60..80 {
        net.start(&s(number), Config::default(), &["s0"]);
    }
    net.run(SECOND * 20);
    assert_eq!(net.supernode("s0").group_bits(), groups.bits());
    let asked = newcomers_find(&mut net, &bob, 80..120);
    assert!(asked > 2, "{asked}");
}

#[test]
fn who_comes_after_groups_were_merged_finds_what_only_the_former_holders_know() {
    const BEFORE: usize = 150;
    let mut net = grouped(BEFORE);
    let [former, groups] = [4, 3].map(Groups::new);
    assert_eq!(net.supernode("s0").group_bits(), former.bits());
    let left = || (0..85).map(|number| node(&s(number)));
    let of = |place: Place, groups: Groups, nodes: &mut dyn Iterator<Item = NodeId>| {
        place.holders(nodes.filter(|id| groups.of(&id.0) == place.group(groups)))
    };
    // This user's holders stay, and those who hold the key from now on are of the other half.
    let apart = |name: &String| {
        let place = Place::of_user(&user(name));
        let before = of(place, former, &mut (0..BEFORE).map(|number| node(&s(number))));
        let after = of(place, groups, &mut left());
        before.iter().all(|holder| left().any(|id| id == *holder))
            && after.iter().all(|holder| former.of(&holder.0) != place.group(former))
    };
    let bob = (0..1000).map(|number| format!("bob{number}")).find(apart).unwrap();
    net.attach(&bob, "s3", 0);
    net.run(SECOND * 5);
    net.lose_all(|message| matches!(message, LinkMessage::Mesh(Mesh::Store { .. })));
    (85..BEFORE).for_each(|number| net.kill(&s(number)));
    net.run(SECOND * 40);
    assert_eq!(net.supernode("s0").group_bits(), groups.bits());
    let asked = newcomers_find(&mut net, &bob, BEFORE..BEFORE + 100);
    assert!(asked > 1, "{asked}");
}

#[test]
fn every_user_is_found_from_everywhere_with_one_request() {
    let mut net = grouped(MANY);
    for n in 0..MANY {
        net.attach(&format!("c{n}"), &s(n), 0);
    }
    net.run(SECOND);
    let (mut asked, mut lookups) = (0, 0);
    for n in (0..MANY).step_by(7) {
        for m in (0..MANY).step_by(11) {
            net.sent.clear();
            let found = net.whereabouts(&format!("c{n}"), &s(n), &format!("c{m}"));
            assert_eq!(found, [(node(&s(m)), true)], "c{m} from s{n}");
            let own = finds(&net, &s(n));
            assert!(own <= 3, "{own} requests for c{m} from s{n}");
            (asked, lookups) = (asked + own, lookups + 1);
        }
    }
    assert!(asked <= lookups, "{asked} requests for {lookups} lookups");
    assert!(net.whereabouts("c0", "s0", "nobody").is_empty());
    let listed: usize = net.supernodes.values().map(crate::proto::Supernode::listed).sum();
    assert_eq!(listed, 3 * MANY);
}

#[test]
fn a_user_who_moves_or_leaves_is_known_to_have_done_so_at_once() {
    let mut net = grouped(100);
    net.attach("alice", "s1", 0);
    for n in 0..20 {
        let (bob, first, second) = (format!("bob{n}"), s(n + 20), s(n + 50));
        net.attach(&bob, &first, 0);
        net.run(SECOND);
        assert_eq!(net.whereabouts("alice", "s1", &bob), [(node(&first), true)]);
        net.attach(&bob, &second, 0);
        net.run(LATENCY * 5);
        assert_eq!(net.whereabouts("alice", "s1", &bob), [(node(&second), true)]);
        net.cut(&bob, &first);
        net.run(LATENCY * 5);
        assert_eq!(
            net.whereabouts("alice", "s1", &bob),
            [(node(&second), true)],
            "the old home is not believed"
        );
        net.cut(&bob, &second);
        net.run(LATENCY * 5);
        assert_eq!(net.whereabouts("alice", "s1", &bob), [(node(&second), false)]);
    }
}

#[test]
fn entries_survive_when_their_holders_die_one_after_another() {
    let mut net = grouped(100);
    let home = "s0";
    net.attach("alice", "s1", 0);
    for n in 0..30 {
        net.attach(&format!("bob{n}"), home, 0);
    }
    net.run(SECOND);
    for _ in 0..8 {
        let victim = holders(&net, "bob1").into_iter().find(|name| name != home && name != "s1").unwrap();
        net.kill(&victim);
        net.run(SECOND * 2);
    }
    net.attach("carol", "s1", 0);
    for n in 0..30 {
        assert_eq!(net.whereabouts("alice", "s1", &format!("bob{n}")), [(node(home), true)], "bob{n}");
    }
}

#[test]
fn everybody_is_found_soon_after_a_third_of_all_supernodes_died_at_once() {
    let mut net = grouped(100);
    for n in 0..100 {
        net.attach(&format!("c{n}"), &s(n), 0);
    }
    net.run(SECOND);
    (0..100).filter(|n| n % 3 == 1).for_each(|n| net.kill(&s(n)));
    net.run(SECOND * 15);
    for n in (0..100).filter(|n| n % 3 != 1) {
        let found = net.whereabouts("c0", "s0", &format!("c{n}"));
        assert_eq!(found, [(node(&s(n)), true)], "c{n}");
    }
}

#[test]
fn nobody_and_nothing_is_lost_while_groups_split_and_merge() {
    let mut net = Net::of(60);
    net.share("bob", "s5", &["unique.mp4"]);
    for n in 0..60 {
        net.attach(&format!("c{n}"), &s(n), 0);
    }
    net.run(SECOND);
    for n in 60..110 {
        net.start(&s(n), Config::default(), &["s0"]);
    }
    let mut seen = BTreeSet::new();
    let mut check = |net: &mut Net, living: usize| {
        net.run(SECOND * 5);
        seen.insert(net.supernode("s0").group_bits());
        for (asker, sought) in [(0, 11), (12, 40), (33, 5), (44, 59)] {
            let (asker, sought) = (asker % living, sought % living);
            let found = net.whereabouts(&format!("c{asker}"), &s(asker), &format!("c{sought}"));
            assert_eq!(found, [(node(&s(sought)), true)], "c{sought} from s{asker}");
            let (hits, _) = net.search(&format!("c{asker}"), &s(asker), words("unique", 50));
            assert_eq!(hits.len(), 1, "from s{asker}");
        }
        seen.len()
    };
    for _ in 0..40 {
        check(&mut net, 60);
    }
    for n in (30..110).rev() {
        net.kill(&s(n));
        if n % 4 == 0 {
            net.run(SECOND);
        }
    }
    net.run(SECOND * 15);
    let mut divisions = 0;
    for _ in 0..40 {
        divisions = check(&mut net, 30);
    }
    assert_eq!(divisions, 2, "the net was divided, and is one group again");
}

#[test]
fn a_signal_finds_its_way_to_a_home_in_another_group_and_back() {
    let mut net = grouped(100);
    let far = (1..100).map(s).filter(|name| is_elsewhere(&net, "s0", name)).collect::<Vec<_>>();
    net.attach("alice", "s0", 0);
    for (n, home) in far.iter().enumerate() {
        let bob = format!("bob{n}");
        net.attach(&bob, home, 0);
        net.heard(&bob);
        let signal = |from: &str, to: &str| {
            let body = SignalBody::Heard(1);
            Box::new(Signal { from: node(from), to: node(to), session: SessionId([7; 16]), body })
        };
        net.say("alice", "s0", ToHome::Signal { home: node(home), signal: signal("alice", &bob) });
        net.run(LATENCY * 5);
        assert!(
            net.heard(&bob).contains(&ToChild::Signal { home: node("s0"), signal: signal("alice", &bob) }),
            "{home}"
        );
        net.heard("alice");
        net.say(&bob, home, ToHome::Signal { home: node("s0"), signal: signal(&bob, "alice") });
        net.run(LATENCY * 5);
        assert!(
            net.heard("alice").contains(&ToChild::Signal { home: node(home), signal: signal(&bob, "alice") })
        );
        net.say("alice", "s0", ToHome::Signal { home: node(home), signal: signal("alice", "nobody") });
        net.run(LATENCY * 5);
        assert_eq!(net.heard("alice").len(), 1, "nobody is not there");
    }
}

#[test]
fn who_has_a_content_is_known_to_its_holders_and_nobody_else_is_asked() {
    let mut net = grouped(100);
    for n in 0..6 {
        net.share(&format!("bob{n}"), &s(n * 9), &["julia.mp4"]);
    }
    net.run(SECOND * 3);
    let subject = Subject::Content(file(1, "julia.mp4").hash);
    let query = Query { subject, filter: Filter::default(), limit: 50 };
    for home in (1..100).step_by(7) {
        let child = format!("c{home}");
        net.attach(&child, &s(home), 0);
        net.sent.clear();
        let (hits, summary) = net.search(&child, &s(home), query.clone());
        assert_eq!((hits.len(), summary.asked), (6, summary.answered), "from {home}");
        assert!(
            queries(&net).len() <= 12,
            "{} queries: six homes, each through a contact",
            queries(&net).len()
        );
        let holds = |message: &LinkMessage| matches!(message, LinkMessage::Mesh(Mesh::FindSources { .. }));
        let asked = net.sent.iter().filter(|(from, _, m)| *from == node(&s(home)) && holds(m)).count();
        assert!(asked <= 1, "{asked} requests");
    }
}

#[test]
fn a_content_of_which_the_holders_know_nothing_is_found_all_the_same() {
    let mut net = grouped(100);
    net.attach("alice", "s1", 0);
    net.lose_all(|message| matches!(message, LinkMessage::Mesh(Mesh::Offer { .. })));
    net.share("bob", "s30", &["julia.mp4"]);
    net.run(SECOND * 3);
    let subject = Subject::Content(file(1, "julia.mp4").hash);
    let query = Query { subject, filter: Filter::default(), limit: 50 };
    assert_eq!(net.search("alice", "s1", query.clone()).0.len(), 1);
    // And when it moved, and they name its old home.
    net.lose_all(|_| false);
    net.share("carol", "s40", &["mandelbrot.mp4"]);
    net.run(SECOND * 3);
    net.lose_all(|message| matches!(message, LinkMessage::Mesh(Mesh::Offer { .. })));
    net.kill("s40");
    net.share("carol", "s50", &["mandelbrot.mp4"]);
    net.run(SECOND * 3);
    let subject = Subject::Content(file(1, "mandelbrot.mp4").hash);
    let hits = net.search("alice", "s1", Query { subject, ..query }).0;
    assert_eq!(hits.iter().map(|hit| hit.source.home).collect::<Vec<_>>(), [node("s50")]);
}

#[test]
fn a_link_that_a_supernodes_own_node_needs_remains_one_between_supernodes_at_both_ends() {
    let mut net = Net::of(100);
    let own = node("s5");
    let homes: Vec<String> = (60..80).map(s).collect();
    for home in &homes {
        net.attach("s5", home, 0);
        net.kept.insert((own, node(home)));
    }
    net.run(SECOND * 300);
    let knows = |at: &NodeId, other: &NodeId| {
        net.supernodes[at].members().any(|record| record.content.node == *other)
    };
    for home in homes.iter().map(|home| node(home)) {
        assert!(knows(&home, &own), "it stays for its child's sake");
        assert!(knows(&own, &home), "{home:?} takes us for a member");
    }
}
