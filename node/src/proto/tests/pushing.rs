//! Who may make alice dial.

use super::*;
use crate::proto::push::PushGate;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(now: Now, millis: u64) -> Now {
    now.after(ms(millis))
}

/// How many of so many requests are heard, one by each of `askers` in turn.
fn heard(gate: &mut PushGate, askers: u32, requests: u32, now: Now) -> usize {
    let ask = |number: u32| {
        let mut asker = [0; 32];
        asker[..4].copy_from_slice(&(number % askers).to_le_bytes());
        gate.admit(NodeId(asker), &[addr("192.0.2.1:4000")], &[], now)
    };
    (0..requests).map(ask).filter(|addresses| !addresses.is_empty()).count()
}

#[test]
fn one_asker_is_heard_a_few_times_and_then_now_and_then() {
    let (mut gate, now) = (PushGate::default(), the_beginning());
    assert_eq!(heard(&mut gate, 1, 100, now), 4);
    assert_eq!(heard(&mut gate, 1, 100, at(now, 1900)), 0);
    assert_eq!(heard(&mut gate, 1, 100, at(now, 2000)), 1);
    assert_eq!(heard(&mut gate, 1, 100, at(now, 60_000)), 4, "never more at once");
}

#[test]
fn all_askers_together_are_heard_so_often() {
    let (mut gate, now) = (PushGate::default(), the_beginning());
    assert_eq!(heard(&mut gate, 10_000, 10_000, now), 30);
    assert_eq!(heard(&mut gate, 10_000, 10_000, at(now, 1000)), 10);
}

#[test]
fn one_asker_that_floods_does_not_silence_the_others() {
    let (mut gate, now) = (PushGate::default(), the_beginning());
    heard(&mut gate, 1, 10_000, now);
    assert_eq!(heard(&mut gate, 20, 20, now), 19);
}

#[test]
fn only_what_can_be_a_host_is_dialled() {
    let (mut gate, now) = (PushGate::default(), the_beginning());
    let named = ["224.0.0.1:1", "0.0.0.0:1", "240.0.0.1:1", "127.0.0.1:1", "10.0.0.1:0", "10.0.0.1:9"];
    let named: Vec<_> = named.into_iter().map(addr).collect();
    assert_eq!(gate.admit(id(1), &named, &[addr("10.0.0.7:1")], now), [addr("10.0.0.1:9")]);
    assert!(gate.admit(id(2), &[addr("10.0.0.7:1")], &[addr("10.0.0.7:1")], now).is_empty(), "not oneself");
    assert_eq!(gate.admit(id(3), &[addr("127.0.0.1:1")], &[addr("127.0.0.1:7")], now).len(), 1);
}
