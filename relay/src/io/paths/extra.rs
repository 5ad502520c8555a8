//! Sockets beside the one port, for guessing the port that a symmetric NAT gives to a peer.
//!
//! Many are opened for a short while and watched by a small task each, which only looks for path probes. The one that is kept
//! is then received from together with the port, in batches. Whoever opened them closes them.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use quinn_udp::Transmit;
use tokio::{net::UdpSocket, task::AbortHandle};
use tracing::debug;

use super::{
    super::port::{Port, bind_plain, with_hops},
    Paths,
};
use crate::proto::path::{route::SocketIndex, virtual_addr::VirtualAddr};

/// Most sockets that one peer is guessed with: the birthday method finds one of 65,536 ports with half as many probes at even odds.
pub const MAX_GUESSING: usize = 256;
/// Most sockets of all peers together (guess: two that guess, and those that are kept).
pub const MAX_EXTRA: usize = 3 * MAX_GUESSING;
/// Bytes of the largest packet that is looked at while guessing: larger than any path.
const GUESS_BUFFER: usize = 2048;
/// Errors in a row after which a socket is no longer read (guess).
const MAX_ERRORS: u32 = 16;

/// The sockets.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    open: RwLock<Open>,
    kept: RwLock<Vec<(SocketIndex, Arc<Port>)>>,
    kept_count: AtomicUsize,
    changes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Open {
    next: u16,
    sockets: BTreeMap<SocketIndex, Extra>,
}

#[derive(Debug)]
struct Extra {
    owner: VirtualAddr,
    use_: Use,
}

#[derive(Debug)]
enum Use {
    Guessing { io: Arc<UdpSocket>, _reader: Reader },
    Kept(Arc<Port>),
}

#[derive(Debug)]
struct Reader(AbortHandle);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Extras {
    /// Opens up to `count` sockets at `listen`, whose port is 0. Fewer, if the system or the limits do not allow more.
    pub(crate) fn open(
        &self,
        paths: &Weak<Paths>,
        owner: VirtualAddr,
        listen: SocketAddr,
        count: usize,
    ) -> Vec<SocketIndex> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let mine = open.sockets.values().filter(|extra| extra.owner == owner).count();
        let room = (MAX_GUESSING.saturating_sub(mine)).min(MAX_EXTRA.saturating_sub(open.sockets.len()));
        let mut opened = Vec::new();
        for _ in 0..count.min(room) {
            let io = match bind_plain(listen) {
                Ok(io) => Arc::new(io),
                Err(error) => {
                    debug!(%listen, %error, "no more sockets to guess with");
                    break;
                }
            };
            let index = open.unused();
            let reader = Reader(tokio::spawn(read(paths.clone(), io.clone(), index)).abort_handle());
            open.sockets.insert(index, Extra { owner, use_: Use::Guessing { io, _reader: reader } });
            opened.push(index);
        }
        opened
    }

    /// Closes all sockets of `owner` but `keep`, from which batches are received from now on. The answer is whether the
    /// reader of the port has to look again.
    pub(crate) fn keep(&self, owner: VirtualAddr, keep: Option<SocketIndex>) -> bool {
        let closed: Vec<SocketIndex> = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            let others = |index: &SocketIndex, extra: &Extra| extra.owner == owner && Some(*index) != keep;
            open.sockets.extract_if(.., |index, extra| others(index, extra)).map(|(index, _)| index).collect()
        };
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(index, _)| !closed.contains(index));
        self.kept_count.store(kept.len(), SeqCst);
        drop(kept);
        keep.is_some_and(|keep| self.promote(owner, keep))
    }

    /// Receives batches from the socket from now on. The answer is whether it did not before.
    pub(crate) fn promote(&self, owner: VirtualAddr, index: SocketIndex) -> bool {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(extra) = open.sockets.get_mut(&index).filter(|extra| extra.owner == owner) else {
            return false;
        };
        let Use::Guessing { io, .. } = &extra.use_ else { return false };
        let port = match Port::with(io.clone()) {
            Ok((port, _)) => Arc::new(port),
            Err(error) => {
                debug!(?index, %error, "a socket cannot be kept");
                return false;
            }
        };
        extra.use_ = Use::Kept(port.clone());
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.push((index, port));
        self.kept_count.store(kept.len(), SeqCst);
        self.changes.fetch_add(1, SeqCst);
        true
    }

    /// How many are received from in batches.
    pub(crate) fn kept_count(&self) -> usize {
        self.kept_count.load(SeqCst)
    }

    /// Changes with each socket that is received from in batches.
    pub(crate) fn changes(&self) -> usize {
        self.changes.load(SeqCst)
    }

    /// Those that are received from in batches.
    pub(crate) fn kept(&self) -> Vec<(SocketIndex, Arc<Port>)> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The socket, if it is kept.
    pub(crate) fn port(&self, index: SocketIndex) -> Option<Arc<Port>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match &open.sockets.get(&index)?.use_ {
            Use::Kept(port) => Some(port.clone()),
            Use::Guessing { .. } => None,
        }
    }

    /// Where the socket is bound.
    pub(crate) fn local_addr(&self, index: SocketIndex) -> Option<SocketAddr> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match &open.sockets.get(&index)?.use_ {
            Use::Kept(port) => port.io().local_addr().ok(),
            Use::Guessing { io, .. } => io.local_addr().ok(),
        }
    }

    /// Sends one packet, now or never, that dies after `hops` routers if so wished.
    pub(crate) fn send_now(
        &self,
        index: SocketIndex,
        packet: &[u8],
        to: SocketAddr,
        hops: Option<u8>,
    ) -> io::Result<()> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        match open.sockets.get(&index).map(|extra| &extra.use_) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(Use::Kept(port)) => {
                let port = port.clone();
                drop(open);
                let transmit = Transmit {
                    destination: to,
                    ecn: None,
                    contents: packet,
                    segment_size: None,
                    src_ip: None,
                };
                match hops {
                    None => port.send_now(&transmit),
                    Some(hops) => port.send_hops(&transmit, hops),
                }
            }
            // Nobody else sends by it meanwhile: guesses come from one driver.
            Some(Use::Guessing { io, .. }) => {
                let send = || socket2::SockRef::from(&**io).send_to(packet, &to.into()).map(|_| ());
                match hops {
                    None => send(),
                    Some(hops) => with_hops(io, to, hops, send),
                }
            }
        }
    }
}

impl Open {
    fn unused(&mut self) -> SocketIndex {
        loop {
            self.next = self.next.wrapping_add(1);
            let index = SocketIndex(self.next);
            if index != SocketIndex::MAIN && !self.sockets.contains_key(&index) {
                return index;
            }
        }
    }
}

async fn read(paths: Weak<Paths>, io: Arc<UdpSocket>, index: SocketIndex) {
    let mut packet = vec![0; GUESS_BUFFER];
    let mut errors = 0;
    while errors < MAX_ERRORS {
        match io.recv_from(&mut packet).await {
            Ok((length, from)) => {
                errors = 0;
                let Some(paths) = paths.upgrade() else { return };
                paths.on_guessed(index, from, &packet[..length]);
            }
            // What Linux reports here are answers to earlier packets, such as "port unreachable".
            Err(error) => {
                debug!(?index, %error, "receiving failed");
                errors += 1;
            }
        }
    }
}
