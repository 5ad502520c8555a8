//! What other nodes say through the homes, and who in this node it is for.

use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use nearmesh_common::{
    NodeId,
    wire::signal::{End, SessionId, Signal, SignalBody},
};
use tokio::sync::mpsc;
use tracing::debug;

use super::{clock::now, node::Node, overlay::Command, sessions::Call};
use crate::proto::push::PushGate;

/// Signals of one session that wait to be read. More than that is a flood: what matters is repeated.
const AHEAD: usize = 32;

/// Something said in a session that this node listens to.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The home by which an answer goes.
    pub home: NodeId,
    /// What was said.
    pub body: SignalBody,
}

/// Who listens, and the way out.
#[derive(Debug)]
pub struct Signals {
    me: NodeId,
    overlay: mpsc::Sender<Command>,
    listeners: DashMap<(NodeId, SessionId), mpsc::Sender<Heard>>,
    /// Who may make this node dial.
    pub gate: Mutex<PushGate>,
    /// Who may call.
    pub calls: Mutex<PushGate>,
    /// Those whom this node dials because they asked it to.
    dialling: Arc<DashMap<NodeId, ()>>,
}

/// That a node is being dialled because it asked.
pub struct UnderWay {
    of: NodeId,
    all: Arc<DashMap<NodeId, ()>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.remove(&self.of);
    }
}

/// What one peer says in one session, until it is dropped.
pub struct Listening {
    node: Arc<Node>,
    peer: NodeId,
    session: SessionId,
    heard: mpsc::Receiver<Heard>,
}

impl Signals {
    /// Nobody listens yet; what this node says goes by this queue.
    pub fn new(me: NodeId, overlay: mpsc::Sender<Command>) -> Self {
        let (gate, calls) = (Mutex::default(), Mutex::default());
        Self { me, overlay, listeners: DashMap::new(), gate, calls, dialling: Arc::default() }
    }

    /// Not while the last request of `from` is still being answered: it repeats itself.
    pub fn answer_once(&self, from: NodeId) -> Option<UnderWay> {
        let new = self.dialling.insert(from, ()).is_none();
        new.then(|| UnderWay { of: from, all: Arc::clone(&self.dialling) })
    }

    /// Says something to a node whose home is `home`. May be lost, as everything on the way may.
    pub fn say(&self, home: NodeId, to: NodeId, session: SessionId, body: SignalBody) {
        let signal = Box::new(Signal { from: self.me, to, session, body });
        if self.overlay.try_send(Command::Signal { home, signal }).is_err() {
            debug!(to = %to.short(), "a signal was lost on the way out");
        }
    }
}

impl Listening {
    /// The next thing that the peer says.
    pub async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // Another listener took over; it will never be told anything again.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let listeners = &self.node.signals.listeners;
        listeners.remove_if(&(self.peer, self.session), |_, sender| {
            // The channel is closed for ours alone, as soon as its receiver is.
            self.heard.close();
            sender.is_closed()
        });
    }
}

impl Node {
    /// Listens to what `peer` says in `session`.
    pub fn listen_to(self: &Arc<Self>, peer: NodeId, session: SessionId) -> Listening {
        let (sender, heard) = mpsc::channel(AHEAD);
        self.signals.listeners.insert((peer, session), sender);
        Listening { node: Arc::clone(self), peer, session, heard }
    }

    /// A signal came, by the home's word from this node.
    pub fn on_signal(self: &Arc<Self>, home: NodeId, signal: Signal) {
        let Signal { from, session, body, .. } = signal;
        let listener = self.signals.listeners.get(&(from, session)).map(|entry| entry.value().clone());
        match (listener, body) {
            (Some(listener), body) => {
                if listener.try_send(Heard { home, body }).is_err() {
                    debug!(from = %from.short(), "a signal too many");
                }
            }
            (None, SignalBody::Push(addresses)) => self.on_push(from, &addresses),
            (None, SignalBody::Call { key, home, offer }) => {
                self.on_call(Call { from, home, session, key, offer });
            }
            // The peer does not know that this node lost that session, by a restart perhaps.
            (None, SignalBody::Answer(_) | SignalBody::Update(_)) => {
                if self.signals.calls.lock().expect("no holder panics").admit_call(from, now()) {
                    self.signals.say(home, from, session, SignalBody::End(End::Done));
                }
            }
            (None, body) => debug!(from = %from.short(), ?body, "a signal that nobody waits for"),
        }
    }
}
