//! The supernodes this node has heard of: where they are, how far, how loaded, how reliable.
//!
//! It begins with what ticket and disk remember and grows with every list that a supernode hands out. It
//! never holds more than [`MAX_HOSTS`]; the failing go first, then those that nobody has heard of for longest.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UnixMillis, presence::MAX_ADDRESSES, supernode_record::SupernodeRecord, wire::NodeAddress,
};
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Candidate, Load};

/// Most supernodes remembered (Skype's host cache; Baset and Schulzrinne, 2006).
pub(super) const MAX_HOSTS: usize = 200;
/// How long a measured round trip counts (iroh keeps its reports for five minutes).
const SAMPLE_LIFE: Duration = Duration::from_secs(5 * 60);
/// Measurements kept of one supernode in that time (guess: as many as there can be with all that are repeated).
const MAX_SAMPLES: usize = 6;
/// Measurements that a lasting gain needs: one could be luck.
const LASTING_SAMPLES: usize = 2;
/// How long a supernode that said it is full is not asked again (guess: children come and go in minutes).
const FULL_FOR: Duration = Duration::from_secs(60);
/// How long one that did not answer is left alone; doubles with every further failure.
const FAILED_FOR: Duration = Duration::from_secs(15);
/// How often that doubles: up to 16 minutes.
const MAX_DOUBLINGS: u32 = 6;
/// Round trips that differ by no more are the same: the jitter of a local network. So are those a quarter longer (guess).
const SAME: Duration = Duration::from_millis(1);
/// Free places that count at most (the usual capacity).
const USUAL_ROOM: u32 = 100;
/// How often the cache is worth writing to disk (guess: a crash may cost the measurements of a minute).
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// How long after the first change of such a minute: a list brings many at once.
const SAVE_AFTER: Duration = Duration::from_secs(5);

/// All known supernodes, this node itself excepted.
#[derive(Debug)]
pub(super) struct HostCache {
    own: NodeId,
    hosts: BTreeMap<NodeId, Host>,
    save_at: Option<Instant>,
    saved_at: Option<Instant>,
}

#[derive(Debug)]
struct Host {
    addresses: Vec<SocketAddr>,
    heard: Option<UnixMillis>,
    load: Option<Load>,
    remembered: Option<Duration>,
    samples: Vec<(Instant, Duration)>,
    failures: u32,
    avoid_until: Option<Instant>,
    /// Named again, at another address, after it had failed.
    retold: bool,
}

impl HostCache {
    /// An empty cache of the node `own`.
    pub(super) fn new(own: NodeId) -> Self {
        Self { own, hosts: BTreeMap::new(), save_at: None, saved_at: None }
    }

    /// Supernodes learnt elsewhere. What is known better already stays; of one that does not answer where it was, it is not.
    pub(super) fn handle_candidates(&mut self, candidates: Vec<Candidate>, now: Now) {
        for candidate in candidates {
            let node = candidate.address.node;
            if node == self.own || candidate.address.addresses.is_empty() {
                continue;
            }
            match self.hosts.get_mut(&node) {
                Some(host) if host.heard.is_none() || host.failures > 0 => {
                    host.told_of(candidate.address.addresses);
                }
                Some(_) => {}
                None => {
                    self.hosts.insert(node, Host::remembered(candidate));
                }
            }
        }
        self.evict(now);
        self.changed(now);
    }

    /// A verified record: a newer one replaces what was known, the last of one that steps down removes it.
    pub(super) fn on_record(&mut self, record: SupernodeRecord, now: Now) {
        if record.node == self.own {
            return;
        }
        if !record.serving {
            self.forget(record.node, now);
            return;
        }
        let unknown = NodeAddress { node: record.node, addresses: Vec::new() };
        let host = self.hosts.entry(record.node);
        let host = host.or_insert_with(|| Host::remembered(Candidate::new(unknown)));
        if host.heard.is_some_and(|heard| heard >= record.sequence) {
            return;
        }
        host.heard = Some(record.sequence);
        host.load = Some(Load::of(&record));
        host.addresses = record.addresses;
        self.evict(now);
        self.changed(now);
    }

    /// A measurement came back, or did not.
    pub(super) fn handle_probed(&mut self, node: NodeId, rtt: Option<Duration>, now: Now) {
        let Some(rtt) = rtt else { return self.handle_failed(node, now) };
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.samples.retain(|(at, _)| *at + SAMPLE_LIFE > now.instant);
        if host.samples.len() == MAX_SAMPLES {
            host.samples.remove(0);
        }
        host.samples.push((now.instant, rtt));
        host.remembered = Some(rtt);
        host.retold = false;
        if std::mem::take(&mut host.failures) > 0 {
            host.avoid_until = None;
        }
        self.changed(now);
    }

    /// It did not answer, or its link broke.
    pub(super) fn handle_failed(&mut self, node: NodeId, now: Now) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.samples.clear();
        host.retold = false;
        let wait = FAILED_FOR * (1 << host.failures.min(MAX_DOUBLINGS));
        host.failures = host.failures.saturating_add(1);
        host.avoid_until = Some(now.instant + wait);
    }

    /// It said that it is full.
    pub(super) fn on_full(&mut self, node: NodeId, now: Now) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.avoid_until = Some(now.instant + FULL_FOR);
        }
    }

    /// It said when to come again.
    pub(super) fn on_busy(&mut self, node: NodeId, wait: Duration, now: Now) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.avoid_until = Some(now.instant + wait);
        }
    }

    /// Whether one more child finds a place there, as far as we heard: of itself, if it said lately that it is full.
    pub(super) fn has_room(&self, node: NodeId, now: Now) -> bool {
        self.hosts.get(&node).is_some_and(|host| host.is_usable(now) && host.has_room())
    }

    /// It is no supernode (any more).
    pub(super) fn forget(&mut self, node: NodeId, now: Now) {
        if self.hosts.remove(&node).is_some() {
            self.changed(now);
        }
    }

    /// Where a supernode is reached.
    pub(super) fn address(&self, node: NodeId) -> Option<NodeAddress> {
        self.hosts.get(&node).map(|host| NodeAddress { node, addresses: host.addresses.clone() })
    }

    /// Its last round trip.
    pub(super) fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.hosts.get(&node).and_then(|host| host.remembered)
    }

    /// Whether there is a supernode of which only the address is known, and that was not tried yet: the ticket, a list or a neighbour
    /// named it.
    pub(super) fn has_untried(&self, now: Now) -> bool {
        self.hosts.values().any(|host| host.is_untried() && host.is_usable(now))
    }

    /// Whether enough is known, from records, to do without asking for a list.
    pub(super) fn knows_enough(&self, enough: usize, now: Now) -> bool {
        self.hosts.values().filter(|host| host.heard.is_some() && host.is_usable(now)).count() >= enough
    }

    /// Up to `count` supernodes to ask whether they live: half of them the untried and then the nearest by what is remembered, the others
    /// at random, and if all are to be avoided, those whose time is up first.
    pub(super) fn scouts(&self, count: usize, rng: &mut ChaCha8Rng, now: Now) -> Vec<NodeAddress> {
        let mut usable: Vec<_> =
            self.hosts.iter().filter(|(_, host)| host.is_usable(now)).map(|(node, _)| *node).collect();
        if usable.is_empty() {
            usable = self.hosts.keys().copied().collect();
            usable.sort_by_key(|node| self.hosts[node].avoid_until);
            usable.truncate(count);
        } else {
            usable.shuffle(rng);
            usable.sort_by_key(|node| self.rtt(*node).unwrap_or(Duration::MAX));
            // They were named because nobody else answers; those that answered before have been tried meanwhile.
            usable.sort_by_key(|node| !self.hosts[node].is_untried());
            usable = half_first_then_random(usable, count, rng, |_| true);
        }
        usable.into_iter().filter_map(|node| self.address(node)).collect()
    }

    /// Up to `count` supernodes whose round trip is worth measuring: `first` and then the nearest known; half of the rest for those that
    /// were never measured, then any, picked at random. Those with room come before the full.
    pub(super) fn to_survey(
        &self,
        first: &[NodeId],
        count: usize,
        rng: &mut ChaCha8Rng,
        now: Now,
    ) -> Vec<NodeAddress> {
        let others = self.hosts.iter().filter(|(node, host)| host.is_usable(now) && !first.contains(node));
        let mut rest: Vec<_> = others.map(|(node, _)| *node).collect();
        // Before the stable sort: nodes that know the same list must not all measure the same supernodes.
        rest.shuffle(rng);
        rest.sort_by_key(|node| (!self.hosts[node].has_room(), self.rtt(*node).unwrap_or(Duration::MAX)));
        let rest = half_first_then_random(rest, count.saturating_sub(first.len()), rng, |node| {
            self.rtt(*node).is_some()
        });
        first.iter().copied().chain(rest).filter_map(|node| self.address(node)).collect()
    }

    /// The nearest of those that were measured since `since`, among those with room if there are any; never `except`.
    pub(super) fn nearest(
        &self,
        since: Instant,
        except: Option<NodeId>,
        rng: &mut ChaCha8Rng,
        now: Now,
    ) -> Option<NodeId> {
        let measured =
            self.measured(now).filter(|(node, host, _)| Some(*node) != except && host.answered_since(since));
        let ranked = measured.map(|(node, host, rtt)| (u8::from(!host.has_room()), rtt, node));
        self.one_of_the_nearest(ranked.collect(), rng)
    }

    /// The nearest of the measured on another machine than `home`'s: another IP address if there is one, at
    /// least another node.
    pub(super) fn second(&self, home: NodeId, rng: &mut ChaCha8Rng, now: Now) -> Option<NodeId> {
        let home_ips: Vec<IpAddr> = self
            .hosts
            .get(&home)
            .map(|host| host.addresses.iter().map(SocketAddr::ip).collect())
            .unwrap_or_default();
        let others = self.measured(now).filter(|(node, ..)| *node != home);
        let ranked = others.map(|(node, host, rtt)| {
            let same_machine = host.addresses.iter().any(|address| home_ips.contains(&address.ip()));
            (2 * u8::from(same_machine) + u8::from(!host.has_room()), rtt, node)
        });
        self.one_of_the_nearest(ranked.collect(), rng)
    }

    /// Of the best rank one that is as near as the nearest, as far as that means anything: by lot, with a lot for each free place, so that
    /// not all run to the same.
    fn one_of_the_nearest(
        &self,
        mut ranked: Vec<(u8, Duration, NodeId)>,
        rng: &mut ChaCha8Rng,
    ) -> Option<NodeId> {
        let (best, nearest, _) = *ranked.iter().min()?;
        let as_near = (nearest * 5 / 4).max(nearest + SAME);
        ranked.retain(|(rank, rtt, _)| *rank == best && *rtt <= as_near);
        let lots = |(_, _, node): &(u8, Duration, NodeId)| self.hosts[node].lots();
        ranked.choose_weighted(rng, lots).ok().map(|(_, _, node)| *node)
    }

    /// A supernode that is clearly and lastingly nearer than `home`: it is below two thirds of the home's best round
    /// trip in five minutes (iroh's rule for its home relay), and was so several times in a row.
    pub(super) fn clearly_nearer(&self, home: NodeId, now: Now) -> Option<NodeId> {
        let nearer = self.nearer(home, LASTING_SAMPLES, now);
        nearer.min_by_key(|(node, rtt)| (*rtt, *node)).map(|(node, _)| node)
    }

    /// Whether somebody was clearly nearer when it was measured last.
    pub(super) fn seems_nearer(&self, home: NodeId, now: Now) -> bool {
        self.nearer(home, 1, now).next().is_some()
    }

    /// Who was below two thirds of the home's best round trip the last so many times, with its own best.
    fn nearer(&self, home: NodeId, times: usize, now: Now) -> impl Iterator<Item = (NodeId, Duration)> {
        let present = self.hosts.get(&home).and_then(|home| home.best(now)).unwrap_or_default();
        self.measured(now).filter_map(move |(node, host, best)| {
            let last = host.recent(now).rev().take(times);
            let lasting = last.filter(|rtt| *rtt * 3 < present * 2).count() == times;
            (node != home && host.has_room() && lasting).then_some((node, best))
        })
    }

    /// Everything, for the disk and for people; nearest first.
    pub(super) fn snapshot(&self) -> Vec<Candidate> {
        let mut all: Vec<_> = self
            .hosts
            .iter()
            .map(|(node, host)| Candidate {
                address: NodeAddress { node: *node, addresses: host.addresses.clone() },
                rtt: host.remembered,
                heard: host.heard,
                load: host.load,
            })
            .collect();
        all.sort_by_key(|candidate| (candidate.rtt.unwrap_or(Duration::MAX), candidate.address.node));
        all
    }

    /// The cache, once it is worth saving.
    pub(super) fn poll_save(&mut self, now: Now) -> Option<Vec<Candidate>> {
        self.save_at.filter(|at| *at <= now.instant)?;
        self.save_at = None;
        self.saved_at = Some(now.instant);
        Some(self.snapshot())
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.save_at
    }

    fn measured(&self, now: Now) -> impl Iterator<Item = (NodeId, &Host, Duration)> {
        self.hosts
            .iter()
            .filter(move |(_, host)| host.is_usable(now))
            .filter_map(move |(node, host)| Some((*node, host, host.best(now)?)))
    }

    fn changed(&mut self, now: Now) {
        let earliest = self.saved_at.map_or(now.instant, |at| at + SAVE_EVERY);
        self.save_at.get_or_insert(earliest.max(now.instant + SAVE_AFTER));
    }

    fn evict(&mut self, now: Now) {
        while self.hosts.len() > MAX_HOSTS {
            let worst = self
                .hosts
                .iter()
                .min_by_key(|(node, host)| {
                    (host.failures == 0, host.recent(now).next().is_some(), host.heard, **node)
                })
                .map(|(node, _)| *node);
            worst.map(|node| self.hosts.remove(&node));
        }
    }
}

impl Host {
    fn remembered(candidate: Candidate) -> Self {
        Self {
            addresses: candidate.address.addresses,
            heard: candidate.heard,
            load: candidate.load,
            remembered: candidate.rtt,
            samples: Vec::new(),
            failures: 0,
            avoid_until: None,
            retold: false,
        }
    }

    /// Others know it at these addresses. Where it was before comes after them.
    fn told_of(&mut self, mut addresses: Vec<SocketAddr>) {
        if addresses.iter().all(|address| self.addresses.contains(address)) {
            return;
        }
        let before = std::mem::take(&mut self.addresses);
        addresses.extend(before.into_iter().filter(|before| !addresses.contains(before)).collect::<Vec<_>>());
        addresses.truncate(MAX_ADDRESSES);
        self.addresses = addresses;
        self.avoid_until = None;
        self.retold = true;
    }

    /// Whether nothing is known but where it may be, and nobody looked there.
    fn is_untried(&self) -> bool {
        self.retold || self.heard.is_none() && self.remembered.is_none() && self.failures == 0
    }

    fn is_usable(&self, now: Now) -> bool {
        self.avoid_until.is_none_or(|until| until <= now.instant)
    }

    fn has_room(&self) -> bool {
        self.load.is_none_or(|load| load.children < load.capacity)
    }

    /// A lot for each free place, and one for who has none; no more than usual for who claims more.
    fn lots(&self) -> u32 {
        let free = self.load.map_or(USUAL_ROOM, |load| load.capacity.saturating_sub(load.children));
        free.clamp(1, USUAL_ROOM)
    }

    fn recent(&self, now: Now) -> impl DoubleEndedIterator<Item = Duration> {
        self.samples.iter().filter(move |(at, _)| *at + SAMPLE_LIFE > now.instant).map(|(_, rtt)| *rtt)
    }

    fn answered_since(&self, since: Instant) -> bool {
        self.samples.last().is_some_and(|(at, _)| *at >= since)
    }

    fn best(&self, now: Now) -> Option<Duration> {
        self.recent(now).min()
    }
}

/// `count` of `sorted`: its first half of `count` as they are, then others at random, in no order, those that are not `known` first.
fn half_first_then_random(
    mut sorted: Vec<NodeId>,
    count: usize,
    rng: &mut ChaCha8Rng,
    known: impl Fn(&NodeId) -> bool,
) -> Vec<NodeId> {
    if sorted.len() > count {
        let kept = count.div_ceil(2);
        sorted[kept..].shuffle(rng);
        sorted[kept..].sort_by_key(known);
        sorted.truncate(count);
    }
    sorted
}
