//! Who may come in now, and what all of them together may ask.
//!
//! A supernode takes children up to its capacity. Beyond that it names others that have room; while none has, it takes up to
//! [`STRETCH`] times as many, and while even that is true of all, a few in each second: better slow than homeless. It takes no more in a second
//! than it can verify and announce without keeping others waiting; who comes in a crowd is sent elsewhere if there is room, and
//! otherwise told when to come again, each at another moment. Who was sent elsewhere and comes back found nothing there, whatever others
//! claim: it is taken like one that has nowhere to go; beyond the limit only who comes back for the third time.
//!
//! Attachments, publication and questions have a budget each, for all children together: so a crowd that comes back and registers
//! everything anew cannot starve those who search.
//!
//! Invariant: nobody is turned away without alternatives or a moment to come again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    rate::{Bucket, Limit},
    wire::home::MAX_LATER_MILLIS,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How many times its capacity a supernode takes while nobody else has room (gtk-gnutella: 300 leaves at most, and 100 is our
/// target).
pub(super) const STRETCH: u32 = 3;
/// How many times its capacity it takes at most: the only reachable node of a net is home to all (guess; a process with 5,000
/// children is measured).
const MOST: u32 = 30;

/// Attachments in a second, and at once (guess: 0.5 ms each with all that follows, so 5 % of a core; the children of one
/// neighbour that died at once).
const ATTACHMENTS: Limit = Limit::per_second(100, 200);
/// Attachments in a second beyond the stretch (guess: slow enough that those who are promoted meanwhile get most).
const TRICKLE: Limit = Limit::per_second(10, 10);
/// Changes of files in a second, and at once (guess: 10 us each, so 20 % of a core; five children's whole libraries).
const CHANGES: Limit = Limit::per_second(20_000, 100_000);
/// Searches and lookups of all children in a second, and at once (guess: 100 us each, so 10 % of a core; 300 children
/// that ask every second for a while).
const QUESTIONS: Limit = Limit::per_second(1000, 3000);

/// The shortest wait (guess: a few round trips).
const LEAST_LATER: Duration = Duration::from_millis(200);
/// Over how much the moments of two who come at the same time differ beyond their place in the line.
const SPREAD: Duration = Duration::from_millis(500);

/// Nodes that were sent elsewhere and are remembered for that (guess: a crowd's worth; 40 bytes each).
const MAX_TURNED_AWAY: usize = 1024;
/// For how long (guess: several times what trying others takes).
const TURNED_AWAY_FOR: Duration = Duration::from_secs(60);
/// How often who comes beyond the limit is sent elsewhere, if others claim to have room (guess: by then it has tried a dozen).
const BEYOND_LIMIT_AFTER: u8 = 3;

/// All budgets of one supernode.
#[derive(Debug, Default)]
pub(super) struct Door {
    attachments: Bucket,
    trickle: Bucket,
    changes: Bucket,
    questions: Bucket,
    /// When whoever is put off next is to come.
    line: Option<Instant>,
    /// Who was sent elsewhere, when it was last, and how often.
    turned_away: BTreeMap<NodeId, (Instant, u8)>,
}

/// Where else there is a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// Below the capacity of others.
    Room,
    /// Only beyond it.
    Stretched,
    /// Nowhere, or nobody else is there.
    None,
}

/// What a node that asks for a place is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Come in.
    Enter,
    /// Try the others.
    Elsewhere,
    /// Come again after that.
    Later(Duration),
}

impl Door {
    /// A node asks for a place where `children` of `capacity` are taken.
    pub(super) fn ask(
        &mut self,
        node: NodeId,
        places: (usize, u32),
        elsewhere: Elsewhere,
        now: Instant,
        rng: &mut ChaCha8Rng,
    ) -> Word {
        let lately = self.turned_away.get(&node).filter(|(at, _)| *at + TURNED_AWAY_FOR > now);
        let times = lately.map_or(0, |(_, times)| *times);
        let enough = if is_below(places, STRETCH) { 1 } else { BEYOND_LIMIT_AFTER };
        let elsewhere = if times >= enough { Elsewhere::None } else { elsewhere };
        let word = self.decide(places, elsewhere, now, rng);
        match word {
            Word::Enter => drop(self.turned_away.remove(&node)),
            Word::Elsewhere => self.turn_away(node, times, now),
            Word::Later(_) => {}
        }
        word
    }

    fn turn_away(&mut self, node: NodeId, times: u8, now: Instant) {
        if self.turned_away.len() >= MAX_TURNED_AWAY {
            self.turned_away.retain(|_, (at, _)| *at + TURNED_AWAY_FOR > now);
        }
        if self.turned_away.len() < MAX_TURNED_AWAY || times > 0 {
            self.turned_away.insert(node, (now, times.saturating_add(1)));
        }
    }

    fn decide(
        &mut self,
        places: (usize, u32),
        elsewhere: Elsewhere,
        now: Instant,
        rng: &mut ChaCha8Rng,
    ) -> Word {
        let below = |times| is_below(places, times);
        let full =
            !below(1) && elsewhere == Elsewhere::Room || !below(STRETCH) && elsewhere != Elsewhere::None;
        let (_, capacity) = places;
        if full || capacity == 0 {
            return if elsewhere == Elsewhere::None { self.later(now, rng) } else { Word::Elsewhere };
        }
        let fits = below(STRETCH) || below(MOST) && self.trickle.take(TRICKLE, now);
        if !fits {
            return self.later(now, rng);
        }
        match (self.attachments.take(ATTACHMENTS, now), elsewhere) {
            (true, _) => Word::Enter,
            (false, Elsewhere::Room) => Word::Elsewhere,
            (false, _) => self.later(now, rng),
        }
    }

    /// Whether children may publish so many changes more.
    pub(super) fn may_publish(&mut self, changes: usize, now: Instant) -> bool {
        self.changes.take_many(CHANGES, changes, now)
    }

    /// Whether children may ask one question more.
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        self.questions.take(QUESTIONS, now)
    }

    /// Each in the line gets its own moment; who would wait too long asks again somewhen.
    fn later(&mut self, now: Instant, rng: &mut ChaCha8Rng) -> Word {
        let most = Duration::from_millis(MAX_LATER_MILLIS.into());
        let turn = self.line.map_or(now, |at| at.max(now)) + ATTACHMENTS.every;
        let wait = turn - now + rng.random_range(LEAST_LATER..LEAST_LATER + SPREAD);
        if wait > most {
            return Word::Later(rng.random_range(most / 2..most));
        }
        self.line = Some(turn);
        Word::Later(wait)
    }
}

/// Whether fewer children than so many times the capacity are there.
fn is_below((children, capacity): (usize, u32), times: u32) -> bool {
    children < capacity.saturating_mul(times) as usize
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::proto::testing::start;

    fn words(count: usize, children: usize, elsewhere: Elsewhere) -> Vec<Word> {
        let (mut door, now, mut rng) = (Door::default(), start(), ChaCha8Rng::seed_from_u64(1));
        let node = |number: usize| NodeId(std::array::from_fn(|at| (number >> (8 * at.min(3))) as u8));
        (0..count).map(|number| door.ask(node(number), (children, 100), elsewhere, now, &mut rng)).collect()
    }

    #[test]
    fn a_place_depends_on_what_others_have() {
        let word = |children, elsewhere| words(1, children, elsewhere)[0];
        assert_eq!(word(99, Elsewhere::Room), Word::Enter);
        assert_eq!(word(100, Elsewhere::Room), Word::Elsewhere);
        assert_eq!(word(299, Elsewhere::Stretched), Word::Enter);
        assert_eq!(word(300, Elsewhere::Stretched), Word::Elsewhere);
        assert_eq!(word(300, Elsewhere::None), Word::Enter, "one of the few in a second");
        assert!(matches!(word(3000, Elsewhere::None), Word::Later(_)));
    }

    #[test]
    fn of_a_crowd_some_enter_and_each_of_the_others_gets_its_own_moment() {
        let words = words(700, 50, Elsewhere::None);
        assert_eq!(words.iter().filter(|word| **word == Word::Enter).count(), 200);
        let mut waits: Vec<_> = words
            .iter()
            .filter_map(|word| match word {
                Word::Later(wait) => Some(wait.as_millis() as u64),
                _ => None,
            })
            .collect();
        assert_eq!(waits.len(), 500);
        assert!(waits.iter().all(|wait| (200..=u64::from(MAX_LATER_MILLIS)).contains(wait)));
        waits.sort_unstable();
        let in_a_second = |from: u64| waits.iter().filter(|wait| (from..from + 1000).contains(wait)).count();
        assert!((0..5).all(|second| in_a_second(second * 1000) <= 130), "they come back together");
    }

    #[test]
    fn a_crowd_is_sent_elsewhere_while_there_is_room() {
        let words = words(300, 50, Elsewhere::Room);
        assert_eq!(words.iter().filter(|word| **word == Word::Elsewhere).count(), 100);
    }

    #[test]
    fn who_comes_back_from_elsewhere_is_taken_as_one_that_has_nowhere_to_go() {
        let (mut door, now, mut rng) = (Door::default(), start(), ChaCha8Rng::seed_from_u64(1));
        let (alice, bob) = (NodeId([1; 32]), NodeId([2; 32]));
        let carol = NodeId([3; 32]);
        let mut ask = |node, children, at| door.ask(node, (children, 100), Elsewhere::Room, at, &mut rng);
        assert_eq!(ask(alice, 150, now), Word::Elsewhere);
        assert_eq!(ask(alice, 150, now + Duration::from_secs(5)), Word::Enter);
        assert_eq!(ask(bob, 150, now), Word::Elsewhere);
        assert_eq!(ask(bob, 150, now + Duration::from_secs(61)), Word::Elsewhere, "that was another time");
        assert_eq!(ask(carol, 300, now), Word::Elsewhere);
        let soon = |times| now + times * Duration::from_secs(5);
        assert_eq!(
            [1, 2].map(|times| ask(carol, 300, soon(times))),
            [Word::Elsewhere; 2],
            "there is a limit"
        );
        assert_eq!(ask(carol, 300, soon(3)), Word::Enter, "she has nowhere to go");
    }

    #[test]
    fn what_is_published_takes_nothing_from_questions() {
        let (mut door, now) = (Door::default(), start());
        assert!((0..1000).any(|_| !door.may_publish(500, now)));
        assert!(door.may_ask(now));
        assert!(!door.may_publish(500, now) && door.may_publish(500, now + Duration::from_secs(1)));
    }
}
