//! Alice finds out what stands before her.

mod world;

use std::{net::SocketAddr, time::Duration};

use nearmesh_common::nat::{
    Filtering::{self, AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif},
    Mapping::{self, AddressAndPortDependent as Apdm, AddressDependent as Adm, EndpointIndependent as Eim},
    Reach,
};

use super::{Input, Report, SILENCES, Verdict};
use world::{Box, INSIDE, OUTSIDE, Ports, World};

/// How long a verdict may take from the first link on.
const VERDICT_WITHIN: Duration = Duration::from_secs(6);
/// How long everything may take, the lifetime included.
const ALL_WITHIN: Duration = Duration::from_secs(140);

fn found(nat: Box, supernodes: u8) -> Report {
    let mut world = World::new(nat, supernodes, 7);
    world.advance(VERDICT_WITHIN);
    world.report()
}

fn expected(mapping: Mapping, filtering: Filtering) -> bool {
    mapping.is_stable() && filtering == Eif
}

#[test]
fn every_kind_of_nat_is_told_with_three_supernodes() {
    for mapping in [Mapping::NoTranslation, Eim, Adm, Apdm] {
        for filtering in [Eif, Adf, Apdf] {
            for ports in [Ports::Preserved, Ports::Random] {
                let stable = Box::new(mapping, filtering);
                if mapping == Mapping::NoTranslation && ports == Ports::Random
                    || ports == Ports::Preserved && !mapping.is_stable()
                {
                    continue;
                }
                let report = found(Box { ports, ..stable }, 3);
                assert_eq!(
                    (report.nat.mapping, report.nat.filtering),
                    (mapping, filtering),
                    "{mapping}, {filtering}, {ports:?}"
                );
                assert_eq!(report.verdict == Verdict::Reachable, expected(mapping, filtering));
                let translated = mapping != Mapping::NoTranslation;
                assert_eq!(report.nat.hairpinning, translated.then_some(false));
                assert_eq!(report.server_reflexive.is_empty(), !translated);
            }
        }
    }
}

#[test]
fn loss_makes_nobody_reachable_who_is_not() {
    let mut right = 0;
    for seed in 0..200 {
        let (mapping, filtering) = [(Eim, Apdf), (Eim, Adf), (Apdm, Apdf), (Eim, Eif)][seed as usize % 4];
        let mut world = World::new(Box::new(mapping, filtering), 3, seed);
        world.loss = 0.1;
        world.advance(VERDICT_WITHIN * 3);
        let report = world.report();
        assert!(
            report.verdict != Verdict::Reachable || expected(mapping, filtering),
            "seed {seed}: {mapping}, {filtering}: {report:?}"
        );
        right += u32::from((report.nat.mapping, report.nat.filtering) == (mapping, filtering));
    }
    assert!(right >= 195, "{right} of 200");
}

#[test]
fn with_two_supernodes_a_nat_that_lets_in_contacts_is_not_taken_for_open() {
    for filtering in [Eif, Adf] {
        let report = found(Box::new(Eim, filtering), 2);
        assert_eq!(report.nat.filtering, Adf, "{filtering}: the other one has been sent to");
        assert!(matches!(report.verdict, Verdict::Behind(_)));
    }
}

#[test]
fn a_port_that_was_opened_on_request_is_reachable_when_a_packet_came_through_it() {
    let mapped = SocketAddr::new(OUTSIDE, 7117);
    for (forwarded, reach) in [(true, true), (false, false)] {
        let mut world = World::new(Box { forwarded, ..Box::new(Eim, Apdf) }, 2, 7);
        world.tell(Input::Mapped(Some(mapped)));
        world.advance(VERDICT_WITHIN);
        assert_eq!(world.report().verdict == Verdict::Reachable, reach, "forwarded: {forwarded}");
    }
}

#[test]
fn with_one_supernode_little_is_known_and_it_is_said() {
    let report = found(Box::new(Eim, Adf), 1);
    assert_eq!(report.nat.mapping, Mapping::Unknown);
    assert_eq!(report.server_reflexive, [SocketAddr::new(OUTSIDE, 7117)]);
    let open = found(Box::new(Mapping::NoTranslation, Eif), 1);
    assert_eq!(open.verdict, Verdict::Reachable, "without a NAT its packet from another port says enough");
    let firewall = found(Box::new(Mapping::NoTranslation, Apdf), 1);
    assert!(matches!(firewall.verdict, Verdict::Behind(_)));
}

#[test]
fn a_node_without_anybody_to_ask_says_so() {
    let mut world = World::new(Box::new(Eim, Apdf), 0, 7);
    world.advance(ALL_WITHIN);
    assert_eq!(world.report().verdict, Verdict::NobodyToAsk);
    assert!(Verdict::NobodyToAsk.to_string().contains("nobody to ask"));
}

#[test]
fn blocked_udp_is_told_from_a_single_silence() {
    let mut world = World::new(Box { blocked: true, ..Box::new(Eim, Apdf) }, 3, 7);
    world.advance(Duration::from_secs(9));
    assert_eq!(world.report().verdict, Verdict::Asking, "it may be just now");
    world.advance(Duration::from_secs(20));
    assert_eq!(world.report().verdict, Verdict::Blocked { asked: 3 });
    world.nat.blocked = false;
    world.tell_observers();
    world.advance(Duration::from_secs(20));
    assert!(matches!(world.report().verdict, Verdict::Behind(_)), "{:?}", world.report());
}

#[test]
fn a_node_that_gets_to_where_udp_is_blocked_notices_that_its_links_are_gone() {
    let mut world = World::new(Box::new(Eim, Apdf), 3, 7);
    world.advance(VERDICT_WITHIN);
    assert!(matches!(world.report().verdict, Verdict::Behind(_)));
    world.nat.blocked = true;
    world.supernodes.values_mut().for_each(|(_, linked)| *linked = false);
    world.tell_observers();
    world.advance(Duration::from_secs(30));
    assert_eq!(world.report().verdict, Verdict::Blocked { asked: 3 });
}

#[test]
fn dial_backs_that_were_never_sent_do_not_count_as_filtered() {
    let mut world = World::new(Box::new(Mapping::NoTranslation, Eif), 1, 7);
    world.supernodes.values_mut().for_each(|(_, linked)| *linked = false);
    world.tell_observers();
    world.advance(ALL_WITHIN);
    assert_eq!(world.report().nat.filtering, Filtering::Unknown);
    assert_eq!(world.report().verdict, Verdict::Undecided);
}

#[test]
fn supernodes_that_only_claim_to_send_cost_the_node_its_openness_and_nothing_more() {
    let mut world = World::new(Box::new(Eim, Eif), 3, 7);
    world.dial_backs_vanish = true;
    world.advance(VERDICT_WITHIN);
    assert!(matches!(world.report().verdict, Verdict::Behind(_)));
}

#[test]
fn ports_that_are_counted_are_noticed_with_few_supernodes_too() {
    for (supernodes, step) in [(2, 1), (3, 1), (4, -2), (3, 3)] {
        let report = found(Box { ports: Ports::Counted(step), ..Box::new(Apdm, Apdf) }, supernodes);
        assert_eq!(report.nat.port_step, Some(step), "{supernodes} supernodes");
        assert!(report.verdict.to_string().contains("counts its ports"));
    }
    assert_eq!(found(Box::new(Apdm, Apdf), 4).nat.port_step, None);
    assert_eq!(found(Box { ports: Ports::Counted(1), ..Box::new(Eim, Apdf) }, 4).nat.port_step, None);
}

#[test]
fn a_nat_that_turns_packets_around_is_noticed_whatever_it_filters() {
    for filtering in [Eif, Adf, Apdf] {
        let report = found(Box { hairpin: true, ..Box::new(Eim, filtering) }, 3);
        assert_eq!(report.nat.hairpinning, Some(true), "{filtering}");
    }
}

#[test]
fn the_longest_silence_that_the_nat_survives_is_found_within_two_minutes() {
    for (lifetime, survived) in [(1, 1), (3, 2), (20, 16), (40, 32), (100, 64), (300, 120)] {
        for (mapping, filtering) in [(Eim, Eif), (Eim, Apdf), (Apdm, Apdf)] {
            let lifetime = Duration::from_secs(lifetime);
            let mut world = World::new(Box { lifetime, ..Box::new(mapping, filtering) }, 3, 7);
            world.advance(ALL_WITHIN);
            let measured = world.report().mapping_lifetime;
            assert_eq!(measured, Some(Duration::from_secs(survived)), "{mapping}, {filtering}, {lifetime:?}");
        }
    }
    assert_eq!(SILENCES.last(), Some(&Duration::from_secs(120)));
}

#[test]
fn without_a_nat_no_lifetime_is_measured() {
    let mut world = World::new(Box::new(Mapping::NoTranslation, Eif), 3, 7);
    world.advance(ALL_WITHIN);
    assert_eq!(world.report().mapping_lifetime, None);
}

#[test]
fn a_node_that_moves_knows_nothing_until_it_has_tested_again() {
    let mut world = World::new(Box::new(Eim, Apdf), 3, 7);
    world.advance(ALL_WITHIN);
    world.rebind("203.0.113.99".parse().unwrap());
    world.nat.filtering = Eif;
    world.tell(Input::Host(vec![SocketAddr::new(INSIDE, 7117), "10.9.9.9:7117".parse().unwrap()]));
    assert_eq!(world.report().verdict.reach(), Reach::Unknown);
    assert_eq!(world.report().mapping_lifetime, None);
    assert!(world.report().server_reflexive.is_empty());
    world.advance(VERDICT_WITHIN);
    assert_eq!(world.report().verdict, Verdict::Reachable);
    assert_eq!(world.report().server_reflexive, ["203.0.113.99:7117".parse().unwrap()]);
}

#[test]
fn a_new_address_outside_is_noticed_within_a_minute_and_everything_is_tested_again() {
    let mut world = World::new(Box::new(Eim, Apdf), 3, 7);
    world.advance(ALL_WITHIN);
    world.rebind("203.0.113.99".parse().unwrap());
    world.nat.mapping = Apdm;
    world.nat.ports = Ports::Random;
    world.advance(Duration::from_secs(75));
    assert_eq!(world.report().nat.mapping, Apdm);
    assert!(world.report().server_reflexive.iter().all(|address| address.ip() != OUTSIDE));
}

#[test]
fn who_is_reached_by_a_stranger_is_reachable_until_tests_say_otherwise() {
    let mut world = World::new(Box::new(Eim, Adf), 2, 7);
    world.advance(VERDICT_WITHIN);
    world.tell(Input::Stranger { from: "10.0.0.9:5".parse().unwrap() });
    assert_ne!(world.report().verdict, Verdict::Reachable, "a neighbour behind the same NAT proves nothing");
    world.tell(Input::Stranger { from: "192.0.2.1:5".parse().unwrap() });
    assert_eq!(world.report().verdict, Verdict::Reachable);
    world.nat.filtering = Apdf;
    world.advance(Duration::from_secs(800));
    assert!(matches!(world.report().verdict, Verdict::Behind(_)), "{:?}", world.report());
}

#[test]
fn in_a_net_that_is_one_local_network_a_neighbour_is_stranger_enough() {
    let mut world = World::new(Box::new(Mapping::NoTranslation, Eif), 0, 7);
    world.tell(Input::Stranger { from: "10.0.0.9:5".parse().unwrap() });
    assert_eq!(world.report().verdict, Verdict::Reachable);
}

#[test]
fn a_settled_node_asks_little() {
    let mut world = World::new(Box::new(Eim, Apdf), 3, 7);
    world.advance(Duration::from_secs(200));
    let before = world.reports.len();
    world.advance(Duration::from_secs(3600));
    assert_eq!(world.reports.len(), before, "nothing changed, nothing is said");
}
