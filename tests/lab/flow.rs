//! A file on its way between two people of a town: `share` at one end, `get` at the other, and a clock on the bytes that the
//! internet carries.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tests::{
    lab::{Gateway, Internet, Resident, Town},
    process::eventually,
};

/// Between two looks at the counters: a hundredth of what would be a failure, and little work.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Less than that is no progress: the probes and keep-alives of some 10 s.
const PROGRESS: u64 = 16 << 10;
/// No bytes at all for so long: it will not come any more (a user would have given up).
const DEAD: Duration = Duration::from_secs(60);
/// Largest of what a test makes at a time.
const BLOCK: usize = 1 << 20;

/// How many MiB a transfer has: as many as the variable says, or else so many, for CI.
pub(crate) fn mebibytes(usual: u64) -> u64 {
    std::env::var("NEARMESH_LAB_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What happens to it on its way: the part of the bytes that is there by then, what it is called, and what is done.
pub(crate) type Event<'a> = (f64, &'a str, Box<dyn FnOnce() + 'a>);

/// How it went.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Of the file.
    pub(crate) size: u64,
    /// That the internet brought to the downloader while it lasted.
    pub(crate) carried: u64,
    /// From the order until the end.
    pub(crate) took: Duration,
    /// Each stall that was longest between two events: after which event, when, for how long.
    pub(crate) stalls: Vec<(String, Duration, Duration)>,
}

impl Flow {
    pub(crate) fn longest(&self) -> Duration {
        self.stalls.iter().map(|(.., stall)| *stall).max().unwrap_or_default()
    }

    pub(crate) fn report(&self) {
        println!(
            "{} MiB in {:.1} s, {:.1} MB/s, {:.3} bytes carried for each",
            self.size >> 20,
            self.took.as_secs_f64(),
            self.size as f64 / 1e6 / self.took.as_secs_f64(),
            self.carried as f64 / self.size as f64,
        );
        for (after, at, stall) in &self.stalls {
            println!("  longest stall after {after}: {stall:.0?}, {:.1} s into it", at.as_secs_f64());
        }
        println!("  longest stall: {:.0?}", self.longest());
    }
}

/// Shares a new file of so many MiB; its hash. The other finds it.
pub(crate) fn share(owner: &Resident, finder: &Resident, mebibytes: u64) -> blake3::Hash {
    let folder = owner.node.home.join("Music");
    std::fs::create_dir_all(&folder).unwrap();
    let hash = fill(&folder.join("Long Recording.flac"), mebibytes);
    owner.node.ok(&["share", "add", folder.to_str().unwrap()]);
    eventually("the file is found", || {
        let results = finder.node.json_lines(&["search", "long", "recording"]);
        results.iter().any(|result| result["hash"] == hash.to_hex().as_str()).then_some(())
    });
    hash
}

fn fill(path: &Path, mebibytes: u64) -> blake3::Hash {
    let (mut rng, mut file) = (StdRng::seed_from_u64(mebibytes), std::fs::File::create(path).unwrap());
    let (mut hasher, mut block) = (blake3::Hasher::new(), vec![0; BLOCK]);
    for _ in 0..mebibytes {
        rng.fill(block.as_mut_slice());
        hasher.update(&block);
        file.write_all(&block).unwrap();
    }
    hasher.finalize()
}

/// Fetches it while things happen, in their order. It must come whole and verified.
pub(crate) fn fetch(
    town: &Town,
    to: &Resident,
    content: (blake3::Hash, u64),
    events: Vec<Event<'_>>,
) -> Flow {
    let (hash, size) = (content.0, content.1 << 20);
    let sites: Vec<Gateway> = town.everybody().map(|resident| resident.site.clone()).collect();
    let downloads = to.node.home.join("downloads");
    let arguments = ["--json", "get", &hash.to_hex(), "--output", downloads.to_str().unwrap()];
    let mut get = to.node.command(&arguments);
    get.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut clock = Clock::new(&town.internet, to, sites);
    let mut get = get.spawn().unwrap();
    let mut events = events.into_iter().peekable();
    let ended = loop {
        if let Some(status) = get.try_wait().unwrap() {
            break status;
        }
        let carried = clock.look();
        if events.peek().is_some_and(|(part, ..)| carried as f64 >= size as f64 * part) {
            let (_, name, happen) = events.next().unwrap();
            happen();
            clock.stalls.push((name.to_owned(), clock.begun.elapsed(), Duration::ZERO));
        }
        assert!(clock.last.elapsed() < DEAD, "nothing comes any more: {:?}", clock.stalls);
        thread::sleep(LOOK_EVERY);
    };
    clock.look();
    let (mut said, mut complaint) = (String::new(), String::new());
    get.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    get.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(ended.success(), "{said}{complaint}\n{:?}", clock.stalls);
    let left: Vec<&str> = events.map(|(_, name, _)| name).collect();
    assert!(left.is_empty(), "it was over before {left:?}");
    let download: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(hash_of(&PathBuf::from(download["path"].as_str().unwrap())), hash, "the same bytes");
    Flow { size, carried: clock.carried, took: clock.begun.elapsed(), stalls: clock.stalls }
}

fn hash_of(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path).unwrap(), &mut hasher).unwrap();
    hasher.finalize()
}

/// Watches what arrives somewhere.
struct Clock<'a> {
    internet: &'a Internet,
    to: &'a Resident,
    sites: Vec<Gateway>,
    before: u64,
    begun: Instant,
    carried: u64,
    /// When and at how many bytes there was progress.
    last: Instant,
    marked: u64,
    stalls: Vec<(String, Duration, Duration)>,
}

impl<'a> Clock<'a> {
    fn new(internet: &'a Internet, to: &'a Resident, sites: Vec<Gateway>) -> Self {
        let now = Instant::now();
        let stalls = vec![("the order".to_owned(), Duration::ZERO, Duration::ZERO)];
        let mut clock =
            Self { internet, to, sites, before: 0, begun: now, carried: 0, last: now, marked: 0, stalls };
        clock.before = clock.arrived();
        clock
    }

    /// At all sites: the downloader may move.
    fn arrived(&self) -> u64 {
        let here = self.to.host.gateway();
        let ways = self.sites.iter().map(|from| self.internet.carried(from, &here).bytes);
        let old = if here.wan() == self.to.site.wan() { Vec::new() } else { vec![self.to.site.clone()] };
        let before = old
            .iter()
            .flat_map(|there| self.sites.iter().map(|from| self.internet.carried(from, there).bytes));
        ways.sum::<u64>() + before.sum::<u64>()
    }

    fn look(&mut self) -> u64 {
        self.carried = self.arrived().saturating_sub(self.before);
        let now = Instant::now();
        let stall = now - self.last;
        let (_, at, longest) = self.stalls.last_mut().expect("there is the first");
        if stall > *longest {
            (*at, *longest) = (self.last - self.begun, stall);
        }
        if self.carried >= self.marked + PROGRESS {
            (self.last, self.marked) = (now, self.carried);
        }
        self.carried
    }
}
