use proptest::prelude::*;
use rand::SeedableRng;

use super::{
    super::{
        start,
        stun::{Decision, Responder},
    },
    *,
};

const ROUNDS: u32 = 3;

fn alice() -> SocketAddr {
    "192.0.2.7:41641".parse().expect("an address")
}

fn bob() -> SocketAddr {
    "198.51.100.9:4433".parse().expect("an address")
}

fn probe(now: Now) -> StunProbe {
    StunProbe::new(bob(), ROUNDS, StdRng::seed_from_u64(7), now)
}

/// What bob answers to a request of alice's.
fn bobs_answer(request: &[u8]) -> Vec<u8> {
    match Responder::new(1).handle(request, alice(), start()) {
        Decision::Answer(bytes, _) => bytes,
        Decision::Ignore(reason) => panic!("bob ignored a probe: {reason:?}"),
    }
}

/// Drives a probe over a path: `delay(n)` is the round trip of its n-th request, or `None` if that one is lost.
fn run(
    mut probe: StunProbe,
    mut now: Now,
    delay: impl Fn(usize) -> Option<u64>,
) -> (Option<Measured>, usize, Duration) {
    let begun = now.instant;
    let (mut sent, mut on_the_way) = (0, BTreeMap::new());
    loop {
        while let Some(output) = probe.poll_output() {
            match output {
                Output::Done(result) => return (result, sent, now.instant - begun),
                Output::Send { to, packet } => {
                    assert_eq!(to, bob());
                    if let Some(delay) = delay(sent) {
                        on_the_way
                            .insert((now.instant + Duration::from_millis(delay), sent), bobs_answer(&packet));
                    }
                    sent += 1;
                }
            }
        }
        let timeout = probe.poll_timeout().expect("a probe that is not over waits for something");
        match on_the_way.first_key_value().map(|((at, _), _)| *at) {
            Some(arrival) if arrival <= timeout => {
                let (_, packet) = on_the_way.pop_first().expect("there is one");
                now = now.after(arrival - now.instant);
                probe.handle(Input::Received { from: bob(), packet: &packet }, now);
            }
            _ => {
                now = now.after(timeout - now.instant);
                probe.handle(Input::Timeout, now);
            }
        }
    }
}

fn rtt(result: Option<Measured>) -> Option<u64> {
    result.map(|measured| u64::try_from(measured.rtt.as_millis()).expect("short"))
}

#[test]
fn a_probe_yields_the_smallest_of_three_round_trips_and_our_address() {
    let (result, sent, took) = run(probe(start()), start(), |n| Some([30, 20, 25][n]));
    let measured = result.expect("bob answers");
    assert_eq!((measured.rtt, measured.observed), (Duration::from_millis(20), alice()));
    assert_eq!((sent, took), (3, Duration::from_millis(75)), "one after the other, none in vain");
}

#[test]
fn a_lost_request_is_followed_by_another_one() {
    let now = start();
    let (result, sent, took) = run(probe(now), now, |n| (n != 0).then_some(20));
    assert_eq!((rtt(result), sent), (Some(20), 4));
    assert_eq!(took, FIRST_WAIT + Duration::from_millis(60));
}

#[test]
fn a_path_slower_than_the_first_wait_is_measured_rightly() {
    let now = start();
    let (result, ..) = run(probe(now), now, |_| Some(600));
    assert_eq!(rtt(result), Some(600), "the answer belongs to the request that caused it");
}

#[test]
fn a_silent_address_ends_the_probe_at_the_deadline() {
    let now = start();
    let (result, sent, took) = run(probe(now), now, |_| None);
    assert_eq!((result, took), (None, DEADLINE));
    assert!(sent <= MAX_REQUESTS as usize);
}

#[test]
fn only_the_asked_address_with_the_right_transaction_is_believed() {
    let now = start();
    let mut asking = probe(now);
    let Some(Output::Send { packet, .. }) = asking.poll_output() else { panic!("it asks at once") };
    let answer = bobs_answer(&packet);
    let later = now.after(Duration::from_millis(5));

    asking.handle(
        Input::Received { from: "203.0.113.1:4433".parse().expect("an address"), packet: &answer },
        later,
    );
    let Some(Output::Send { packet: other, .. }) =
        StunProbe::new(bob(), 1, StdRng::seed_from_u64(8), now).poll_output()
    else {
        panic!("it asks at once")
    };
    asking.handle(Input::Received { from: bob(), packet: &bobs_answer(&other) }, later);
    asking.handle(Input::Received { from: bob(), packet: &packet }, later);
    assert_eq!((asking.poll_output(), asking.ignored()), (None, 3));

    asking.handle(Input::Received { from: bob(), packet: &answer }, later);
    asking.handle(Input::Received { from: bob(), packet: &answer }, later);
    assert_eq!(asking.ignored(), 4, "an answer counts once");
    assert!(matches!(asking.poll_output(), Some(Output::Send { .. })), "on to the second round");
}

proptest! {
    #[test]
    fn any_path_ends_in_time_with_bounded_requests_and_the_least_delay_seen(
        delays in proptest::collection::vec(proptest::option::of(0u64..1500), MAX_REQUESTS as usize),
        seed: u64,
    ) {
        let now = start();
        let asking = StunProbe::new(bob(), ROUNDS, StdRng::seed_from_u64(seed), now);
        let (result, sent, took) = run(asking, now, |n| delays[n]);
        prop_assert!(took <= DEADLINE && sent <= MAX_REQUESTS as usize);
        if let Some(rtt) = rtt(result) {
            prop_assert!(delays[..sent].contains(&Some(rtt)), "a delay that some request had");
        }
    }

    #[test]
    fn garbage_is_ignored(packet in proptest::collection::vec(any::<u8>(), 0..700)) {
        let now = start();
        let mut asking = probe(now);
        asking.handle(Input::Received { from: bob(), packet: &packet }, now);
        prop_assert_eq!(asking.ignored(), 1);
    }
}
