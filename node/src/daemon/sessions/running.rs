//! One session at work: between its machine, the homes, its relays and its connection.

use std::{sync::Arc, time::Duration};

use nearmesh_common::{
    NodeId,
    wire::signal::{End, SessionId, SignalBody},
};
use nearmesh_relay::{
    DriverOutput, PathHandle,
    proto::{
        nat,
        path::{Event, Input, Local, PathKind, Why},
    },
};
use quinn::Connection;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info};

use super::{Live, Stage, relays::Relays};
use crate::daemon::{
    connect::ConnectError,
    connections::CloseCode,
    node::Node,
    signals::{Heard, Listening},
};

/// How long a session that was answered waits for the caller to connect (guess: the caller waits twenty seconds).
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
/// How long the peer has to hear that the connection is closed, before its path goes (guess: a round trip on a long path).
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How a session begins.
pub(super) struct Start {
    /// With whom.
    pub(super) peer: NodeId,
    /// Which.
    pub(super) id: SessionId,
    /// The peer's home.
    pub(super) home: NodeId,
    /// What the machine was told of this side.
    pub(super) local: Local,
    /// Where the caller waits for bad news.
    pub(super) failure: Option<oneshot::Sender<ConnectError>>,
}

/// The task's own state.
pub(super) struct Running {
    node: Arc<Node>,
    start: Start,
    handle: PathHandle,
    outputs: mpsc::Receiver<DriverOutput>,
    listening: Listening,
    stage: watch::Receiver<Stage>,
    relays: Relays,
    /// The newest over this path.
    connection: Option<Connection>,
    began: Instant,
    /// What came back of the signals.
    answer: Answer,
    /// Whether the peer needs to be told that the session ends.
    tell_peer: bool,
    /// The peer is not reached any more.
    over: bool,
}

/// What the round trips to relays are worth that are known just now: the machine counts each as a measurement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rtts {
    Old,
    Measured,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Nothing,
    NotThere,
    Something,
}

impl Running {
    pub(super) fn new(
        node: &Arc<Node>,
        live: &Live,
        outputs: mpsc::Receiver<DriverOutput>,
        start: Start,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            handle: live.handle.clone(),
            outputs,
            listening: node.listen_to(start.peer, start.id),
            stage: live.stage.subscribe(),
            relays: Relays::new(node, &live.handle, start.id, start.peer),
            start,
            connection: None,
            began: Instant::now(),
            answer: Answer::Nothing,
            tell_peer: true,
            over: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut whereabouts = self.node.whereabouts();
        let mut overlay = self.node.overlay.clone();
        let mut relays = self.node.relays.subscribe();
        let mut stop = self.node.stop.subscribe();
        let hosts = |node: &Node| node.whereabouts.borrow().host.clone();
        let mut host = hosts(&self.node);
        let give_up = self.began + CONNECTED_WITHIN;
        while !self.over {
            tokio::select! {
                output = self.outputs.recv() => match output {
                    Some(output) => self.carry_out(output),
                    None => break,
                },
                heard = self.listening.next() => self.on_heard(heard).await,
                Ok(()) = whereabouts.changed() => {
                    let moved = hosts(&self.node) != host;
                    self.say_local(Rtts::Old).await;
                    if moved {
                        host = hosts(&self.node);
                        let _ = self.handle.tell(Input::NetworkChanged).await;
                    }
                }
                Ok(()) = overlay.changed() => self.say_local(Rtts::Old).await,
                Ok(()) = relays.changed() => self.say_local(Rtts::Measured).await,
                Ok(()) = self.stage.changed() => if self.is_over() { break },
                () = closed(self.connection.as_ref()) => break,
                () = sleep_until(give_up), if self.connection.is_none() => break,
                () = stopped(&mut stop) => break,
            }
        }
        self.end().await;
    }

    fn is_over(&mut self) -> bool {
        let stage = self.stage.borrow_and_update().clone();
        match stage {
            Stage::Connecting => false,
            Stage::Connected(connection) => {
                self.connection = Some(connection);
                false
            }
            Stage::Abandoned => true,
            Stage::Replaced { by_peer } => {
                self.tell_peer = !by_peer;
                true
            }
        }
    }

    fn carry_out(&mut self, output: DriverOutput) {
        match output {
            DriverOutput::Signal(body) => self.say(body),
            DriverOutput::OpenRelay(offer) => self.relays.open(offer),
            DriverOutput::CloseRelay(relay) => self.relays.close(relay),
            DriverOutput::Nudge(relay) => self.relays.nudge(relay),
            DriverOutput::Renew => {
                // It is asked anew if the queue is full.
                let _ = self.node.discovery.try_send(nat::Input::Doubt);
            }
            DriverOutput::Event(event) => self.on_event(event),
        }
    }

    fn say(&self, body: SignalBody) {
        self.node.signals.say(self.start.home, self.start.peer, self.start.id, body);
    }

    async fn on_heard(&mut self, Heard { home, body }: Heard) {
        if body == SignalBody::End(End::NotHere) {
            if self.answer == Answer::Nothing {
                self.answer = Answer::NotThere;
            }
        } else {
            self.answer = Answer::Something;
            self.start.home = home;
        }
        // It is over: the outputs end, too.
        let _ = self.handle.signal(body).await;
    }

    /// Tells the machine what has changed at this side.
    async fn say_local(&mut self, rtts: Rtts) {
        let Some(local) = self.node.local() else { return };
        let same = match rtts {
            Rtts::Measured => local == self.start.local,
            Rtts::Old => without_rtts(&local) == without_rtts(&self.start.local),
        };
        if same {
            return;
        }
        self.start.local = local.clone();
        let _ = self.handle.tell(Input::Local(local)).await;
    }

    fn on_event(&mut self, event: Event) {
        let (peer, after) = (self.start.peer.short(), self.began.elapsed());
        match event {
            Event::Path { kind, rtt, why } => {
                info!(%peer, ?after, ?rtt, "the path is {} now: {}", words(kind), because(why));
            }
            Event::NoPath => info!(%peer, ?after, "there is no path any more; looking for another one"),
            Event::Unreachable => self.on_unreachable(),
            Event::Ended(end) => {
                debug!(%peer, ?after, ?end, "the peer ended the session");
                self.fail(match end {
                    End::TooMany => ConnectError::Busy(self.start.peer),
                    End::NotHere => ConnectError::NotAtHome(self.start.peer),
                    End::Done => ConnectError::NoPath(self.start.peer),
                });
            }
        }
    }

    /// Whoever uses the connection hears at once that it is dead, and may call anew.
    fn on_unreachable(&mut self) {
        self.over = true;
        let peer = self.start.peer;
        info!(peer = %peer.short(), after = ?self.began.elapsed(), "the peer is not reached");
        self.fail(match self.answer {
            Answer::Nothing => ConnectError::NoAnswer(peer),
            Answer::NotThere => ConnectError::NotAtHome(peer),
            Answer::Something => ConnectError::NoPath(peer),
        });
    }

    fn fail(&mut self, error: ConnectError) {
        if let Some(failure) = self.start.failure.take() {
            // The caller has gone, or is connected.
            let _ = failure.send(error);
        }
    }

    async fn end(mut self) {
        self.node.sessions.remove(self.start.peer, self.start.id);
        if let Some(connection) = &self.connection {
            connection.close(CloseCode::Replaced.into(), b"the session is over");
        }
        sleep(LAST_WORDS).await;
        if self.handle.tell(Input::End).await.is_ok() {
            while let Some(output) = self.outputs.recv().await {
                if let DriverOutput::Signal(body) = output
                    && self.tell_peer
                {
                    self.say(body);
                }
            }
        }
        debug!(peer = %self.start.peer.short(), lasted = ?self.began.elapsed(), "a session is over");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn closed(connection: Option<&Connection>) {
    match connection {
        Some(connection) => drop(connection.closed().await),
        None => std::future::pending().await,
    }
}

fn without_rtts(local: &Local) -> Local {
    let mut local = local.clone();
    local.relays.iter_mut().for_each(|relay| relay.rtt_us = None);
    local
}

fn words(kind: PathKind) -> String {
    match kind {
        PathKind::Lan => "in the local network".to_owned(),
        PathKind::Direct => "direct".to_owned(),
        PathKind::Relayed(relay) => format!("relayed by {}", relay.short()),
    }
}

fn because(why: Why) -> &'static str {
    match why {
        Why::First => "it is the first",
        Why::Better => "it is better",
        Why::Silent => "nothing came back by the one before",
        Why::RelayLost => "the relay before is gone",
        Why::RelayDraining => "the relay before will stop soon",
    }
}
