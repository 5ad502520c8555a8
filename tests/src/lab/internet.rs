//! The internet between the sites of a lab, and how it is steered while it runs.

use std::{
    fs::File,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    gateway::Gateway,
    nat::Nat,
    paths::{Carried, Path, Paths, SiteId},
    privilege,
    router::Router,
};

/// How far a site is from the middle and back, if nobody says otherwise: 10 ms between two homes.
const DEFAULT_RTT: Duration = Duration::from_millis(5);

/// An internet. Copies are the same one; it ends with the last of them and the last gateway.
#[derive(Clone, Debug)]
pub struct Internet(Arc<Running>);

#[derive(Debug)]
struct Running {
    router: Arc<Router>,
    thread: Option<JoinHandle<()>>,
}

impl Internet {
    /// An empty one; or `None`, with a word on standard error about why, where there can be none. Then the test that asked
    /// ends (and has failed where `NEARMESH_NO_SKIP` is set).
    pub fn or_skip() -> Option<Self> {
        privilege::available_or_skip().then(|| Self::new().expect("it was tried out"))
    }

    /// An empty one.
    pub fn new() -> io::Result<Self> {
        let router = Arc::new(Router::new(Paths::new(StdRng::seed_from_u64(rand::random())))?);
        let runs = Arc::clone(&router);
        let thread = thread::Builder::new().name("internet".to_owned()).spawn(move || runs.run())?;
        Ok(Self(Arc::new(Running { router, thread: Some(thread) })))
    }

    /// A site behind a NAT of this kind. A carrier's NAT is one more gateway, between this one and the internet.
    pub fn site(&self, name: &str, nat: impl Into<Nat>) -> Gateway {
        Gateway::on_internet(self, name, nat.into())
    }

    /// A carrier's NAT, for several homes: `internet.carrier("isp", kind).home("alice's", kind)`.
    pub fn carrier(&self, name: &str, nat: impl Into<Nat>) -> Gateway {
        Gateway::carrier(self, name, nat.into())
    }

    /// Puts a site so far from the middle (and back). Two sites are apart by the sum of theirs, unless they have a path of
    /// their own.
    pub fn set_rtt(&self, site: &Gateway, rtt: Duration) {
        self.0.router.core().paths.set_site(site.site(), rtt);
    }

    /// The way between two sites.
    pub fn path(&self, a: &Gateway, b: &Gateway) -> Path {
        self.0.router.core().paths.get(a.site(), b.site())
    }

    /// Changes the way between two sites, in both directions, from the next packet on.
    pub fn change(&self, a: &Gateway, b: &Gateway, change: impl FnOnce(&mut Path)) {
        let mut core = self.0.router.core();
        let mut path = core.paths.get(a.site(), b.site());
        change(&mut path);
        core.paths.set(a.site(), b.site(), path);
    }

    /// Lets nothing through between two sites.
    pub fn cut(&self, a: &Gateway, b: &Gateway) {
        self.0.router.core().paths.cut(a.site(), b.site(), true);
    }

    /// Ends a cut.
    pub fn mend(&self, a: &Gateway, b: &Gateway) {
        self.0.router.core().paths.cut(a.site(), b.site(), false);
    }

    /// What went from one site to another: shows which way a connection takes.
    pub fn carried(&self, from: &Gateway, to: &Gateway) -> Carried {
        self.0.router.core().paths.carried(from.site(), to.site())
    }

    /// Packets to nowhere, so far.
    pub fn strays(&self) -> u64 {
        self.0.router.core().strays
    }

    /// A further site, whose packets go through this device.
    pub(super) fn add(&self, tun: File) -> io::Result<SiteId> {
        self.0.router.add(tun, DEFAULT_RTT)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.router.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
