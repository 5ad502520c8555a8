use nearmesh_common::UnixMillis;

use super::*;

struct Alice {
    machine: Bootstrap,
    begun: Instant,
    now: Now,
}

impl Alice {
    fn new(remembers: bool) -> Self {
        #[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning")]
        let begun = Instant::now();
        let now = Now { instant: begun, wall: UnixMillis(1_000_000) };
        Self { machine: Bootstrap::new([Way::List, Way::Name, Way::Local], remembers, 7), begun, now }
    }

    fn tell(&mut self, input: Input) -> Vec<Way> {
        self.machine.handle(input, self.now);
        let mut asked: Vec<Way> = std::iter::from_fn(|| self.machine.poll_output()).collect();
        asked.sort();
        asked
    }

    /// Lets time pass until something is asked; what, and how long it took in all.
    fn wait(&mut self) -> Option<(Vec<Way>, Duration)> {
        self.now.instant = self.machine.poll_timeout()?;
        let asked = self.tell(Input::Timeout);
        Some((asked, self.now.instant - self.begun))
    }

    fn answer(&mut self, ways: &[Way]) {
        for way in ways {
            assert_eq!(self.tell(Input::Answered(*way)), []);
        }
    }
}

#[test]
fn the_local_network_is_asked_at_once_and_the_others_when_what_is_remembered_leads_nowhere() {
    let mut alice = Alice::new(true);
    assert_eq!(alice.tell(Input::Need(Need::Home)), [Way::Local]);
    assert_eq!(alice.wait(), Some((vec![Way::List, Way::Name], FALLBACK_AFTER)));
}

#[test]
fn who_remembers_nothing_asks_everybody_at_once() {
    let mut alice = Alice::new(false);
    assert_eq!(alice.tell(Input::Need(Need::Home)), [Way::List, Way::Name, Way::Local]);
}

#[test]
fn who_finds_a_home_asks_nobody_any_more() {
    let mut alice = Alice::new(true);
    alice.tell(Input::Need(Need::Home));
    assert_eq!(alice.tell(Input::Need(Need::Nothing)), []);
    alice.answer(&[Way::Local]);
    assert_eq!(alice.wait(), None);
}

#[test]
fn without_a_home_each_way_is_asked_again_and_again_with_growing_waits() {
    let mut alice = Alice::new(false);
    let mut asked = alice.tell(Input::Need(Need::Home));
    let mut lists = Vec::new();
    while lists.len() < 40 {
        alice.answer(&asked);
        let (again, at) = alice.wait().unwrap();
        if again.contains(&Way::List) {
            lists.push(at);
        }
        asked = again;
    }
    let waits: Vec<Duration> = lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(lists[0] >= FIRST_WAIT / 2 && lists[0] <= FIRST_WAIT);
    assert!(waits.iter().all(|wait| *wait <= LONGEST_WITHOUT_HOME), "{waits:?}");
    assert!(waits[10..].iter().all(|wait| *wait >= LONGEST_WITHOUT_HOME / 2), "{waits:?}");
}

#[test]
fn a_way_that_has_not_answered_is_not_asked_again() {
    let mut alice = Alice::new(false);
    alice.tell(Input::Need(Need::Home));
    alice.tell(Input::Need(Need::Nothing));
    assert_eq!(alice.tell(Input::Need(Need::Home)), []);
    assert_eq!(alice.wait(), None);
}

#[test]
fn a_list_that_changes_is_read_at_once_by_who_needs_it() {
    let mut alice = Alice::new(false);
    let asked = alice.tell(Input::Need(Need::Home));
    assert_eq!(alice.tell(Input::ListChanged), [], "it is being read");
    alice.answer(&asked);
    assert_eq!(alice.tell(Input::ListChanged), [Way::List]);
    alice.answer(&[Way::List]);
    alice.tell(Input::Need(Need::Nothing));
    assert_eq!(alice.tell(Input::ListChanged), [], "nobody needs it");
}

#[test]
fn a_supernode_that_is_alone_goes_on_looking_for_others_but_seldom() {
    let mut alice = Alice::new(true);
    let mut asked = alice.tell(Input::Need(Need::Company));
    let mut last = Duration::ZERO;
    for _ in 0..60 {
        alice.answer(&asked);
        let (again, at) = alice.wait().unwrap();
        (asked, last) = (again, at);
    }
    assert!(last > LONGEST_ALONE * 3, "{last:?}");
}
