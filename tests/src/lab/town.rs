//! A net of real processes in a lab: three supernodes on open sites, and people at home.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{gateway::Gateway, host::Host, internet::Internet, nat::Nat, nat::NatKind};
use crate::process::{Lab, Node, eventually, eventually_or};

/// What the net is called.
pub const NET: &str = "lab";
/// How far a home is from the middle of the internet and back, in milliseconds: enough to tell one round trip from two on a busy
/// machine.
pub const HOME_RTT_MS: u64 = 15;
/// The supernodes, the authority first, and how far each is from the middle and back, in milliseconds: with those of a home they are a
/// near, a middling and a far one.
pub const SUPERNODES: [(&str, u64); 3] = [("hub1", 5), ("hub2", 20), ("hub3", 40)];
/// How many nodes are started at a time: they work hard while they start (guess: twice the cores of a small machine).
const STARTED_AT_A_TIME: usize = 4;

/// The net.
pub struct Town {
    /// What is between its sites.
    pub internet: Internet,
    /// Those of [`SUPERNODES`], in their order.
    pub supernodes: Vec<Resident>,
    /// Everybody else.
    pub people: Vec<Resident>,
    // Last: the directory goes when no process writes into it any more.
    lab: Lab,
}

/// One node, and where it lives.
pub struct Resident {
    /// The user's name: `alice` of `alice@lab`.
    pub name: String,
    /// What its site was built as.
    pub nat: Nat,
    /// Its home.
    pub site: Gateway,
    /// Its machine.
    pub host: Host,
    /// Its process.
    pub node: Node,
    /// Why it is not in the net, if it is not.
    pub outside: Option<String>,
}

impl Town {
    /// Three supernodes that know one another. `program` is nearmesh.
    pub fn found(internet: Internet, program: &Path) -> Self {
        let lab = Lab::new(program.to_str().expect("a path that can be printed"));
        let mut supernodes: Vec<Resident> = Vec::new();
        for (name, rtt) in SUPERNODES {
            let (nat, site) = (NatKind::Open.into(), internet.site(name, NatKind::Open));
            internet.set_rtt(&site, Duration::from_millis(rtt));
            let host = site.host(name);
            let node = lab.node_in(name, &host);
            let node = match supernodes.first() {
                None => node.founds(NET, name, &[]),
                Some(authority) => node.joins(&authority.node, name, &["--promote", "always"]),
            };
            supernodes.push(Resident { name: name.to_owned(), nat, site, host, node, outside: None });
        }
        for supernode in &supernodes {
            let known = eventually_or("the supernodes know one another", || {
                (supernode.node.json(&["status"])["supernodes"] == SUPERNODES.len()).then_some(())
            });
            known.unwrap_or_else(|late| {
                let seen = supernodes.iter().map(|hub| {
                    let status = hub.node.json(&["status"]);
                    format!("{} sees {}", hub.name, status["supernodes"])
                });
                panic!("{} of {late}\n{}", supernode.name, seen.collect::<Vec<_>>().join("\n"))
            });
        }
        Self { internet, supernodes, people: Vec::new(), lab }
    }

    /// Lets people move in, each at a site of its own behind a NAT of this kind, and waits until they can be looked up and know
    /// their NATs. Who
    /// does not get into the net is there all the same, [`Resident::outside`].
    pub fn settle(&mut self, people: impl IntoIterator<Item = (String, Nat)>) {
        let newcomers: Vec<Resident> = people.into_iter().map(|(name, nat)| self.build(name, nat)).collect();
        self.each(newcomers, Resident::move_in);
    }

    /// Stops everybody but the supernodes and starts them again: no connection is left from before.
    pub fn restart(&mut self) {
        let people = std::mem::take(&mut self.people);
        self.each(people, Resident::restart);
    }

    /// Does something to some people, several at a time, and counts them among the people then.
    fn each(&mut self, people: Vec<Resident>, work: impl Fn(&mut Resident, &Node) + Sync) {
        let waiting = Mutex::new(VecDeque::from(people));
        let done = Mutex::new(Vec::new());
        let authority = &self.supernodes[0].node;
        thread::scope(|scope| {
            for _ in 0..STARTED_AT_A_TIME {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(mut person) = next else { return };
                        work(&mut person, authority);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(person);
                    }
                });
            }
        });
        self.people.append(&mut done.into_inner().unwrap_or_else(PoisonError::into_inner));
        self.people.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Somebody, by name.
    pub fn find(&self, name: &str) -> Option<&Resident> {
        self.everybody().find(|resident| resident.name == name)
    }

    /// Supernodes and people.
    pub fn everybody(&self) -> impl Iterator<Item = &Resident> {
        self.supernodes.iter().chain(&self.people)
    }

    fn build(&self, name: String, nat: Nat) -> Resident {
        let site = self.internet.site(&name, nat);
        self.internet.set_rtt(&site, Duration::from_millis(HOME_RTT_MS));
        let host = site.host(&name);
        let node = self.lab.node_in(&name, &host);
        Resident { name, nat, site, host, node, outside: None }
    }
}

impl Resident {
    fn move_in(&mut self, authority: &Node) {
        match self.node.try_join(authority, &self.name) {
            Ok(()) => self.start(authority),
            Err(ran) => self.outside = Some(ran.stderr.lines().next().unwrap_or_default().to_owned()),
        }
    }

    fn restart(&mut self, authority: &Node) {
        if self.node.is_up() {
            self.node.stop();
            self.start(authority);
        }
    }

    fn start(&mut self, authority: &Node) {
        self.node.up(&["--promote", "never"]);
        let id = self.node.id().to_owned();
        eventually(&format!("{} can be looked up", self.name), || {
            let found = authority.run(&["--json", "lookup", &format!("{}@{NET}", self.name)]);
            (found.code == 0 && found.stdout.contains(&id)).then_some(())
        });
        // Who calls it before it knows its NAT dials in vain for a while.
        eventually(&format!("{} knows its NAT", self.name), || {
            let reach = &self.node.json(&["status"])["reachability"]["reach"];
            (reach != "unknown").then_some(())
        });
    }
}
