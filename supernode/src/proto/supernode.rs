//! The supernode: owner of the sub-protocols, and the one place where what one of them learns reaches another.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId, Now, UserName,
    presence::Presence,
    signed::{Keyring, Signed, Verified},
    supernode_record::{REFRESH, SupernodeRecord},
    wire::{
        home::{Decline, DirectoryEntry, Refusal, RequestId, ToChild, ToHome},
        mesh::{MAX_STORED, Mesh, QueryId},
        query::{Hit, MAX_QUERY_WORDS, Query, Subject},
    },
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    CloseReason, Input, Output, Peer,
    answers::{self, Answers, Verdict},
    children::{Attach, Children},
    directory::{Directory, merge},
    lookups::{Holder, Known, Lookups},
    membership::Membership,
    outbox::Outbox,
    placement::holders,
    search::Searches,
    summaries::Summaries,
};
use crate::{index::Catalogue, summary::Probe};

/// Shortest time between two records of our own: load changes with every child, its news should not.
const RECORD_INTERVAL: Duration = Duration::from_secs(2);
/// A change of load worth telling at once, as a divisor of the capacity: a twentieth.
const LOAD_STEP: u32 = 20;
/// Files of departed children that are cleared away at a time (measured: 2 us each, so 2 ms).
const PURGE: usize = 1000;
/// Between two such times, so that questions come in between.
const PURGE_INTERVAL: Duration = Duration::from_millis(20);

/// How to be a supernode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Children to take.
    pub capacity: u32,
}

/// What was refused so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records and presences that were forged, expired, replayed or otherwise worthless.
    pub bad_records: u64,
    /// Messages that their sender had no business sending.
    pub out_of_place: u64,
    /// Questions and queries over a bound or a rate.
    pub declined: u64,
}

/// A link that is up.
#[derive(Clone, Debug)]
struct Linked {
    peer: Peer,
    rtt: Option<Duration>,
    /// Whether we have sent our `Hello` on it.
    greeted: bool,
}

/// A supernode, as a machine.
pub struct Supernode {
    me: NodeId,
    config: Config,
    keyring: Arc<dyn Keyring>,
    rng: ChaCha8Rng,
    addresses: Vec<SocketAddr>,
    links: BTreeMap<NodeId, Linked>,
    catalogue: Catalogue,
    children: Children,
    membership: Membership,
    summaries: Summaries,
    searches: Searches,
    answers: Answers,
    directory: Directory,
    lookups: Lookups,
    /// Holders that have the newest presence of each child.
    stored: BTreeMap<NodeId, BTreeSet<NodeId>>,
    record: SupernodeRecord,
    recorded_at: Instant,
    /// When to clear away more of what departed children left.
    purge_at: Option<Instant>,
    crl: Option<Box<[u8]>>,
    counters: Counters,
    outbox: Outbox,
}

impl Supernode {
    /// A supernode that nobody knows yet.
    pub fn new(
        config: Config,
        keyring: Arc<dyn Keyring>,
        addresses: Vec<SocketAddr>,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let me = keyring.node();
        let record = SupernodeRecord {
            node: me,
            sequence: now.wall,
            addresses: addresses.clone(),
            children: 0,
            capacity: config.capacity,
            serving: true,
        };
        Self {
            me,
            config,
            keyring,
            rng: ChaCha8Rng::from_seed(seed),
            addresses,
            links: BTreeMap::new(),
            catalogue: Catalogue::default(),
            children: Children::new(config.capacity),
            membership: Membership::new(me),
            summaries: Summaries::new(now.wall.0),
            searches: Searches::new(me),
            answers: Answers::default(),
            directory: Directory::new(now.instant),
            lookups: Lookups::default(),
            stored: BTreeMap::new(),
            record,
            recorded_at: now.instant,
            purge_at: None,
            crl: None,
            counters: Counters::default(),
            outbox: Outbox::default(),
        }
    }

    /// Children that are attached now, without this node itself.
    pub fn children(&self) -> usize {
        self.children.iter().filter(|child| child.presence.content.node != self.me).count()
    }

    /// The supernodes that are alive, this one first.
    pub fn members(&self) -> impl Iterator<Item = SupernodeRecord> + '_ {
        std::iter::once(self.record.clone()).chain(self.membership.records().map(|record| record.content.clone()))
    }

    /// What was refused so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// When to come back with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let record = if self.load_moved() { RECORD_INTERVAL } else { REFRESH };
        [
            self.children.poll_timeout(),
            self.membership.poll_timeout(),
            self.summaries.poll_timeout(),
            self.searches.poll_timeout(),
            self.directory.poll_timeout(),
            self.lookups.poll_timeout(),
            self.purge_at,
            Some(self.recorded_at + record),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::LinkUp { peer } => self.handle_link_up(peer),
            Input::LinkDown { node } => self.handle_link_down(node, now),
            Input::DialFailed { node } => self.handle_lost(node, now),
            Input::FromChild { from, message } => self.on_child(from, message, now),
            Input::FromMesh { from, message } => self.on_mesh(from, message, now),
            Input::Rtt { node, rtt } => {
                if let Some(link) = self.links.get_mut(&node) {
                    link.rtt = Some(rtt);
                }
            }
            Input::Addresses(addresses) => {
                self.addresses = addresses;
                self.announce(now);
            }
            Input::Candidates(candidates) => {
                self.membership.handle_candidates(candidates, now.instant);
                self.membership.handle_timeout(now, &mut self.outbox);
            }
            Input::CrlAdopted(der) => self.handle_crl(der, now),
            Input::StepDown => self.handle_step_down(now),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    fn handle_link_up(&mut self, peer: Peer) {
        let node = peer.node;
        self.links.insert(node, Linked { peer, rtt: None, greeted: false });
        if node != self.me && self.membership.is_known(node) {
            self.greet(node);
        }
    }

    fn greet(&mut self, node: NodeId) {
        let Some(link) = self.links.get_mut(&node).filter(|link| !link.greeted) else { return };
        link.greeted = true;
        let record = self.keyring.seal(&self.record);
        self.outbox.mesh(node, Mesh::Hello { record, summary: self.summaries.held_of(node) });
        if let Some(crl) = &self.crl {
            self.outbox.mesh(node, Mesh::Crl(crl.clone()));
        }
    }

    fn handle_link_down(&mut self, node: NodeId, now: Now) {
        self.links.remove(&node);
        if let Some(user) = self.children.away(node, now.instant, &mut self.catalogue) {
            self.on_child_gone(node, user);
        }
        self.handle_lost(node, now);
    }

    fn handle_lost(&mut self, node: NodeId, now: Now) {
        if self.membership.on_lost(node, now.instant) {
            self.on_member_lost(node, now);
        }
    }

    /// What follows when a member is dead, or is no member any more.
    fn on_member_lost(&mut self, node: NodeId, now: Now) {
        self.searches.on_member_lost(node, now.instant, &mut self.outbox);
        self.lookups.on_member_lost(node, now.instant, &mut self.outbox);
        self.directory.on_member_lost(node);
        for holders in self.stored.values_mut() {
            holders.remove(&node);
        }
        self.place_all(now);
    }

    fn on_member_left(&mut self, node: NodeId, now: Now) {
        self.summaries.forget(node);
        self.answers.forget(node);
        self.on_member_lost(node, now);
    }

    fn on_child_gone(&mut self, node: NodeId, user: UserName) {
        self.searches.on_child_gone(node, &mut self.outbox);
        self.lookups.on_child_gone(node);
        self.directory.on_gone(self.me, node, &user);
        for holder in self.stored.remove(&node).unwrap_or_default() {
            self.outbox.mesh(holder, Mesh::Gone { node, user: user.clone() });
        }
    }

    fn on_child(&mut self, from: NodeId, message: ToHome, now: Now) {
        match message {
            ToHome::Attach { presence, journal } => match self.own_presence(from, presence, now) {
                Some(presence) => self.attach(presence, journal, now),
                None => self.outbox.child(from, ToChild::Refused(Refusal::Presence)),
            },
            ToHome::Standby => self.outbox.child(from, ToChild::StandbyKept),
            ToHome::Refresh(presence) => {
                if let Some(presence) = self.own_presence(from, presence, now)
                    && self.children.refresh(presence)
                {
                    self.stored.remove(&from);
                    self.place(from, now);
                }
            }
            ToHome::Detach(presence) => self.detach(from, presence, now),
            ToHome::Publish { after, upto, changes } => {
                let held = self.children.publish(from, (after, upto), &changes, &mut self.catalogue);
                if let Some(held) = held {
                    self.summaries.touch(now.instant);
                    self.outbox.child(from, ToChild::Published(held));
                }
            }
            ToHome::Search { id, query } => self.search(from, id, query, now),
            ToHome::Cancel(id) => self.searches.cancel(from, id, &mut self.outbox),
            ToHome::Lookup { id, user } => self.look_up(from, id, user, now),
            ToHome::ListSupernodes => {
                let mut list = vec![self.keyring.seal(&self.record)];
                list.extend(self.membership.list());
                self.outbox.child(from, ToChild::Supernodes(list));
            }
            ToHome::Crl(der) => self.outbox.offered_crl(der),
        }
    }

    fn attach(&mut self, presence: Verified<Presence>, journal: nearmesh_common::wire::file::JournalMark, now: Now) {
        let node = presence.signer.node;
        let Some(observed) = self.links.get(&node).map(|link| link.peer.observed) else { return };
        let alternatives = self.membership.with_room();
        let must = alternatives.is_empty() || node == self.me;
        match self.children.attach(presence, (observed, must), journal, &mut self.catalogue) {
            Attach::Attached(held) => {
                let home = self.keyring.seal(&self.record);
                self.outbox.child(node, ToChild::Attached { journal: held, home });
                if let Some(crl) = &self.crl {
                    self.outbox.child(node, ToChild::Crl(crl.clone()));
                }
                self.summaries.touch(now.instant);
                self.stored.remove(&node);
                self.place(node, now);
            }
            Attach::Replayed => {
                self.counters.bad_records += 1;
                self.outbox.child(node, ToChild::Refused(Refusal::Presence));
            }
            Attach::Full if alternatives.is_empty() => {
                self.outbox.child(node, ToChild::Redirect(self.membership.list()));
            }
            Attach::Full => self.outbox.child(node, ToChild::Redirect(alternatives)),
        }
    }

    /// A child goes elsewhere or ends. Its last presence says which; the files go either way.
    fn detach(&mut self, from: NodeId, presence: Signed<Presence>, now: Now) {
        let Some(child) = self.children.get(from) else { return };
        let user = child.presence.signer.user.clone();
        let last = self.admit_presence(presence, now).filter(|last| last.signer.node == from);
        self.children.forget(from, &mut self.catalogue);
        self.purge_at.get_or_insert(now.instant);
        if let Some(last) = last.filter(|last| !last.content.online) {
            let holders = self.stored.get(&from).cloned().unwrap_or_default();
            for holder in holders {
                self.outbox.mesh(holder, Mesh::Store(vec![last.signed.clone()]));
            }
            self.directory.store(last);
        }
        self.on_child_gone(from, user);
    }

    fn search(&mut self, from: NodeId, id: RequestId, query: Query, now: Now) {
        if let Err(reason) = self.may_ask(from, now).and_then(|()| check_query(&query)) {
            self.decline(from, id, reason);
            return;
        }
        if !self.searches.has_room(from) {
            self.decline(from, id, Decline::TooMany);
            return;
        }
        let probe = Probe::new(&query.subject);
        let own = self.own_hits(&query);
        let mut members: Vec<NodeId> =
            self.membership.alive().filter(|node| self.summaries.may_match(*node, &probe)).collect();
        members.shuffle(&mut self.rng);
        members.sort_by_key(|node| self.rtt(*node).unwrap_or(Duration::MAX));
        self.searches.start((from, id), query, own, members, (now.instant, &mut self.outbox));
    }

    fn look_up(&mut self, from: NodeId, id: RequestId, user: UserName, now: Now) {
        if let Err(reason) = self.may_ask(from, now) {
            self.decline(from, id, reason);
            return;
        }
        if !self.lookups.has_room() {
            self.decline(from, id, Decline::TooMany);
            return;
        }
        let mut known = Known::new();
        for entry in self.directory.find(&user) {
            if let Ok(presence) = self.keyring.verify(entry.presence, now.wall) {
                merge(&mut known, presence, entry.online);
            }
        }
        for child in self.children.iter().filter(|child| child.presence.signer.user == user) {
            merge(&mut known, child.presence.clone(), true);
        }
        let places = self.holders(&user);
        let heard = places.contains(&self.me);
        let others = places.into_iter().filter(|node| *node != self.me);
        let others = others.map(|node| Holder { node, rtt: self.rtt(node) }).collect();
        self.lookups.start((from, id), user, (known, heard), others, (now.instant, &mut self.outbox));
    }

    fn may_ask(&mut self, from: NodeId, now: Now) -> Result<(), Decline> {
        if self.children.get(from).is_none() {
            return Err(Decline::NotAttached);
        }
        if self.children.may_ask(from, now.instant) { Ok(()) } else { Err(Decline::TooMany) }
    }

    fn decline(&mut self, from: NodeId, id: RequestId, reason: Decline) {
        self.counters.declined += 1;
        self.outbox.child(from, ToChild::Declined { id, reason });
    }

    fn on_mesh(&mut self, from: NodeId, message: Mesh, now: Now) {
        if let Mesh::Hello { record, summary } = message {
            self.on_hello(from, record, summary, now);
            return;
        }
        if !self.membership.is_alive(from) {
            self.counters.out_of_place += 1;
            return;
        }
        match message {
            Mesh::Hello { .. } => {}
            Mesh::Members(records) => self.on_members(from, records, now),
            Mesh::SummaryPart { version, first, last, entries } => {
                let outcome =
                    self.summaries.on_part(from, version, (first, last), &entries, &mut self.outbox);
                self.close_if(outcome.is_err(), from);
            }
            Mesh::SummaryChange { from: version, added, removed } => {
                let outcome =
                    self.summaries.on_change(from, version, (&added, &removed), &mut self.outbox);
                self.close_if(outcome.is_err(), from);
            }
            Mesh::SummaryLost => {
                self.summaries.on_lost(from, now.instant, &self.catalogue, &mut self.outbox);
            }
            Mesh::Query { id, query, .. } => self.on_query(from, id, &query, now),
            Mesh::Answer { id, hits, more } => {
                let asked =
                    self.searches.on_answer(from, id, (hits, more), (now.instant, &mut self.outbox));
                self.counters.out_of_place += u64::from(!asked);
            }
            // A query is answered before the next message is read.
            Mesh::Cancel(_) => {}
            Mesh::Store(presences) => {
                for presence in presences {
                    if let Some(presence) = self.admit_presence(presence, now) {
                        self.directory.store(presence);
                    }
                }
            }
            Mesh::Gone { node, user } => self.directory.on_gone(from, node, &user),
            Mesh::Find { number, user } => {
                let nodes = self.directory.find(&user);
                self.outbox.mesh(from, Mesh::Held { number, nodes });
            }
            Mesh::Held { number, nodes } => self.on_held(from, number, nodes, now),
            Mesh::Crl(der) => self.outbox.offered_crl(der),
        }
    }

    fn on_hello(
        &mut self,
        from: NodeId,
        record: Signed<SupernodeRecord>,
        held: nearmesh_common::wire::mesh::SummaryVersion,
        now: Now,
    ) {
        let record = self.admit_record(record, now).filter(|record| record.content.node == from);
        let Some(record) = record.filter(|_| self.links.contains_key(&from)) else {
            self.close_if(true, from);
            return;
        };
        let was_alive = self.membership.is_alive(from);
        if let Some(left) = self.membership.on_hello(record, &mut self.outbox) {
            self.on_member_left(left, now);
            return;
        }
        if !self.membership.is_alive(from) || was_alive {
            return;
        }
        self.greet(from);
        self.outbox.mesh(from, Mesh::Members(self.membership.list()));
        self.summaries.on_hello(from, held, &self.catalogue, &mut self.outbox);
        self.place_all(now);
    }

    fn on_members(&mut self, from: NodeId, records: Vec<Signed<SupernodeRecord>>, now: Now) {
        for record in records {
            let Some(record) = self.admit_record(record, now) else { continue };
            if let Some(left) = self.membership.on_record(from, record, now, &mut self.outbox) {
                self.on_member_left(left, now);
            }
        }
        self.membership.handle_timeout(now, &mut self.outbox);
    }

    fn on_query(&mut self, from: NodeId, id: QueryId, query: &Query, now: Now) {
        let hits = match self.answers.on_query(from, id, now.instant) {
            Verdict::Search if check_query(query).is_ok() => self.own_hits(query),
            Verdict::Search | Verdict::Decline => {
                self.counters.declined += 1;
                Vec::new()
            }
            Verdict::Ignore => {
                self.counters.out_of_place += 1;
                return;
            }
        };
        answers::answer(from, id, hits, &mut self.outbox);
    }

    fn on_held(&mut self, from: NodeId, number: u64, nodes: Vec<DirectoryEntry>, now: Now) {
        let mut verified = Vec::new();
        for entry in nodes {
            match self.keyring.verify(entry.presence, now.wall) {
                Ok(presence) if presence.content.node == presence.signer.node => {
                    let online = entry.online && presence.content.expires > now.wall;
                    verified.push((presence, online));
                }
                _ => self.counters.bad_records += 1,
            }
        }
        self.lookups.on_held(from, number, verified, (now.instant, &mut self.outbox));
    }

    fn handle_crl(&mut self, der: Box<[u8]>, now: Now) {
        let revoked = |record: &Verified<SupernodeRecord>| {
            self.keyring.verify(record.signed.clone(), now.wall).is_err()
        };
        let out: Vec<NodeId> =
            self.membership.records().filter(|record| revoked(record)).map(|record| record.content.node).collect();
        for node in out {
            self.membership.forget(node);
            self.on_member_left(node, now);
            self.outbox.close(node, CloseReason::Revoked);
        }
        self.directory.check_again(&*self.keyring, now);
        for node in self.membership.alive() {
            self.outbox.mesh(node, Mesh::Crl(der.clone()));
        }
        for child in self.children.iter() {
            self.outbox.child(child.presence.content.node, ToChild::Crl(der.clone()));
        }
        self.crl = Some(der);
    }

    /// Tells everybody, and hands the children their alternatives.
    fn handle_step_down(&mut self, now: Now) {
        self.record.serving = false;
        self.announce(now);
        let alternatives = self.membership.with_room();
        for child in self.children.iter() {
            self.outbox.child(child.presence.content.node, ToChild::Redirect(alternatives.clone()));
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.children.handle_timeout(now.instant, &mut self.catalogue) {
            self.purge_at.get_or_insert(now.instant);
        }
        if self.purge_at.is_some_and(|at| at <= now.instant) {
            let more = self.catalogue.purge(PURGE) == PURGE;
            self.purge_at = more.then_some(now.instant + PURGE_INTERVAL);
            self.summaries.touch(now.instant);
        }
        self.membership.handle_timeout(now, &mut self.outbox);
        let members = self.membership.alive();
        self.summaries.handle_timeout(now.instant, &mut self.catalogue, members, &mut self.outbox);
        self.searches.handle_timeout(now.instant, &mut self.outbox);
        self.lookups.handle_timeout(now.instant, &mut self.outbox);
        self.directory.handle_timeout(now);
        let interval = if self.load_moved() { RECORD_INTERVAL } else { REFRESH };
        if self.recorded_at + interval <= now.instant {
            self.announce(now);
        }
    }

    /// Whether the load has moved far enough from what we said last.
    fn load_moved(&self) -> bool {
        let children = u32::try_from(self.children.attached()).unwrap_or(u32::MAX);
        let step = (self.config.capacity / LOAD_STEP).max(1);
        let had_room = self.record.children < self.record.capacity;
        children.abs_diff(self.record.children) >= step || had_room != (children < self.config.capacity)
    }

    /// Signs a new record and sends it to every member.
    fn announce(&mut self, now: Now) {
        self.recorded_at = now.instant;
        self.record.sequence = now.wall.max(self.record.sequence.after(Duration::from_millis(1)));
        self.record.addresses = self.addresses.clone();
        self.record.children = u32::try_from(self.children.attached()).unwrap_or(u32::MAX);
        let record = self.keyring.seal(&self.record);
        for node in self.membership.alive() {
            self.outbox.mesh(node, Mesh::Members(vec![record.clone()]));
        }
    }

    fn holders(&self, user: &UserName) -> Vec<NodeId> {
        holders(user, self.membership.alive().chain([self.me]))
    }

    /// Gives every child's presence to the holders that lack it.
    fn place_all(&mut self, now: Now) {
        let nodes: Vec<NodeId> = self.children.iter().map(|child| child.presence.content.node).collect();
        let mut wanting: BTreeMap<NodeId, Vec<Signed<Presence>>> = BTreeMap::new();
        for node in nodes {
            for (holder, presence) in self.missing_places(node, now) {
                wanting.entry(holder).or_default().push(presence);
            }
        }
        for (holder, presences) in wanting {
            for batch in presences.chunks(MAX_STORED) {
                self.outbox.mesh(holder, Mesh::Store(batch.to_vec()));
            }
        }
    }

    fn place(&mut self, node: NodeId, now: Now) {
        for (holder, presence) in self.missing_places(node, now) {
            self.outbox.mesh(holder, Mesh::Store(vec![presence]));
        }
    }

    /// The other holders that lack a child's presence, which from now on count as having it; holds it here, if this is one.
    fn missing_places(&mut self, node: NodeId, now: Now) -> Vec<(NodeId, Signed<Presence>)> {
        let Some(child) = self.children.get(node) else { return Vec::new() };
        let presence = child.presence.clone();
        let places = self.holders(&presence.signer.user);
        let had = self.stored.entry(node).or_default();
        let mut missing = Vec::new();
        for holder in places {
            if holder == self.me {
                if let Ok(presence) = presence.clone().admit(now.wall) {
                    self.directory.store(presence);
                }
            } else if had.insert(holder) {
                missing.push((holder, presence.signed.clone()));
            }
        }
        missing
    }

    fn own_hits(&self, query: &Query) -> Vec<Hit> {
        let matches = self.catalogue.search(query);
        let hit = |found: crate::index::Match| {
            let source = self.children.source(found.child)?;
            let crate::index::Match { name, size, hash, kind, score, .. } = found;
            Some(Hit { name, size, hash, kind, score, source })
        };
        matches.into_iter().filter_map(hit).collect()
    }

    /// A presence that a node shows of itself, naming this supernode as its home.
    fn own_presence(&mut self, from: NodeId, presence: Signed<Presence>, now: Now) -> Option<Verified<Presence>> {
        let presence = self.admit_presence(presence, now)?;
        let content = &presence.content;
        let fits = presence.signer.node == from && content.home == self.me && content.online;
        self.counters.bad_records += u64::from(!fits);
        fits.then_some(presence)
    }

    fn admit_presence(&mut self, presence: Signed<Presence>, now: Now) -> Option<Verified<Presence>> {
        let verified = self.keyring.verify(presence, now.wall).ok().and_then(|it| it.admit(now.wall).ok());
        self.counters.bad_records += u64::from(verified.is_none());
        verified
    }

    fn admit_record(&mut self, record: Signed<SupernodeRecord>, now: Now) -> Option<Verified<SupernodeRecord>> {
        let verified = self.keyring.verify(record, now.wall).ok().and_then(|it| it.admit(now.wall).ok());
        self.counters.bad_records += u64::from(verified.is_none());
        verified
    }

    fn close_if(&mut self, misbehaved: bool, node: NodeId) {
        if misbehaved {
            self.counters.out_of_place += 1;
            self.outbox.close(node, CloseReason::Misbehaved);
        }
    }

    fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.links.get(&node).and_then(|link| link.rtt)
    }
}

/// Whether a query can be searched for at all.
fn check_query(query: &Query) -> Result<(), Decline> {
    let Subject::Words(text) = &query.subject else { return Ok(()) };
    match nearmesh_common::text::words(text).take(MAX_QUERY_WORDS + 1).count() {
        0 => Err(Decline::NoWords),
        n if n > MAX_QUERY_WORDS => Err(Decline::TooLong),
        _ => Ok(()),
    }
}
