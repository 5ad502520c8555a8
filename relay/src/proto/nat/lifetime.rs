//! For how long a NAT remembers a flow that is silent (RFC 5780, section 4.6).
//!
//! Several sockets, none of them the node's own port, exchange a few packets with one observer and fall silent, each for another
//! time: 2 s, 4 s, and so on, doubled. Then another socket asks the observer for an answer to the port that the silent one has
//! outside (RESPONSE-PORT). If it comes, the silence was survived. A first one is asked at once: if not even
//! that one comes, the observer or the NAT does not play along, and nothing is known.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::Socket;

/// Silences that are tried, after the first, which is none. A NAT that forgets within 2 s serves nobody; RFC 4787 (REQ-5)
/// wants two minutes at least, so nothing is gained by trying longer.
pub const SILENCES: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
    Duration::from_secs(64),
    Duration::from_secs(120),
];
/// Exchanges before the silence, and how far apart: Linux takes a flow for one that lasts when it is answered and older than
/// two seconds (nf_conntrack_udp), and a node's own flows are of that kind.
const EXCHANGES: u8 = 3;
const EXCHANGE_EVERY: Duration = Duration::from_millis(1250);

/// Extra sockets from here on are for this measurement.
const FIRST_SOCKET: u8 = 16;
/// The one that asks for answers to the others.
const WAKER: Socket = Socket::Extra(FIRST_SOCKET + SILENCES.len() as u8);

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// From where.
    pub(super) socket: Socket,
    /// At which socket the answer is expected, and that socket's port from outside.
    pub(super) answer_at: Option<(Socket, u16)>,
    /// Which of the silences it belongs to.
    pub(super) silence: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Talking { exchanges: u8, next: Instant, outside: Option<SocketAddr> },
    Silent { until: Instant, outside: SocketAddr },
    Asked,
    Survived,
    Failed,
}

/// The measurement.
#[derive(Debug)]
pub(super) struct Lifetime {
    observer: SocketAddr,
    stages: [Stage; SILENCES.len()],
}

impl Lifetime {
    pub(super) fn new(observer: SocketAddr, now: Instant) -> Self {
        Self { observer, stages: [Stage::Talking { exchanges: 0, next: now, outside: None }; SILENCES.len()] }
    }

    pub(super) fn observer(&self) -> SocketAddr {
        self.observer
    }

    /// What is to be sent now; to be called until there is nothing more.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Question> {
        for (silence, stage) in self.stages.iter_mut().enumerate() {
            match *stage {
                Stage::Talking { exchanges, next, outside } if next <= now && exchanges < EXCHANGES => {
                    let next = now + EXCHANGE_EVERY;
                    *stage = Stage::Talking { exchanges: exchanges + 1, next, outside };
                    return Some(Question { socket: socket(silence), answer_at: None, silence });
                }
                Stage::Silent { until, outside } if until <= now => {
                    *stage = Stage::Asked;
                    let answer_at = Some((socket(silence), outside.port()));
                    return Some(Question { socket: WAKER, answer_at, silence });
                }
                _ => {}
            }
        }
        None
    }

    /// A question was answered (we were seen there), or not.
    pub(super) fn on_answer(&mut self, silence: usize, observed: Option<SocketAddr>, now: Instant) {
        let Some(stage) = self.stages.get_mut(silence) else { return };
        *stage = match (*stage, observed) {
            (Stage::Talking { exchanges, next, outside }, seen) => match seen.or(outside) {
                Some(outside) if exchanges == EXCHANGES => {
                    Stage::Silent { until: now + SILENCES[silence], outside }
                }
                None if exchanges == EXCHANGES => Stage::Failed,
                outside => Stage::Talking { exchanges, next, outside },
            },
            (Stage::Asked, Some(_)) => Stage::Survived,
            (Stage::Asked, None) => Stage::Failed,
            (stage, _) => stage,
        };
    }

    /// Whether the rest would say nothing new.
    pub(super) fn is_over(&self) -> bool {
        let failed = self.stages.iter().position(|stage| matches!(stage, Stage::Failed));
        let shorter = &self.stages[..failed.unwrap_or(self.stages.len())];
        shorter.iter().all(|stage| matches!(stage, Stage::Survived))
    }

    /// The longest silence that was survived, and all shorter ones with it; none if nothing can be said.
    pub(super) fn found(&self) -> Option<Duration> {
        let survived = self.stages.iter().take_while(|stage| matches!(stage, Stage::Survived)).count();
        match (survived.checked_sub(1), self.stages.get(survived)) {
            (None, _) => None,
            // Not even the shortest.
            (Some(0), Some(Stage::Failed)) => Some(SILENCES[1] / 2),
            (Some(0), _) => None,
            (Some(last), _) => Some(SILENCES[last]),
        }
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let at = self.stages.iter().filter_map(|stage| match stage {
            Stage::Talking { exchanges, next, .. } if *exchanges < EXCHANGES => Some(*next),
            Stage::Silent { until, .. } => Some(*until),
            _ => None,
        });
        at.min()
    }

    /// All sockets that it uses.
    pub(super) fn sockets() -> impl Iterator<Item = Socket> {
        (0..SILENCES.len()).map(socket).chain([WAKER])
    }
}

fn socket(silence: usize) -> Socket {
    Socket::Extra(FIRST_SOCKET + silence as u8)
}
