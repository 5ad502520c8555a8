//! What alice says to other nodes, and what she hears from them.

use nearmesh_common::wire::signal::{End, SessionId, Signal, SignalBody};

use super::*;

const BOB: u8 = 77;

fn signal(from: u8, to: u8) -> Box<Signal> {
    let body = SignalBody::End(End::Done);
    Box::new(Signal { from: id(from), to: id(to), session: SessionId([1; 16]), body })
}

fn heard(scene: &Scene) -> Vec<(u8, u8)> {
    let signals = scene.events.iter().filter_map(|event| match event {
        Event::Signal { home, signal } => Some((home.0[0], signal.from.0[0])),
        _ => None,
    });
    signals.collect()
}

fn is_signal(message: &ToHome) -> bool {
    matches!(message, ToHome::Signal { .. })
}

#[test]
fn a_signal_goes_by_the_present_home() {
    let mut scene = Scene::at_home(&[10, 20]);
    scene.handle(Input::Signal { home: id(2), signal: signal(0, BOB) });
    assert_eq!(scene.sent_to(1, is_signal), 1);
    scene.kill(1);
    scene.advance(ms(2000));
    assert_eq!(scene.home(), Some(2));
    scene.handle(Input::Signal { home: id(2), signal: signal(0, BOB) });
    assert_eq!(scene.sent_to(2, is_signal), 1);
}

#[test]
fn without_a_home_nothing_is_said() {
    let mut scene = Scene::new(&[10]);
    scene.handle(Input::Signal { home: id(2), signal: signal(0, BOB) });
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(1000));
    assert_eq!(scene.home(), Some(1));
    assert_eq!(scene.sent_to(1, is_signal), 0);
}

#[test]
fn what_others_say_is_heard_through_the_home_alone() {
    let mut scene = Scene::at_home(&[10, 20]);
    scene.receive(1, ToChild::Signal { home: id(2), signal: signal(BOB, 0) });
    assert_eq!(heard(&scene), [(2, BOB)]);
    scene.receive(2, ToChild::Signal { home: id(2), signal: signal(BOB, 0) });
    scene.receive(1, ToChild::Signal { home: id(2), signal: signal(BOB, 5) });
    assert_eq!(heard(&scene), [(2, BOB)], "neither from another supernode nor for another node");
    let alternatives = vec![scene.record(2)];
    scene.receive(1, ToChild::Redirect(alternatives));
    assert_eq!(scene.home(), Some(2));
    scene.receive(1, ToChild::Signal { home: id(2), signal: signal(BOB, 0) });
    assert_eq!(heard(&scene).len(), 2, "the old home is still where others find it");
    scene.advance(Duration::from_secs(3));
    scene.receive(1, ToChild::Signal { home: id(2), signal: signal(BOB, 0) });
    assert_eq!(heard(&scene).len(), 2);
}
