//! What the internet does to packets, for each pair of sites: how late they come, and which never do.
//!
//! Packets of one direction of one pair never overtake one another, whatever the jitter.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rand::{RngExt, rngs::StdRng};

/// Longest queue before a bottleneck, in time (guess: between a good router's 20 ms and a bad one's second).
const BUFFER: Duration = Duration::from_millis(100);
/// Least room in that queue, in bytes: a burst of one sender's.
const BUFFER_BYTES: u64 = 64 << 10;

/// A site of an internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(super) u16);

/// The way between two sites; the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// There and back.
    pub rtt: Duration,
    /// Most that a packet is late beyond that, each way.
    pub jitter: Duration,
    /// The part of the packets that is lost, each way: 0 to 1.
    pub loss: f64,
    /// Bits per second, each way; `None` for as many as this machine can do.
    pub rate: Option<u64>,
    /// Routers on the way: at least 1.
    pub hops: u8,
    /// Longest packet in bytes, at most 1500.
    pub mtu: u16,
}

/// How many packets ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Delivered.
    pub packets: u64,
    /// In those.
    pub bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Found the queue full.
    pub dropped: u64,
    /// Sent across a cut.
    pub cut: u64,
    /// Their time to live was over.
    pub expired: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives(Instant),
    Expires,
    TooBig(u16),
    Never,
}

/// All ways of an internet.
#[derive(Debug)]
pub(super) struct Paths {
    sites: Vec<Duration>,
    default: Path,
    own: BTreeMap<(SiteId, SiteId), Path>,
    cuts: BTreeSet<(SiteId, SiteId)>,
    lanes: BTreeMap<(SiteId, SiteId), Lane>,
    rng: StdRng,
}

/// One direction of one pair.
#[derive(Debug)]
struct Lane {
    path: Path,
    cut: bool,
    /// When the bottleneck has sent all that waits for it.
    free_at: Instant,
    last: Instant,
    carried: Carried,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            rtt: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            rate: None,
            // Few for a real path, but enough to tell the near gateway from the far one (guess).
            hops: 4,
            mtu: 1500,
        }
    }
}

impl Paths {
    pub(super) fn new(rng: StdRng) -> Self {
        Self {
            sites: Vec::new(),
            default: Path::default(),
            own: BTreeMap::new(),
            cuts: BTreeSet::new(),
            lanes: BTreeMap::new(),
            rng,
        }
    }

    /// A further site, `rtt` from the middle of the internet and back.
    pub(super) fn add(&mut self, rtt: Duration) -> SiteId {
        self.sites.push(rtt);
        SiteId(u16::try_from(self.sites.len() - 1).expect("MAX_SITES is less"))
    }

    pub(super) fn set_site(&mut self, site: SiteId, rtt: Duration) {
        self.sites[usize::from(site.0)] = rtt;
        self.settle();
    }

    /// The way between two sites, as it is now.
    pub(super) fn get(&self, a: SiteId, b: SiteId) -> Path {
        self.own.get(&pair(a, b)).copied().unwrap_or_else(|| {
            let rtt = self.sites[usize::from(a.0)] + self.sites[usize::from(b.0)];
            Path { rtt, ..self.default }
        })
    }

    pub(super) fn set(&mut self, a: SiteId, b: SiteId, path: Path) {
        self.own.insert(pair(a, b), path);
        self.settle();
    }

    pub(super) fn cut(&mut self, a: SiteId, b: SiteId, cut: bool) {
        if cut {
            self.cuts.insert(pair(a, b));
        } else {
            self.cuts.remove(&pair(a, b));
        }
        self.settle();
    }

    pub(super) fn carried(&self, from: SiteId, to: SiteId) -> Carried {
        self.lanes.get(&(from, to)).map(|lane| lane.carried).unwrap_or_default()
    }

    /// What becomes of a packet that comes now; `has_hops` says whether its time to live is enough for so many.
    pub(super) fn send(
        &mut self,
        (from, to): (SiteId, SiteId),
        bytes: usize,
        now: Instant,
        has_hops: impl FnOnce(u8) -> bool,
    ) -> Fate {
        if !self.lanes.contains_key(&(from, to)) {
            let (path, cut) = (self.get(from, to), self.cuts.contains(&pair(from, to)));
            let lane = Lane { path, cut, free_at: now, last: now, carried: Carried::default() };
            self.lanes.insert((from, to), lane);
        }
        let lane = self.lanes.get_mut(&(from, to)).expect("it was just made");
        lane.send(bytes, now, has_hops, &mut self.rng)
    }

    /// Tells the lanes what has changed. Packets that are on their way stay so.
    fn settle(&mut self) {
        for (from, to) in self.lanes.keys().copied().collect::<Vec<_>>() {
            let (path, cut) = (self.get(from, to), self.cuts.contains(&pair(from, to)));
            let lane = self.lanes.get_mut(&(from, to)).expect("its key was just read");
            (lane.path, lane.cut) = (path, cut);
        }
    }
}

impl Lane {
    fn send(
        &mut self,
        bytes: usize,
        now: Instant,
        has_hops: impl FnOnce(u8) -> bool,
        rng: &mut StdRng,
    ) -> Fate {
        if self.cut {
            self.carried.cut += 1;
            return Fate::Never;
        }
        if bytes > usize::from(self.path.mtu) {
            return Fate::TooBig(self.path.mtu);
        }
        if !has_hops(self.path.hops) {
            self.carried.expired += 1;
            return Fate::Expires;
        }
        if self.path.loss > 0.0 && rng.random_bool(self.path.loss.min(1.0)) {
            self.carried.lost += 1;
            return Fate::Never;
        }
        let Some(sent) = self.through_bottleneck(bytes, now) else {
            self.carried.dropped += 1;
            return Fate::Never;
        };
        let late = if self.path.jitter.is_zero() { 0.0 } else { rng.random_range(0.0..1.0) };
        let due = sent + self.path.rtt / 2 + self.path.jitter.mul_f64(late);
        self.last = self.last.max(due);
        self.carried.packets += 1;
        self.carried.bytes += bytes as u64;
        Fate::Arrives(self.last)
    }

    /// When the last bit of it has passed; `None` if the queue is full.
    fn through_bottleneck(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.path.rate else { return Some(now) };
        let time = |bytes: u64| Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(1) as f64);
        let begin = self.free_at.max(now);
        if begin - now > BUFFER.max(time(BUFFER_BYTES)) {
            return None;
        }
        self.free_at = begin + time(bytes as u64);
        Some(self.free_at)
    }
}

fn pair(a: SiteId, b: SiteId) -> (SiteId, SiteId) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Two sites, 5 and 20 ms from the middle.
    fn paths() -> (Paths, (SiteId, SiteId), Instant) {
        let mut paths = Paths::new(StdRng::seed_from_u64(7));
        let pair = (paths.add(5 * MS), paths.add(20 * MS));
        (paths, pair, Instant::now())
    }

    #[test]
    fn a_pair_without_a_path_of_its_own_is_as_far_apart_as_its_sites_say() {
        let (mut paths, pair, now) = paths();
        assert_eq!(paths.send(pair, 100, now, |hops| hops == 4), Fate::Arrives(now + 25 * MS / 2));
        paths.set_site(pair.0, 105 * MS);
        assert_eq!(paths.send(pair, 100, now, |_| true), Fate::Arrives(now + 125 * MS / 2));
        let path = Path { rtt: 2 * MS, hops: 9, ..paths.get(pair.1, pair.0) };
        paths.set(pair.1, pair.0, path);
        let later = now + 500 * MS;
        assert_eq!(paths.send(pair, 100, later, |hops| hops == 9), Fate::Arrives(later + MS));
    }

    #[test]
    fn packets_do_not_overtake_one_another() {
        let (mut paths, pair, now) = paths();
        paths.set(pair.0, pair.1, Path { jitter: 50 * MS, ..Path::default() });
        let arrivals: Vec<Fate> = (0..100).map(|i| paths.send(pair, 100, now + i * MS, |_| true)).collect();
        let arrivals: Vec<Instant> = arrivals.iter().map(|fate| fate.arrival()).collect();
        assert!(arrivals.is_sorted());
        assert!(arrivals.iter().zip(0..).all(|(at, i)| *at - (now + i * MS) >= 5 * MS));
        assert!(arrivals.iter().any(|at| *at > now + 105 * MS));
    }

    #[test]
    fn a_bottleneck_sends_one_packet_after_the_other_and_drops_what_it_cannot_keep() {
        let (mut paths, pair, now) = paths();
        paths.set(pair.0, pair.1, Path { rtt: Duration::ZERO, rate: Some(8_000_000), ..Path::default() });
        assert_eq!(paths.send(pair, 1000, now, |_| true), Fate::Arrives(now + MS));
        assert_eq!(paths.send(pair, 1000, now, |_| true), Fate::Arrives(now + 2 * MS));
        let kept = (0..1000).filter(|_| paths.send(pair, 1000, now, |_| true) != Fate::Never).count();
        assert!((95..=105).contains(&kept), "a tenth of a second's worth is kept: {kept}");
        let later = now + 200 * MS;
        assert_eq!(paths.send(pair, 1000, later, |_| true), Fate::Arrives(later + MS));
    }

    #[test]
    fn a_cut_lets_nothing_through_until_it_is_mended() {
        let (mut paths, pair, now) = paths();
        paths.cut(pair.1, pair.0, true);
        assert_eq!(paths.send(pair, 100, now, |_| true), Fate::Never);
        paths.cut(pair.0, pair.1, false);
        assert_ne!(paths.send(pair, 100, now, |_| true), Fate::Never);
        assert_eq!((paths.carried(pair.0, pair.1).cut, paths.carried(pair.0, pair.1).packets), (1, 1));
    }

    #[test]
    fn long_and_tired_packets_are_complained_about() {
        let (mut paths, pair, now) = paths();
        paths.set(pair.0, pair.1, Path { mtu: 1280, ..Path::default() });
        assert_eq!(paths.send(pair, 1281, now, |_| true), Fate::TooBig(1280));
        assert_eq!(paths.send(pair, 1280, now, |_| false), Fate::Expires);
    }

    impl Fate {
        fn arrival(&self) -> Instant {
            let Self::Arrives(at) = self else { panic!("{self:?}") };
            *at
        }
    }
}
