//! KaZaA: a node asks its supernode; if that one's children give too little, it asks a few of the supernodes that it is linked with, and that was it.
//!
//! The figures are those that the vendor pushed to clients (giFT-FastTrack, PROTOCOL, message 0x1F): `SearchIndirectNodesMin` 6,
//! `SearchIndirectNodesMax` 10, `SearchIndirectEndResults` 10. What they mean is our reading: six supernodes at once, then one
//! after another up to ten, until there are ten results. Each is asked by the own supernode, not on from one to the next.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{
    Model, Outcome, PAGE, State,
    graph::Graph,
    net::{Choice, Net},
    wire,
};
use crate::workload::{Node, Question, Workload};

/// Links of a supernode with others: 0.1 % of all supernodes, 20 to 40 where there were 20,000 to 40,000 (slides on the FastTrack overlay). The
/// model takes the middle, everywhere.
const DEGREE: f64 = 30.0;

/// How far a supernode asks around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Others asked at once.
    pub first: u32,
    /// Others asked in the end, if there is too little.
    pub most: u32,
    /// With so many results nobody else is asked.
    pub enough: u32,
}

/// What the vendor pushed.
pub const PUSHED: Reach = Reach { first: 6, most: 10, enough: 10 };

/// Supernodes, their children and their links.
#[derive(Debug)]
pub struct Kazaa<'w> {
    net: Net<'w>,
    graph: Graph,
    reach: Reach,
}

impl<'w> Kazaa<'w> {
    /// A KaZaA that asks further, or less far.
    pub fn reaching(workload: &'w Workload, peers: u32, reach: Reach, rng: &mut ChaCha8Rng) -> Self {
        let net = Net::new(workload, peers, 1, Choice::NearestOfFive, rng);
        let degree = DEGREE.max(f64::from(reach.most) * 1.5).min(f64::from(peers.saturating_sub(1)));
        let graph = Graph::random(peers, &net.living(), degree, rng);
        Self { net, graph, reach }
    }

    /// Up to `most` living supernodes that this one is linked with, in random order.
    fn others(&self, home: u32, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut linked: Vec<u32> =
            self.graph.neighbours(home).iter().copied().filter(|other| self.net.lives(*other)).collect();
        linked.sort_unstable();
        linked.dedup();
        let most = linked.len().min(self.reach.most as usize);
        for position in 0..most {
            let other = rng.random_range(position..linked.len());
            linked.swap(position, other);
        }
        linked.truncate(most);
        linked
    }
}

impl<'w> Model<'w> for Kazaa<'w> {
    fn name(&self) -> &'static str {
        "KaZaA (own supernode, then 6 to 10)"
    }

    fn build(workload: &'w Workload, peers: u32, rng: &mut ChaCha8Rng) -> Self {
        Self::reaching(workload, peers, PUSHED, rng)
    }

    fn holders(&self) -> u32 {
        self.net.holders()
    }

    fn askers(&self, questions: u32) -> u32 {
        questions * 50
    }

    fn search(&mut self, asker: Node, question: &Question, rng: &mut ChaCha8Rng) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(home) = self.net.homes_of(asker).next() else { return outcome };
        let index = self.net.index(question.asked.file());
        let name = question.asked.file().map_or(0, |file| wire::name(self.net.workload, file));
        let text = wire::text(question);
        let own = self.net.workload.place(asker).rtt(self.net.place(home));
        let answer = |outcome: &mut Outcome, supernode: u32, at: Duration, hops: u32| {
            let results = Net::answers(&index, supernode).len().min(PAGE) as u32;
            outcome.ended = outcome.ended.max(at);
            if results > 0 {
                // One reply a supernode, passed on to the child by the home.
                outcome.tells(hops, wire::kazaa::reply(name));
                outcome.bytes += u64::from(hops * (results - 1)) * wire::kazaa::result(name);
                outcome.found += results;
                outcome.result(at, hops);
            }
        };
        outcome.asks(1, wire::kazaa::search(text));
        answer(&mut outcome, home, own, 1);
        let mut asked_at = Duration::ZERO;
        for (number, other) in self.others(home, rng).into_iter().enumerate() {
            let together = number > 0 && number < self.reach.first as usize;
            if outcome.found >= self.reach.enough && !together {
                break;
            }
            let at = own + asked_at + self.net.place(home).rtt(self.net.place(other));
            outcome.asks(1, wire::kazaa::forward(text));
            answer(&mut outcome, other, at, 2);
            // The first few are asked at once; each further one when the one before has answered.
            if number + 1 >= self.reach.first as usize {
                asked_at = outcome.ended.saturating_sub(own);
            }
        }
        outcome.tells(1, wire::kazaa::END);
        outcome
    }

    /// Names were "not unique on the network and not to be trusted" (giFT-FastTrack): there was nothing to look up.
    fn lookup(&mut self, _asker: Node, _user: Node, _rng: &mut ChaCha8Rng) -> Option<Outcome> {
        None
    }

    fn state(&self) -> State {
        let loads = self.net.loads();
        let entry = wire::kazaa::entry(wire::NAME) as f64;
        let living = self.net.living();
        State::of(living.into_iter().map(|supernode| f64::from(loads[supernode as usize][1]) * entry))
    }

    fn kill(&mut self, part: f64, rng: &mut ChaCha8Rng) {
        self.net.kill(part, rng);
    }

    fn repair(&mut self, rng: &mut ChaCha8Rng) {
        self.net.attach(rng);
        let living = self.net.living();
        self.graph = Graph::random(self.net.holders(), &living, DEGREE.min(living.len() as f64 - 1.0), rng);
    }
}
