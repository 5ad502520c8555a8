//! Whatever the net does to alice: nothing grows without bound, and she comes home again.

use std::collections::BTreeSet;

use nearmesh_common::wire::{
    home::{Decline, RequestId},
    query::SearchSummary,
    signal::{End, SessionId, Signal, SignalBody},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::proto::Question;

const SUPERNODES: u8 = 8;

/// Something that nobody asked for, or asked somebody else for, or that comes too late.
fn nonsense(scene: &Scene, rng: &mut ChaCha8Rng) -> Input {
    let number = rng.random_range(1..=SUPERNODES);
    let (node, from) = (id(number), id(number));
    let mark = JournalMark { epoch: rng.random_range(0..3), revision: rng.random_range(0..2000) };
    let request = RequestId(rng.random_range(0..9));
    let records = (1..=rng.random_range(1..=SUPERNODES)).map(|number| scene.record(number)).collect();
    let said = |message| Input::Received { from, message };
    match rng.random_range(0..24) {
        0 => Input::LinkUp { node },
        1 | 2 => Input::LinkDown { node },
        3 => Input::DialFailed { node },
        4 => Input::Probed { node, rtt: None },
        5 => Input::Probed { node, rtt: Some(ms(rng.random_range(1..300))) },
        6 => Input::Serving(rng.random_bool(0.2)),
        7 => Input::Journal(mark),
        8 => Input::Changes { after: mark, upto: mark.revision + 5, changes: Vec::new() },
        9 => Input::Ask { id: request, question: Question::Lookup("bob".parse().unwrap()) },
        10 => Input::Cancel(request),
        11 => said(ToChild::Attached { journal: mark, home: scene.record(number) }),
        12 => said(ToChild::Redirect(records)),
        13 => said(ToChild::StandbyKept),
        14 => said(ToChild::Refused(Refusal::Presence)),
        15 => said(ToChild::Published(mark)),
        16 => said(ToChild::SearchDone { id: request, summary: SearchSummary::default() }),
        17 => said(ToChild::Found { id: request, nodes: Vec::new() }),
        18 => said(ToChild::Supernodes(records)),
        19 => said(ToChild::Signal { home: node, signal: signal(&mut *rng) }),
        21 => said(ToChild::Relays((0..20).map(|_| address(rng.random_range(0..200))).collect())),
        22 => Input::RelayProbed { node, answer: Some((address(number).addresses[0], ms(1))) },
        20 => Input::Signal { home: node, signal: signal(&mut *rng) },
        _ => said(ToChild::Declined { id: request, reason: Decline::TooMany }),
    }
}

fn signal(rng: &mut ChaCha8Rng) -> Box<Signal> {
    let mut someone = || id(rng.random_range(0..=SUPERNODES));
    let (from, to) = (someone(), someone());
    Box::new(Signal { from, to, session: SessionId([0; 16]), body: SignalBody::End(End::NotHere) })
}

/// The links that alice asked for and did not close.
fn links(scene: &Scene) -> usize {
    let mut open = BTreeSet::new();
    for (number, opened) in &scene.link_log {
        if *opened {
            open.insert(*number)
        } else {
            open.remove(number)
        };
    }
    open.len()
}

#[test]
fn whatever_happens_a_node_keeps_few_links_and_comes_home_again() {
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut scene = Scene::at_home(&[10, 20, 30, 40, 50, 60, 70, 80]);
        scene.supernodes.insert(0, Scripted { mute: true, ..Scripted::new(ms(0)) });
        for _ in 0..400 {
            let input = nonsense(&scene, &mut rng);
            if let Input::LinkDown { node } | Input::DialFailed { node } = &input {
                scene.link_log.push((node.0[0], false));
            }
            scene.handle(input);
            assert!(links(&scene) <= 3, "seed {seed}: {} links", links(&scene));
            let wait = ms(rng.random_range(0..800));
            scene.advance(wait);
        }
        scene.handle(Input::Serving(false));
        scene.advance(Duration::from_secs(120));
        assert!(scene.home().is_some_and(|home| home != 0), "seed {seed}: no home");
        assert!(scene.alice.candidates().len() <= 200);
    }
}
