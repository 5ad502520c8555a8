//! Many die without a word: their links stay up until the transport notices, and by then everybody must long be found again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nearmesh_common::wire::{
    LinkMessage,
    home::{RequestId, ToChild, ToHome},
    mesh::Mesh,
    query::{Filter, Query, Subject},
};

use super::across::{grouped, is_elsewhere, s};
use crate::proto::{
    placement::{Groups, Place},
    testing::{Net, file, node, user},
};

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
    /// Nearly a third dies, another one for each `draw`.
    fn new(supernodes: usize, children: usize, draw: u8) -> Self {
        let mut net = grouped(supernodes);
        let mut homes = BTreeMap::new();
        for n in 0..supernodes * children {
            net.attach(&child(n), &s(n % supernodes), 0);
            homes.insert(child(n), n % supernodes);
        }
        net.run(SECOND * 5);
        let dead = (0..supernodes).filter(|n| node(&s(*n)).0[19].wrapping_add(draw) % 10 < 3).collect();
        Self { net, dead, homes }
    }

    fn fall_silent(&mut self) {
        self.dead.iter().for_each(|dead| self.net.silence(&s(*dead)));
        self.net.sent.clear();
    }

    /// Sixteen seconds. Nodes notice after four that their home is gone, and need up to six more to find another. `each` comes with every second.
    fn live_through_it(&mut self, mut each: impl FnMut(&mut Self, usize)) {
        let killed = self.net.now.instant;
        let orphans = self.orphans();
        let batch = orphans.len().div_ceil(6);
        let mut orphans = orphans.into_iter().enumerate();
        for second in 0..16usize {
            for (n, orphan) in orphans.by_ref().take(if (4..10).contains(&second) { batch } else { 0 }) {
                self.attach_elsewhere(&orphan, n);
            }
            each(self, second);
            let next = killed + SECOND * (second as u32 + 1);
            self.net.run(next.saturating_duration_since(self.net.now.instant));
        }
    }

    fn everybody(&self) -> Vec<String> {
        self.homes.keys().cloned().collect()
    }

    #[track_caller]
    fn all_are_found(&mut self, round: usize) {
        let outcome = self.look_up(&self.everybody(), round);
        assert_eq!((outcome.wrong.len(), outcome.unanswered), (0, 0), "of {}: {outcome:?}", outcome.asked);
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

    /// Presences that were sent, each as often as it was.
    fn stored(&self) -> usize {
        let presences = self.net.sent.iter().map(|(.., message)| match message {
            LinkMessage::Mesh(Mesh::Store { presences, .. }) => presences.len(),
            _ => 0,
        });
        presences.sum()
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
    let mut scene = Scene::new(144, 3, 0);
    let orphans: BTreeSet<String> = scene.orphans().into_iter().collect();
    let with_home: Vec<String> = scene.everybody().into_iter().filter(|c| !orphans.contains(c)).collect();
    scene.fall_silent();
    scene.live_through_it(|scene, second| {
        if second % 3 != 1 {
            return;
        }
        let outcome = scene.look_up(&with_home, second);
        assert_eq!(outcome.unanswered, 0, "no lookup takes longer than it may");
        assert!(outcome.slowest <= Duration::from_millis(3200), "{:?}", outcome.slowest);
        // Of one in 37 all holders died. Nobody can know where these are before their homes have noticed.
        let most = if second < 8 { outcome.asked / 25 } else { 0 };
        assert!(outcome.wrong.len() <= most, "after {second} s {:?}", outcome.wrong);
    });
    (100..103).for_each(|round| scene.all_are_found(round));
    let children = scene.homes.len();
    let members = |home: usize| scene.net.supernode(&s(home)).membership().0.members().count();
    let links: usize = scene.living().into_iter().map(members).sum();
    let pings = scene.sent_of(|mesh| matches!(mesh, Mesh::Ping { .. }));
    let told = scene.stored();
    println!("{pings} pings on {links} links, {told} presences of {children} told");
    assert!(pings <= links, "{pings} pings on {links} links");
    // Through two contacts to three holders each is eight: for those who moved, and once again for everybody.
    assert!(told <= children * 8 * 2, "{told} presences");
    assert_eq!(scene.over_budget(), 0);
    scene.net.sent.clear();
    scene.links_end();
    scene.net.run(SECOND * 15);
    scene.all_are_found(200);
    assert!(scene.stored() < children * 4, "{} presences: it is not all told again", scene.stored());
}

#[test]
fn where_hardly_anything_is_said_the_silence_is_noticed_all_the_same() {
    for draw in [1, 4] {
        let mut scene = Scene::new(100, 1, draw);
        scene.fall_silent();
        scene.live_through_it(|_, _| {});
        (0..3).for_each(|round| scene.all_are_found(round));
    }
}

#[test]
fn contents_are_found_after_a_third_fell_silent() {
    let mut scene = Scene::new(100, 1, 2);
    let title = |n: usize| format!("title{n}.mp4");
    let home_of = |scene: &Scene, n: usize| s(scene.homes[&child(n)]);
    for n in 0..100 {
        scene.net.share(&child(n), &home_of(&scene, n), &[&title(n)]);
    }
    scene.net.run(SECOND * 4);
    let orphans: Vec<usize> = (0..100).filter(|n| scene.dead.contains(n)).collect();
    scene.fall_silent();
    scene.live_through_it(|scene, second| {
        if second == 10 {
            orphans.iter().for_each(|n| scene.net.share(&child(*n), &home_of(scene, *n), &[&title(*n)]));
        }
    });
    for n in (0..100).step_by(9) {
        let asker = (n..).map(|n| n * 37 % 100).find(|asker| !scene.dead.contains(asker)).unwrap();
        let query = Query {
            subject: Subject::Content(file(1, &title(n)).hash),
            filter: Filter::default(),
            limit: 50,
        };
        let (hits, _) = scene.net.search(&child(asker), &s(asker), query);
        let homes: Vec<_> = hits.iter().map(|hit| hit.source.home).collect();
        assert_eq!(homes, [node(&home_of(&scene, n))], "title{n} from s{asker}");
    }
}

#[test]
fn a_lookup_whose_contacts_are_all_dead_goes_on_by_a_mate() {
    let mut net = grouped(100);
    let far = (1..100).map(s).find(|name| is_elsewhere(&net, "s0", name)).unwrap();
    net.attach("alice", "s0", 0);
    for n in 0..20 {
        net.attach(&format!("bob{n}"), &far, 0);
    }
    net.run(SECOND);
    for n in 0..20 {
        let bob = format!("bob{n}");
        let place = Place::of_user(&user(&bob));
        let (membership, world) = net.supernode("s0").membership();
        let groups = membership.groups();
        if place.group(groups) == membership.own_group() {
            continue;
        }
        let contacts = membership.contacts(place.group(groups), world);
        let silent: Vec<_> = (0..100).map(s).filter(|name| contacts.contains(&node(name))).collect();
        silent.iter().for_each(|name| net.silence(name));
        let began = net.now.instant;
        assert_eq!(net.whereabouts("alice", "s0", &bob), [(node(&far), true)], "{bob}");
        assert!(net.now.instant - began < SECOND * 3);
        return;
    }
    panic!("nobody's key is of another group");
}

#[test]
fn a_presence_whose_holders_are_all_dead_reaches_those_who_take_their_place() {
    let mut net = grouped(100);
    let groups = Groups::new(net.supernode("s0").group_bits());
    let place = Place::of_user(&user("bob"));
    let members = net.supernodes.keys().copied().filter(|id| groups.of(&id.0) == place.group(groups));
    let holders = place.holders(members);
    let (holders, others): (Vec<_>, Vec<_>) = (0..100).map(s).partition(|name| holders.contains(&node(name)));
    holders.iter().for_each(|name| net.silence(name));
    net.attach("bob", &others[0], 0);
    net.run(SECOND * 2);
    for home in others.iter().step_by(7) {
        net.attach("alice", home, 0);
        assert_eq!(net.whereabouts("alice", home, "bob"), [(node(&others[0]), true)], "from {home}");
    }
}

#[test]
fn one_that_is_silent_alarms_nobody_and_nothing_is_told_again() {
    let mut scene = Scene::new(100, 3, 0);
    let members = scene.net.supernode("s0").membership().0.members().count();
    scene.dead = BTreeSet::from([5]);
    scene.fall_silent();
    // Its contacts and mates meet it when somebody moves.
    scene.live_through_it(|scene, second| {
        let movers: Vec<_> = scene.everybody().into_iter().skip(second * 3).take(3).collect();
        movers.iter().enumerate().for_each(|(n, mover)| scene.attach_elsewhere(mover, second * 3 + n));
    });
    scene.all_are_found(0);
    let pings = scene.sent_of(|mesh| matches!(mesh, Mesh::Ping { .. }));
    assert!(pings > 0 && pings <= members * 9, "{pings} pings by at most {members} who noticed");
    assert_eq!(scene.sent_of(|mesh| matches!(mesh, Mesh::Ping { alarm: true, .. })), 0);
    let moved = 3 + 16 * 3;
    assert!(scene.stored() <= moved * 9, "{} presences for {moved} who moved", scene.stored());
}
