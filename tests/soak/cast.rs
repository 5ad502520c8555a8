//! Who takes part, and what is true of them.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nearmesh::profile::Profile;
use nearmesh_common::UserAddress;
use tests::process::{Lab, Node};

/// How many.
const SUPERNODES: usize = 12;
const NODES: usize = 48;
/// Of each kind so many are never killed: their memory is watched.
const STEADY: usize = 4;
/// How many are started at a time: they work hard while they start (guess: twice the cores of a small machine).
const STARTED_AT_A_TIME: usize = 4;
/// The net.
const NET: &str = "soak";
/// A word in the name of everybody's file.
pub const COMMON: &str = "everybody";

/// All of them. The first is the authority.
pub struct Cast {
    pub members: Vec<Member>,
    last_loss: Mutex<Option<Instant>>,
    // Last: the directory goes when no process writes into it any more.
    _lab: Lab,
}

/// One of them.
pub struct Member {
    pub name: String,
    pub supernode: bool,
    /// It is never killed.
    pub steady: bool,
    pub profile: Profile,
    node: Mutex<Node>,
    life: Mutex<Life>,
}

/// Whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Counts starts and kills.
    pub turn: u64,
    pub up: bool,
    /// Since when: up when it said that it is ready, down when it was killed.
    pub since: Instant,
}

impl Cast {
    /// Everybody, up.
    pub fn start(program: &str) -> Self {
        let lab = Lab::new(program);
        let authority = Member::new(&lab, 0);
        authority.node().ok(&["net", "create", NET, "--user", &authority.name]);
        authority.start();
        let waiting: Mutex<VecDeque<usize>> = Mutex::new((1..SUPERNODES + NODES).collect());
        let members = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..STARTED_AT_A_TIME {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().unwrap().pop_front();
                        let Some(number) = next else { return };
                        let member = Member::new(&lab, number);
                        member.node().try_join(&authority.node(), &member.name).unwrap();
                        member.start();
                        members.lock().unwrap().push(member);
                    }
                });
            }
        });
        let mut members = members.into_inner().unwrap();
        members.push(authority);
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Self { members, last_loss: Mutex::default(), _lab: lab }
    }

    /// When a supernode was killed last.
    pub fn last_loss(&self) -> Option<Instant> {
        *self.last_loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `kill -9`.
    pub fn kill(&self, number: usize) {
        let member = &self.members[number];
        if member.supernode {
            *self.last_loss.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        // First what is true: nobody may be blamed for not finding it.
        member.turn(false);
        member.node().kill();
    }

    /// Asks everybody to end; their exit codes.
    pub fn stop(&self) -> Vec<(&str, i32)> {
        let waiting: Mutex<VecDeque<&Member>> = Mutex::new(self.members.iter().collect());
        let exits = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..STARTED_AT_A_TIME {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().unwrap().pop_front();
                        let Some(member) = next else { return };
                        let mut node = member.node();
                        if node.is_up() {
                            let exit = node.stop();
                            exits.lock().unwrap().push((member.name.as_str(), exit));
                        }
                    }
                });
            }
        });
        exits.into_inner().unwrap()
    }

    /// Lines in the logs that tell of a panic.
    pub fn panics(&self) -> Vec<String> {
        let logs = self.members.iter().map(|member| (member, fs::read(member.node().home.join("log"))));
        logs.filter_map(|(member, log)| {
            let text = String::from_utf8_lossy(&log.unwrap()).into_owned();
            let line = text.lines().find(|line| line.contains("panicked at"))?;
            Some(format!("{}: {line}", member.name))
        })
        .collect()
    }
}

impl Member {
    fn new(lab: &Lab, number: usize) -> Self {
        let supernode = number < SUPERNODES;
        let place = if supernode { number } else { number - SUPERNODES };
        let name = format!("n{number:02}");
        let node = lab.node(&name);
        let profile = Profile::locate(Some(&node.profile)).unwrap();
        let shared = node.write(&format!("shared/{COMMON} only {name}.txt"), name.as_bytes());
        node.write("up.toml", format!("share = [{:?}]\n", shared.parent().unwrap()).as_bytes());
        let life = Life { turn: 0, up: false, since: Instant::now() };
        Self {
            name,
            supernode,
            steady: place < STEADY,
            profile,
            node: Mutex::new(node),
            life: Mutex::new(life),
        }
    }

    /// Its user.
    pub fn user(&self) -> UserAddress {
        format!("{}@{NET}", self.name).parse().unwrap()
    }

    /// Its node id.
    pub fn id(&self) -> String {
        self.node().id().to_owned()
    }

    /// Its process, while it is up.
    pub fn pid(&self) -> Option<u32> {
        let node = self.node();
        node.is_up().then(|| node.pid())
    }

    pub fn life(&self) -> Life {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has been up for so long.
    pub fn has_been_up(&self, time: Duration) -> bool {
        let life = self.life();
        life.up && life.since.elapsed() >= time
    }

    /// Starts it, and waits until it is ready.
    pub fn start(&self) {
        let promote = if self.supernode { "always" } else { "never" };
        let config: PathBuf = self.node().home.join("up.toml");
        self.node().up(&["--promote", promote, "--config", config.to_str().unwrap()]);
        self.turn(true);
    }

    fn turn(&self, up: bool) {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        *life = Life { turn: life.turn + 1, up, since: Instant::now() };
    }

    fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
