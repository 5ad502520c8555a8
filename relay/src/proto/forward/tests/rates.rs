//! How much is forwarded.

use super::*;

/// Each sends 1,000 packets of 1,000 bytes a second, by turns, for ten seconds: how many bytes a second of each arrive.
fn pour(relay: &mut Relay, clients: &[Client]) -> Vec<u64> {
    let mut arrived = vec![0; clients.len()];
    for _ in 0..10_000 {
        for (client, arrived) in clients.iter().zip(&mut arrived) {
            if matches!(relay.packet(client), Decision::Forward { .. }) {
                *arrived += 1_000;
            }
        }
        relay.pass(Duration::from_millis(1));
    }
    arrived.into_iter().map(|bytes| bytes / 10).collect()
}

fn about(value: u64, expected: u64) -> bool {
    value.abs_diff(expected) <= expected / 20
}

fn two_pairs(relay: &mut Relay) -> (Client, Client) {
    let (alice, _) = relay.open();
    let (carol, dave) = (at("192.0.2.3:3"), at("192.0.2.4:4"));
    let (carol, _) = relay.open_between(("carol", carol), ("dave", dave), 2);
    (alice, carol)
}

#[test]
fn a_pair_gets_its_rate_and_the_rest_is_counted() {
    let mut relay = Relay::new(Limits { pair_rate: Some(200_000), pair_bytes: u64::MAX, ..limits() });
    let (alice, _) = relay.open();
    let arrived = pour(&mut relay, &[alice]);
    assert!(about(arrived[0], 200_000), "{arrived:?}");
    let counters = relay.machine.counters();
    assert_eq!(counters.packets + counters.dropped.pair_rate, 10_000);
}

#[test]
fn both_directions_of_a_pair_share_its_rate() {
    let mut relay = Relay::new(Limits { pair_rate: Some(200_000), pair_bytes: u64::MAX, ..limits() });
    let (alice, bob) = relay.open();
    let arrived = pour(&mut relay, &[alice, bob]);
    assert!(about(arrived[0] + arrived[1], 200_000), "{arrived:?}");
}

#[test]
fn one_busy_pair_has_the_whole_rate_of_the_relay_and_two_share_it() {
    let mut relay = Relay::new(Limits { rate: Some(400_000), pair_bytes: u64::MAX, ..limits() });
    let (alice, carol) = two_pairs(&mut relay);
    let alone = pour(&mut relay, &[alice]);
    assert!(about(alone[0], 400_000), "{alone:?}");
    let shared = pour(&mut relay, &[alice, carol]);
    assert!(about(shared[0], 200_000) && about(shared[1], 200_000), "{shared:?}");
}

#[test]
fn a_flood_on_one_pair_does_not_take_the_rate_of_another() {
    let mut relay = Relay::new(Limits { rate: Some(400_000), pair_bytes: u64::MAX, ..limits() });
    let (mallory, carol) = two_pairs(&mut relay);
    // A hundred packets of mallory's for each of carol's, of which there are 100,000 bytes a second.
    let mut arrived = 0;
    for _ in 0..1_000 {
        for _ in 0..100 {
            relay.packet(&mallory);
        }
        arrived += u32::from(matches!(relay.packet(&carol), Decision::Forward { .. }));
        relay.pass(Duration::from_millis(10));
    }
    assert!(relay.machine.counters().dropped.pair_rate > 90_000);
    assert!(arrived >= 990, "{arrived} of 1000");
}
