//! The path machine of one session at work: its probes, sockets and timers over a [`PeerPath`].
//!
//! What only the node can do comes out of a channel as [`DriverOutput`]s, and what only the node knows goes in through the
//! [`PathHandle`]. The driver ends when the machine says that the session has ended, or when all handles are dropped; then the peer is
//! told, as far as the node still reads the outputs.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    wire::signal::{RelayOffer, SessionId, SignalBody},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tracing::debug;

use super::{
    endpoint::Endpoint,
    now,
    peer_path::{BUSY_FADE, PathNews, PeerPath},
};
use crate::proto::path::{Event, Input, Output, PathKind, Route, Session};

/// Things that the node says to the driver and that wait; beyond that the node waits (guess).
const MAX_INPUTS: usize = 64;
/// Outputs that wait in the channel to the node (guess).
const MAX_OUTPUTS: usize = 64;
/// Outputs that wait for room in that channel. The machine's own limits keep it below; a node that reads nothing any more
/// loses the session (guess).
const MAX_BACKLOG: usize = 1024;
/// Relays that are measured at a time: more than both sides may name together (guess).
const MAX_MEASURED: usize = 16;
/// How long the node may take to read the last outputs of an ending session (guess).
const FAREWELL: Duration = Duration::from_secs(1);

/// What the node has to do for a session.
#[derive(Clone, Debug, PartialEq)]
pub enum DriverOutput {
    /// Send this to the peer by way of the homes.
    Signal(SignalBody),
    /// Ask this relay for a reservation with the peer, and say [`PathHandle::relay_open`] or [`PathHandle::relay_lost`].
    OpenRelay(RelayOffer),
    /// Give it back.
    CloseRelay(NodeId),
    /// Send anything on the connection to this relay, as by [`kick`](super::kick::kick): it learns where we are now.
    Nudge(NodeId),
    /// What this node believes of its own addresses may be wrong: look again, and say [`Input::Local`].
    Renew,
    /// Tell whoever is interested.
    Event(Event),
}

/// The path in use, for people to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStatus {
    /// What kind it is, and which relay; none while there is no path.
    pub kind: Option<PathKind>,
    /// Its round trip, if it was measured.
    pub rtt: Option<Duration>,
    /// Since when it is this one.
    pub since: Instant,
    /// How often it has changed.
    pub changes: u64,
}

/// How the node speaks to the driver. Clones speak to the same one, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct PathHandle {
    inputs: mpsc::Sender<Word>,
    status: watch::Receiver<PathStatus>,
    path: PeerPath,
}

/// What the node says to the driver.
#[derive(Debug)]
enum Word {
    Input(Input),
    /// Whether the session gives way to this one.
    YieldsTo(SessionId, oneshot::Sender<bool>),
}

/// The session was over already.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the session is over")]
pub struct SessionOver;

impl PathHandle {
    /// Says something to the machine. [`Input::Signal`], [`Input::Undelivered`], [`Input::Local`], [`Input::NetworkChanged`]
    /// and what is about relays are the node's to say, and [`Input::End`]; all else the driver knows itself.
    pub async fn tell(&self, input: Input) -> Result<(), SessionOver> {
        self.inputs.send(Word::Input(input)).await.map_err(|_| SessionOver)
    }

    /// Whether this session gives way to another one to which the same peer calls now, as [`Session::yields_to`] has it. One that is
    /// over does.
    pub async fn yields_to(&self, theirs: SessionId) -> bool {
        let (answer, answered) = oneshot::channel();
        match self.inputs.send(Word::YieldsTo(theirs, answer)).await {
            Ok(()) => answered.await.unwrap_or(true),
            Err(_) => true,
        }
    }

    /// A signal of the peer came, in this session.
    pub async fn signal(&self, body: SignalBody) -> Result<(), SessionOver> {
        self.tell(Input::Signal(body)).await
    }

    /// Both ends have their channel at this relay.
    pub async fn relay_open(&self, relay: NodeId, route: Route) -> Result<(), SessionOver> {
        self.tell(Input::RelayOpen { relay, route }).await
    }

    /// There is no reservation at this relay, or no longer.
    pub async fn relay_lost(&self, relay: NodeId) -> Result<(), SessionOver> {
        self.tell(Input::RelayLost { relay }).await
    }

    /// The path in use, as it changes.
    pub fn status(&self) -> watch::Receiver<PathStatus> {
        self.status.clone()
    }

    /// What connections to the peer are made over.
    pub fn path(&self) -> &PeerPath {
        &self.path
    }
}

/// Runs `session` over `path`, whose news are `news`, until it ends. Needs a tokio runtime.
pub fn drive(
    session: Session,
    endpoint: &Endpoint,
    path: PeerPath,
    news: mpsc::Receiver<PathNews>,
) -> (PathHandle, mpsc::Receiver<DriverOutput>) {
    let (inputs, queue) = mpsc::channel(MAX_INPUTS);
    let (outputs, receiver) = mpsc::channel(MAX_OUTPUTS);
    let (status, watching) =
        watch::channel(PathStatus { kind: None, rtt: None, since: Instant::now(), changes: 0 });
    let handle = PathHandle { inputs, status: watching, path: path.clone() };
    let driver = Driver {
        session,
        endpoint: endpoint.clone(),
        path,
        news,
        inputs: queue,
        outputs,
        backlog: VecDeque::new(),
        relays: BTreeMap::new(),
        measured: JoinSet::new(),
        busy_until: None,
        status,
        over: false,
    };
    tokio::spawn(driver.run());
    (handle, receiver)
}

struct Driver {
    session: Session,
    endpoint: Endpoint,
    path: PeerPath,
    news: mpsc::Receiver<PathNews>,
    inputs: mpsc::Receiver<Word>,
    outputs: mpsc::Sender<DriverOutput>,
    backlog: VecDeque<DriverOutput>,
    /// The channels that are open.
    relays: BTreeMap<NodeId, Route>,
    measured: JoinSet<(NodeId, Option<Duration>)>,
    /// While bytes are under way: when to look whether they still are.
    busy_until: Option<Instant>,
    status: watch::Sender<PathStatus>,
    over: bool,
}

impl Driver {
    async fn run(mut self) {
        self.carry_out();
        while !self.over {
            let input = self.next_input().await;
            self.take_in(input);
            self.carry_out();
        }
        let farewell = async {
            while let Some(output) = self.backlog.pop_front() {
                if self.outputs.send(output).await.is_err() {
                    return;
                }
            }
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            debug!(node = ?self.path.node(), "nobody read the end of a session");
        }
    }

    /// What happens next. Outputs that waited for room leave meanwhile.
    async fn next_input(&mut self) -> Input {
        let due = self.session.poll_timeout(now());
        loop {
            tokio::select! {
                Ok(room) = self.outputs.reserve(), if !self.backlog.is_empty() => {
                    if let Some(output) = self.backlog.pop_front() {
                        room.send(output);
                    }
                }
                word = self.inputs.recv() => match word {
                    Some(Word::Input(input)) => return input,
                    Some(Word::YieldsTo(theirs, answer)) => {
                        let _ = answer.send(self.session.yields_to(theirs, now()));
                    }
                    // The last handle is dropped.
                    None => return Input::End,
                },
                Some(news) = self.news.recv() => match news {
                    PathNews::Probe { route, packet } => return Input::Probe { route, packet },
                    PathNews::Heard(route) => return Input::Heard { route },
                    PathNews::Busy => {
                        self.busy_until = Some(Instant::now() + BUSY_FADE);
                        return Input::Busy(true);
                    }
                },
                Some(Ok((relay, rtt))) = self.measured.join_next(), if !self.measured.is_empty() => {
                    return Input::RelayMeasured { relay, rtt };
                }
                () = at(self.busy_until) => {
                    self.busy_until = self.path.is_busy().then(|| Instant::now() + BUSY_FADE / 2);
                    if self.busy_until.is_none() {
                        return Input::Busy(false);
                    }
                }
                () = at(due) => return Input::Timeout,
            }
        }
    }

    fn take_in(&mut self, input: Input) {
        match &input {
            Input::RelayOpen { relay, route } => self.open_channel(*relay, *route),
            Input::RelayLost { relay } => self.close_channel(*relay),
            Input::End => self.over = true,
            _ => {}
        }
        self.session.handle(input, now());
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Signal(body) => self.backlog.push_back(DriverOutput::Signal(body)),
                Output::Send { route, packet, ttl } => self.path.send_control(route, &packet, ttl),
                Output::OpenRelay(offer) => self.backlog.push_back(DriverOutput::OpenRelay(offer)),
                Output::CloseRelay(relay) => {
                    self.close_channel(relay);
                    self.backlog.push_back(DriverOutput::CloseRelay(relay));
                }
                Output::Nudge(relay) => self.backlog.push_back(DriverOutput::Nudge(relay)),
                Output::Measure(offer) => self.measure(offer),
                Output::Renew => self.backlog.push_back(DriverOutput::Renew),
                Output::OpenSockets(count) => {
                    let sockets = self.path.open_sockets(count.into());
                    self.session.handle(Input::Sockets(sockets), now());
                }
                Output::KeepSocket(socket) => self.path.keep_socket(socket),
                Output::Accept { route, proven } => self.path.accept(route, proven),
                Output::Forget(route) => self.path.forget(route),
                Output::Use(route) => self.path.use_route(route),
                Output::Event(event) => {
                    self.over |= matches!(event, Event::Ended(_));
                    self.on_event(event);
                    self.backlog.push_back(DriverOutput::Event(event));
                }
            }
        }
        self.refresh_rtt();
        if self.backlog.len() > MAX_BACKLOG {
            debug!(node = ?self.path.node(), "nobody reads what a session says");
            self.backlog.clear();
            self.over = true;
        }
    }

    fn open_channel(&mut self, relay: NodeId, route: Route) {
        if let Route::Relayed { relay: at, channel } = route {
            self.close_channel(relay);
            self.path.open_channel(at, channel);
            self.relays.insert(relay, route);
        }
    }

    fn close_channel(&mut self, relay: NodeId) {
        if let Some(Route::Relayed { relay, channel }) = self.relays.remove(&relay) {
            self.path.close_channel(relay, channel);
        }
    }

    fn measure(&mut self, offer: RelayOffer) {
        let endpoint = self.endpoint.clone();
        if self.measured.len() < MAX_MEASURED {
            self.measured.spawn(async move { (offer.node, rtt_to(&endpoint, &offer.addresses).await) });
        } else {
            self.session.handle(Input::RelayMeasured { relay: offer.node, rtt: None }, now());
        }
    }

    fn on_event(&self, event: Event) {
        let (kind, rtt) = match event {
            Event::Path { kind, rtt, .. } => (Some(kind), rtt),
            Event::NoPath => (None, None),
            Event::Unreachable | Event::Ended(_) => return,
        };
        self.status.send_modify(|status| {
            *status = PathStatus { kind, rtt, since: Instant::now(), changes: status.changes + 1 };
        });
    }

    fn refresh_rtt(&self) {
        let Some((kind, rtt)) = self.session.path() else { return };
        self.status.send_if_modified(|status| {
            let changed = status.kind == Some(kind) && status.rtt != rtt;
            if changed {
                status.rtt = rtt;
            }
            changed
        });
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The round trip to the first of the addresses that answers.
async fn rtt_to(endpoint: &Endpoint, addresses: &[SocketAddr]) -> Option<Duration> {
    for address in addresses {
        if let Some(probe) = endpoint.probe(*address).await {
            return Some(probe.rtt);
        }
    }
    None
}
