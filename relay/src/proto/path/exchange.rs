//! What both sides tell each other by way of their homes: who is where, and that it was heard.
//!
//! Signals may be lost, repeated and reordered. Offers are numbered, a later one replaces an earlier one, and each is repeated
//! until the peer has heard it: a call until any offer comes back, an answer or an update until `Heard` with its number. Every offer that
//! comes is answered with `Heard`, also one that was heard before.

use std::time::{Duration, Instant};

use nearmesh_common::{
    NodeId,
    rate::{Bucket, Limit},
    wire::signal::{Offer, ProbeKey, SignalBody},
};

use super::packet::Side;

/// After which an unheard offer is repeated: most ways through two homes take less, there and back (guess)...
const FIRST_REPEAT: Duration = Duration::from_millis(400);
/// ...doubled each time up to this.
const LONGEST_REPEAT: Duration = Duration::from_secs(8);
/// How often a peer's offers are answered (guess: a few changes at once, and their repetitions).
const REPLIES: Limit = Limit::per_second(2, 10);
/// How often what we say changes: several changes at once are said once (guess).
const BETWEEN_OFFERS: Duration = Duration::from_millis(200);

/// What a signal meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// The peer's side, newer than what was known, and that it knows nothing of ours.
    Call(Offer),
    /// The peer's side, newer than what was known.
    Offer(Offer),
    /// The peer knows our newest offer.
    Heard,
}

/// The exchange of offers.
#[derive(Debug)]
pub(super) struct Exchange {
    side: Side,
    key: ProbeKey,
    number: u32,
    /// The number of the peer's newest offer.
    theirs: Option<u32>,
    /// Whether the callee's answer is known to have come: from then on it says updates.
    answered: bool,
    unheard: Option<Repeat>,
    said_at: Option<Instant>,
    /// Something changed that the peer should know.
    changed: bool,
    replies: Bucket,
    reply: Option<SignalBody>,
}

#[derive(Clone, Copy, Debug)]
struct Repeat {
    at: Instant,
    wait: Duration,
}

impl Exchange {
    /// Nothing was said yet.
    pub(super) fn new(side: Side, key: ProbeKey) -> Self {
        Self {
            side,
            key,
            number: 0,
            theirs: None,
            answered: false,
            unheard: None,
            said_at: None,
            changed: true,
            replies: Bucket::default(),
            reply: None,
        }
    }

    /// Whether the peer's side is known.
    pub(super) fn is_met(&self) -> bool {
        self.theirs.is_some()
    }

    /// Our side changed: say so soon.
    pub(super) fn handle_changed(&mut self) {
        self.changed = true;
    }

    /// A signal did not arrive: try again, but not at once.
    pub(super) fn on_undelivered(&mut self, now: Instant) {
        if let Some(repeat) = &mut self.unheard {
            repeat.at = repeat.at.min(now + FIRST_REPEAT * 2);
        }
    }

    /// The peer speaks.
    pub(super) fn on_signal(&mut self, body: SignalBody, now: Instant) -> Option<Said> {
        match (body, self.side) {
            (SignalBody::Call { offer, .. }, Side::Callee) => {
                let repeated = self.theirs.is_some_and(|number| offer.number <= number);
                if repeated {
                    self.repeat_answer(now);
                }
                self.on_offer(offer).map(Said::Call)
            }
            (SignalBody::Answer(offer), Side::Caller) | (SignalBody::Update(offer), _) => {
                if self.side == Side::Caller && self.theirs.is_none() {
                    self.stop_calling();
                }
                if self.replies.take(REPLIES, now) {
                    self.reply = Some(SignalBody::Heard(offer.number));
                }
                self.answered = true;
                self.on_offer(offer).map(Said::Offer)
            }
            (SignalBody::Heard(number), _) => {
                self.answered |= self.side == Side::Callee;
                (number == self.number && self.unheard.take().is_some()).then_some(Said::Heard)
            }
            _ => None,
        }
    }

    /// What is to be said now, if anything: `offer` is our side without its number. `home` is where signals to us go.
    pub(super) fn poll(
        &mut self,
        home: NodeId,
        offer: impl FnOnce() -> Offer,
        now: Instant,
    ) -> Option<SignalBody> {
        if let Some(reply) = self.reply.take() {
            return Some(reply);
        }
        if self.changed && self.may_speak_at().is_none_or(|at| at <= now) {
            self.changed = false;
            self.number += 1;
            self.unheard = Some(Repeat { at: now + FIRST_REPEAT, wait: FIRST_REPEAT });
        } else {
            let repeat = self.unheard.as_mut().filter(|repeat| repeat.at <= now)?;
            repeat.wait = (repeat.wait * 2).min(LONGEST_REPEAT);
            repeat.at = now + repeat.wait;
        }
        self.said_at = Some(now);
        Some(self.wrap(home, Offer { number: self.number, ..offer() }))
    }

    /// Whether [`Self::poll`] would say something new now.
    pub(super) fn is_about_to_change(&self, now: Instant) -> bool {
        self.changed && self.may_speak_at().is_none_or(|at| at <= now)
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let change = if self.changed { self.may_speak_at() } else { None };
        change.into_iter().chain(self.unheard.map(|repeat| repeat.at)).min()
    }

    fn may_speak_at(&self) -> Option<Instant> {
        self.said_at.map(|at| at + BETWEEN_OFFERS)
    }

    fn on_offer(&mut self, offer: Offer) -> Option<Offer> {
        if self.theirs.is_some_and(|number| offer.number <= number) {
            return None;
        }
        self.theirs = Some(offer.number);
        Some(offer)
    }

    /// The caller repeats itself: our answer was lost, or is late.
    fn repeat_answer(&mut self, now: Instant) {
        if self.replies.take(REPLIES, now) {
            let repeat = self.unheard.get_or_insert(Repeat { at: now, wait: FIRST_REPEAT });
            repeat.at = repeat.at.min(now);
            self.answered = false;
        }
    }

    /// The first offer that comes back has heard the call, but perhaps an older one.
    fn stop_calling(&mut self) {
        if self.number > 1 {
            self.changed = true;
        }
        self.unheard = None;
    }

    fn wrap(&self, home: NodeId, offer: Offer) -> SignalBody {
        match self.side {
            Side::Caller if self.theirs.is_none() => SignalBody::Call { key: self.key, home, offer },
            Side::Callee if !self.answered => SignalBody::Answer(offer),
            _ => SignalBody::Update(offer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::start;

    const HOME: NodeId = NodeId([1; 32]);

    fn exchange(side: Side) -> Exchange {
        Exchange::new(side, ProbeKey([0; 32]))
    }

    fn offer(number: u32) -> Offer {
        Offer { number, ..Offer::default() }
    }

    fn poll(exchange: &mut Exchange, now: Instant) -> Option<SignalBody> {
        exchange.poll(HOME, Offer::default, now)
    }

    fn call(number: u32) -> SignalBody {
        SignalBody::Call { key: ProbeKey([0; 32]), home: HOME, offer: offer(number) }
    }

    #[test]
    fn a_call_is_repeated_ever_more_rarely_until_an_offer_comes_back() {
        let start = start().instant;
        let mut alice = exchange(Side::Caller);
        let mut now = start;
        let mut calls = 0;
        while now < start + Duration::from_secs(30) {
            if let Some(body) = poll(&mut alice, now) {
                assert_eq!(body, call(1));
                calls += 1;
            }
            now = alice.poll_timeout().unwrap();
        }
        assert_eq!(calls, 8, "at 0, 0.4, 1.2, 2.8, 6, 12.4, 20.4 and 28.4 s");
        assert_eq!(alice.on_signal(SignalBody::Answer(offer(1)), now), Some(Said::Offer(offer(1))));
        assert_eq!(poll(&mut alice, now), Some(SignalBody::Heard(1)));
        assert_eq!((poll(&mut alice, now), alice.poll_timeout()), (None, None));
    }

    #[test]
    fn an_answer_is_repeated_until_heard_and_when_the_call_comes_again() {
        let mut now = start().instant;
        let mut bob = exchange(Side::Callee);
        assert_eq!(bob.on_signal(call(1), now), Some(Said::Call(offer(1))), "she knows nothing of his");
        assert_eq!(poll(&mut bob, now), Some(SignalBody::Answer(offer(1))));
        now += FIRST_REPEAT;
        assert_eq!(poll(&mut bob, now), Some(SignalBody::Answer(offer(1))));
        assert_eq!(bob.on_signal(SignalBody::Heard(7), now), None, "never said");
        assert_eq!(bob.on_signal(SignalBody::Heard(1), now), Some(Said::Heard));
        assert_eq!((poll(&mut bob, now), bob.poll_timeout()), (None, None));
        assert_eq!(bob.on_signal(call(1), now), None);
        assert_eq!(poll(&mut bob, now), Some(SignalBody::Answer(offer(1))), "the caller does not know it");
    }

    #[test]
    fn an_older_offer_never_replaces_a_newer_one_and_is_heard_all_the_same() {
        let now = start().instant;
        let mut alice = exchange(Side::Caller);
        poll(&mut alice, now);
        assert_eq!(alice.on_signal(SignalBody::Update(offer(3)), now), Some(Said::Offer(offer(3))));
        assert_eq!(poll(&mut alice, now), Some(SignalBody::Heard(3)));
        assert_eq!(alice.on_signal(SignalBody::Answer(offer(1)), now), None);
        assert_eq!(poll(&mut alice, now), Some(SignalBody::Heard(1)));
    }

    #[test]
    fn several_changes_at_once_are_one_update_after_the_first() {
        let start = start().instant;
        let mut alice = exchange(Side::Caller);
        poll(&mut alice, start);
        alice.on_signal(SignalBody::Answer(offer(1)), start);
        poll(&mut alice, start);
        alice.handle_changed();
        alice.handle_changed();
        assert_eq!(poll(&mut alice, start), None, "too soon");
        let at = alice.poll_timeout().unwrap();
        assert_eq!(poll(&mut alice, at), Some(SignalBody::Update(offer(2))));
        assert_eq!(poll(&mut alice, at), None);
    }

    #[test]
    fn a_flood_of_offers_is_answered_within_bounds() {
        let now = start().instant;
        let mut alice = exchange(Side::Caller);
        poll(&mut alice, now);
        let answers = (1..1000).filter(|number| {
            alice.on_signal(SignalBody::Update(offer(*number)), now);
            poll(&mut alice, now).is_some()
        });
        assert_eq!(answers.count(), REPLIES.burst as usize);
    }

    #[test]
    fn what_the_other_role_says_is_nothing() {
        let now = start().instant;
        assert_eq!(exchange(Side::Caller).on_signal(call(1), now), None);
        assert_eq!(exchange(Side::Callee).on_signal(SignalBody::Answer(offer(1)), now), None);
        assert_eq!(exchange(Side::Callee).on_signal(SignalBody::Push(Vec::new()), now), None);
    }
}
