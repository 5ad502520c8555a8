//! Many die at once; the net falls apart and is whole again.

use std::time::Duration;

use nearmesh_common::NodeId;

use super::crowd::Crowd;
use crate::proto::membership::REMEMBERED;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn when_a_third_dies_at_once_the_others_find_new_contacts_without_a_storm() {
    let mut crowd = Crowd::of(200);
    let dead: Vec<NodeId> = crowd.supernodes.keys().copied().filter(|node| node.0[19] % 10 < 3).collect();
    assert!((50..70).contains(&dead.len()), "{}", dead.len());
    crowd.dials = 0;
    crowd.kill(&dead);
    // Four until it is noticed, five until a dial to somebody dead is over.
    crowd.run(SECOND * 15);
    let alive: Vec<NodeId> = crowd.supernodes.keys().copied().collect();
    assert_eq!(crowd.lost_ways(|_, _| true), 0, "of {} ways", alive.len() * (alive.len() - 1));
    let dials = crowd.dials / alive.len();
    assert!(dials < 80, "{dials} dials each in fifteen seconds");
    assert_eq!(crowd.flaws_after(4, SECOND * 60), Vec::<String>::new());
}

#[test]
fn halves_that_were_apart_for_ten_minutes_are_one_within_a_minute() {
    for count in [40, 200] {
        let mut crowd = Crowd::of(count);
        crowd.part(true);
        crowd.run(SECOND * 600);
        let bits: Vec<_> = crowd.supernodes.values().map(|supernode| supernode.group_bits()).collect();
        let same = |a: &NodeId, b: &NodeId| Crowd::is_left(a) == Crowd::is_left(b);
        assert_eq!(crowd.lasting_lost_ways(same), 0, "each half of {count} works for itself");
        crowd.part(false);
        crowd.run(SECOND * 60);
        // One in a thousand may be a link that is being opened or closed just then.
        let lost = crowd.lost_ways(|_, _| true);
        assert!(lost * 1000 <= count * (count - 1), "{lost} ways of {count}, whose halves saw {bits:?} bits");
        crowd.run(SECOND * 30);
        let lost = crowd.lost_ways(|_, _| true);
        assert!(
            lost * 10_000 <= count * (count - 1),
            "{lost} ways of {count}, whose halves saw {bits:?} bits"
        );
        let whole = match count {
            40 => 0,
            _ => 4,
        };
        assert_eq!(crowd.flaws_after(whole, SECOND * 120), Vec::<String>::new());
    }
}

#[test]
fn halves_of_a_small_net_that_were_apart_for_days_are_one_within_minutes() {
    let mut crowd = Crowd::of(9);
    let left = crowd.supernodes.keys().filter(|node| Crowd::is_left(node)).count();
    assert!((3..=6).contains(&left), "halves of {left} and {}", 9 - left);
    crowd.part(true);
    crowd.run(SECOND * 3600 * 60);
    assert_eq!(crowd.lost_ways(|_, _| true), 2 * left * (9 - left));
    crowd.part(false);
    crowd.run(SECOND * 180);
    assert_eq!(crowd.lost_ways(|_, _| true), 0);
}

#[test]
fn who_died_is_dialled_ever_more_seldom() {
    for (count, survivors) in [(30, 29), (30, 3), (30, 1)] {
        let mut crowd = Crowd::of(count);
        let dead: Vec<NodeId> = crowd.supernodes.keys().copied().skip(survivors).collect();
        crowd.kill(&dead);
        let mut dials_within = |hours| {
            crowd.dials = 0;
            crowd.run(SECOND * 3600 * hours);
            crowd.dials / survivors
        };
        let (first, later) = (dials_within(1), (dials_within(23), dials_within(1)).1);
        let lost = dead.len();
        println!("of {count} {survivors} survive: {first} dials each in an hour, {later} a day later");
        assert!(first <= 100 * lost, "{first}");
        assert!(later <= if survivors == 1 { 31 * lost } else { 8 * lost }, "{later}");
    }
}

#[test]
fn of_those_who_died_long_ago_only_a_few_are_remembered() {
    let mut crowd = Crowd::of(30);
    let dead: Vec<NodeId> = crowd.supernodes.keys().copied().take(27).collect();
    crowd.kill(&dead);
    crowd.run(SECOND * 3600 * 20);
    let known = |crowd: &Crowd| -> Vec<usize> {
        crowd.supernodes.values().map(|supernode| supernode.membership().0.known()).collect()
    };
    assert_eq!(known(&crowd), [29; 3], "it may be an outage");
    crowd.run(SECOND * 3600 * 8);
    assert_eq!(known(&crowd), [2 + REMEMBERED; 3]);
}
