//! Reservations: given, matched, renewed, ended.

use std::time::{Duration, Instant};

use nearmesh_common::{
    NodeId,
    wire::relay::{ChannelId, Cookie, FromRelay, RelayClosed, proof_request},
};
use rand_chacha::rand_core::Rng;

use super::{
    Asked, Due, End, EndAddress, EndId, Forwarder, Limits, Output, Place, Standing,
    pair::{Half, Pair, PairId, Side},
};

impl Forwarder {
    pub(super) fn on_asked(&mut self, end: EndId, asked: Asked, from: Standing, now: Instant) {
        if let Some(old) = self.asked.get(&asked).copied() {
            self.end(old, Some(RelayClosed::Replaced), RelayClosed::PeerGone);
        }
        let waiting = self.who_waits_for(&asked);
        let limits = match self.admit(&asked, waiting.is_some()) {
            Ok(limits) => limits,
            Err(reason) => {
                self.counters.refused += 1;
                return self.tell(end, FromRelay::Closed(reason));
            }
        };
        self.asked.insert(asked, end);
        *self.members.entry(asked.member).or_default() += 1;
        match waiting {
            Some((other, other_from, until)) => {
                self.timers.remove(&(until, Due::Waiting(other)));
                self.waiting -= 1;
                self.ends.insert(end, End { asked, place: Place::Waiting { from, until } });
                self.pair([(other, other_from), (end, from)], limits, now);
            }
            None => self.wait(end, asked, from, now + limits.wait),
        }
    }

    pub(super) fn on_renew(&mut self, end: EndId, now: Instant) {
        let Some(End { place: Place::Paired(id, _), .. }) = self.ends.get(&end) else { return };
        let pair = self.pairs.get_mut(id).expect("a paired end has a pair");
        let renewed = pair.renew(now);
        let (left, peers) = (pair.life_left_ms(now), pair.halves().each_ref().map(|half| half.end));
        for peer in peers {
            // What one end asks for, both have; who asks too soon hears what is left.
            if renewed || peer == end {
                self.tell(peer, FromRelay::Renewed(left));
            }
        }
    }

    pub(super) fn on_proof(&mut self, end: EndId, cookie: Cookie, from: EndAddress, now: Instant) {
        let Some(End { place: Place::Paired(id, side), .. }) = self.ends.get(&end) else { return };
        let pair = self.pairs.get_mut(id).expect("a paired end has a pair");
        if pair.half_mut(*side).accept_proof(cookie, from, now) {
            self.counters.moved += 1;
        }
    }

    pub(super) fn on_gone(&mut self, end: EndId) {
        self.end(end, None, RelayClosed::PeerGone);
    }

    pub(super) fn handle_drain(&mut self, time: Duration, now: Instant) {
        if self.stops_at.is_some() {
            return;
        }
        let stops_at = now + time;
        self.stops_at = Some(stops_at);
        self.timers.insert((stops_at, Due::Stop));
        let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let ends: Vec<(EndId, Place)> = self.ends.iter().map(|(end, at)| (*end, at.place)).collect();
        for (end, place) in ends {
            match place {
                Place::Waiting { .. } => self.end(end, Some(RelayClosed::Leaving), RelayClosed::Leaving),
                Place::Paired(..) => self.tell(end, FromRelay::Draining(ms)),
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, due)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, due));
            match due {
                Due::Waiting(end) => self.end(end, Some(RelayClosed::Alone), RelayClosed::Alone),
                Due::Pair(id) => self.look_at(id, now),
                Due::Stop => self.end_all(),
            }
        }
    }

    /// The other end, if it is there, where it is, and until when it would have waited.
    fn who_waits_for(&self, asked: &Asked) -> Option<(EndId, Standing, Instant)> {
        let mirrored = Asked { session: asked.session, member: asked.peer, peer: asked.member };
        let other = self.asked.get(&mirrored)?;
        match self.ends.get(other)?.place {
            Place::Waiting { from, until } => Some((*other, from, until)),
            Place::Paired(..) => None,
        }
    }

    fn admit(&self, asked: &Asked, expected: bool) -> Result<Limits, RelayClosed> {
        if self.stops_at.is_some() {
            return Err(RelayClosed::Leaving);
        }
        let limits = self.limits.ok_or(RelayClosed::NoRelay)?;
        let held = self.members.get(&asked.member).copied().unwrap_or(0);
        let full = self.pairs.len() >= limits.sessions
            || held >= limits.per_member
            || (self.waiting >= limits.waiting && !expected)
            || asked.member == asked.peer;
        if full { Err(RelayClosed::Full) } else { Ok(limits) }
    }

    fn wait(&mut self, end: EndId, asked: Asked, from: Standing, until: Instant) {
        self.ends.insert(end, End { asked, place: Place::Waiting { from, until } });
        self.timers.insert((until, Due::Waiting(end)));
        self.waiting += 1;
        self.tell(end, FromRelay::Waiting);
    }

    fn pair(&mut self, ends: [(EndId, Standing); 2], limits: Limits, now: Instant) {
        let id = PairId(self.next_pair);
        self.next_pair += 1;
        let halves = ends.map(|(end, standing)| Half::new(end, self.fresh_channel(), standing));
        let pair = Pair::new(halves, limits, now);
        self.timers.insert((pair.due, Due::Pair(id)));
        for side in [Side::First, Side::Second] {
            let half = pair.half(side);
            self.channels.insert(half.channel, (id, side));
            self.ends.get_mut(&half.end).expect("both have asked").place = Place::Paired(id, side);
            self.tell(half.end, pair.opening(side));
        }
        self.pairs.insert(id, pair);
        self.counters.opened += 1;
    }

    fn fresh_channel(&mut self) -> ChannelId {
        loop {
            let channel = ChannelId::from_random(self.rng.next_u64());
            if !self.channels.contains_key(&channel) {
                return channel;
            }
        }
    }

    fn look_at(&mut self, id: PairId, now: Instant) {
        let Some(pair) = self.pairs.get_mut(&id) else { return };
        if pair.ends_at() > now {
            pair.due = pair.ends_at();
            self.timers.insert((pair.due, Due::Pair(id)));
            return;
        }
        let reason = if pair.is_expired(now) { RelayClosed::Expired } else { RelayClosed::Idle };
        let first = pair.half(Side::First).end;
        self.end(first, Some(reason), reason);
    }

    fn end_all(&mut self) {
        while let Some(end) = self.ends.keys().next().copied() {
            self.end(end, Some(RelayClosed::Leaving), RelayClosed::Leaving);
        }
    }

    /// Ends a reservation, and with it the other end's; `None` for one that is gone already.
    fn end(&mut self, end: EndId, reason: Option<RelayClosed>, reason_for_peer: RelayClosed) {
        let Some(place) = self.forget(end) else { return };
        if let Some(reason) = reason {
            self.tell(end, FromRelay::Closed(reason));
        }
        match place {
            Place::Waiting { until, .. } => {
                self.timers.remove(&(until, Due::Waiting(end)));
                self.waiting -= 1;
            }
            Place::Paired(id, side) => {
                let pair = self.pairs.remove(&id).expect("a paired end has a pair");
                self.timers.remove(&(pair.due, Due::Pair(id)));
                for half in pair.halves() {
                    self.channels.remove(&half.channel);
                }
                let peer = pair.half(side.other()).end;
                self.forget(peer);
                self.tell(peer, FromRelay::Closed(reason_for_peer));
            }
        }
    }

    fn forget(&mut self, end: EndId) -> Option<Place> {
        let End { asked, place } = self.ends.remove(&end)?;
        self.asked.remove(&asked);
        self.leave(asked.member);
        Some(place)
    }

    fn leave(&mut self, member: NodeId) {
        if let Some(held) = self.members.get_mut(&member) {
            *held -= 1;
            if *held == 0 {
                self.members.remove(&member);
            }
        }
    }

    /// Asks one half's owner for proof that it receives at `address`, unless that was just done.
    pub(super) fn ask_for_proof(&mut self, id: PairId, side: Side, address: EndAddress, now: Instant) {
        let Some(pair) = self.pairs.get_mut(&id) else { return };
        let (half, rng) = (pair.half_mut(side), &mut self.rng);
        let fresh = || {
            let mut cookie = [0; 16];
            rng.fill_bytes(&mut cookie);
            Cookie(cookie)
        };
        if let Some(cookie) = half.ask(address.remote, fresh, now) {
            let packet = proof_request(half.channel, cookie);
            self.outputs.push_back(Output::Ask { to: address, packet });
            self.counters.proofs_asked += 1;
        }
    }
}
