//! Noticing soon that a link's other end is gone.
//!
//! The transport keeps every link alive at [`Pace::Slow`], and what it has settled with the peer it cannot change. What a link is for
//! changes: a standby becomes the home, a home gets many children. So where its end must be noticed sooner, whoever wants that says
//! so with a [`LinkMessage::Pulse`], and says it again whenever nothing was heard for as long; the peer acknowledges. Both sides then know
//! how long silence may last, and close the connection after that. If both want the same pace, who accepted the link says it: a home says it to
//! all its children whose turn it is in one go, which costs it a fraction of being woken by each.
//!
//! Who opens a link on a connection that was there already does not know whether the peer still has it: a process that was killed and came back
//! does not. So a link is quick until the peer was heard on it for the first time; to open it says as much as a pulse.
//!
//! Invariant: a link does not end before the peer has acknowledged nothing of a pulse for a third of the time that it may be silent; QUIC sends the
//! pulse again all the while (RFC 9002, section 6.2).

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use nearmesh_common::{NodeId, pace::Pace, wire::LinkMessage};
use quinn::Connection;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::{connections::CloseCode, links::Links};

/// How often it is looked whose turn it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a link is looked at between two pulses: that somebody spoke is noticed by so much of its pace later.
pub const LOOKS: u32 = 7;
/// Who did not run for so long does not know who was silent meanwhile (guess: a busy machine delays a task by less).
const ABSENT: Duration = Duration::from_secs(1);

/// What one end of a link knows of the other's life.
#[derive(Debug)]
pub struct Pulse {
    /// Whether we opened the link.
    ours: bool,
    wanted: Pace,
    told: Pace,
    /// We opened the link, and heard nothing since.
    unproven: bool,
    /// What of the peer had arrived when it was looked at last.
    heard: u64,
    heard_at: Instant,
    sent_at: Instant,
    /// When it is looked at next: looking costs a microsecond, and there may be thousands.
    look_at: Instant,
    /// It was not looked at since the peer answered: what came meanwhile may have come at once.
    resting: bool,
    /// The peer spoke while we rested: until it is quiet we do not.
    lively: bool,
}

/// What is to be done about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Let the peer hear of us.
    Say(Pace),
    /// The peer is gone.
    End,
}

impl Pulse {
    /// Of a link that was opened at `now`, when so much had been `heard` of the peer.
    pub fn new(ours: bool, heard: u64, now: Instant) -> Self {
        Self {
            ours,
            wanted: Pace::Slow,
            told: Pace::Slow,
            unproven: ours,
            heard,
            heard_at: now,
            sent_at: now,
            look_at: now,
            resting: false,
            lively: false,
        }
    }

    /// The link's end must be noticed so soon from now on: what to tell the peer, if that is new.
    pub fn want(&mut self, pace: Pace, now: Instant) -> Option<Pace> {
        if self.wanted == pace {
            return None;
        }
        // Who was slow may have heard nothing for long, and the peer is no less alive for that.
        self.heard_at = now;
        self.sent_at = now;
        self.look_at = now;
        self.wanted = pace;
        (self.resting, self.lively) = (false, false);
        Some(pace)
    }

    /// The peer says how often we hear from it.
    pub fn on_pulse(&mut self, pace: Pace, now: Instant) {
        if self.told != pace {
            self.look_at = now;
        }
        self.told = pace;
        self.heard_at = now;
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        self.look_at <= now
    }

    /// `heard` grows with whatever the peer sends.
    pub fn look(&mut self, heard: u64, now: Instant) -> Due {
        let rested = std::mem::take(&mut self.resting);
        let spoke = std::mem::replace(&mut self.heard, heard) != heard;
        let answered = spoke && self.sent_at > self.heard_at;
        if spoke {
            self.unproven = false;
            self.lively |= rested;
            if !rested {
                self.heard_at = now;
            }
        }
        let pace = if self.unproven { Pace::Quick } else { self.wanted.min(self.told) };
        let end = self.heard_at + pace.silence();
        let due = self.heard_at.max(self.sent_at) + self.wanted.keep_alive();
        self.look_at = end.min(now + pace.keep_alive() / LOOKS);
        if due > now {
            self.look_at = self.look_at.min(due);
        }
        if end <= now {
            return Due::End;
        }
        let silent = now.saturating_duration_since(self.heard_at);
        let mine = self.wanted < self.told || self.wanted == self.told && !self.ours;
        let unsaid = now.saturating_duration_since(self.sent_at);
        if self.wanted == Pace::Slow || !mine {
            return Due::Nothing;
        }
        let quiet = rested && !spoke;
        if !quiet && silent.min(unsaid) < self.wanted.keep_alive() {
            if answered && !self.lively {
                // Nothing is due before the next pulse.
                (self.resting, self.look_at) = (true, self.sent_at + self.wanted.keep_alive());
            }
            return Due::Nothing;
        }
        self.lively = spoke;
        self.sent_at = now;
        Due::Say(self.wanted)
    }

    /// We were not there for so long.
    pub fn excuse(&mut self, absence: Duration) {
        self.heard_at += absence;
    }
}

/// Whatever shows that the peer lives: frames that only it can have made.
pub fn heard(connection: &Connection) -> u64 {
    let frames = connection.stats().frame_rx;
    frames.acks + frames.stream + frames.ping
}

/// Looks after all links, as long as there are any to look after.
pub async fn keep(links: Weak<Links>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Instant::now();
    loop {
        ticks.tick().await;
        let Some(links) = links.upgrade() else { return };
        let now = Instant::now();
        let absence = now.saturating_duration_since(before).saturating_sub(LOOK_EVERY);
        before = now;
        look_at_all(&links, Some(absence).filter(|absence| *absence >= ABSENT), now);
    }
}

fn look_at_all(links: &Arc<Links>, absence: Option<Duration>, now: Instant) {
    let mut due = Vec::new();
    links.each_pulse(|node, connection, pulse| {
        absence.into_iter().for_each(|absence| pulse.excuse(absence));
        if !pulse.is_due(now) {
            return;
        }
        match pulse.look(heard(connection), now) {
            Due::Nothing => {}
            Due::Say(pace) => due.push((node, pace)),
            Due::End => {
                debug!(node = %node.short(), "the peer is silent: its connection is closed");
                connection.close(CloseCode::Silent.into(), b"silent");
            }
        }
    });
    due.into_iter().for_each(|(node, pace): (NodeId, Pace)| {
        links.send(node, LinkMessage::Pulse(pace));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ends of one link, and what arrived at each.
    struct Pair {
        ends: [Pulse; 2],
        heard: [u64; 2],
        said: [usize; 2],
        looks: [usize; 2],
        now: Instant,
    }

    impl Pair {
        /// Alice opened the link.
        fn new() -> Self {
            let now = Instant::now();
            let ends = [Pulse::new(true, 0, now), Pulse::new(false, 0, now)];
            let mut pair = Self { ends, heard: [1; 2], said: [0; 2], looks: [0; 2], now };
            pair.run(LOOK_EVERY, None);
            pair
        }

        fn want(&mut self, end: usize, pace: Pace) {
            if let Some(pace) = self.ends[end].want(pace, self.now) {
                self.ends[1 - end].on_pulse(pace, self.now);
            }
        }

        /// Lets time pass; when the first end gave the other up, if it did. Of the dead one hears nothing.
        fn run(&mut self, by: Duration, dead: Option<usize>) -> Option<Duration> {
            let began = self.now;
            while self.now < began + by {
                self.now += LOOK_EVERY;
                for end in (0..2).filter(|end| Some(*end) != dead) {
                    if !self.ends[end].is_due(self.now) {
                        continue;
                    }
                    self.looks[end] += 1;
                    match self.ends[end].look(self.heard[end], self.now) {
                        Due::Nothing => {}
                        Due::End => return Some(self.now - began),
                        Due::Say(_) if dead.is_some() => {}
                        Due::Say(pace) => {
                            self.said[end] += 1;
                            self.heard = self.heard.map(|heard| heard + 1);
                            self.ends[1 - end].on_pulse(pace, self.now);
                        }
                    }
                }
            }
            None
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_link_on_a_connection_that_the_peer_has_no_more_ends_soon() {
        let now = Instant::now();
        let mut pulse = Pulse::new(true, 7, now);
        let looks = (0..).map(|look| now + LOOK_EVERY * look).filter(|at| *at > now);
        let end = looks.take(100).find(|at| pulse.is_due(*at) && pulse.look(7, *at) == Due::End);
        let ended = end.expect("it ends") - now;
        assert!(ended >= Pace::Quick.silence() && ended <= Pace::Quick.silence() + LOOK_EVERY, "{ended:?}");
        let mut accepted = Pulse::new(false, 7, now);
        assert_eq!(accepted.look(7, now + MINUTE / 2), Due::Nothing, "the peer opened it");
    }

    #[test]
    fn a_home_that_dies_is_noticed_by_its_child_and_a_child_by_its_home() {
        for dead in [0, 1] {
            let mut pair = Pair::new();
            pair.want(0, Pace::HOME);
            pair.want(1, Pace::HOME);
            assert_eq!(pair.run(MINUTE, None), None);
            assert!(pair.said[0] == 0 && (8..=9).contains(&pair.said[1]), "{:?}", pair.said);
            let noticed = pair.run(MINUTE, Some(dead)).expect("it is noticed");
            assert!(noticed <= Pace::HOME.silence() + Pace::HOME.keep_alive(), "{noticed:?}");
        }
    }

    #[test]
    fn an_idle_link_is_looked_at_when_something_is_due() {
        let mut pair = Pair::new();
        (0..2).for_each(|end| pair.want(end, Pace::HOME));
        pair.run(MINUTE, None);
        pair.looks = [0; 2];
        pair.run(MINUTE, None);
        assert!(pair.looks[1] <= 25, "{:?}", pair.looks);
    }

    #[test]
    fn whoever_speaks_and_dies_between_two_looks_is_missed_no_later() {
        for after in 1..40 {
            let mut pair = Pair::new();
            (0..2).for_each(|end| pair.want(end, Pace::HOME));
            pair.run(MINUTE + LOOK_EVERY * after, None);
            pair.heard[1] += 1;
            let noticed = pair.run(MINUTE, Some(0)).expect("it is noticed");
            let look = Pace::HOME.keep_alive() / LOOKS + LOOK_EVERY;
            assert!(noticed <= Pace::HOME.silence() + look, "{noticed:?}");
        }
    }

    #[test]
    fn who_is_lively_is_left_in_peace() {
        let mut pair = Pair::new();
        (0..2).for_each(|end| pair.want(end, Pace::HOME));
        pair.run(MINUTE, None);
        let before = pair.said[1];
        for _ in 0..60 {
            pair.heard = pair.heard.map(|heard| heard + 1);
            assert_eq!(pair.run(Duration::from_secs(1), None), None);
        }
        assert!(pair.said[1] <= before + 1, "{:?}", pair.said);
        assert_eq!(pair.run(MINUTE * 2, None), None);
    }

    #[test]
    fn a_link_becomes_quick_and_slow_again_without_an_end() {
        let mut pair = Pair::new();
        for pace in [Pace::Quick, Pace::Steady, Pace::Quick] {
            pair.want(0, pace);
            assert_eq!(pair.run(MINUTE, None), None, "{pace:?}");
        }
        let noticed = pair.run(MINUTE, Some(1)).expect("it is noticed");
        assert!(noticed <= Duration::from_secs(4), "{noticed:?}");
    }

    #[test]
    fn of_two_that_want_the_same_one_says_so_and_of_others_the_quicker() {
        let mut pair = Pair::new();
        pair.want(0, Pace::Steady);
        pair.want(1, Pace::Steady);
        pair.run(MINUTE, None);
        assert!(pair.said[0] == 0 && pair.said[1] >= 8, "{:?}", pair.said);
        pair.want(0, Pace::Quick);
        let before = pair.said[1];
        pair.run(MINUTE, None);
        assert!(pair.said[1] == before && pair.said[0] >= 40, "{:?}", pair.said);
    }

    #[test]
    fn a_standby_is_spoken_to_before_a_nat_forgets_it() {
        let mut pair = Pair::new();
        pair.want(0, Pace::Calm);
        let mut before = 0;
        for _ in 0..20 {
            assert_eq!(pair.run(Duration::from_secs(29), None), None);
            assert!(pair.said[0] > before && pair.said[1] == 0, "{:?}", pair.said);
            before = pair.said[0];
        }
        assert!(before <= 24, "{before} in ten minutes");
        let noticed = pair.run(MINUTE * 2, Some(1)).expect("it is noticed");
        assert!(noticed <= Pace::Calm.silence(), "{noticed:?}");
    }

    #[test]
    fn who_was_not_there_does_not_take_the_others_for_dead() {
        let mut pair = Pair::new();
        pair.want(0, Pace::Quick);
        pair.run(MINUTE, None);
        pair.now += MINUTE;
        pair.ends.iter_mut().for_each(|end| end.excuse(MINUTE));
        assert_eq!(pair.run(MINUTE, None), None);
    }
}
