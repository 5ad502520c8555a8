//! How quick each link is, by the rules of the real machines, and what idle links cost.

use nearmesh_common::pace::Pace;

use super::{
    Net,
    names::{self, Peer},
    traffic::{KEEP_ALIVE, PULSE},
};

/// What keeps a supernode's links alive, in bytes a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keeping {
    /// What it sends.
    pub sent: f64,
    /// What it receives.
    pub received: f64,
}

impl Net {
    /// How soon both ends of a link notice the other's end: as the quicker of them needs it.
    pub(super) fn pace(&self, a: Peer, b: Peer) -> Pace {
        self.wanted(a, b).min(self.wanted(b, a))
    }

    /// How soon `own` must notice the end of its link to `other`.
    fn wanted(&self, own: Peer, other: Peer) -> Pace {
        let child = &self.children[own as usize];
        let as_node = if child.home == other && own != other { child.pace } else { Pace::Calm };
        let machine = self.supers[own as usize].as_ref().map(|running| &running.machine);
        let as_supernode = machine.map_or(Pace::Calm, |machine| machine.pace(&names::node(self.seed, other)));
        as_node.min(as_supernode)
    }

    /// What keeps the links of the average supernode alive at this moment, if nothing else is said on them.
    pub fn keeping(&self) -> Keeping {
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
    /// or either of two supernodes. So may either that leave it to the transport. A pulse is said when nothing was heard for as long, which shows
    /// at the next look, a fifth later.
    fn keeping_of(&self, own: Peer, other: Peer) -> Keeping {
        let (here, there) = (self.wanted(own, other), self.wanted(other, own));
        let pace = here.min(there);
        let (pulse, ack) = (PULSE as f64, KEEP_ALIVE as f64);
        let (sent, received) = match pace {
            Pace::Calm => (ack, ack),
            _ if here < there => (pulse, ack),
            _ if there < here => (ack, pulse),
            _ if self.children[other as usize].home == own => (pulse, ack),
            _ => ((pulse + ack) / 2.0, (pulse + ack) / 2.0),
        };
        let every = pace.keep_alive().as_secs_f64() * if pace == Pace::Calm { 1.0 } else { 1.2 };
        Keeping { sent: sent / every, received: received / every }
    }
}
