//! How quick each link is, by the rules of the real machines, and what idle links cost.

use nearmesh_common::pace::Pace;

use super::{
    Net,
    calendar::Moment,
    links::Role,
    names::{self, Peer},
    traffic::{ACK, KEEP_ALIVE, PULSE},
};

/// How much later than it is due a pulse is said, on average: every quarter of a second it is looked which are.
const LATE: f64 = 0.125;
/// What comes while a link rests between two pulses puts off the next one by so much of their distance.
const PUT_OFF: f64 = 1.0 / nearmesh::daemon::LOOKS_BETWEEN_PULSES as f64;
const SECOND: f64 = 1e9;

/// What keeps a supernode's links alive, in bytes a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keeping {
    /// What it sends.
    pub sent: f64,
    /// What it receives.
    pub received: f64,
}

/// The keep-alives that were not needed because something else was said, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spoken {
    /// Since when it is counted; not yet, if that is none.
    since: Option<Moment>,
    sent: f64,
    received: f64,
}

impl Spoken {
    pub(super) fn from(now: Moment) -> Self {
        Self { since: Some(now), ..Self::default() }
    }
}

impl Net {
    /// How soon both ends of a link notice the other's end: as the quicker of them needs it.
    pub(super) fn pace(&self, a: Peer, b: Peer) -> Pace {
        self.wanted(a, b).min(self.wanted(b, a))
    }

    /// How soon `own` must notice the end of its link to `other`.
    fn wanted(&self, own: Peer, other: Peer) -> Pace {
        let child = &self.children[own as usize];
        let as_node = match self.sides[own as usize].get(other) {
            _ if child.home == other && own != other => child.pace,
            Some(side) if side.serves(Role::Client) => Pace::Calm,
            _ => Pace::Slow,
        };
        let machine = self.supers[own as usize].as_ref().map(|running| &running.machine);
        let as_supernode = machine.map_or(Pace::Slow, |machine| machine.pace(&names::node(self.seed, other)));
        as_node.min(as_supernode)
    }

    /// Something is said on a link, on which something arrived `before` at the same end: what would have been said to keep it alive since then, beyond
    /// what had become due, is not needed.
    pub(super) fn note_spoken(&mut self, (from, to): (Peer, Peer), before: Moment) {
        let Some(since) = self.spoken.since.filter(|_| from != to) else { return };
        let back = self.sides[to as usize].get(from).map_or(0, |side| side.arrives);
        let silent = self.calendar.now().saturating_sub(before.max(back).max(since)) as f64 / SECOND;
        if silent < 1.0 {
            return;
        }
        let pace = self.pace(from, to);
        let every = every(pace);
        let unneeded = match pace {
            Pace::Slow => silent % every,
            _ => (silent % every).min(every * PUT_OFF),
        };
        // An acknowledgement of its own, of which every packet counts a half elsewhere.
        let rest = ACK as f64 / 2.0;
        for (own, other) in [(from, to), (to, from)] {
            if self.supers[own as usize].is_some() {
                let link = self.keeping_of(own, other);
                let (sent, received) = if own == to { (rest, 0.0) } else { (0.0, rest) };
                self.spoken.sent += link.sent * unneeded - sent;
                self.spoken.received += link.received * unneeded - received;
            }
        }
    }

    /// What keeps the links of the average supernode alive: those that there are at this moment, less what was saved by what was said.
    pub fn keeping(&self) -> Keeping {
        let idle = self.idle();
        let counted = self.spoken.since.map_or(0, |since| self.calendar.now() - since) as f64 / SECOND;
        let all = counted.max(1e-9) * self.serving.len().max(1) as f64;
        Keeping {
            sent: idle.sent - self.spoken.sent / all,
            received: idle.received - self.spoken.received / all,
        }
    }

    /// What keeps them alive if nothing else is said on them.
    fn idle(&self) -> Keeping {
        let mut all = Keeping::default();
        for peer in &self.serving {
            for (other, side) in self.sides[*peer as usize].all() {
                if side.up && other != *peer {
                    let link = self.keeping_of(*peer, other);
                    all = Keeping { sent: all.sent + link.sent, received: all.received + link.received };
                }
            }
        }
        let supernodes = self.serving.len().max(1) as f64;
        Keeping { sent: all.sent / supernodes, received: all.received / supernodes }
    }

    /// Who wants a link quicker than its other end sends pulses, which are acknowledged; of two that want the same, who accepted it: a home,
    /// or either of two supernodes. So may either that leave it to the transport.
    fn keeping_of(&self, own: Peer, other: Peer) -> Keeping {
        let (here, there) = (self.wanted(own, other), self.wanted(other, own));
        let pace = here.min(there);
        let (pulse, ack) = (PULSE as f64, KEEP_ALIVE as f64);
        let (sent, received) = match pace {
            Pace::Slow => (ack, ack),
            _ if here < there => (pulse, ack),
            _ if there < here => (ack, pulse),
            _ if self.children[other as usize].home == own => (pulse, ack),
            _ => ((pulse + ack) / 2.0, (pulse + ack) / 2.0),
        };
        Keeping { sent: sent / every(pace), received: received / every(pace) }
    }
}

/// Seconds between two keep-alives.
fn every(pace: Pace) -> f64 {
    pace.keep_alive().as_secs_f64() + if pace == Pace::Slow { 0.0 } else { LATE }
}
