//! The client's end of the stream.

use std::{io, time::Duration};

use nearmesh_common::{
    frame::{ReadFrameError, read_frame, write_frame},
    wire::{
        Open,
        relay::{ChannelId, Cookie, FromRelay, MAX_RELAY_FRAME, RelayClosed, RelayRequest, ToRelay},
    },
};
use quinn::{Connection, RecvStream, SendStream};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    WRITE_TIMEOUT,
    proofs::{Expected, Proofs},
};

/// How long the relay may take to say anything at all (guess: a connection that is silent for so long is dead).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other end may take to come, if the relay does not give up first (guess: three times what relays wait).
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// A life that is shorter is taken for this (guess), and a renewal is said no more often than in a tenth of it.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// Events that wait to be read, and frames that wait to be looked at.
const QUEUE: usize = 8;

/// What becomes of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationEvent {
    /// The other end has not come yet.
    Waiting,
    /// Packets pass.
    Open {
        /// What stands before each of them, both ways.
        channel: ChannelId,
        /// How much.
        promise: Promise,
    },
    /// The relay will stop after this time: move to another one.
    Draining(Duration),
    /// It has ended. The last event.
    Closed(ReservationEnd),
}

/// How much is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Bytes a second; `u64::MAX` if as many as there are.
    pub rate: u64,
    /// Bytes until a renewal, which comes by itself.
    pub bytes: u64,
    /// Time until a renewal, which comes by itself.
    pub life: Duration,
}

/// Why there is no reservation (any more).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReservationEnd {
    /// The relay said so.
    #[error("the relay ended it: {0:?}")]
    ByRelay(RelayClosed),
    /// The connection to the relay, or the stream, is gone.
    #[error("the connection to the relay is gone")]
    Lost,
    /// The relay, or the other end, did not answer in time.
    #[error("there was no answer in time")]
    Silent,
    /// The relay said something that is not spoken here.
    #[error("the relay broke the protocol")]
    Garbage,
}

/// A reservation. It ends when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    events: mpsc::Receiver<ReservationEvent>,
    task: AbortHandle,
}

impl Reservation {
    /// Asks the relay at the other end of `connection`; `proofs` are those of the port that the connection uses. Needs a tokio runtime.
    pub fn new(connection: &Connection, request: RelayRequest, proofs: &Proofs) -> Self {
        let (events, queue) = mpsc::channel(QUEUE);
        let (connection, proofs) = (connection.clone(), proofs.clone());
        let task = tokio::spawn(async move {
            let end = ask(&connection, request, &proofs, &events).await;
            let _ = events.send(ReservationEvent::Closed(end)).await;
        });
        Self { events: queue, task: task.abort_handle() }
    }

    /// What happens next; `None` after [`ReservationEvent::Closed`].
    pub async fn next(&mut self) -> Option<ReservationEvent> {
        self.events.recv().await
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // The stream is finished with it: the relay tells the other end.
        self.task.abort();
    }
}

type Events = mpsc::Sender<ReservationEvent>;

async fn ask(
    connection: &Connection,
    request: RelayRequest,
    proofs: &Proofs,
    events: &Events,
) -> ReservationEnd {
    let asking = async {
        let (mut send, receive) = connection.open_bi().await?;
        write_frame(&mut send, &Open::Relay(request)).await?;
        Ok::<_, io::Error>((send, receive))
    };
    let (send, receive) = match timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return ReservationEnd::Lost,
        Err(_) => return ReservationEnd::Silent,
    };
    let (frames, queue) = mpsc::channel(QUEUE);
    // Beside the rest, because a frame that is half read must not be given up.
    tokio::select! {
        fault = hear(receive, frames) => fault,
        end = Held::new(send, queue, events, proofs).run() => end,
    }
}

/// Reads frames until there are no more; the fault is only for those who did not say farewell.
async fn hear(mut receive: RecvStream, frames: mpsc::Sender<FromRelay>) -> ReservationEnd {
    loop {
        match read_frame::<FromRelay>(&mut receive, MAX_RELAY_FRAME).await {
            Ok(message) => {
                let last = matches!(message, FromRelay::Closed(_));
                if frames.send(message).await.is_err() || last {
                    return std::future::pending().await;
                }
            }
            Err(ReadFrameError::Closed | ReadFrameError::Stream(_)) => return ReservationEnd::Lost,
            Err(_) => return ReservationEnd::Garbage,
        }
    }
}

/// The state of a reservation that was asked for.
struct Held<'a> {
    send: SendStream,
    frames: mpsc::Receiver<FromRelay>,
    events: &'a Events,
    proofs: &'a Proofs,
    /// When it is over unless the relay says something.
    expires: Instant,
    open: Option<Opened>,
}

struct Opened {
    _expected: Expected,
    cookies: mpsc::Receiver<Cookie>,
    renewed: Instant,
    renew_at: Instant,
}

impl<'a> Held<'a> {
    fn new(
        send: SendStream,
        frames: mpsc::Receiver<FromRelay>,
        events: &'a Events,
        proofs: &'a Proofs,
    ) -> Self {
        let expires = Instant::now() + ANSWER_TIMEOUT;
        Self { send, frames, events, proofs, expires, open: None }
    }

    async fn run(mut self) -> ReservationEnd {
        loop {
            let renew_at = self.open.as_ref().map(|open| open.renew_at);
            let cookies = self.open.as_mut().map(|open| &mut open.cookies);
            let alive = tokio::select! {
                Some(message) = self.frames.recv() => match message {
                    FromRelay::Closed(reason) => return ReservationEnd::ByRelay(reason),
                    message => self.on_message(message).await,
                },
                Some(cookie) = next_of(cookies) => self.say(&ToRelay::Proof(cookie)).await,
                () = sleep_until(renew_at.unwrap_or(self.expires)), if renew_at.is_some() => self.renew().await,
                () = sleep_until(self.expires) => return ReservationEnd::Silent,
            };
            if !alive {
                return ReservationEnd::Lost;
            }
        }
    }

    /// Says whether the stream still works.
    async fn on_message(&mut self, message: FromRelay) -> bool {
        match message {
            FromRelay::Waiting => {
                self.expires = Instant::now() + WAIT_TIMEOUT;
                self.event(ReservationEvent::Waiting).await
            }
            FromRelay::Open { channel, rate, bytes, life_ms } => {
                let life = self.prolong(life_ms);
                let (expected, cookies) = self.proofs.expect(channel);
                let now = Instant::now();
                let renew_at = now + life / 2;
                self.open = Some(Opened { _expected: expected, cookies, renewed: now, renew_at });
                let promise = Promise { rate, bytes, life };
                self.event(ReservationEvent::Open { channel, promise }).await
            }
            FromRelay::Renewed(life_ms) => {
                let life = self.prolong(life_ms);
                if let Some(open) = &mut self.open {
                    open.renew_at = Instant::now() + life / 2;
                }
                true
            }
            FromRelay::RunningLow => match &self.open {
                Some(open) if open.renewed.elapsed() >= SHORTEST_LIFE / 10 => self.renew().await,
                _ => true,
            },
            FromRelay::Draining(ms) => {
                let time = Duration::from_millis(ms.into());
                self.event(ReservationEvent::Draining(time)).await
            }
            FromRelay::Closed(_) => false,
        }
    }

    async fn renew(&mut self) -> bool {
        if let Some(open) = &mut self.open {
            open.renewed = Instant::now();
            // Asked again if there is no answer.
            open.renew_at = Instant::now() + ANSWER_TIMEOUT;
        }
        self.say(&ToRelay::Renew).await
    }

    fn prolong(&mut self, life_ms: u32) -> Duration {
        let life = Duration::from_millis(life_ms.into()).max(SHORTEST_LIFE);
        self.expires = Instant::now() + life;
        life
    }

    async fn event(&self, event: ReservationEvent) -> bool {
        self.events.send(event).await.is_ok()
    }

    async fn say(&mut self, message: &ToRelay) -> bool {
        matches!(timeout(WRITE_TIMEOUT, write_frame(&mut self.send, message)).await, Ok(Ok(())))
    }
}

async fn next_of(cookies: Option<&mut mpsc::Receiver<Cookie>>) -> Option<Cookie> {
    match cookies {
        Some(cookies) => cookies.recv().await,
        None => std::future::pending().await,
    }
}
