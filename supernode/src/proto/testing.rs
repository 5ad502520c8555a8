//! A net in memory: supernodes and scripted children, under virtual time, with keys that cost nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nearmesh_common::{
    ContentHash, NodeId, Now, UnixMillis, UserName, codec,
    presence::{LIFETIME, Presence},
    signed::{Keyring, Signed, Signer, VerifyError},
    wire::{
        LinkMessage, NodeAddress,
        file::{Change, FileEntry, FileNumber, JournalMark, Kind},
        home::{DirectoryEntry, RequestId, ToChild, ToHome},
        mesh::Mesh,
        query::{Filter, Hit, Query, SearchSummary, Subject},
    },
};

use super::{Config, Input, Output, Peer, Supernode};

/// One way between any two.
pub(super) const LATENCY: Duration = Duration::from_millis(10);

/// Every dial-back comes from this port.
pub(super) const FRESH_PORT: u16 = 40_404;

/// A moment from which virtual time runs on; nothing depends on which.
#[allow(clippy::disallowed_methods)]
pub(super) fn start() -> Instant {
    Instant::now()
}

/// Nodes that are revoked, for all who share it.
pub(super) type Revoked = Arc<Mutex<BTreeSet<NodeId>>>;

/// Signs with a hash that anybody could forge, and nobody here does.
pub(super) struct FakeKeyring {
    node: NodeId,
    user: UserName,
    revoked: Revoked,
}

impl FakeKeyring {
    pub(super) fn new(name: &str, revoked: Revoked) -> Self {
        Self { node: node(name), user: user(name), revoked }
    }
}

impl Keyring for FakeKeyring {
    fn node(&self) -> NodeId {
        self.node
    }

    fn user(&self) -> &UserName {
        &self.user
    }

    fn sign(&self, message: &[u8]) -> (Box<[u8]>, Box<[u8]>) {
        (codec::encode(&(self.node, &self.user)).into(), signature(&self.node, message))
    }

    fn check(
        &self,
        message: &[u8],
        certificate: &[u8],
        signed: &[u8],
        _wall: UnixMillis,
    ) -> Result<Signer, VerifyError> {
        let (node, user) =
            codec::decode(certificate).map_err(|error| VerifyError::Certificate(error.to_string()))?;
        if self.revoked.lock().unwrap().contains(&node) {
            return Err(VerifyError::Certificate("revoked".into()));
        }
        match *signature(&node, message) == *signed {
            true => Ok(Signer { node, user }),
            false => Err(VerifyError::Signature),
        }
    }
}

fn signature(node: &NodeId, message: &[u8]) -> Box<[u8]> {
    blake3::keyed_hash(&node.0, message).as_bytes().as_slice().into()
}

/// The node of that name. `bob.2` is a second node of bob's.
pub(super) fn node(name: &str) -> NodeId {
    NodeId(*blake3::hash(name.as_bytes()).as_bytes())
}

pub(super) fn user(name: &str) -> UserName {
    name.split('.').next().unwrap().parse().unwrap()
}

pub(super) fn address(name: &str) -> NodeAddress {
    let port = 1024 + u16::from_le_bytes([node(name).0[0], node(name).0[1]]) % 60_000;
    NodeAddress { node: node(name), addresses: vec![([127, 0, 0, 1], port).into()] }
}

pub(super) fn presence(name: &str, home: &str, wall: UnixMillis) -> Presence {
    Presence {
        node: node(name),
        sequence: wall,
        since: wall,
        expires: wall.after(LIFETIME),
        addresses: address(name).addresses,
        home: node(home),
        reach: nearmesh_common::nat::Reach::default(),
        relays: false,
        online: true,
    }
}

pub(super) fn file(number: u32, name: &str) -> FileEntry {
    let hash = ContentHash(*blake3::hash(name.as_bytes()).as_bytes());
    FileEntry {
        number: FileNumber(number),
        name: name.into(),
        size: 1000,
        hash,
        kind: Kind::Other,
        tags: None,
    }
}

pub(super) fn words(text: &str, limit: u32) -> Query {
    Query { subject: Subject::Words(text.into()), filter: Filter::default(), limit }
}

pub(super) fn mark(revision: u64) -> JournalMark {
    JournalMark { epoch: 7, revision }
}

enum Event {
    Link(NodeId, NodeId),
    Down(NodeId, NodeId),
    DialFailed(NodeId, NodeId),
    Message(NodeId, NodeId, LinkMessage),
}

/// Everybody.
pub(super) struct Net {
    pub(super) now: Now,
    began: Now,
    pub(super) revoked: Revoked,
    pub(super) supernodes: BTreeMap<NodeId, Supernode>,
    /// What was sent, in order.
    pub(super) sent: Vec<(NodeId, NodeId, LinkMessage)>,
    pub(super) crls_offered: usize,
    /// Packets to see who is reached: who sent one, where to, with which token.
    pub(super) dialled_back: Vec<(NodeId, SocketAddr, [u8; 16])>,
    /// Where nodes are seen, if it matters.
    places: BTreeMap<NodeId, SocketAddr>,
    /// What each child heard.
    heard: BTreeMap<NodeId, Vec<ToChild>>,
    links: BTreeSet<(NodeId, NodeId)>,
    events: BTreeMap<(Instant, u64), Event>,
    /// When each supernode is due, both ways.
    due: BTreeSet<(Instant, NodeId)>,
    due_at: BTreeMap<NodeId, Instant>,
    numbers: u64,
    lose: Option<fn(&LinkMessage) -> bool>,
    lose_all: fn(&LinkMessage) -> bool,
    deaf: BTreeSet<NodeId>,
    /// Links that a supernode's own node needs.
    pub(super) kept: BTreeSet<(NodeId, NodeId)>,
}

impl Net {
    pub(super) fn new() -> Self {
        let now = Now { instant: start(), wall: UnixMillis(1_700_000_000_000) };
        Self {
            now,
            began: now,
            revoked: Revoked::default(),
            supernodes: BTreeMap::new(),
            sent: Vec::new(),
            crls_offered: 0,
            dialled_back: Vec::new(),
            places: BTreeMap::new(),
            heard: BTreeMap::new(),
            links: BTreeSet::new(),
            events: BTreeMap::new(),
            due: BTreeSet::new(),
            due_at: BTreeMap::new(),
            numbers: 0,
            lose: None,
            lose_all: |_| false,
            deaf: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }

    /// So many supernodes, `s0` and on, that have all met.
    pub(super) fn of(supernodes: usize) -> Self {
        let mut net = Self::new();
        for number in 0..supernodes {
            net.start(&format!("s{number}"), Config::default(), &["s0"]);
        }
        net.run(Duration::from_secs(3));
        net
    }

    pub(super) fn keyring(&self, name: &str) -> Arc<dyn Keyring> {
        Arc::new(FakeKeyring::new(name, self.revoked.clone()))
    }

    /// Starts a supernode that knows these others.
    pub(super) fn start(&mut self, name: &str, config: Config, knows: &[&str]) {
        let seed = *blake3::hash(name.as_bytes()).as_bytes();
        let keyring = self.keyring(name);
        let supernode = Supernode::new(config, keyring, address(name).addresses, seed, self.now);
        self.supernodes.insert(node(name), supernode);
        let candidates = knows.iter().map(|name| address(name)).collect();
        self.tell(name, Input::Candidates(candidates));
    }

    pub(super) fn supernode(&self, name: &str) -> &Supernode {
        &self.supernodes[&node(name)]
    }

    pub(super) fn tell(&mut self, name: &str, input: Input) {
        self.hand(node(name), input);
    }

    /// A process dies; everybody linked to it notices a moment later.
    pub(super) fn kill(&mut self, name: &str) {
        let dead = node(name);
        self.supernodes.remove(&dead);
        self.note_due(dead);
        let peers: Vec<_> = self.links.iter().filter(|(a, _)| *a == dead).map(|(_, b)| *b).collect();
        for peer in peers {
            self.unlink(dead, peer);
            self.post(Event::Down(peer, dead));
        }
    }

    /// A link breaks; both ends notice.
    pub(super) fn cut(&mut self, one: &str, other: &str) {
        self.end_link(node(one), node(other));
    }

    fn end_link(&mut self, one: NodeId, other: NodeId) {
        self.unlink(one, other);
        self.hand(one, Input::LinkDown { node: other });
        self.hand(other, Input::LinkDown { node: one });
    }

    /// From now on links of `name` come from there.
    pub(super) fn place(&mut self, name: &str, address: &str) {
        self.places.insert(node(name), address.parse().unwrap());
    }

    /// The next message that `which` picks gets lost.
    pub(super) fn lose_next(&mut self, which: fn(&LinkMessage) -> bool) {
        self.lose = Some(which);
    }

    /// From now on all messages that `which` picks get lost.
    pub(super) fn lose_all(&mut self, which: fn(&LinkMessage) -> bool) {
        self.lose_all = which;
    }

    /// A supernode goes on holding its links, and says nothing more.
    pub(super) fn silence(&mut self, name: &str) {
        self.deaf.insert(node(name));
    }

    /// It speaks again.
    pub(super) fn speak(&mut self, name: &str) {
        self.deaf.remove(&node(name));
    }

    pub(super) fn presence(&self, name: &str, home: &str) -> Presence {
        presence(name, home, self.now.wall)
    }

    pub(super) fn seal(&self, name: &str, presence: &Presence) -> Signed<Presence> {
        self.keyring(name).seal(presence)
    }

    /// Opens a link, if there is none yet.
    pub(super) fn link(&mut self, child: &str, home: &str) {
        if self.links.insert((node(child), node(home))) {
            self.links.insert((node(home), node(child)));
            self.link_up(node(home), node(child));
            self.link_up(node(child), node(home));
        }
    }

    pub(super) fn say(&mut self, child: &str, home: &str, message: ToHome) {
        self.link(child, home);
        self.hand(node(home), Input::FromChild { from: node(child), message });
    }

    pub(super) fn say_mesh(&mut self, from: &str, to: &str, message: Mesh) {
        self.hand(node(to), Input::FromMesh { from: node(from), message });
    }

    /// Attaches a child whose journal stands at `revision`, a moment after all that was.
    pub(super) fn attach(&mut self, child: &str, home: &str, revision: u64) {
        self.run(Duration::from_millis(1));
        let presence = self.seal(child, &self.presence(child, home));
        self.say(child, home, ToHome::Attach { presence, journal: mark(revision) });
        self.run(LATENCY);
    }

    /// Attaches a child that shares these files.
    pub(super) fn share(&mut self, child: &str, home: &str, files: &[&str]) {
        let upto = files.len() as u64;
        self.attach(child, home, upto);
        let changes = files.iter().zip(1..).map(|(name, number)| Change::Add(file(number, name))).collect();
        self.say(child, home, ToHome::Publish { after: mark(0), upto, changes });
    }

    /// What a child heard since it was asked last.
    pub(super) fn heard(&mut self, child: &str) -> Vec<ToChild> {
        self.heard.remove(&node(child)).unwrap_or_default()
    }

    /// Searches, and returns what came once it ended.
    pub(super) fn search(&mut self, child: &str, home: &str, query: Query) -> (Vec<Hit>, SearchSummary) {
        self.heard(child);
        self.say(child, home, ToHome::Search { id: RequestId(1), query });
        let mut hits = Vec::new();
        for _ in 0..600 {
            self.run(LATENCY);
            for message in self.heard(child) {
                match message {
                    ToChild::Hits { hits: some, .. } => hits.extend(some),
                    ToChild::SearchDone { summary, .. } => return (hits, summary),
                    _ => {}
                }
            }
        }
        panic!("the search did not end");
    }

    /// Looks a user up, and returns the answer.
    pub(super) fn lookup(&mut self, child: &str, home: &str, name: &str) -> Vec<DirectoryEntry> {
        self.heard(child);
        self.say(child, home, ToHome::Lookup { id: RequestId(2), user: user(name) });
        for _ in 0..600 {
            self.run(LATENCY);
            for message in self.heard(child) {
                if let ToChild::Found { nodes, .. } = message {
                    return nodes;
                }
            }
        }
        panic!("the lookup did not end");
    }

    /// Where a user is said to be: home and whether online.
    pub(super) fn whereabouts(&mut self, child: &str, home: &str, name: &str) -> Vec<(NodeId, bool)> {
        let nodes = self.lookup(child, home, name);
        let keyring = self.keyring(child);
        let home = |entry: DirectoryEntry| {
            let presence = keyring.verify(entry.presence, self.now.wall).unwrap().content;
            (presence.home, entry.online)
        };
        nodes.into_iter().map(home).collect()
    }

    /// The homes that an answer names, of nodes that are online.
    pub(super) fn online_homes(&self, child: &str, nodes: Vec<DirectoryEntry>) -> Vec<NodeId> {
        let keyring = self.keyring(child);
        let online = nodes.into_iter().filter(|entry| entry.online);
        online.map(|entry| keyring.verify(entry.presence, self.now.wall).unwrap().content.home).collect()
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.due.first().copied();
            let at = event.into_iter().chain(timeout.map(|(at, _)| at)).min();
            let Some(at) = at.filter(|at| *at <= end) else { break };
            self.step_to(at);
            match (event, timeout) {
                (Some(event), _) if event <= at => {
                    if let Some((_, event)) = self.events.pop_first() {
                        self.deliver(event);
                    }
                }
                (_, Some((_, node))) => self.hand(node, Input::Timeout),
                _ => {}
            }
        }
        self.step_to(end);
    }

    fn step_to(&mut self, at: Instant) {
        // From the beginning: a wall clock that is moved on by fractions of its unit falls behind.
        self.now = self.began.after(at.saturating_duration_since(self.began.instant));
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Link(a, b) if self.links.contains(&(a, b)) => self.link_up(a, b),
            Event::Link(a, b) => {
                self.links.extend([(a, b), (b, a)]);
                self.link_up(a, b);
                self.link_up(b, a);
            }
            Event::Down(at, node) if self.links.contains(&(at, node)) => {}
            Event::Down(at, node) => self.hand(at, Input::LinkDown { node }),
            Event::DialFailed(at, node) => self.hand(at, Input::DialFailed { node }),
            Event::Message(from, to, message) if self.links.contains(&(from, to)) => match message {
                LinkMessage::ToHome(message) => self.hand(to, Input::FromChild { from, message }),
                LinkMessage::Mesh(message) => self.hand(to, Input::FromMesh { from, message }),
                LinkMessage::ToChild(message) => self.heard.entry(to).or_default().push(message),
                LinkMessage::Pulse(_) => {}
            },
            Event::Message(..) => {}
        }
    }

    fn link_up(&mut self, at: NodeId, peer: NodeId) {
        let observed = self.places.get(&peer).copied().unwrap_or(([127, 0, 0, 1], 9).into());
        let peer = Peer { node: peer, user: user("someone"), observed };
        self.hand(at, Input::LinkUp { peer });
    }

    fn unlink(&mut self, a: NodeId, b: NodeId) {
        self.links.remove(&(a, b));
        self.links.remove(&(b, a));
    }

    fn post(&mut self, event: Event) {
        self.numbers += 1;
        self.events.insert((self.now.instant + LATENCY, self.numbers), event);
    }

    fn hand(&mut self, to: NodeId, input: Input) {
        let now = self.now;
        let Some(supernode) = self.supernodes.get_mut(&to) else { return };
        supernode.handle(input, now);
        while let Some(output) = self.supernodes.get_mut(&to).and_then(Supernode::poll_output) {
            self.obey(to, output);
        }
        self.note_due(to);
    }

    fn note_due(&mut self, node: NodeId) {
        if let Some(before) = self.due_at.remove(&node) {
            self.due.remove(&(before, node));
        }
        if let Some(at) = self.supernodes.get(&node).and_then(Supernode::poll_timeout) {
            self.due.insert((at, node));
            self.due_at.insert(node, at);
        }
    }

    fn obey(&mut self, at: NodeId, output: Output) {
        match output {
            Output::Dial(address)
                if self.supernodes.contains_key(&address.node) && !self.deaf.contains(&address.node) =>
            {
                self.post(Event::Link(at, address.node));
            }
            Output::Dial(address) => self.post(Event::DialFailed(at, address.node)),
            Output::Release(node) if self.kept.contains(&(at, node)) => {}
            Output::Release(node) => self.end_link(at, node),
            Output::Close { node, .. } => {
                self.unlink(at, node);
                self.hand(node, Input::LinkDown { node: at });
            }
            Output::OfferedCrl(_) => self.crls_offered += 1,
            Output::SendDialBack { to, token, asker } => {
                self.dialled_back.push((at, to, token));
                if let Some(asker) = asker {
                    self.hand(at, Input::DialBackSent { asker, token, port: Some(FRESH_PORT) });
                }
            }
            Output::Send { to, message } => self.send(at, to, message),
        }
    }

    fn send(&mut self, at: NodeId, to: NodeId, message: LinkMessage) {
        assert!(message.within_bounds(), "{message:?}");
        if self.deaf.contains(&at) || (self.lose_all)(&message) {
            return;
        }
        if self.lose.is_some_and(|which| which(&message)) {
            self.lose = None;
            return;
        }
        self.sent.push((at, to, message.clone()));
        self.post(Event::Message(at, to, message));
    }
}
