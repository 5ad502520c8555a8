//! One side's node, as far as a session needs it: sockets, accepted routes, what is in use.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use nearmesh_relay::proto::path::{Event, PathKind, Route, Session, SocketIndex};

use super::{kinds::Kind, world::HostId};

/// The one port of both.
pub(super) const PORT: u16 = 4000;
/// Ports of further sockets begin here.
const FIRST_EXTRA_PORT: u16 = 10_000;

/// One side.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) host: HostId,
    pub(super) kind: Kind,
    /// Its networks, the innermost first.
    pub(super) networks: Vec<usize>,
    /// Relays it knows, its home first.
    pub(super) relays: Vec<usize>,
    /// When its home can carry signals (again).
    pub(super) home_from: Duration,
    pub(super) machine: Option<Session>,
    pub(super) sockets: BTreeMap<SocketIndex, u16>,
    pub(super) opened: u16,
    pub(super) accepted: BTreeSet<Route>,
    pub(super) in_use: Option<Route>,
    pub(super) busy: bool,
    /// The timer that counts: older ones are void.
    pub(super) wake: Option<Duration>,
    pub(super) heard: BTreeMap<Route, Duration>,
    pub(super) events: Vec<(Duration, Event)>,
    /// Addresses by which the other side may know it, now or before.
    pub(super) addresses: BTreeSet<std::net::IpAddr>,
    pub(super) reservations: BTreeMap<usize, u64>,
}

impl Owner {
    pub(super) fn new(host: HostId, kind: Kind, networks: Vec<usize>, relays: Vec<usize>) -> Self {
        Self {
            host,
            kind,
            networks,
            relays,
            home_from: Duration::ZERO,
            machine: None,
            sockets: BTreeMap::from([(SocketIndex::MAIN, PORT)]),
            opened: 0,
            accepted: BTreeSet::new(),
            in_use: None,
            busy: true,
            wake: None,
            heard: BTreeMap::new(),
            events: Vec::new(),
            addresses: BTreeSet::new(),
            reservations: BTreeMap::new(),
        }
    }

    /// Opens so many sockets.
    pub(super) fn open_sockets(&mut self, count: u16) -> Vec<SocketIndex> {
        let first = self.opened + 1;
        self.opened += count;
        let new: Vec<_> = (first..=self.opened).map(SocketIndex).collect();
        self.sockets.extend(new.iter().map(|index| (*index, FIRST_EXTRA_PORT + index.0)));
        new
    }

    /// Closes all of them but one.
    pub(super) fn keep_socket(&mut self, kept: Option<SocketIndex>) {
        self.sockets.retain(|index, _| *index == SocketIndex::MAIN || Some(*index) == kept);
    }

    /// By which direct route a packet came.
    pub(super) fn direct(&self, from: SocketAddr, to: SocketAddr) -> Option<Route> {
        let socket = self.sockets.iter().find(|(_, port)| **port == to.port()).map(|(index, _)| *index)?;
        Some(Route::Direct { socket, to: from })
    }

    /// The kind of the path in use.
    pub(super) fn kind_in_use(&self) -> Option<PathKind> {
        self.in_use?;
        self.machine.as_ref()?.path().map(|(kind, _)| kind)
    }

    /// Everything of a session is gone.
    pub(super) fn reset(&mut self) {
        self.machine = None;
        self.keep_socket(None);
        self.accepted.clear();
        self.in_use = None;
        self.reservations.clear();
    }
}
