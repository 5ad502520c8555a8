//! What holds whatever is asked, sent, proved and forgotten, in any order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const MEMBERS: [&str; 4] = ["alice", "bob", "carol", "mallory"];

#[derive(Clone, Debug)]
enum Step {
    Ask {
        member: usize,
        peer: usize,
        session: u8,
        port: u16,
        proved: bool,
    },
    Renew(u64),
    Gone(u64),
    /// As the last question wants it.
    Proof,
    /// With the last question's cookie, by somebody else or from elsewhere.
    WrongProof {
        end: u64,
        port: u16,
    },
    /// On the channel of the end with this number.
    Packet {
        end: u64,
        port: u16,
        bytes: u64,
    },
    Pass(u64),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let port = 1u16..6;
    let end = 0u64..24;
    prop_oneof![
        20 => (0..4usize, 0..4usize, 0u8..2, port.clone(), any::<bool>())
            .prop_map(|(member, peer, session, port, proved)| Step::Ask { member, peer, session, port, proved }),
        5 => end.clone().prop_map(Step::Renew),
        5 => end.clone().prop_map(Step::Gone),
        10 => Just(Step::Proof),
        5 => (end.clone(), port.clone()).prop_map(|(end, port)| Step::WrongProof { end, port }),
        40 => (end, port, 1u64..2_000).prop_map(|(end, port, bytes)| Step::Packet { end, port, bytes }),
        5 => (0u64..30_000).prop_map(Step::Pass),
        1 => Just(Step::Drain),
    ]
}

fn port(port: u16) -> EndAddress {
    at(&format!("192.0.2.1:{port}"))
}

/// Everything that was ever proved, as (end, address).
#[derive(Default)]
struct Witness(BTreeSet<(EndId, SocketAddr)>);

fn check_tables(relay: &Relay, limits: &Limits) {
    let machine = &relay.machine;
    assert!(machine.pairs.len() <= limits.sessions);
    assert!(machine.waiting <= limits.waiting);
    assert!(machine.members.values().all(|held| *held <= limits.per_member));
    assert_eq!(machine.ends.len(), machine.asked.len());
    assert_eq!(machine.ends.len(), machine.waiting + 2 * machine.pairs.len());
    assert_eq!(machine.channels.len(), 2 * machine.pairs.len());
    assert_eq!(machine.members.values().sum::<usize>(), machine.ends.len());
    let stop = usize::from(machine.stops_at.is_some_and(|at| at > relay.now));
    assert_eq!(machine.timers.len(), machine.waiting + machine.pairs.len() + stop);
}

proptest! {
    #[test]
    fn only_proved_ends_of_live_pairs_are_served_and_the_tables_stay_within_their_bounds(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let limits = Limits { pair_bytes: 20_000, ..limits() };
        let mut relay = Relay::new(limits);
        let mut witness = Witness::default();
        for step in steps {
            match step {
                Step::Ask { member, peer, session, port: from, proved } => {
                    let from = port(from);
                    let standing = if proved { Standing::Proved(from) } else { Standing::Claimed(from) };
                    let end = relay.ask(MEMBERS[member], MEMBERS[peer], session, standing);
                    if proved {
                        witness.0.insert((end, from.remote));
                    }
                }
                Step::Renew(end) => relay.input(Input::Renew(EndId(end))),
                Step::Gone(end) => relay.input(Input::Gone(EndId(end))),
                Step::Proof => {
                    let Some((from, channel, cookie)) = relay.asked() else { continue };
                    let Some((id, side)) = relay.machine.channels.get(&channel) else { continue };
                    let end = relay.machine.pairs[id].half(*side).end;
                    let moved = relay.machine.counters().moved;
                    relay.input(Input::Proof { end, cookie, from });
                    if relay.machine.counters().moved > moved {
                        witness.0.insert((end, from.remote));
                    }
                }
                Step::WrongProof { end, port: from } => {
                    let (end, from) = (EndId(end), port(from));
                    let Some((to, channel, cookie)) = relay.asked() else { continue };
                    let asked = relay.machine.channels.get(&channel);
                    let asked = asked.map(|(id, side)| relay.machine.pairs[id].half(*side).end);
                    if asked == Some(end) && to == from {
                        continue;
                    }
                    let moved = relay.machine.counters().moved;
                    relay.input(Input::Proof { end, cookie, from });
                    prop_assert_eq!(relay.machine.counters().moved, moved);
                }
                Step::Packet { end, port: from, bytes } => {
                    let (end, from) = (EndId(end), port(from));
                    let open = relay.told(end).iter().any(|said| matches!(said, FromRelay::Open { .. }));
                    if !open {
                        continue;
                    }
                    let channel = relay.channel_of(end);
                    let closed = matches!(relay.told(end).last(), Some(FromRelay::Closed(_)));
                    if let Decision::Forward { to, channel: there } = relay.send(channel, &from, bytes) {
                        prop_assert!(!closed, "a closed reservation is served");
                        prop_assert!(witness.0.contains(&(end, from.remote)), "from an unproved address");
                        let (id, side) = relay.machine.channels[&channel];
                        let peer = relay.machine.pairs[&id].half(side.other());
                        prop_assert_eq!(peer.channel, there);
                        prop_assert!(witness.0.contains(&(peer.end, to.remote)), "to an unproved address");
                    }
                }
                Step::Pass(ms) => relay.pass(Duration::from_millis(ms)),
                Step::Drain => relay.input(Input::Drain(Duration::from_secs(40))),
            }
            check_tables(&relay, &limits);
        }
        relay.pass(2 * LIFE);
        prop_assert!(relay.holds_nothing(), "in the end everything is forgotten");
    }
}
