//! Getting a home, keeping what it holds, and leaving it.

use std::time::Duration;

use nearmesh_common::{
    nat::Reach,
    pace::{FEW_CHILDREN, FEW_LINKS, Pace},
    presence::{LIFETIME, Presence},
    signed::Signed,
    supernode_record::SupernodeRecord,
    wire::{
        file::{Change, JournalMark},
        home::{Neighbourhood, Refusal, RequestId, ToChild, ToHome},
    },
};

use crate::proto::{
    Config,
    testing::{LATENCY, Net, file, mark, node, words},
};

const SECOND: Duration = Duration::from_secs(1);

/// The mark in the `Attached` that a child heard.
fn attached(net: &mut Net, child: &str) -> Option<JournalMark> {
    net.heard(child).into_iter().find_map(|message| match message {
        ToChild::Attached { journal, .. } => Some(journal),
        _ => None,
    })
}

/// The homes in the `Redirect` that a child heard.
fn redirected(net: &mut Net, child: &str) -> Option<usize> {
    net.heard(child).into_iter().find_map(|message| match message {
        ToChild::Redirect(homes) => Some(homes.len()),
        _ => None,
    })
}

#[test]
fn a_full_supernode_answers_with_alternatives() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 1 }, &[]);
    net.start("s1", Config { capacity: 4 }, &["s0"]);
    net.run(SECOND);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    assert!(attached(&mut net, "alice").is_some());
    net.attach("bob", "s0", 0);
    net.run(SECOND);
    assert_eq!(redirected(&mut net, "bob"), Some(1));
    assert_eq!(net.supernode("s0").children(), 1);
    net.attach("bob", "s0", 0);
    assert!(attached(&mut net, "bob").is_some(), "who comes back found nothing elsewhere");
}

#[test]
fn while_nobody_has_room_a_full_supernode_takes_three_times_as_many_and_then_a_few_in_a_second() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 4 }, &[]);
    for number in 0..30 {
        net.attach(&format!("child{number}"), "s0", 0);
    }
    let taken = net.supernode("s0").children();
    assert!(
        (22..26).contains(&taken),
        "{taken} were taken: twelve, and ten of those who came at once beyond"
    );
    let put_off = net.heard("child29").into_iter().any(|message| matches!(message, ToChild::Later { .. }));
    assert!(put_off);
    net.run(SECOND);
    net.attach("child29", "s0", 0);
    assert!(attached(&mut net, "child29").is_some());
}

#[test]
fn three_thousand_that_come_back_at_once_do_not_keep_others_from_searching() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 100 }, &[]);
    net.share("bob", "s0", &["julia"]);
    net.attach("alice", "s0", 0);
    let library: Vec<_> = (1..=500).map(|number| Change::Add(file(number, "mandelbrot"))).collect();
    let (mut put_off, mut waits) = (0, Vec::new());
    for number in 0..3000 {
        let name = format!("child{number}");
        let presence = net.seal(&name, &net.presence(&name, "s0"));
        net.say(&name, "s0", ToHome::Attach { presence, journal: mark(500) });
        for _ in 0..4 {
            let changes = library.clone();
            net.say(&name, "s0", ToHome::Publish { after: mark(0), upto: 500, changes });
        }
        if number % 3 == 2 {
            net.run(Duration::from_millis(1));
        }
    }
    net.run(LATENCY);
    for number in 0..3000 {
        for message in net.heard(&format!("child{number}")) {
            if let ToChild::Later { millis } = message {
                waits.push(millis);
            }
            put_off += usize::from(message == ToChild::Published(mark(0)));
        }
    }
    let taken = net.supernode("s0").children();
    assert!((200..=320).contains(&taken), "{taken} were taken");
    assert!(waits.len() + taken >= 3000, "{} were told when to come again", waits.len());
    assert!(put_off > 0, "somebody has to publish again");
    let (hits, summary) = net.search("alice", "s0", words("julia", 5));
    assert_eq!(hits.len(), 1, "{summary:?}");
    assert_eq!(net.supernode("s0").counters().declined, 0);
}

#[test]
fn who_has_too_many_hands_some_on_as_soon_as_another_has_room() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 10 }, &[]);
    net.attach("s0", "s0", 0);
    for number in 0..25 {
        net.attach(&format!("child{number}"), "s0", 0);
    }
    assert_eq!(net.supernode("s0").children(), 26);
    net.run(SECOND * 5);
    assert!((0..25).all(|number| redirected(&mut net, &format!("child{number}")).is_none()), "to whom?");
    net.start("s1", Config { capacity: 20 }, &["s0"]);
    net.run(SECOND * 4);
    let told = (0..25).filter(|number| redirected(&mut net, &format!("child{number}")) == Some(1)).count();
    assert!((2..=8).contains(&told), "{told} were told");
    net.run(SECOND * 20);
    let told =
        told + (0..25).filter(|number| redirected(&mut net, &format!("child{number}")).is_some()).count();
    assert_eq!(
        (told, net.supernode("s0").children()),
        (16, 26),
        "all that are too many, and they are still here"
    );
}

/// Attaches one that strangers can reach.
fn attach_candidate(net: &mut Net, child: &str) {
    let presence = Presence { reach: Reach::Reachable, ..net.presence(child, "s0") };
    let presence = net.seal(child, &presence);
    net.say(child, "s0", ToHome::Attach { presence, journal: mark(0) });
}

/// What a child heard last of how full everybody is.
fn told(net: &mut Net, child: &str) -> Option<Neighbourhood> {
    net.heard(child).into_iter().rev().find_map(|message| match message {
        ToChild::Neighbourhood(around) => Some(around),
        _ => None,
    })
}

#[test]
fn a_candidate_that_came_while_more_were_called_for_hears_that_it_is_over() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 100 }, &[]);
    attach_candidate(&mut net, "alice");
    (0..73).for_each(|number| net.attach(&format!("child{number}"), "s0", 0));
    net.run(SECOND * 10);
    assert_eq!(told(&mut net, "alice").map(|around| around.children), Some(74));
    (73..75).for_each(|number| net.attach(&format!("child{number}"), "s0", 0));
    net.run(SECOND * 10);
    assert_eq!(told(&mut net, "alice"), None, "two are no news");
    attach_candidate(&mut net, "bob");
    net.run(SECOND);
    assert_eq!(told(&mut net, "bob").map(|around| around.children), Some(76), "more than three quarters");
    (0..3).for_each(|number| net.cut(&format!("child{number}"), "s0"));
    net.run(SECOND * 10);
    assert_eq!(told(&mut net, "bob").map(|around| around.children), Some(74));
}

#[test]
fn candidates_hear_how_full_everybody_is_and_others_do_not() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 10 }, &[]);
    net.start("s1", Config { capacity: 10 }, &["s0"]);
    net.run(SECOND);
    attach_candidate(&mut net, "alice");
    for number in 0..8 {
        net.attach(&format!("child{number}"), "s0", 0);
    }
    net.run(SECOND * 5);
    let around = Neighbourhood {
        children: 9,
        capacity: 10,
        all_children: 9,
        all_capacity: 20,
        supernodes: 2,
        candidates: 1,
    };
    assert_eq!(told(&mut net, "alice"), Some(around));
    assert_eq!(told(&mut net, "child0"), None);
    net.run(SECOND * 30);
    assert_eq!(told(&mut net, "alice"), None, "nothing has changed");
}

#[test]
fn the_least_loaded_alternative_is_named_first() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 1 }, &[]);
    net.start("s1", Config { capacity: 10 }, &["s0"]);
    net.start("s2", Config { capacity: 10 }, &["s0"]);
    net.run(SECOND);
    for (child, home) in [("a", "s0"), ("b", "s1"), ("c", "s1"), ("d", "s2")] {
        net.attach(child, home, 0);
    }
    net.run(SECOND * 5);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    let keyring = net.keyring("alice");
    let homes = net.heard("alice").into_iter().find_map(|message| match message {
        ToChild::Redirect(homes) => Some(homes),
        _ => None,
    });
    let verify = |signed: Signed<SupernodeRecord>| keyring.verify(signed, net.now.wall).unwrap().content.node;
    let homes: Vec<_> = homes.unwrap().into_iter().map(verify).collect();
    assert_eq!(homes, [node("s2"), node("s1")]);
}

#[test]
fn a_supernode_is_its_own_home_even_when_it_is_full() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 0 }, &[]);
    net.attach("s0", "s0", 0);
    net.run(SECOND);
    assert_eq!(net.supernode("s0").children(), 1);
}

#[test]
fn a_child_that_comes_back_resumes_where_it_was() {
    let mut net = Net::of(1);
    net.share("bob", "s0", &["julia one", "julia two"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.cut("bob", "s0");
    net.run(SECOND * 30);
    assert!(net.search("alice", "s0", words("julia", 5)).0.is_empty(), "bob is away");
    net.heard("bob");
    net.attach("bob", "s0", 3);
    net.run(SECOND);
    assert_eq!(attached(&mut net, "bob"), Some(mark(2)));
    assert_eq!(net.search("alice", "s0", words("julia", 5)).0.len(), 2);
}

#[test]
fn after_the_grace_time_nothing_is_held() {
    let mut net = Net::of(1);
    net.share("bob", "s0", &["julia"]);
    net.run(SECOND);
    net.cut("bob", "s0");
    net.run(SECOND * 61);
    assert_eq!(net.supernode("s0").files(), 0);
    net.heard("bob");
    net.attach("bob", "s0", 1);
    net.run(SECOND);
    assert_eq!(attached(&mut net, "bob"), Some(mark(0)));
}

#[test]
fn a_batch_that_does_not_follow_is_answered_with_our_mark() {
    let mut net = Net::of(1);
    net.share("bob", "s0", &["julia"]);
    net.run(SECOND);
    net.heard("bob");
    let changes = vec![Change::Add(file(9, "mandelbrot"))];
    net.say("bob", "s0", ToHome::Publish { after: mark(5), upto: 6, changes });
    net.run(LATENCY);
    assert_eq!(net.heard("bob"), [ToChild::Published(mark(1))]);
    assert!(net.search("bob", "s0", words("mandelbrot", 5)).0.is_empty());
}

#[test]
fn a_new_journal_replaces_the_old_one() {
    let mut net = Net::of(1);
    net.share("bob", "s0", &["julia"]);
    let changes = vec![Change::Add(file(1, "mandelbrot"))];
    let after = JournalMark { epoch: 8, revision: 0 };
    net.say("bob", "s0", ToHome::Publish { after, upto: 1, changes });
    assert!(net.search("bob", "s0", words("julia", 5)).0.is_empty());
    assert_eq!(net.search("bob", "s0", words("mandelbrot", 5)).0.len(), 1);
    // The same epoch, gone backwards.
    net.attach("bob", "s0", 0);
    net.run(SECOND);
    assert_eq!(net.supernode("s0").files(), 0);
}

#[test]
fn a_presence_that_was_replayed_expired_or_forged_is_refused() {
    let mut net = Net::of(2);
    net.run(LIFETIME);
    let good = net.presence("bob", "s0");
    let mut cases = Vec::new();
    let old = net.now.wall.0 - LIFETIME.as_millis() as u64;
    let expired = Presence { expires: nearmesh_common::UnixMillis(old), ..good.clone() };
    cases.push(("expired", net.seal("bob", &expired)));
    cases.push(("another home", net.seal("bob", &net.presence("bob", "s1"))));
    cases.push(("by another", net.seal("mallory", &good)));
    cases.push(("of another", net.seal("mallory", &net.presence("mallory", "s0"))));
    let mut changed = net.seal("bob", &good);
    changed.payload = net.seal("bob", &net.presence("carol", "s0")).payload.clone();
    cases.push(("changed", changed));
    for (what, presence) in cases {
        net.heard("bob");
        net.say("bob", "s0", ToHome::Attach { presence, journal: mark(0) });
        net.run(LATENCY);
        assert_eq!(net.heard("bob"), [ToChild::Refused(Refusal::Presence)], "{what}");
    }
    let presence = net.seal("bob", &good);
    net.say("bob", "s0", ToHome::Attach { presence: presence.clone(), journal: mark(0) });
    net.run(LATENCY);
    assert!(attached(&mut net, "bob").is_some());
    net.cut("bob", "s0");
    net.run(SECOND * 90);
    net.say("bob", "s0", ToHome::Attach { presence, journal: mark(0) });
    net.run(LATENCY);
    assert_eq!(net.heard("bob"), [ToChild::Refused(Refusal::Presence)], "replayed");
}

#[test]
fn stepping_down_hands_the_children_their_alternatives_and_leaves() {
    let mut net = Net::of(3);
    net.share("bob", "s0", &["julia"]);
    net.attach("alice", "s1", 0);
    net.run(SECOND);
    net.heard("bob");
    net.tell("s0", crate::proto::Input::StepDown);
    net.run(SECOND);
    assert_eq!(redirected(&mut net, "bob"), Some(2));
    assert_eq!(net.supernode("s1").members().count(), 2);
    net.attach("carol", "s0", 0);
    net.run(SECOND);
    assert_eq!(redirected(&mut net, "carol"), Some(2), "it takes nobody any more");
    net.share("bob", "s1", &["julia"]);
    net.run(SECOND);
    assert_eq!(net.search("alice", "s1", words("julia", 5)).0.len(), 1);
    let (home, online) = net.whereabouts("alice", "s1", "bob")[0];
    assert!(home == node("s1") && online);
}

#[test]
fn who_drains_is_found_until_the_children_have_gone() {
    let mut net = Net::of(3);
    net.share("bob", "s0", &["julia"]);
    net.attach("alice", "s1", 0);
    net.run(SECOND);
    net.heard("bob");
    net.tell("s0", crate::proto::Input::Drain);
    net.run(SECOND);
    assert_eq!(redirected(&mut net, "bob"), Some(2));
    net.attach("carol", "s0", 0);
    net.run(LATENCY);
    assert_eq!(redirected(&mut net, "carol"), Some(2), "it takes nobody any more");
    assert_eq!(net.search("alice", "s1", words("julia", 5)).0.len(), 1, "bob did not go yet");
    assert_eq!(net.supernode("s1").members().count(), 3);
    net.share("bob", "s1", &["julia"]);
    net.cut("bob", "s0");
    net.run(LATENCY * 2);
    assert_eq!(net.supernode("s1").members().count(), 2, "nobody is left there");
    assert_eq!(net.search("alice", "s1", words("julia", 5)).0.len(), 1);
}

#[test]
fn who_drains_leaves_in_the_end_whoever_stays() {
    let mut net = Net::of(2);
    net.attach("bob", "s0", 0);
    net.run(SECOND);
    net.tell("s0", crate::proto::Input::Drain);
    net.run(SECOND * 14);
    assert_eq!(net.supernode("s1").members().count(), 2);
    net.run(SECOND * 2);
    assert_eq!(net.supernode("s1").members().count(), 1);
}

#[test]
fn who_steps_down_tells_a_child_that_stays_again_and_one_that_went_no_more() {
    let mut net = Net::of(3);
    net.attach("alice", "s0", 0);
    net.attach("bob", "s0", 0);
    net.run(SECOND);
    net.tell("s0", crate::proto::Input::StepDown);
    net.run(SECOND);
    net.cut("bob", "s0");
    net.heard("alice");
    net.heard("bob");
    net.run(SECOND * 3);
    assert_eq!(redirected(&mut net, "alice"), Some(2));
    assert!(net.heard("bob").is_empty());
    net.cut("alice", "s0");
    net.run(SECOND * 10);
    assert!(net.heard("alice").is_empty());
}

#[test]
fn who_steps_down_while_nobody_has_room_names_everybody() {
    let mut net = Net::new();
    net.start("s0", Config { capacity: 4 }, &[]);
    net.start("s1", Config { capacity: 0 }, &["s0"]);
    net.start("s2", Config { capacity: 0 }, &["s0"]);
    net.run(SECOND);
    net.attach("alice", "s0", 0);
    net.heard("alice");
    net.tell("s0", crate::proto::Input::StepDown);
    net.run(SECOND);
    assert_eq!(redirected(&mut net, "alice"), Some(2));
}

#[test]
fn a_standby_is_kept_and_attaches_in_one_step() {
    let mut net = Net::of(2);
    net.share("bob", "s0", &["julia"]);
    net.say("bob", "s1", ToHome::Standby);
    net.run(SECOND);
    assert!(net.heard("bob").contains(&ToChild::StandbyKept));
    net.kill("s0");
    net.attach("bob", "s1", 1);
    net.run(LATENCY);
    assert_eq!(attached(&mut net, "bob"), Some(mark(0)));
}

#[test]
fn a_cancelled_search_says_nothing_more() {
    let mut net = Net::of(2);
    net.share("bob", "s1", &["julia"]);
    net.attach("alice", "s0", 0);
    net.run(SECOND);
    net.heard("alice");
    net.say("alice", "s0", ToHome::Search { id: RequestId(1), query: words("julia", 5) });
    net.say("alice", "s0", ToHome::Cancel(RequestId(1)));
    net.run(SECOND * 6);
    assert!(net.heard("alice").is_empty());
}

/// The last pace that a child heard.
fn paced(net: &mut Net, child: &str) -> Option<Pace> {
    let heard = net.heard(child).into_iter().filter_map(|message| match message {
        ToChild::Pace(pace) => Some(pace),
        _ => None,
    });
    heard.last()
}

#[test]
fn children_are_told_to_be_quick_while_they_are_few() {
    let mut net = Net::new();
    net.start("s0", Config::default(), &[]);
    let children: Vec<_> = (0..=FEW_CHILDREN).map(|number| format!("child{number}")).collect();
    let (last, first) = children.split_last().expect("there are some");
    for child in first {
        net.attach(child, "s0", 0);
        net.run(SECOND);
        assert_eq!(paced(&mut net, child), Some(Pace::Quick), "{child}");
    }
    net.attach(last, "s0", 0);
    net.run(SECOND);
    assert!(children.iter().all(|child| paced(&mut net, child) == Some(Pace::HOME)), "they are many now");
    net.attach("late", "s0", 0);
    net.run(SECOND);
    assert_eq!(paced(&mut net, "late"), None, "that is what a child takes for granted");
    let (gone, left) = children.split_at(FEW_CHILDREN / 2);
    gone.iter().for_each(|child| net.cut(child, "s0"));
    net.run(SECOND);
    assert!(left.iter().all(|child| paced(&mut net, child).is_none()), "one more or less does not matter");
    net.cut(&left[0], "s0");
    net.cut(&left[1], "s0");
    net.run(SECOND);
    assert_eq!(paced(&mut net, &left[2]), Some(Pace::Quick));
}

#[test]
fn a_child_that_dies_before_it_says_anything_more_is_noticed_as_soon_as_any_other() {
    let mut net = Net::new();
    net.start("s0", Config::default(), &[]);
    net.attach("alice", "s0", 0);
    assert_eq!(net.supernode("s0").pace(&node("alice")), Pace::HOME);
    net.cut("alice", "s0");
    assert_eq!(net.supernode("s0").pace(&node("alice")), Pace::Slow, "it may come back as a standby");
}

#[test]
fn a_full_mesh_of_few_is_quick_and_one_of_many_is_not() {
    let net = Net::of(4);
    assert_eq!(net.supernode("s0").pace(&node("s1")), Pace::Quick);
    assert_eq!(net.supernode("s0").pace(&node("stranger")), Pace::Slow);
    let net = Net::of(FEW_LINKS + 2);
    assert_eq!(net.supernode("s0").pace(&node("s1")), Pace::Steady);
}
