//! Chord (Stoica et al. 2001): a ring of ids; each peer knows its successors and a finger for each power of two, and asks the finger that is nearest before
//! the key, again and again, until the key's successor is found.
//!
//! Here the supernodes make up the ring and ordinary nodes ask through their own supernode: the best case for Chord, whose paths grow with the number of peers.
//! The asker's supernode calls each peer on the way itself (the iterative form).
//!
//! **Chord has no word search.** The model gives it the usual one: every file is stored under each word of its name, whole
//! (name, hash, holder), so that one list filtered by the other words answers; all words' keys are looked up, and the shortest list is
//! asked for a page. (Reynolds and Vahdat 2003 intersect lists instead.) What that costs is in the state of whoever has a common word.
//!
//! The paper leaves replication to applications; the model keeps three copies, on the first three successors of a key.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::{
    Model, Outcome, PAGE, State,
    net::{Choice, Net},
    wire,
};
use crate::workload::{FileId, Node, Question, Workload, parameters::VOCABULARY};

/// Copies of each entry (guess: as many as Nearmesh's directory keeps).
const COPIES: usize = 3;
/// Whoever does not answer within this is taken for dead (guess).
const TIMEOUT: Duration = Duration::from_millis(500);

/// What a key stands for.
#[derive(Clone, Copy, Debug)]
enum Key {
    Peer(u32),
    Word(u32),
    User(Node),
}

/// The ring.
#[derive(Debug)]
pub struct Chord<'w> {
    net: Net<'w>,
    /// As fingers and successor lists know it: by id, with the supernode.
    ring: Vec<(u64, u32)>,
    /// Where each supernode is in it.
    positions: Vec<usize>,
    /// Successors that each peer knows.
    successors: usize,
}

/// How a key was looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Who answers for it: the first living of its successors, if one of the copies is alive.
    pub owner: Option<u32>,
    /// Peers on the way, the last one too.
    pub hops: u32,
    /// Calls made, those in vain too.
    pub calls: u32,
    /// How long it took.
    pub time: Duration,
}

impl Key {
    /// Its place on the ring.
    fn id(self) -> u64 {
        let (kind, number) = match self {
            Self::Peer(peer) => (0, peer),
            Self::Word(word) => (1, word),
            Self::User(node) => (2, node.0),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind]).update(&number.to_le_bytes());
        u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
    }
}

/// Whether `id` comes after `from` and not after `upto`, going round.
fn between(from: u64, id: u64, upto: u64) -> bool {
    id != from && id.wrapping_sub(from) <= upto.wrapping_sub(from)
}

impl<'w> Chord<'w> {
    /// A ring whose peers know so many successors.
    pub fn knowing(workload: &'w Workload, peers: u32, successors: usize, rng: &mut ChaCha8Rng) -> Self {
        let net = Net::new(workload, peers, 1, Choice::NearestOfFive, rng);
        let mut chord = Self { net, ring: Vec::new(), positions: vec![0; peers as usize], successors };
        chord.form();
        chord
    }

    fn form(&mut self) {
        self.ring = self.net.living().into_iter().map(|peer| (Key::Peer(peer).id(), peer)).collect();
        self.ring.sort_unstable();
        for (position, (_, peer)) in self.ring.iter().enumerate() {
            self.positions[*peer as usize] = position;
        }
    }

    /// Position of the first peer at or after `id`.
    fn successor(&self, id: u64) -> usize {
        self.ring.partition_point(|(peer, _)| *peer < id) % self.ring.len()
    }

    /// Those that a peer at `position` knows before the key, the nearest to the key first, none twice.
    fn before(&self, position: usize, key: u64) -> Vec<usize> {
        let (own, _) = self.ring[position];
        let fingers = (0..u64::BITS).map(|bit| self.successor(own.wrapping_add(1 << bit)));
        let next = (1..=self.successors).map(|step| (position + step) % self.ring.len());
        let mut known: Vec<usize> = fingers
            .chain(next)
            .filter(|peer| *peer != position && between(own, self.ring[*peer].0, key.wrapping_sub(1)))
            .collect();
        known.sort_unstable_by_key(|peer| key.wrapping_sub(self.ring[*peer].0));
        known.dedup();
        known
    }

    /// Looks a key up on behalf of the supernode `from`.
    pub fn route(&self, from: u32, key: u64) -> Route {
        let mut route = Route::default();
        let own = self.net.place(from);
        let mut position = self.positions[from as usize];
        // Each step at least gets nearer, so that it ends.
        loop {
            let mut next = None;
            for peer in self.before(position, key) {
                route.calls += 1;
                let (_, supernode) = self.ring[peer];
                if self.net.lives(supernode) {
                    route.time += own.rtt(self.net.place(supernode));
                    next = Some(peer);
                    break;
                }
                route.time += TIMEOUT;
            }
            let Some(peer) = next else { break };
            route.hops += 1;
            position = peer;
        }
        let first = self.successor(key);
        for copy in 0..COPIES.min(self.ring.len()) {
            let (_, supernode) = self.ring[(first + copy) % self.ring.len()];
            if supernode == from {
                route.owner = Some(supernode);
                return route;
            }
            route.calls += 1;
            if self.net.lives(supernode) {
                route.hops += 1;
                route.time += own.rtt(self.net.place(supernode));
                route.owner = Some(supernode);
                return route;
            }
            route.time += TIMEOUT;
        }
        route
    }

    /// Looks the key of a user up.
    pub fn route_to_user(&self, from: u32, user: Node) -> Route {
        self.route(from, Key::User(user).id())
    }

    fn count(&self, outcome: &mut Outcome, route: Route) {
        outcome.asks(route.calls, wire::chord::FIND);
        let answered = route.hops;
        outcome.tells(answered, wire::chord::FOUND);
    }
}

impl<'w> Model<'w> for Chord<'w> {
    fn name(&self) -> &'static str {
        "Chord (one key per word, 3 copies)"
    }

    fn build(workload: &'w Workload, peers: u32, rng: &mut ChaCha8Rng) -> Self {
        // Twice the logarithm of their number, so that half of all may die (Stoica et al. 2001, on failures).
        Self::knowing(workload, peers, (2 * peers.ilog2() as usize).max(COPIES), rng)
    }

    fn holders(&self) -> u32 {
        self.net.holders()
    }

    fn askers(&self, questions: u32) -> u32 {
        questions * 5
    }

    fn search(&mut self, asker: Node, question: &Question, _rng: &mut ChaCha8Rng) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(home) = self.net.homes_of(asker).next() else { return outcome };
        let text = wire::text(question);
        let child = self.net.workload.place(asker).rtt(self.net.place(home));
        outcome.asks(1, wire::chord::get(text));
        let routes: Vec<(u32, Route)> =
            question.numbers.iter().map(|word| (*word, self.route(home, Key::Word(*word).id()))).collect();
        for (_, route) in &routes {
            self.count(&mut outcome, *route);
        }
        let found = routes.iter().map(|(_, route)| route.time).max().unwrap_or_default();
        // The title's list is the shortest: those of common words are as long as the word is common.
        let shortest = routes.iter().filter(|(word, _)| *word >= VOCABULARY).find_map(|(_, route)| {
            let owner = route.owner?;
            Some((owner, route.hops))
        });
        outcome.ended = child + found;
        if let Some((owner, hops)) = shortest {
            let file = question.asked.file();
            let entries = file.map_or(0, |file| self.net.workload.holders_of(file).len().min(PAGE)) as u32;
            let name = file.map_or(0, |file| wire::name(self.net.workload, file));
            outcome.asks(1, wire::chord::get(text));
            // To the home, and on to the child.
            outcome.tells(2, wire::chord::got(u64::from(entries), name));
            outcome.ended += self.net.place(home).rtt(self.net.place(owner));
            outcome.found = entries;
            if entries > 0 {
                outcome.result(outcome.ended, hops + 1);
            }
        }
        outcome
    }

    fn lookup(&mut self, asker: Node, user: Node, _rng: &mut ChaCha8Rng) -> Option<Outcome> {
        let mut outcome = Outcome::default();
        let Some(home) = self.net.homes_of(asker).next() else { return Some(outcome) };
        outcome.asks(1, wire::chord::get(wire::USER));
        let route = self.route_to_user(home, user);
        self.count(&mut outcome, route);
        outcome.tells(1, wire::chord::USER_ENTRY);
        // Whoever has the key answers the last call with the entry.
        outcome.ended = self.net.workload.place(asker).rtt(self.net.place(home)) + route.time;
        if route.owner.is_some() {
            outcome.found = 1;
            outcome.result(outcome.ended, route.hops + 1);
        }
        Some(outcome)
    }

    fn state(&self) -> State {
        let workload = self.net.workload;
        let mut own = vec![0.0; self.ring.len()];
        let entry = wire::chord::entry(wire::NAME) as f64;
        for file in (0..workload.files()).map(FileId) {
            let copies = workload.holders_of(file).len() as f64;
            for word in workload.word_numbers(file) {
                own[self.successor(Key::Word(word).id())] += copies * entry;
            }
        }
        for node in (0..workload.nodes()).map(Node) {
            own[self.successor(Key::User(node).id())] += wire::chord::USER_ENTRY as f64;
        }
        let peers = own.len();
        let links = (self.successors + peers.ilog2() as usize) as f64 * wire::chord::NODE as f64;
        let kept = |position: usize| {
            let copies = (0..COPIES.min(peers)).map(|copy| own[(position + peers - copy) % peers]);
            copies.sum::<f64>() + links
        };
        State::of((0..peers).map(kept))
    }

    fn kill(&mut self, part: f64, rng: &mut ChaCha8Rng) {
        self.net.kill(part, rng);
    }

    /// Fingers and successors are right again, and everybody has published anew.
    fn repair(&mut self, rng: &mut ChaCha8Rng) {
        self.net.attach(rng);
        self.form();
    }
}
