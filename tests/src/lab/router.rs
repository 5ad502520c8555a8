//! The middle of the internet: one thread that reads packets from the TUN device of each site and writes them to
//! another's when their time has come. (This stands in for netem, which many kernels do not have.)

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, Read, Write},
    num::NonZeroU64,
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll},
    thread::set_current_timer_slack,
};

use super::{
    addresses::{self, MAX_SITES, MIDDLE},
    packet::{self, Complaint},
    paths::{Fate, Paths, SiteId},
};

/// Packets taken from one site before it is the next one's turn (guess).
const BATCH: usize = 64;
/// Most packets on their way: a second of 1 Gbit/s (guess).
const MAX_UNDER_WAY: usize = 100_000;
/// The event that ends the thread.
const STOP: u64 = u64::MAX;

/// What the thread and those who steer it share.
#[derive(Debug)]
pub(super) struct Router {
    core: Mutex<Core>,
    ready: OwnedFd,
    stop: OwnedFd,
}

/// Sites, ways, and the packets on their way.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) paths: Paths,
    /// Packets that belong nowhere: to unknown addresses, not IPv4, or more than [`MAX_UNDER_WAY`].
    pub(super) strays: u64,
    tuns: Vec<File>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    sequence: u64,
}

/// Ordered by when it is due; those that are due together, by when they came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Instant,
    sequence: u64,
    to: u16,
    packet: Vec<u8>,
}

impl Router {
    pub(super) fn new(paths: Paths) -> io::Result<Self> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&ready, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let core = Core { paths, strays: 0, tuns: Vec::new(), under_way: BinaryHeap::new(), sequence: 0 };
        Ok(Self { core: Mutex::new(core), ready, stop })
    }

    /// A further site, `rtt` from the middle and back, whose packets go through this device.
    pub(super) fn add(&self, tun: File, rtt: Duration) -> io::Result<SiteId> {
        let mut core = self.core();
        assert!(core.tuns.len() < MAX_SITES, "an internet has at most {MAX_SITES} sites");
        let site = core.paths.add(rtt);
        epoll::add(&self.ready, &tun, epoll::EventData::new_u64(site.0.into()), epoll::EventFlags::IN)?;
        core.tuns.push(tun);
        Ok(site)
    }

    /// For those who steer it.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends [`Self::run`].
    pub(super) fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }

    /// Moves packets until it is stopped.
    pub(super) fn run(&self) {
        // The default of 50 us would be seen in every round trip.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        let mut events = Vec::with_capacity(BATCH);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let next = self.core().deliver(Instant::now());
            self.wait(next);
            events.clear();
            // Nothing to wait for any more.
            if epoll::wait(&self.ready, spare_capacity(&mut events), Some(&Timespec::default())).is_err() {
                continue;
            }
            let mut core = self.core();
            for event in &events {
                let source = event.data;
                match u16::try_from(source.u64()) {
                    Ok(site) => core.receive(SiteId(site), &mut buffer),
                    Err(_) => return,
                }
            }
        }
    }

    /// Until a packet comes, or one is due. By `ppoll`, since this crate's epoll rounds up to milliseconds.
    fn wait(&self, until: Option<Instant>) {
        let timeout = until.map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let mut ready = [PollFd::new(&self.ready, PollFlags::IN)];
        // Interrupted or not, the caller looks.
        let _ = poll(&mut ready, timeout.as_ref());
    }
}

impl Core {
    fn receive(&mut self, from: SiteId, buffer: &mut [u8]) {
        let now = Instant::now();
        for _ in 0..BATCH {
            let Ok(length) = (&self.tuns[usize::from(from.0)]).read(buffer) else { return };
            self.route(from, &mut buffer[..length], now);
        }
    }

    fn route(&mut self, from: SiteId, packet: &mut [u8], now: Instant) {
        let to = packet::addresses(packet).and_then(|(_, to)| addresses::site_of(to));
        let known = to.filter(|to| *to != from && usize::from(to.0) < self.tuns.len());
        let Some(to) = known.filter(|_| self.under_way.len() < MAX_UNDER_WAY) else {
            self.strays += 1;
            return;
        };
        let fate = self.paths.send((from, to), packet.len(), now, |hops| packet::pass(packet, hops));
        match fate {
            Fate::Arrives(due) if due <= now => self.write(to, packet),
            Fate::Arrives(due) => self.later(due, to, packet.to_vec()),
            Fate::Expires => self.complain(packet, Complaint::TimeExceeded, now),
            Fate::TooBig(mtu) => self.complain(packet, Complaint::TooBig(mtu), now),
            Fate::Never => {}
        }
    }

    /// Tells the sender, at once: whoever counts the hops of a path by these answers has to come later.
    fn complain(&mut self, packet: &[u8], complaint: Complaint, now: Instant) {
        let site = packet::addresses(packet).and_then(|(sender, _)| addresses::site_of(sender));
        let sender = site.filter(|site| usize::from(site.0) < self.tuns.len());
        if let (Some(sender), Some(error)) = (sender, packet::complain(packet, MIDDLE, complaint)) {
            self.later(now, sender, error);
        }
    }

    fn later(&mut self, due: Instant, to: SiteId, packet: Vec<u8>) {
        self.sequence += 1;
        self.under_way.push(Reverse(UnderWay { due, sequence: self.sequence, to: to.0, packet }));
    }

    /// Hands out what is due; when the next packet is.
    fn deliver(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let next = self.under_way.peek()?.0.due;
            if next > now {
                return Some(next);
            }
            let Reverse(packet) = self.under_way.pop()?;
            self.write(SiteId(packet.to), &packet.packet);
        }
    }

    /// What a device does not take is lost, as behind any full queue or cut cable.
    fn write(&self, to: SiteId, packet: &[u8]) {
        let _ = (&self.tuns[usize::from(to.0)]).write(packet);
    }
}
