//! Packets that show to whom a NAT is open: sent for others from a fresh port, and those that were sent to us.
//!
//! A packet is the byte 0xA0 and a token ([`Token`]). It never leaves from the node's own port, because the receiver has sent to
//! that one. The fresh port answers STUN binding requests for a few seconds, under the limits of the port's own responder: asked
//! there, a node learns whether its NAT's mapping depends on the destination's port.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    net::UdpSocket,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tracing::debug;

use super::{port::bind_plain, socket::SharedSocket};
use crate::proto::{
    nat::{Contacts, Token},
    stun_message::MAX_MESSAGE_BYTES,
};

/// How long the fresh port answers.
const ANSWERS_FOR: Duration = Duration::from_secs(3);
/// Fresh ports that are open at a time (guess: a supernode's children ask three times every ten minutes; 3 s each).
const MAX_OPEN: usize = 64;
/// Answers that one fresh port gives: who asked for it wants one, and repeats it.
const MAX_ANSWERS: usize = 8;
/// Tokens that wait to be looked at; more are dropped (guess: a node waits for a handful).
const MAX_WAITING: usize = 64;

/// A token that came at the node's own port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialledBack {
    /// What the packet carried.
    pub token: Token,
    /// Where it came from.
    pub from: SocketAddr,
    /// Whether the node has sent something to that address lately, which may be why it came in.
    pub contact: bool,
}

/// What the port knows of dial-backs.
#[derive(Debug)]
pub(crate) struct DialBacks {
    came: mpsc::Sender<(Token, SocketAddr)>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<(Token, SocketAddr)>>,
    open: Arc<Semaphore>,
    /// Whom we dialled or asked.
    sought: Mutex<Contacts>,
    /// Who dialled us, and was answered.
    answered: Mutex<Contacts>,
}

impl Default for DialBacks {
    fn default() -> Self {
        let (came, waiting) = mpsc::channel(MAX_WAITING);
        Self {
            came,
            waiting: tokio::sync::Mutex::new(waiting),
            open: Arc::new(Semaphore::new(MAX_OPEN)),
            sought: Mutex::default(),
            answered: Mutex::default(),
        }
    }
}

impl DialBacks {
    /// A packet that begins as one with a token does.
    pub(crate) fn deliver(&self, from: SocketAddr, packet: &[u8]) -> bool {
        // Nobody takes them fast enough: then nobody waits for this one either.
        Token::read(packet).is_some_and(|token| self.came.try_send((token, from)).is_ok())
    }

    /// The next token that came.
    pub(crate) async fn next(&self) -> Option<DialledBack> {
        let (token, from) = self.waiting.lock().await.recv().await?;
        let contact = self.is_sought(from) || locked(&self.answered).contains(from, Instant::now());
        Some(DialledBack { token, from, contact })
    }

    /// The node dials or asks `to`.
    pub(crate) fn note_sought(&self, to: SocketAddr) {
        locked(&self.sought).note(to, Instant::now());
    }

    /// The node answers `to`, which came by itself.
    pub(crate) fn note_answered(&self, to: SocketAddr) {
        locked(&self.answered).note(to, Instant::now());
    }

    /// Whether the node has dialled or asked that address lately.
    pub(crate) fn is_sought(&self, address: SocketAddr) -> bool {
        locked(&self.sought).contains(address, Instant::now())
    }
}

/// Sends `token` to `to` from a fresh port, and answers STUN there for a while. The answer is the port.
pub(crate) async fn send(socket: &Arc<SharedSocket>, to: SocketAddr, token: Token) -> Option<u16> {
    let turn = socket.dial_backs().open.clone().try_acquire_owned().ok()?;
    match begin(socket, to, token).await {
        Ok((io, port)) => {
            tokio::spawn(answer(socket.clone(), io, turn));
            Some(port)
        }
        Err(error) => {
            debug!(%to, %error, "a dial-back was not sent");
            None
        }
    }
}

async fn begin(socket: &SharedSocket, to: SocketAddr, token: Token) -> io::Result<(UdpSocket, u16)> {
    let io = bind_plain(SocketAddr::new(socket.local().ip(), 0))?;
    let port = io.local_addr()?.port();
    io.send_to(&token.packet(), to).await?;
    Ok((io, port))
}

async fn answer(socket: Arc<SharedSocket>, io: UdpSocket, _turn: OwnedSemaphorePermit) {
    let answers = async {
        let mut packet = [0; MAX_MESSAGE_BYTES];
        let mut left = MAX_ANSWERS;
        while let Ok((length, from)) = io.recv_from(&mut packet).await {
            if let Some((answer, to)) = socket.stun_answer(&packet[..length], from) {
                let _ = io.send_to(&answer, to).await;
            }
            left -= 1;
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(ANSWERS_FOR, answers).await;
}

fn locked(contacts: &Mutex<Contacts>) -> MutexGuard<'_, Contacts> {
    contacts.lock().unwrap_or_else(PoisonError::into_inner)
}
