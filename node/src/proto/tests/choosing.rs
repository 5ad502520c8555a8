//! Choosing a home, and keeping one.

use super::*;
use crate::proto::{LIST_EVERY, OWN_AFTER, SURVEY_EVERY};

#[test]
fn a_node_that_knows_one_supernode_finds_the_nearest_through_it() {
    let scene = Scene::at_home(&[80, 60, 12, 40, 25, 90]);
    assert_eq!(scene.home(), Some(3));
    assert_eq!(scene.standby(), Some(5), "the second best stands by");
    let measured: std::collections::BTreeSet<_> = scene.probed.iter().collect();
    assert!(measured.len() >= 5, "at least five were measured: {measured:?}");
    assert!(scene.closed.contains(&1), "the link that brought the list is closed");
    assert_eq!(scene.alice.home().unwrap().rtt, Some(ms(12)));
}

#[test]
fn a_supernode_without_room_is_passed_over() {
    let mut scene = Scene::new(&[80, 60, 12, 40]);
    scene.supernode(3).children = 10;
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(1000));
    assert_eq!(scene.home(), Some(4));
}

#[test]
fn a_full_supernode_redirects_and_an_alternative_becomes_home() {
    let mut scene = Scene::new(&[80, 60, 12, 40]);
    scene.supernode(3).redirects_to = vec![2, 4];
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(1000));
    assert_eq!(scene.home(), Some(4));
    assert_eq!(scene.sent_to(3, is_attach), 1, "the full one is not asked twice");
}

#[test]
fn of_supernodes_that_are_equally_near_not_all_nodes_choose_the_same() {
    let homes: std::collections::BTreeSet<_> = (0..40)
        .map(|seed| {
            let mut scene = Scene::seeded(&[20; 10], seed);
            scene.handle(Input::Candidates((1..=10).map(|n| Candidate::new(address(n))).collect()));
            scene.advance(ms(1000));
            scene.home().unwrap()
        })
        .collect();
    assert!(homes.len() >= 8, "only {homes:?} were chosen");
}

#[test]
fn who_is_told_to_come_again_does_so_then_and_not_before() {
    let mut scene = Scene::new(&[12]);
    scene.supernode(1).later = Some(3000);
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(2900));
    assert_eq!((scene.home(), scene.sent_to(1, is_attach)), (None, 1));
    let dialled = scene.dialled.len();
    scene.supernode(1).later = None;
    scene.advance(ms(200));
    assert_eq!((scene.home(), scene.sent_to(1, is_attach)), (Some(1), 2));
    assert_eq!(scene.dialled.len(), dialled, "the link stayed open");
}

#[test]
fn nobody_waits_for_a_place_where_another_has_room() {
    let mut scene = Scene::new(&[60, 80, 12]);
    scene.supernode(3).later = Some(3000);
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(1000));
    assert_eq!(scene.home(), Some(1));
}

#[test]
fn a_home_that_has_too_many_is_left_for_a_lighter_one_that_it_names_and_hears_where_to() {
    let mut scene = Scene::at_home(&[12, 14]);
    scene.supernode(2).children = 10;
    let (home, standby) = (scene.home().unwrap(), scene.standby().unwrap());
    scene.supernode(standby).children = 10;
    let full = scene.record(standby);
    scene.supernodes.insert(9, Scripted::new(ms(30)));
    let lighter = scene.record(9);
    scene.advance(ms(20_000));
    scene.receive(home, ToChild::Redirect(vec![lighter, full]));
    scene.advance(ms(600));
    assert_eq!(scene.home(), Some(9), "the standby has no room");
    scene.advance(Duration::from_secs(2));
    assert_eq!(scene.sent_to(home, |message| matches!(message, ToHome::Detach(_))), 1);
}

/// Each of thirty supernodes sends the node on to the next one; a tenth of a second has passed.
fn sent_in_circles() -> Scene {
    let mut scene = Scene::new(&[10; 30]);
    for number in 1..=30 {
        scene.supernode(number).redirects_to = vec![number % 30 + 1];
    }
    scene.handle(Input::Candidates((1..=30).map(|number| Candidate::new(address(number))).collect()));
    scene.advance(ms(100));
    scene
}

#[test]
fn endless_redirects_end_in_a_pause() {
    let scene = sent_in_circles();
    assert_eq!(scene.home(), None);
    let attaches = scene.sent.iter().filter(|(_, message)| is_attach(message)).count();
    assert!(attaches <= 8, "{attaches} attaches in a tenth of a second");
}

#[test]
fn who_is_sent_from_one_to_the_next_asks_the_first_again() {
    let scene = sent_in_circles();
    let asked: Vec<_> =
        scene.sent.iter().filter(|(_, message)| is_attach(message)).map(|(to, _)| *to).collect();
    assert!(asked.len() > 3, "{asked:?}");
    assert_eq!(asked[3], asked[0], "{asked:?}");
}

#[test]
fn when_the_home_dies_the_standby_is_asked_at_once() {
    let mut scene = Scene::at_home(&[80, 60, 12, 40, 25]);
    let (home, standby) = (scene.home().unwrap(), scene.standby().unwrap());
    scene.kill(home);
    assert_eq!(scene.home(), Some(standby), "no time has passed");
    scene.advance(ms(5000));
    let next = scene.standby().expect("there is a new standby");
    assert!(next != standby && next != home);
    assert!(matches!(scene.events.iter().rfind(|e| matches!(e, Event::Home(_))), Some(Event::Home(Some(_)))));
}

#[test]
fn a_home_that_dies_with_its_standby_is_replaced_within_two_seconds() {
    let mut scene = Scene::at_home(&[80, 60, 12, 40, 25]);
    let (home, standby) = (scene.home().unwrap(), scene.standby().unwrap());
    scene.supernode(standby).alive = false;
    scene.kill(home);
    assert_eq!(scene.home(), None, "the standby's death is not noticed yet");
    scene.advance(ms(2000));
    assert_eq!(scene.home(), Some(4));
}

#[test]
fn the_standby_is_on_another_machine_if_there_is_one() {
    let mut scene = Scene::new(&[80, 60, 12, 13, 25]);
    let mut same_machine = address(4);
    same_machine.addresses = address(3).addresses;
    scene.supernodes.remove(&4);
    let known = [address(1), address(2), address(3), address(5), same_machine];
    scene.supernodes.insert(4, Scripted { mute: true, ..Scripted::new(ms(13)) });
    scene.supernode(1).mute = true; // No list comes: alice has to do with what she knows.
    scene.handle(Input::Candidates(known.into_iter().map(Candidate::new).collect()));
    scene.advance(ms(6000));
    assert_eq!((scene.home(), scene.standby()), (Some(3), Some(5)));
}

#[test]
fn a_supernode_that_does_not_answer_is_given_up_in_time() {
    let mut scene = Scene::new(&[80, 60, 12, 40]);
    scene.supernode(3).mute = true;
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(ms(2000));
    assert_eq!(scene.home(), Some(4));
    assert!(scene.closed.contains(&3));
}

#[test]
fn a_node_moves_only_for_a_clear_and_lasting_gain() {
    let mut scene = Scene::at_home(&[30, 60, 70]);
    assert_eq!(scene.home(), Some(1));
    scene.supernode(2).rtt = ms(25);
    scene.advance(Duration::from_secs(900));
    assert_eq!(scene.home(), Some(1), "25 ms is not below two thirds of 30 ms");
    scene.supernode(2).rtt = ms(15);
    scene.probed.clear();
    let measured = (0..300).any(|_| {
        scene.advance(Duration::from_secs(1));
        scene.probed.contains(&2)
    });
    assert!(measured);
    assert_eq!(scene.home(), Some(1), "one measurement could be luck");
    scene.advance(Duration::from_secs(123));
    assert_eq!(scene.home(), Some(2), "it is measured again soon");
    assert_eq!(scene.sent_to(1, |message| matches!(message, ToHome::Detach(_))), 1);
}

#[test]
fn orphans_without_a_standby_come_back_spread_over_time() {
    let waits: Vec<_> = (0..20)
        .map(|seed| {
            let mut scene = Scene::new(&[10]);
            scene.alice = Client::new(Config::default(), keyring(0), seed, scene.now);
            scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
            scene.advance(ms(1000));
            scene.kill(1);
            let before = scene.now.instant;
            scene.alice.poll_timeout().unwrap().saturating_duration_since(before)
        })
        .collect();
    let spread = *waits.iter().max().unwrap() - *waits.iter().min().unwrap();
    assert!(spread > ms(400), "they waited {waits:?}");
    assert!(waits.iter().all(|wait| *wait <= ms(800)));
}

#[test]
fn a_node_that_nobody_answers_asks_less_and_less_often() {
    let mut scene = Scene::new(&[10]);
    scene.supernode(1).alive = false;
    scene.handle(Input::Candidates(vec![Candidate::new(address(1))]));
    scene.advance(Duration::from_secs(60));
    let first = scene.probed.len();
    scene.advance(Duration::from_secs(540));
    let later = (scene.probed.len() - first) / 9;
    assert!(first > 0 && later * 2 <= first, "{first} in the first minute, then {later} a minute");
    scene.supernode(1).alive = true;
    scene.advance(Duration::from_secs(62));
    assert_eq!(scene.home(), Some(1), "but it never gives up");
}

#[test]
fn a_node_that_serves_is_its_own_home_and_finds_another_when_it_stops() {
    let mut scene = Scene::at_home(&[10, 20, 30]);
    scene.supernodes.insert(0, Scripted::new(Duration::ZERO));
    scene.handle(Input::Serving(true));
    assert_eq!(
        (scene.home(), scene.standby()),
        (Some(1), None),
        "nobody would hear from one who knows nobody"
    );
    scene.advance(OWN_AFTER);
    assert_eq!((scene.home(), scene.standby()), (Some(0), None));
    scene.handle(Input::Serving(false));
    scene.advance(ms(1000));
    assert_eq!(scene.home(), Some(1));
    assert!(scene.standby().is_some());
}

#[test]
fn a_node_that_serves_needs_no_other_home_when_its_old_one_ends() {
    for ends in [Input::LinkDown { node: id(1) }, Input::Serving(true)] {
        let mut scene = Scene::at_home(&[10, 20, 30]);
        scene.supernodes.insert(0, Scripted::new(Duration::ZERO));
        scene.handle(Input::Serving(true));
        scene.advance(ms(100));
        match ends {
            Input::LinkDown { .. } => scene.handle(ends),
            _ => scene.receive(1, ToChild::Redirect(vec![scene.record(2)])),
        }
        scene.advance(ms(1000));
        assert_eq!(scene.home(), Some(0));
    }
}

#[test]
fn a_node_that_serves_while_it_moves_says_that_it_stayed() {
    let mut scene = Scene::at_home(&[10, 20, 30]);
    scene.supernode(2).mute = true;
    scene.receive(1, ToChild::Redirect(vec![scene.record(2)]));
    assert_eq!(scene.sent_to(2, is_attach), 1);
    let refreshes = |scene: &Scene| scene.sent_to(1, |message| matches!(message, ToHome::Refresh(_)));
    let before = refreshes(&scene);
    scene.handle(Input::Serving(true));
    assert_eq!((scene.home(), refreshes(&scene)), (Some(1), before + 1));
}

#[test]
fn a_node_that_serves_for_a_moment_only_stays_where_it_is() {
    let mut scene = Scene::at_home(&[10, 20, 30]);
    scene.handle(Input::Serving(true));
    scene.advance(ms(1000));
    scene.handle(Input::Serving(false));
    scene.advance(OWN_AFTER);
    assert_eq!((scene.home(), scene.sent_to(0, is_attach)), (Some(1), 0));
    assert!(scene.standby().is_some());
}

#[test]
fn a_supernode_that_stepped_down_is_forgotten() {
    let mut scene = Scene::new(&[10, 20, 30]);
    scene.supernode(1).refuses = Some(Refusal::NotASupernode);
    let all = (1..=3).map(|number| Candidate::new(address(number))).collect();
    scene.handle(Input::Candidates(all));
    scene.advance(ms(2000));
    assert_eq!(scene.home(), Some(2));
    assert!(scene.alice.candidates().iter().all(|candidate| candidate.address.node != id(1)));
}

#[test]
fn a_home_that_redirects_its_child_is_left_for_another() {
    let mut scene = Scene::at_home(&[10, 20, 30]);
    let alternatives = vec![scene.record(2), scene.record(3)];
    scene.receive(1, ToChild::Redirect(alternatives));
    assert_eq!(scene.home(), Some(2));
    scene.advance(Duration::from_secs(2));
    assert_eq!(scene.sent_to(1, |message| matches!(message, ToHome::Detach(_))), 1);
}

#[test]
fn who_is_sent_away_again_goes_to_one_that_its_home_names() {
    let mut scene = Scene::at_home(&[10, 20, 21, 22, 23, 24, 200]);
    for full in 2..=6 {
        (scene.supernode(full).redirects_to, scene.supernode(full).full) = (vec![7], true);
    }
    let send_away = |scene: &mut Scene| {
        let alternatives = vec![scene.record(7)];
        scene.receive(1, ToChild::Redirect(alternatives));
        scene.advance(Duration::from_secs(3));
    };
    send_away(&mut scene);
    assert_eq!(scene.home(), Some(1), "the standby has become full");
    send_away(&mut scene);
    assert_eq!(scene.home(), Some(7), "and so have the others that were near");
}

#[test]
fn who_is_asking_its_old_home_for_a_place_does_not_leave_it_meanwhile() {
    let mut scene = Scene::at_home(&[30, 60]);
    scene.supernode(2).rtt = ms(12);
    let moved = (0..9000).any(|_| {
        scene.advance(ms(100));
        scene.home() == Some(2)
    });
    assert!(moved);
    scene.advance(ms(1000));
    assert_eq!(scene.standby(), Some(1));
    scene.supernode(1).mute = true;
    let back = vec![scene.record(1)];
    scene.receive(2, ToChild::Redirect(back));
    scene.advance(ms(1200));
    let left = |scene: &Scene, node| scene.sent_to(node, |message| matches!(message, ToHome::Detach(_)));
    assert_eq!((scene.sent_to(1, is_attach), left(&scene, 1)), (2, 0), "it asks, and its time there is over");
    let (journal, home) = (JournalMark::default(), scene.record(1));
    scene.receive(1, ToChild::Attached { journal, home });
    scene.advance(Duration::from_secs(3));
    assert_eq!((scene.home(), left(&scene, 1), left(&scene, 2)), (Some(1), 0, 1));
}

#[test]
fn the_end_of_a_home_must_be_noticed_soon_and_that_of_a_standby_need_not() {
    let mut scene = Scene::at_home(&[80, 60, 12, 40, 25]);
    let (home, standby) = (scene.home().unwrap(), scene.standby().unwrap());
    assert_eq!(scene.paces.get(&home), Some(&Pace::HOME));
    assert_eq!(scene.paces.get(&standby), None, "a link begins calm");
    scene.receive(home, ToChild::Pace(Pace::Quick));
    assert_eq!(scene.paces.get(&home), Some(&Pace::Quick), "it has few children");
    scene.receive(home, ToChild::Pace(Pace::Calm));
    assert_eq!(scene.paces.get(&home), Some(&Pace::HOME), "no home makes its children careless");
    scene.receive(standby, ToChild::Pace(Pace::Quick));
    assert_eq!(scene.paces.get(&standby), None);
    scene.kill(home);
    assert_eq!((scene.home(), scene.paces.get(&standby)), (Some(standby), Some(&Pace::HOME)));
}

#[test]
fn a_home_that_was_left_is_quick_no_more() {
    let mut scene = Scene::at_home(&[30, 60]);
    scene.supernode(2).rtt = ms(12);
    scene.advance(Duration::from_secs(900));
    assert_eq!(
        (scene.home(), scene.standby()),
        (Some(2), Some(1)),
        "they changed places, and links stay open"
    );
    assert_eq!((scene.paces[&2], scene.paces[&1]), (Pace::HOME, Pace::Calm));
}

#[test]
fn a_node_at_home_measures_four_others_and_soon_finds_one_that_is_new_and_near() {
    let mut scene = Scene::at_home(&[30; 40]);
    scene.advance(Duration::from_secs(130));
    scene.probed.clear();
    let (home, standby) = (scene.home().unwrap(), scene.standby().unwrap());
    scene.advance(SURVEY_EVERY * 12);
    let others = scene.probed.iter().filter(|probed| ![home, standby].contains(probed)).count();
    assert!((4 * 12..=4 * 17).contains(&others), "four in each of 12 to 17 surveys: {others}");
    // One is named by the next list, among dozens that were never measured either.
    scene.supernodes.insert(41, Scripted::new(ms(10)));
    scene.advance(2 * LIST_EVERY);
    assert_eq!(scene.home(), Some(41));
}
