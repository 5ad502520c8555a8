//! Who could forward for alice.

use nearmesh_common::wire::{
    home::MAX_RELAY_LIST,
    signal::{MAX_RELAYS, MAX_SIGNAL_ADDRESSES},
};

use super::*;

/// Alice at home at supernode 1, where these relays are named.
fn with_relays(relays: &[(u8, Option<u64>)]) -> Scene {
    let mut scene = Scene::new(&[10, 20]);
    scene.relays = relays.iter().map(|(number, rtt)| (*number, rtt.map(ms))).collect();
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(1000));
    scene
}

/// The relays as they were told last, and how far they are in milliseconds.
fn told(scene: &Scene) -> Vec<(u8, u32)> {
    let relays = scene.events.iter().rev().find_map(|event| match event {
        Event::Relays(relays) => Some(relays),
        _ => None,
    });
    let offers = relays.into_iter().flatten();
    offers.map(|offer| (offer.node.0[0], offer.rtt_us.unwrap() / 1000)).collect()
}

fn is_list(message: &ToHome) -> bool {
    matches!(message, ToHome::ListRelays)
}

#[test]
fn the_relays_that_the_home_names_are_measured_and_the_nearest_come_first() {
    let scene = with_relays(&[(50, Some(30)), (51, Some(10)), (52, None), (53, Some(20))]);
    assert_eq!(told(&scene), [(51, 10), (53, 20), (50, 30)]);
}

#[test]
fn no_more_are_kept_than_a_session_names_and_these_are_the_nearest() {
    let many: Vec<_> = (0..MAX_RELAY_LIST as u8).map(|n| (50 + n, Some(100 - u64::from(n)))).collect();
    let told = told(&with_relays(&many));
    assert_eq!(told.len(), MAX_RELAYS);
    assert_eq!(told[0], (50 + MAX_RELAY_LIST as u8 - 1, 101 - MAX_RELAY_LIST as u32));
}

#[test]
fn relays_are_measured_again_and_those_that_died_are_dropped() {
    let mut scene = with_relays(&[(50, Some(30)), (51, Some(10)), (52, Some(40))]);
    scene.relays = [(50, Some(ms(5))), (51, None), (52, Some(ms(40))), (53, Some(ms(50)))].into();
    scene.advance(Duration::from_secs(121));
    assert_eq!(told(&scene), [(50, 5), (52, 40), (53, 50)]);
}

#[test]
fn who_knows_too_few_asks_again_soon_and_then_seldom() {
    let mut scene = with_relays(&[(50, Some(30))]);
    assert_eq!(scene.sent_to(1, is_list), 1);
    scene.advance(Duration::from_secs(20));
    assert_eq!(scene.sent_to(1, is_list), 2);
    scene.advance(Duration::from_secs(3600));
    let asked = scene.sent_to(1, is_list);
    assert!((30..45).contains(&asked), "{asked} times in an hour");
}

#[test]
fn a_new_home_is_asked_for_its_own_relays() {
    let mut scene = with_relays(&[(50, Some(30)), (51, Some(10)), (52, Some(40))]);
    scene.relays.insert(60, Some(ms(1)));
    scene.kill(1);
    scene.advance(ms(2000));
    assert_eq!(scene.home(), Some(2));
    assert_eq!(told(&scene), [(60, 1), (51, 10), (50, 30), (52, 40)]);
}

#[test]
fn a_relay_that_answers_at_another_address_is_offered_there_first() {
    let mut scene = Scene::at_home(&[10]);
    let first = SocketAddr::from(([10, 9, 9, 9], 1));
    let mut relay = address(50);
    relay.addresses.splice(0..0, [first; MAX_SIGNAL_ADDRESSES - 1]);
    scene.relays.insert(50, Some(ms(3)));
    scene.receive(1, ToChild::Relays(vec![relay]));
    let Some(Event::Relays(offers)) = scene.events.last() else { panic!("no relays") };
    assert_eq!(offers[0].addresses[0], address(50).addresses[0]);
    assert_eq!(offers[0].addresses.len(), MAX_SIGNAL_ADDRESSES);
}
