//! When candidates are pinged, so that both sides' NATs are open at the same time (RFC 5128, section 3.3: simultaneous open).
//!
//! Whoever makes an offer first *primes*: a packet with a short TTL to each of the peer's addresses. It opens the own NAT and
//! dies before the peer's. Only then the offer goes out; so whoever receives one may ping at once, and does; and says
//! `Heard`, on which the first one pings as well. The order matters with NATs that give a packet which comes too early a mapping of its
//! own, in the way of ours.
//!
//! A *round* is six waves in a second and a half. Rounds are repeated, ever more rarely, as long as there is no direct path. Each
//! begins with an offer that counts it, of the caller, or of the callee when the caller's does not come. Offers that do not
//! begin a round (because only relays changed) make nobody ping: their sender has not primed.

use std::time::{Duration, Instant};

use super::packet::Side;

/// TTL of a priming packet: it passes the own router and dies at the next one (measured on Linux NATs: 2 works, 3 does not).
pub(super) const PRIME_TTL: u8 = 2;
/// Priming packets are sent twice, so far apart: even the own network may lose one.
const PRIME_AGAIN: Duration = Duration::from_millis(20);
/// How long `Heard` is waited for after priming: a slow way through two homes, and one repetition (guess).
const PRIMED_WAIT: Duration = Duration::from_secs(1);
/// How much later the callee begins a round by itself (guess: a signal's way and one repetition).
const CALLEE_LATER: Duration = Duration::from_millis(1500);
/// The waves of a round, after its beginning (guess: five answers may be lost, and the peer may be 1 s late).
const WAVES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(900),
    Duration::from_millis(1500),
];
/// Pauses between rounds; the last one is repeated. A pause of more than 30 s lets spoilt NAT entries expire.
const PAUSES: [Duration; 7] = [
    Duration::from_millis(1500),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(35),
    Duration::from_secs(60),
    Duration::from_secs(120),
];
/// Offers that come faster than this begin no more rounds.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);

/// What to send to all candidates now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A priming packet.
    Prime,
    /// A ping: the wave of this number, from 0.
    Wave(usize),
}

/// The schedule.
#[derive(Debug)]
pub(super) struct Punch {
    side: Side,
    /// Rounds that this side ever began.
    announced: u32,
    /// Rounds since the last beginning.
    round: usize,
    stage: Stage,
    /// When the last round's waves began.
    began: Option<Instant>,
    /// When the first round's did, since the last beginning.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    /// Nothing to do until somebody begins.
    #[default]
    Off,
    /// Priming packets `left` to send, the next one at `next`; waves from `then` at the latest.
    Priming { left: u32, next: Instant, then: Instant },
    /// In a round.
    Waves { began: Instant, next: usize },
    /// Between rounds.
    Resting { until: Instant },
    /// A later round is due, and the offer that begins it.
    Due,
}

impl Punch {
    /// Nothing to do yet.
    pub(super) fn new(side: Side) -> Self {
        Self { side, announced: 0, round: 0, stage: Stage::Off, began: None, since: None }
    }

    /// Rounds that this side ever began.
    pub(super) fn announced(&self) -> u32 {
        self.announced
    }

    /// Whether an offer should begin another round now, because a direct path is `wanted` still. Said once.
    pub(super) fn is_due(&mut self, wanted: bool, now: Instant) -> bool {
        match self.stage {
            Stage::Resting { until } if wanted && until + self.behind() <= now => {
                self.stage = Stage::Due;
                true
            }
            _ => false,
        }
    }

    fn behind(&self) -> Duration {
        if self.side == Side::Callee { CALLEE_LATER } else { Duration::ZERO }
    }

    /// We are about to make an offer: prime, then wait for the peer.
    pub(super) fn prime(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Due) {
            self.round = 0;
        }
        self.announced = self.announced.saturating_add(1);
        self.stage = Stage::Priming { left: 2, next: now, then: now + PRIMED_WAIT };
    }

    /// The peer is ready: it heard our offer, or pings already.
    pub(super) fn on_peer_ready(&mut self, now: Instant) {
        match self.stage {
            Stage::Priming { left: 2, next, .. } => {
                self.stage = Stage::Priming { left: 2, next, then: now };
            }
            Stage::Priming { .. } => self.stage = Stage::Waves { began: now, next: 0 },
            _ => {}
        }
    }

    /// The peer began a round with its offer: it has primed, and waits for us.
    pub(super) fn on_offer(&mut self, changed: bool, now: Instant) {
        if changed {
            self.round = 0;
        }
        // New addresses join the waves that are left.
        let soon = self.began.is_some_and(|began| now < began + BETWEEN_ROUNDS);
        match self.stage {
            Stage::Waves { .. } if soon || !changed => {}
            _ => self.stage = Stage::Waves { began: now, next: 0 },
        }
    }

    /// What is to be sent now; to be asked until there is nothing. A round that has begun is finished even if there is a
    /// direct path by then, because a nearer address may answer later than another.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Step> {
        match self.stage {
            Stage::Priming { left, next, then } if left > 0 && next <= now => {
                self.stage = Stage::Priming { left: left - 1, next: now + PRIME_AGAIN, then };
                Some(Step::Prime)
            }
            Stage::Priming { then, .. } if then <= now => {
                self.stage = Stage::Waves { began: now, next: 0 };
                self.poll(now)
            }
            Stage::Waves { began, next } if next == WAVES.len() => {
                let pause = PAUSES[self.round.min(PAUSES.len() - 1)];
                self.round += 1;
                self.stage = Stage::Resting { until: began + WAVES[next - 1] + pause };
                None
            }
            Stage::Waves { began, next } if began + WAVES[next] <= now => {
                self.stage = Stage::Waves { began, next: next + 1 };
                if next == 0 {
                    self.began = Some(now);
                    self.since = self.since.filter(|_| self.round > 0).or(Some(now));
                }
                Some(Step::Wave(next))
            }
            _ => None,
        }
    }

    /// When to ask again.
    pub(super) fn poll_timeout(&self, wanted: bool) -> Option<Instant> {
        match self.stage {
            Stage::Off | Stage::Due => None,
            Stage::Priming { left: 0, then, .. } => Some(then),
            Stage::Priming { next, then, .. } => Some(next.min(then)),
            Stage::Waves { began, next } => Some(began + WAVES[next.min(WAVES.len() - 1)]),
            Stage::Resting { until } => wanted.then_some(until + self.behind()),
        }
    }

    /// Since when the peer's present addresses are pinged.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::start;

    fn punch() -> Punch {
        Punch::new(Side::Caller)
    }

    /// All steps within `time`, with their moments in milliseconds.
    fn steps(punch: &mut Punch, from: Instant, time: Duration) -> Vec<(u128, Step)> {
        let (mut steps, mut now) = (Vec::new(), from);
        loop {
            if punch.is_due(true, now) {
                punch.prime(now);
            }
            while let Some(step) = punch.poll(now) {
                steps.push(((now - from).as_millis(), step));
            }
            match punch.poll_timeout(true) {
                Some(at) if at <= from + time => now = at,
                _ => return steps,
            }
        }
    }

    const FIRST: Step = Step::Wave(0);

    #[test]
    fn who_offers_primes_and_waits_until_the_peer_has_heard_it() {
        let start = start().instant;
        let mut punch = punch();
        punch.prime(start);
        assert_eq!(
            steps(&mut punch, start, 300 * Duration::from_millis(1)),
            [(0, Step::Prime), (20, Step::Prime)]
        );
        let heard = start + Duration::from_millis(300);
        punch.on_peer_ready(heard);
        let sent = steps(&mut punch, heard, Duration::from_secs(2));
        assert_eq!((sent[0], sent.len()), ((0, FIRST), 6));
    }

    #[test]
    fn when_heard_is_lost_it_waits_for_a_second() {
        let start = start().instant;
        let mut punch = punch();
        punch.prime(start);
        let sent = steps(&mut punch, start, Duration::from_millis(1050));
        assert_eq!(sent, [(0, Step::Prime), (20, Step::Prime), (1000, FIRST)]);
    }

    #[test]
    fn who_gets_an_offer_pings_at_once_and_a_flood_of_offers_begins_few_rounds() {
        let start = start().instant;
        let mut punch = punch();
        let mut first = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            punch.on_offer(true, now);
            while let Some(step) = punch.poll(now) {
                first += u32::from(step == FIRST);
            }
        }
        assert!((1..=11).contains(&first), "{first} rounds in 10 s");
    }

    #[test]
    fn the_callee_leaves_later_rounds_to_the_caller_and_begins_them_if_that_does_not() {
        let start = start().instant;
        let began = |side: Side| {
            let mut punch = Punch::new(side);
            punch.on_offer(true, start);
            let sent = steps(&mut punch, start, Duration::from_secs(10));
            let primed = sent.iter().find(|(_, step)| *step == Step::Prime).map(|(at, _)| *at);
            (primed.unwrap(), punch.announced())
        };
        assert_eq!(began(Side::Caller), (3000, 2));
        assert_eq!(began(Side::Callee), (4500, 1));
    }

    #[test]
    fn rounds_become_rare_and_stop_while_there_is_a_direct_path() {
        let start = start().instant;
        let mut punch = punch();
        punch.on_offer(true, start);
        let sent = steps(&mut punch, start, Duration::from_secs(3600));
        let rounds = sent.iter().filter(|(_, step)| *step == FIRST).count();
        assert!((30..40).contains(&rounds), "{rounds} rounds in an hour");
        let later = start + Duration::from_secs(7200);
        assert_eq!((punch.is_due(false, later), punch.poll_timeout(false)), (false, None));
        assert!(punch.is_due(true, later) && !punch.is_due(true, later), "said once");
    }
}
