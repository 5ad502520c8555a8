//! The simplest supernode that keeps the contract: connected to all others, it floods every query and tells everybody of every
//! child. What the real machine does cleverly, this one does at any cost, so that the node's machine can be
//! tried on its own and a fault in one told from a fault in the other.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UnixMillis, UserName,
    presence::Presence,
    signed::{Keyring, Signed},
    supernode_record::SupernodeRecord,
    wire::{
        LinkMessage, NodeAddress,
        file::{Change, FileEntry, FileNumber, JournalMark},
        home::{DirectoryEntry, RequestId, ToChild, ToHome},
        mesh::{Mesh, QueryId},
        query::{Hit, Query, SearchSummary, Source, Subject},
    },
};
use nearmesh_supernode::proto::{Input, Output};

use super::process::SupernodeMachine;

/// How often unreached supernodes are dialled again, records renewed, and dead searches ended.
const TICK: Duration = Duration::from_secs(5);
/// Alternatives in a redirect.
const ALTERNATIVES: usize = 20;

/// A supernode that floods.
pub(super) struct Flooding {
    keyring: Arc<dyn Keyring>,
    addresses: Vec<SocketAddr>,
    capacity: u32,
    last_sequence: UnixMillis,
    children: BTreeMap<NodeId, Child>,
    /// Every supernode heard of.
    known: BTreeMap<NodeId, NodeAddress>,
    dialling: BTreeSet<NodeId>,
    /// Those that were told hello on the present link.
    greeted: BTreeSet<NodeId>,
    /// The connected ones, once they said hello.
    mesh: BTreeMap<NodeId, (Signed<SupernodeRecord>, SupernodeRecord)>,
    directory: BTreeMap<NodeId, Listed>,
    searches: BTreeMap<u64, Search>,
    asked: u64,
    tick: Instant,
    outputs: VecDeque<Output>,
}

struct Child {
    user: UserName,
    presence: Signed<Presence>,
    addresses: Vec<SocketAddr>,
    held: JournalMark,
    files: BTreeMap<FileNumber, FileEntry>,
}

struct Listed {
    user: UserName,
    presence: Presence,
    signed: Signed<Presence>,
    gone: bool,
}

struct Search {
    child: NodeId,
    id: RequestId,
    waiting: BTreeSet<NodeId>,
}

impl SupernodeMachine for Flooding {
    fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::LinkUp { peer } => {
                if self.known.contains_key(&peer.node) {
                    self.send_hello(peer.node, now);
                }
            }
            Input::LinkDown { node } => self.on_link_down(node),
            Input::DialFailed { node } => {
                self.dialling.remove(&node);
            }
            Input::FromChild { from, message } => self.on_child(from, message, now),
            Input::FromMesh { from, message } => self.on_mesh(from, message, now),
            Input::Candidates(candidates) => candidates.into_iter().for_each(|address| self.dial(address)),
            Input::Timeout => self.handle_timeout(now),
            Input::Rtt { .. } | Input::Addresses(_) | Input::CrlAdopted(_) | Input::StepDown => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.tick)
    }
}

impl Flooding {
    pub(super) fn new(
        addresses: Vec<SocketAddr>,
        capacity: u32,
        keyring: Arc<dyn Keyring>,
        now: Now,
    ) -> Self {
        Self {
            keyring,
            addresses,
            capacity,
            last_sequence: UnixMillis(0),
            children: BTreeMap::new(),
            known: BTreeMap::new(),
            dialling: BTreeSet::new(),
            greeted: BTreeSet::new(),
            mesh: BTreeMap::new(),
            directory: BTreeMap::new(),
            searches: BTreeMap::new(),
            asked: 0,
            tick: now.instant,
            outputs: VecDeque::new(),
        }
    }

    fn on_child(&mut self, from: NodeId, message: ToHome, now: Now) {
        match message {
            ToHome::Attach { presence, journal } => self.on_attach(from, presence, journal, now),
            ToHome::Standby => self.tell(from, ToChild::StandbyKept),
            ToHome::Refresh(presence) => self.on_presence(from, presence, now),
            ToHome::Detach(presence) => {
                self.on_presence(from, presence, now);
                self.children.remove(&from);
            }
            ToHome::Publish { after, upto, changes } => self.on_publish(from, after, upto, changes),
            ToHome::Search { id, query } => self.on_search(from, id, query),
            ToHome::Lookup { id, user } => {
                let listed = self.directory.values().filter(|listed| listed.user == user);
                let nodes = listed.map(|listed| self.entry(listed)).collect();
                self.tell(from, ToChild::Found { id, nodes });
            }
            ToHome::ListSupernodes => {
                let list = self.list(now);
                self.tell(from, ToChild::Supernodes(list));
            }
            ToHome::Cancel(id) => self.searches.retain(|_, search| search.child != from || search.id != id),
            ToHome::Crl(_) => {}
        }
    }

    fn on_mesh(&mut self, from: NodeId, message: Mesh, now: Now) {
        match message {
            Mesh::Hello { record, .. } => self.on_hello(from, record, now),
            Mesh::Members(records) => records.into_iter().for_each(|record| self.learn(&record, now)),
            Mesh::Query { id, query, .. } => {
                let hits = self.hits(&query);
                self.tell_mesh(from, Mesh::Answer { id, hits, more: false });
            }
            Mesh::Answer { id, hits, .. } => self.on_answer(from, id, hits),
            Mesh::Store(presences) => {
                presences.into_iter().for_each(|presence| self.list_presence(presence, now));
            }
            Mesh::Gone { node, .. } => {
                let listed = self.directory.get_mut(&node).filter(|listed| listed.presence.home == from);
                listed.into_iter().for_each(|listed| listed.gone = true);
            }
            _ => {}
        }
    }

    fn on_attach(&mut self, from: NodeId, presence: Signed<Presence>, journal: JournalMark, now: Now) {
        let own = from == self.keyring.node();
        if !own && !self.children.contains_key(&from) && self.children.len() >= self.capacity as usize {
            let roomy = self.mesh.values().filter(|(_, record)| record.has_room());
            let list = roomy.map(|(signed, _)| signed.clone()).take(ALTERNATIVES).collect();
            return self.tell(from, ToChild::Redirect(list));
        }
        let Ok(verified) = self.keyring.verify(presence.clone(), now.wall) else { return };
        let nothing = JournalMark { epoch: journal.epoch, revision: 0 };
        let child = self.children.entry(from).or_insert_with(|| Child {
            user: verified.signer.user,
            presence: presence.clone(),
            addresses: Vec::new(),
            held: nothing,
            files: BTreeMap::new(),
        });
        if child.held.epoch != journal.epoch {
            child.held = nothing;
            child.files.clear();
        }
        let held = child.held;
        self.on_presence(from, presence, now);
        let home = self.record(now);
        self.tell(from, ToChild::Attached { journal: held, home });
    }

    fn on_presence(&mut self, from: NodeId, presence: Signed<Presence>, now: Now) {
        let Ok(verified) = self.keyring.verify(presence.clone(), now.wall) else { return };
        if let Some(child) = self.children.get_mut(&from) {
            child.presence = presence.clone();
            child.addresses = verified.content.addresses;
        }
        self.list_presence(presence.clone(), now);
        self.tell_all(&Mesh::Store(vec![presence]));
    }

    fn on_publish(&mut self, from: NodeId, after: JournalMark, upto: u64, changes: Vec<Change>) {
        let Some(child) = self.children.get_mut(&from) else { return };
        if child.held == after {
            for change in changes {
                match change {
                    Change::Add(entry) => child.files.insert(entry.number, entry),
                    Change::Remove(number) => child.files.remove(&number),
                };
            }
            child.held.revision = upto;
        }
        let held = child.held;
        self.tell(from, ToChild::Published(held));
    }

    fn on_search(&mut self, from: NodeId, id: RequestId, query: Query) {
        let hits = self.hits(&query);
        if !hits.is_empty() {
            self.tell(from, ToChild::Hits { id, hits });
        }
        self.asked += 1;
        let waiting = self.mesh.keys().copied().collect();
        self.searches.insert(self.asked, Search { child: from, id, waiting });
        let number = QueryId { origin: self.keyring.node(), number: self.asked };
        self.tell_all(&Mesh::Query { id: number, query, hops: 0, deadline_ms: 10_000 });
        self.end_searches();
    }

    fn on_answer(&mut self, from: NodeId, id: QueryId, hits: Vec<Hit>) {
        let Some(search) = self.searches.get_mut(&id.number) else { return };
        search.waiting.remove(&from);
        let (child, id) = (search.child, search.id);
        if !hits.is_empty() {
            self.tell(child, ToChild::Hits { id, hits });
        }
        self.end_searches();
    }

    /// The other's children follow; whoever was its child and is not named is gone.
    fn on_hello(&mut self, from: NodeId, record: Signed<SupernodeRecord>, now: Now) {
        self.dialling.remove(&from);
        let Ok(verified) = self.keyring.verify(record.clone(), now.wall) else { return };
        let address = NodeAddress { node: from, addresses: verified.content.addresses.clone() };
        self.known.insert(from, address);
        self.send_hello(from, now);
        self.mesh.insert(from, (record, verified.content));
        for listed in self.directory.values_mut().filter(|listed| listed.presence.home == from) {
            listed.gone = true;
        }
        let members = self.list(now);
        self.tell_mesh(from, Mesh::Members(members));
        let own: Vec<_> = self.children.values().map(|child| child.presence.clone()).collect();
        for part in own.chunks(nearmesh_common::wire::mesh::MAX_STORED) {
            self.tell_mesh(from, Mesh::Store(part.to_vec()));
        }
    }

    fn on_link_down(&mut self, node: NodeId) {
        self.dialling.remove(&node);
        self.greeted.remove(&node);
        self.mesh.remove(&node);
        if let Some(child) = self.children.remove(&node) {
            let gone = self.directory.get_mut(&node);
            if let Some(listed) = gone.filter(|listed| listed.presence.home == self.keyring.node()) {
                listed.gone = true;
            }
            self.tell_all(&Mesh::Gone { node, user: child.user });
        }
        self.searches.values_mut().for_each(|search| {
            search.waiting.remove(&node);
        });
        self.end_searches();
    }

    fn handle_timeout(&mut self, now: Now) {
        self.tick = now.instant + TICK;
        let known: Vec<_> = self.known.values().cloned().collect();
        known.into_iter().for_each(|address| self.dial(address));
        let record = self.record(now);
        self.tell_all(&Mesh::Members(vec![record]));
    }

    fn end_searches(&mut self) {
        let over = |_: &u64, search: &mut Search| search.waiting.is_empty();
        for (_, Search { child, id, .. }) in self.searches.extract_if(.., over).collect::<Vec<_>>() {
            self.tell(child, ToChild::SearchDone { id, summary: SearchSummary::default() });
        }
    }

    fn list_presence(&mut self, signed: Signed<Presence>, now: Now) {
        let Ok(verified) = self.keyring.verify(signed.clone(), now.wall) else { return };
        let presence = verified.content;
        let known = self.directory.get(&presence.node);
        if known.is_none_or(|known| known.presence.sequence <= presence.sequence) {
            let listed = Listed { user: verified.signer.user, presence, signed, gone: false };
            self.directory.insert(listed.presence.node, listed);
        }
    }

    fn entry(&self, listed: &Listed) -> DirectoryEntry {
        let home = listed.presence.home;
        let home_lives = home == self.keyring.node() || self.mesh.contains_key(&home);
        let online = listed.presence.online && !listed.gone && home_lives;
        DirectoryEntry { presence: listed.signed.clone(), online }
    }

    fn hits(&self, query: &Query) -> Vec<Hit> {
        let answers = |file: &FileEntry| match &query.subject {
            Subject::Content(hash) => *hash == file.hash,
            Subject::Words(text) => {
                let words: Vec<_> = file.name.split([' ', '.']).collect();
                text.split(' ').all(|word| words.contains(&word))
            }
        };
        let of = |(node, child): (&NodeId, &Child)| {
            let source =
                Source { user: child.user.clone(), node: *node, addresses: child.addresses.clone().into() };
            let files: Vec<_> = child.files.values().filter(|file| answers(file)).cloned().collect();
            files.into_iter().map(move |file| Hit {
                name: file.name,
                size: file.size,
                hash: file.hash,
                kind: file.kind,
                score: 1,
                source: source.clone(),
            })
        };
        self.children.iter().flat_map(of).take(nearmesh_common::wire::query::MAX_HITS_PER_MESSAGE).collect()
    }

    fn record(&mut self, now: Now) -> Signed<SupernodeRecord> {
        self.last_sequence = now.wall.max(UnixMillis(self.last_sequence.0 + 1));
        self.keyring.seal(&SupernodeRecord {
            node: self.keyring.node(),
            sequence: self.last_sequence,
            addresses: self.addresses.clone(),
            children: self.children.len() as u32,
            capacity: self.capacity,
            serving: true,
        })
    }

    fn list(&mut self, now: Now) -> Vec<Signed<SupernodeRecord>> {
        let own = self.record(now);
        self.mesh.values().map(|(signed, _)| signed.clone()).chain([own]).collect()
    }

    fn learn(&mut self, signed: &Signed<SupernodeRecord>, now: Now) {
        let Ok(verified) = self.keyring.verify(signed.clone(), now.wall) else { return };
        let record = verified.content;
        if let Some(present) = self.mesh.get_mut(&record.node)
            && present.1.sequence < record.sequence
        {
            *present = (signed.clone(), record.clone());
        }
        self.dial(NodeAddress { node: record.node, addresses: record.addresses });
    }

    fn dial(&mut self, address: NodeAddress) {
        let node = address.node;
        if node == self.keyring.node() {
            return;
        }
        self.known.insert(node, address.clone());
        if !self.mesh.contains_key(&node) && self.dialling.insert(node) {
            self.outputs.push_back(Output::Dial(address));
        }
    }

    fn send_hello(&mut self, to: NodeId, now: Now) {
        if !self.greeted.insert(to) {
            return;
        }
        let record = self.record(now);
        self.tell_mesh(to, Mesh::Hello { record, summary: Default::default() });
    }

    fn tell(&mut self, to: NodeId, message: ToChild) {
        self.outputs.push_back(Output::Send { to, message: LinkMessage::ToChild(message) });
    }

    fn tell_mesh(&mut self, to: NodeId, message: Mesh) {
        self.outputs.push_back(Output::Send { to, message: LinkMessage::Mesh(message) });
    }

    fn tell_all(&mut self, message: &Mesh) {
        let all: Vec<_> = self.mesh.keys().copied().collect();
        all.into_iter().for_each(|to| self.tell_mesh(to, message.clone()));
    }
}
