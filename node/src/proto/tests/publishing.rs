//! Registering files, and saying where alice is.

use nearmesh_common::{
    nat::Reach,
    presence::{Presence, REFRESH},
};

use super::*;
use crate::proto::Reached;

const EPOCH: u64 = 9;

fn mark(revision: u64) -> JournalMark {
    JournalMark { epoch: EPOCH, revision }
}

/// The revisions after which batches were published to `number`, each with where it ends.
fn published(scene: &Scene, number: u8) -> Vec<(u64, u64)> {
    let batch = |(to, message): &(u8, ToHome)| match message {
        ToHome::Publish { after, upto, .. } if *to == number => Some((after.revision, *upto)),
        _ => None,
    };
    scene.sent.iter().filter_map(batch).collect()
}

fn presences(scene: &Scene) -> Vec<Presence> {
    let presence = |(_, message): &(u8, ToHome)| match message {
        ToHome::Attach { presence, .. } | ToHome::Refresh(presence) | ToHome::Detach(presence) => {
            Some(keyring(1).verify(presence.clone(), scene.now.wall).unwrap().content)
        }
        _ => None,
    };
    scene.sent.iter().filter_map(presence).collect()
}

fn sharing(files: u64) -> Scene {
    let mut scene = Scene::at_home(&[10, 20]);
    scene.revision = files;
    scene.handle(Input::Journal(mark(files)));
    scene
}

#[test]
fn files_are_published_in_order_a_few_batches_ahead_of_the_home() {
    let mut scene = sharing(5000);
    assert_eq!(published(&scene, 1), [(0, 500), (500, 1000), (1000, 1500), (1500, 2000)]);
    scene.receive(1, ToChild::Published(mark(500)));
    assert_eq!(published(&scene, 1).last(), Some(&(2000, 2500)), "each confirmation makes room for one");
    for revision in (1000..=5000).step_by(500) {
        scene.receive(1, ToChild::Published(mark(revision)));
    }
    assert_eq!(published(&scene, 1).len(), 10);
    assert_eq!(scene.alice.registered(), Some(mark(5000)));
    assert_eq!(scene.events.last(), Some(&Event::Registered(mark(5000))));
}

#[test]
fn a_home_that_holds_a_part_gets_only_the_rest() {
    let mut scene = sharing(1200);
    scene.supernode(2).holds = mark(1000);
    scene.kill(1);
    assert_eq!(scene.home(), Some(2));
    assert_eq!(published(&scene, 2), [(1000, 1200)]);
}

#[test]
fn a_home_is_left_only_when_the_next_one_has_every_file() {
    let mut scene = sharing(700);
    scene.receive(1, ToChild::Published(mark(700)));
    scene.closed.clear();
    let alternatives = vec![scene.record(2)];
    scene.receive(1, ToChild::Redirect(alternatives));
    assert_eq!(scene.home(), Some(2));
    let left = |scene: &Scene| scene.sent_to(1, |message| matches!(message, ToHome::Detach(_)));
    scene.receive(2, ToChild::Published(mark(500)));
    assert_eq!((left(&scene), scene.closed.contains(&1)), (0, false), "200 are found only there");
    scene.receive(2, ToChild::Published(mark(700)));
    scene.advance(ms(1900));
    assert_eq!(
        (left(&scene), scene.closed.contains(&1)),
        (0, false),
        "a search may have asked 2 before that"
    );
    scene.advance(ms(200));
    assert_eq!((left(&scene), scene.closed.contains(&1)), (1, true));
}

#[test]
fn a_home_that_never_has_every_file_keeps_nobody_at_the_one_before() {
    let mut scene = sharing(700);
    let alternatives = vec![scene.record(2)];
    scene.receive(1, ToChild::Redirect(alternatives));
    scene.advance(Duration::from_secs(61));
    assert_eq!(scene.sent_to(1, |message| matches!(message, ToHome::Detach(_))), 1);
}

#[test]
fn a_home_that_holds_another_journal_gets_everything() {
    let mut scene = sharing(700);
    scene.supernode(2).holds = JournalMark { epoch: EPOCH - 1, revision: 400 };
    scene.kill(1);
    assert_eq!(published(&scene, 2), [(0, 500), (500, 700)]);
}

#[test]
fn a_journal_begun_anew_is_published_from_its_start() {
    let mut scene = sharing(300);
    scene.receive(1, ToChild::Published(mark(300)));
    scene.revision = 20;
    scene.handle(Input::Journal(JournalMark { epoch: EPOCH + 1, revision: 20 }));
    assert_eq!(published(&scene, 1), [(0, 300), (0, 20)]);
}

#[test]
fn a_batch_that_the_home_never_confirms_is_sent_again_from_its_last_mark() {
    let mut scene = sharing(900);
    scene.receive(1, ToChild::Published(mark(500)));
    scene.advance(Duration::from_secs(30));
    assert_eq!(published(&scene, 1), [(0, 500), (500, 900), (500, 900)]);
}

#[test]
fn a_home_that_always_falls_back_is_not_flooded() {
    let mut scene = sharing(400);
    for _ in 0..100 {
        scene.receive(1, ToChild::Published(mark(0)));
        scene.advance(Duration::from_secs(1));
    }
    assert!(published(&scene, 1).len() < 20, "{} times", published(&scene, 1).len());
}

#[test]
fn sequences_rise_even_when_the_clock_goes_back() {
    let mut scene = Scene::at_home(&[10, 20]);
    scene.handle(Input::Reached(Reached { addresses: address(0).addresses, ..Reached::default() }));
    scene.now.wall = UnixMillis(WALL.0 - 3_600_000);
    scene.handle(Input::Reached(Reached::default()));
    let sequences: Vec<_> = presences(&scene).iter().map(|presence| presence.sequence).collect();
    assert!(sequences.len() == 3 && sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
}

#[test]
fn a_node_that_learns_how_it_is_reached_says_so_once() {
    let mut scene = Scene::at_home(&[10, 20]);
    let reached = Reached { addresses: address(0).addresses, reach: Reach::Reachable, relays: true };
    scene.handle(Input::Reached(reached.clone()));
    scene.handle(Input::Reached(reached));
    let said = presences(&scene);
    assert_eq!(said.len(), 2, "one when it attached, one when it knew more");
    let last = said.last().unwrap();
    assert!(last.reach.is_reachable() && last.relays && last.addresses == address(0).addresses);
}

#[test]
fn a_presence_is_renewed_before_it_expires_and_always_names_the_home() {
    let mut scene = Scene::at_home(&[10, 20]);
    scene.advance(REFRESH * 3);
    let renewed = scene.sent_to(1, |message| matches!(message, ToHome::Refresh(_)));
    assert_eq!(renewed, 3);
    assert!(presences(&scene).iter().all(|presence| presence.home == id(1) && presence.since == WALL));
    scene.kill(1);
    assert_eq!(presences(&scene).last().unwrap().home, id(2));
}

#[test]
fn who_leaves_says_so_and_asks_for_nothing_more() {
    let mut scene = Scene::at_home(&[10, 20]);
    scene.handle(Input::Leave);
    assert!(!presences(&scene).last().unwrap().online);
    let (sent, dialled) = (scene.sent.len(), scene.dialled.len());
    scene.advance(Duration::from_secs(3600));
    assert_eq!((scene.sent.len(), scene.dialled.len(), scene.home()), (sent, dialled, None));
}
