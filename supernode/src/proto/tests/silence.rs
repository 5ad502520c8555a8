//! Many die without a word: their links stay up until the transport notices, and by then everybody must long be found again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nearmesh_common::wire::{
    LinkMessage,
    home::{RequestId, ToChild, ToHome},
    mesh::Mesh,
};

use super::across::{grouped, s};
use crate::proto::testing::{Net, node, user};

const SECOND: Duration = Duration::from_secs(1);

/// Supernodes of which some die, each with so many children.
struct Scene {
    net: Net,
    dead: BTreeSet<usize>,
    /// Each child's home.
    homes: BTreeMap<String, usize>,
}

/// What became of lookups that were asked at once.
#[derive(Debug, Default)]
struct Outcome {
    asked: usize,
    wrong: BTreeSet<String>,
    /// The time that the slowest took.
    slowest: Duration,
    unanswered: usize,
}

impl Scene {
    fn new(supernodes: usize, children: usize) -> Self {
        let mut net = grouped(supernodes);
        let mut homes = BTreeMap::new();
        for n in 0..supernodes * children {
            net.attach(&child(n), &s(n % supernodes), 0);
            homes.insert(child(n), n % supernodes);
        }
        net.run(SECOND * 5);
        let dead = (0..supernodes).filter(|n| node(&s(*n)).0[19] % 10 < 3).collect();
        Self { net, dead, homes }
    }

    fn fall_silent(&mut self) {
        self.dead.iter().for_each(|dead| self.net.silence(&s(*dead)));
    }

    fn living(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self.homes.values().copied().collect();
        all.difference(&self.dead).copied().collect()
    }

    fn orphans(&self) -> Vec<String> {
        let orphan = |(child, home): (&String, &usize)| self.dead.contains(home).then(|| child.clone());
        self.homes.iter().filter_map(orphan).collect()
    }

    /// One who lost its home finds another.
    fn attach_elsewhere(&mut self, child: &str, nth: usize) {
        let living = self.living();
        let home = living[nth * 7 % living.len()];
        self.net.attach(child, &s(home), 0);
        self.homes.insert(child.into(), home);
    }

    /// Every child with a living home looks up one user of `sought`, all at the same moment, from somewhere else in each `round`.
    fn look_up(&mut self, sought: &[String], round: usize) -> Outcome {
        let with_home = |(child, home): (&String, &usize)| (!self.dead.contains(home)).then(|| child.clone());
        let askers: Vec<String> = self.homes.iter().filter_map(with_home).collect();
        let began = self.net.now.instant;
        let mut open = BTreeMap::new();
        for (n, sought) in sought.iter().enumerate() {
            let asker = &askers[(n * 31 + round * 17) % askers.len()];
            let home = s(self.homes[asker]);
            let id = RequestId((round * 10_000 + n) as u64);
            self.net.say(asker, &home, ToHome::Lookup { id, user: user(sought) });
            open.insert((asker.clone(), id), sought.clone());
        }
        let mut outcome = Outcome { asked: open.len(), ..Outcome::default() };
        // A node waits for 8 s; a home has 3.
        while !open.is_empty() && self.net.now.instant - began < SECOND * 4 {
            self.net.run(SECOND / 50);
            for asker in &askers {
                for message in self.net.heard(asker) {
                    let ToChild::Found { id, nodes } = message else { continue };
                    let Some(sought) = open.remove(&(asker.clone(), id)) else { continue };
                    outcome.slowest = outcome.slowest.max(self.net.now.instant - began);
                    let home = node(&s(self.homes[&sought]));
                    if self.net.online_homes(asker, nodes) != [home] {
                        outcome.wrong.insert(sought);
                    }
                }
            }
        }
        outcome.unanswered = open.len();
        outcome
    }

    /// The transport notices.
    fn links_end(&mut self) {
        self.dead.iter().for_each(|dead| self.net.kill(&s(*dead)));
    }

    fn sent_of(&self, which: impl Fn(&Mesh) -> bool) -> usize {
        let is = |message: &LinkMessage| matches!(message, LinkMessage::Mesh(mesh) if which(mesh));
        self.net.sent.iter().filter(|(.., message)| is(message)).count()
    }

    fn over_budget(&self) -> u64 {
        self.net.supernodes.values().map(|supernode| supernode.counters().over_budget).sum()
    }
}

fn child(n: usize) -> String {
    format!("c{n}")
}

#[test]
fn when_a_third_of_the_supernodes_dies_without_a_word_everybody_is_found_before_the_transport_knows() {
    let mut scene = Scene::new(144, 3);
    let orphans = scene.orphans();
    let with_home: Vec<String> = scene.homes.keys().filter(|c| !orphans.contains(c)).cloned().collect();
    scene.fall_silent();
    scene.net.sent.clear();
    let killed = scene.net.now.instant;
    let mut orphans = orphans.into_iter().enumerate().peekable();
    let batch = orphans.len().div_ceil(6);
    for second in 0..16usize {
        // Their nodes notice after four seconds, and need up to six more for another home.
        for _ in 0..if (4..10).contains(&second) { batch } else { 0 } {
            orphans.next().into_iter().for_each(|(n, orphan)| scene.attach_elsewhere(&orphan, n));
        }
        if second % 3 == 1 {
            let outcome = scene.look_up(&with_home, second);
            eprintln!("{second}: {outcome:?}");
            assert_eq!(outcome.unanswered, 0, "no lookup takes longer than it may");
            assert!(outcome.slowest <= Duration::from_millis(3200), "{:?}", outcome.slowest);
            // Of one in 37 all holders died. Nobody can know these before their homes have noticed.
            let most = if second < 8 { outcome.asked / 12 } else { 0 };
            assert!(outcome.wrong.len() <= most, "after {second} s {:?}", outcome.wrong);
        }
        let next = killed + SECOND * (second as u32 + 1);
        scene.net.run(next.saturating_duration_since(scene.net.now.instant));
    }
    let all: Vec<String> = scene.homes.keys().cloned().collect();
    for round in 0..3 {
        let outcome = scene.look_up(&all, 100 + round);
        eprintln!("all: {outcome:?} after {:?}", scene.net.now.instant - killed);
        assert_eq!((outcome.wrong.len(), outcome.unanswered), (0, 0), "of {}: {outcome:?}", outcome.asked);
    }
    // And it costs what it may.
    assert_eq!(scene.over_budget(), 0);
    scene.links_end();
    scene.net.run(SECOND * 15);
    let outcome = scene.look_up(&all, 200);
    assert_eq!((outcome.wrong.len(), outcome.unanswered), (0, 0), "of {}: {outcome:?}", outcome.asked);
}
