//! Measuring the way to a user, and watching how it changes meanwhile.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::{
    frame::{MAX_OPEN_FRAME, read_frame, write_frame},
    wire::{Open, stream::Pong},
};
use nearmesh_relay::PathStatus;
use quinn::Connection;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    connect::Target,
    connections::Lease,
    events::{Gone, Sink, events},
    node::Node,
    people::millis,
};
use crate::control::api::{
    ApiError, Events, PathChange, PingEvent, PingReply, PingRequest, PingSummary, Way,
};

/// Between two pings, as `ping` does.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long a pong may take.
const PONG_TIMEOUT: Duration = Duration::from_secs(5);

impl Node {
    /// Measures the way to a user, over the connection that everything else uses.
    ///
    /// # Errors
    /// As [`Node::reach`].
    pub async fn ping_user(self: Arc<Self>, request: PingRequest) -> Result<Events<PingEvent>, ApiError> {
        let begun = Instant::now();
        let (located, lease) = self.reach(&request.user).await?;
        let peer = Target::from(&located.presence);
        Ok(events(move |sink| async move {
            let mut pinging = Pinging { begun, status: None, said: None, node: self, peer, lease, sink };
            pinging.watch_path();
            // Nobody reads on.
            let _ = pinging.run(request.count).await;
            Ok(())
        }))
    }
}

struct Pinging {
    node: Arc<Node>,
    peer: Target,
    lease: Lease,
    begun: Instant,
    sink: Sink<PingEvent>,
    /// The path beneath the connection, if it may change.
    status: Option<watch::Receiver<PathStatus>>,
    /// The path that was shown last.
    said: Option<Way>,
}

impl Pinging {
    async fn run(&mut self, count: u32) -> Result<(), Gone> {
        let mut summary = PingSummary { sent: 0, received: 0 };
        for round in 0..count {
            if round > 0 {
                self.watching(sleep(PING_INTERVAL)).await?;
            }
            summary.sent += 1;
            if self.lease.connection().close_reason().is_some() && !self.connect_again().await {
                continue;
            }
            let connection = self.lease.connection().clone();
            let pong = self.watching(timeout(PONG_TIMEOUT, ping(&connection))).await?;
            let (Ok(Some(rtt)), Some(way)) = (pong, self.way()) else { continue };
            summary.received += 1;
            self.said = Some(way.clone());
            let reply = PingReply {
                node_id: self.peer.node.into(),
                address: self.node.endpoint.direct_remote(&connection),
                way,
                rtt_ms: millis(rtt),
                at_ms: millis(self.begun.elapsed()),
            };
            self.sink.put(PingEvent::Reply(reply)).await?;
        }
        self.sink.put(PingEvent::Done(summary)).await
    }

    async fn connect_again(&mut self) -> bool {
        match self.node.connect(&self.peer).await {
            Ok(lease) => {
                self.lease = lease;
                self.watch_path();
                true
            }
            Err(error) => {
                debug!(peer = %self.peer.node.short(), %error, "is not reached any more");
                false
            }
        }
    }

    fn watch_path(&mut self) {
        let session = self.node.sessions.beneath(self.peer.node, self.lease.connection());
        self.status = session.map(|session| session.watch());
        self.said = self.way();
    }

    fn way(&self) -> Option<Way> {
        self.node.way(self.peer.node, self.lease.connection())
    }

    /// Waits for something, and shows how the path changes meanwhile.
    async fn watching<T>(&mut self, something: impl Future<Output = T>) -> Result<T, Gone> {
        let mut something = pin!(something);
        loop {
            tokio::select! {
                outcome = &mut something => return Ok(outcome),
                () = changed(&mut self.status) => self.show_change().await?,
            }
        }
    }

    async fn show_change(&mut self) -> Result<(), Gone> {
        let way = self.way();
        if way == self.said {
            return Ok(());
        }
        self.said.clone_from(&way);
        let rtt = self.status.as_ref().and_then(|status| status.borrow().rtt);
        let change = PathChange {
            node_id: self.peer.node.into(),
            way,
            rtt_ms: rtt.map(millis),
            at_ms: millis(self.begun.elapsed()),
        };
        self.sink.put(PingEvent::Path(change)).await
    }
}

async fn changed(status: &mut Option<watch::Receiver<PathStatus>>) {
    if let Some(watched) = status {
        if watched.changed().await.is_ok() {
            return;
        }
        *status = None;
    }
    std::future::pending().await
}

async fn ping(connection: &Connection) -> Option<Duration> {
    let begun = Instant::now();
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    write_frame(&mut send, &Open::Ping).await.ok()?;
    send.finish().ok()?;
    read_frame::<Pong>(&mut receive, MAX_OPEN_FRAME).await.ok()?;
    Some(begun.elapsed())
}
