//! What alice's user says about relaying, and what happens when she leaves.

use nearmesh_common::wire::relay::RelayClosed;
use nearmesh_relay::io::reservation::{ReservationEnd, ReservationEvent};
use tests::relay_client::next;

use super::*;

#[test]
fn a_node_whose_user_says_no_relays_nothing() {
    let scene = Scene::with(&["--relay", "false"]);
    let bob = scene.member("bob");
    scene.runtime.block_on(async {
        let to_alice = scene.dial(&bob).await;
        let mut reservation = bob.reserve(&to_alice, request(NodeId([1; 32]), 1));
        let end = ReservationEnd::ByRelay(RelayClosed::NoRelay);
        assert_eq!(next(&mut reservation).await, ReservationEvent::Closed(end));
        assert!(to_alice.close_reason().is_none());
    });
    assert_eq!(scene.relaying("refused"), 1);
}

#[test]
fn what_is_forwarded_keeps_to_the_rate_that_the_user_set_and_is_shown() {
    const RATE: u64 = 400_000;
    let scene = Scene::with(&["--relay-rate", "400000"]);
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    scene.runtime.block_on(async {
        let began = Instant::now();
        let talk = Talk::between(&scene, &bob, &carol).await;
        // There and back, a million bytes.
        for _ in 0..16 {
            talk.ask().await;
        }
        let least = Duration::from_secs_f64(16.0 * 2.0 * QUESTION as f64 / RATE as f64);
        println!("{:?}, at that rate at least {least:?}", began.elapsed());
        assert!(began.elapsed() + Duration::from_millis(500) > least, "{:?}", began.elapsed());
        let text = scene.alice.ok(&["status"]).stdout;
        assert!(text.contains("relays      for 1 pair of nodes, "), "{text}");
        assert_eq!(scene.relaying("sessions"), 1);
        assert!(scene.relaying("bytes") > 16 * 2 * QUESTION as u64 && scene.relaying("packets") > 700);
    });
}

#[test]
fn a_relay_that_goes_down_says_so_first_and_waits_for_those_who_leave() {
    let mut scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    let mut talk = scene.runtime.block_on(Talk::between(&scene, &bob, &carol));
    scene.runtime.block_on(talk.ask());
    let began = Instant::now();
    let warned = scene.runtime.spawn(async move {
        let event = next(&mut talk.first.0).await;
        assert!(
            matches!(event, ReservationEvent::Draining(left) if left <= Duration::from_secs(2)),
            "{event:?}"
        );
        // It still works.
        talk.ask().await;
        drop(talk.first);
        let end = ReservationEvent::Closed(ReservationEnd::ByRelay(RelayClosed::PeerGone));
        while next(&mut talk.second.0).await != end {}
    });
    assert_eq!(scene.alice.stop(), 0);
    scene.runtime.block_on(warned).unwrap();
    println!("down after {:?}", began.elapsed());
}

#[test]
fn a_relay_that_goes_down_does_not_wait_for_those_who_stay() {
    let mut scene = Scene::new();
    let (bob, carol) = (scene.member("bob"), scene.member("carol"));
    let mut talk = scene.runtime.block_on(Talk::between(&scene, &bob, &carol));
    let began = Instant::now();
    assert_eq!(scene.alice.stop(), 0);
    println!("down after {:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE / 2);
    scene.runtime.block_on(async {
        let mut last = next(&mut talk.first.0).await;
        while !matches!(last, ReservationEvent::Closed(_)) {
            last = next(&mut talk.first.0).await;
        }
        assert_eq!(last, ReservationEvent::Closed(ReservationEnd::ByRelay(RelayClosed::Leaving)));
    });
}
