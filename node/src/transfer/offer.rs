//! Giving unasked: `send FILE bob@lab`.
//!
//! The sender opens a stream with `Open::Offer` and keeps the content servable to that one peer for as long as the offer
//! stands. The receiver fetches it like any other content, over the same connection, into its inbox; meanwhile it says how
//! far it is, and in the end under which name it is stored, or that it declines.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nearmesh_common::{
    ContentHash, NodeId,
    frame::{self, MAX_OPEN_FRAME, ReadFrameError},
    wire::{
        query::Source,
        stream::{Offer, OfferDecline, OfferReply, Open},
    },
};
use quinn::{Connection, RecvStream, SendStream};
use thiserror::Error;
use tokio::sync::watch;

use super::{
    fetch::{Connector, DownloadRequest, FetchError, Finished, download},
    meter::Progress,
};
use crate::{
    content::{ContentStore, HashError, SharedFile, hash_file},
    safe_name::safe_file_name,
};

/// Offers of one peer that are received at once (guess).
pub const MAX_OFFERS_PER_PEER: usize = 4;
/// Offers of all peers that are received at once (guess).
pub const MAX_OFFERS: usize = 16;
/// How often the receiver says how far it is (guess: what a progress bar shows).
const REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// How long the receiver tries to tell the end to a sender that does not listen (guess).
const LAST_WORD: Duration = Duration::from_secs(5);
/// How long the sender waits for any word of the receiver (guess: its stall patience, and room).
const SILENCE: Duration = Duration::from_secs(60);

/// What we offer, and to whom. Clones share the table.
#[derive(Clone, Debug, Default)]
pub struct Offers(Arc<Mutex<BTreeMap<(NodeId, ContentHash), SharedFile>>>);

/// A file that the peer has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The name that it got there.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// The content.
    pub hash: ContentHash,
}

/// What one peer may fetch: what is shared with everybody, and what is offered to it.
pub struct PeerView {
    peer: NodeId,
    offers: Offers,
    shares: Arc<dyn ContentStore>,
}

/// An offer that stands; withdrawn when dropped.
struct Standing {
    offers: Offers,
    key: (NodeId, ContentHash),
    _outboards: tempfile::TempDir,
}

/// Why the receiver has no file.
#[derive(Debug, Error)]
pub enum OfferError {
    /// The file cannot be offered.
    #[error("offer {}: failed to {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: HashError,
    },
    /// The same file is being offered to the same peer.
    #[error("offer it: the same offer stands already")]
    Standing,
    /// The peer does not take it.
    #[error("send it: the peer declined{}", match .0 {
        OfferDecline::NoRoom => ", because its disk is full",
        OfferDecline::TooMany => ", because it is receiving too many files at once",
        OfferDecline::Failed => ", because it failed to receive the file",
    })]
    Declined(OfferDecline),
    /// The peer went away.
    #[error("send it: {0}")]
    Peer(String),
}

impl Offers {
    /// The content store as `peer` sees it.
    pub fn view_of(&self, peer: NodeId, shares: Arc<dyn ContentStore>) -> PeerView {
        PeerView { peer, offers: self.clone(), shares }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(NodeId, ContentHash), SharedFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stand(&self, peer: NodeId, prepared: Prepared) -> Option<Standing> {
        let key = (peer, prepared.hash);
        let mut offers = self.lock();
        if offers.contains_key(&key) {
            return None;
        }
        offers.insert(key, prepared.file);
        Some(Standing { offers: self.clone(), key, _outboards: prepared.outboards })
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.offers.lock().remove(&self.key);
    }
}

impl ContentStore for PeerView {
    fn locate(&self, hash: &ContentHash) -> Option<SharedFile> {
        let offered = self.offers.lock().get(&(self.peer, *hash)).cloned();
        offered.or_else(|| self.shares.locate(hash))
    }

    fn report_changed(&self, hash: &ContentHash) {
        self.shares.report_changed(hash);
    }
}

/// Offers a file to the peer at the other end, and returns the name that it was stored under.
///
/// `progress` hears the bytes that the peer has verified. The caller serves `Open::Ranges` on this connection from
/// [`Offers::view_of`] meanwhile. To withdraw the offer, drop the future.
///
/// # Errors
/// As [`OfferError`] tells.
pub async fn offer_file(
    connection: &Connection,
    peer: NodeId,
    path: &Path,
    offers: &Offers,
    progress: watch::Sender<Progress>,
) -> Result<Given, OfferError> {
    let prepared = prepare(path.to_owned()).await?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (size, hash) = (prepared.file.size, prepared.hash);
    let offer = Offer { name: name.into(), size, hash };
    progress.send_modify(|progress| progress.size = Some(offer.size));
    let _standing = offers.stand(peer, prepared).ok_or(OfferError::Standing)?;
    let gone = |error: &dyn std::fmt::Display| OfferError::Peer(error.to_string());
    let (mut send, mut replies) = connection.open_bi().await.map_err(|error| gone(&error))?;
    frame::write_frame(&mut send, &Open::Offer(offer)).await.map_err(|error| gone(&error))?;
    loop {
        let reply = tokio::time::timeout(SILENCE, next_reply(&mut replies)).await;
        match reply.map_err(|_| gone(&"it stopped answering"))?.map_err(|error| gone(&error))? {
            OfferReply::Receiving { received } => progress.send_modify(|p| p.verified = received),
            OfferReply::Stored { name } => return Ok(Given { name, size, hash }),
            OfferReply::Declined(reason) => return Err(OfferError::Declined(reason)),
        }
    }
}

async fn next_reply(replies: &mut RecvStream) -> Result<OfferReply, ReadFrameError> {
    frame::read_frame(replies, MAX_OPEN_FRAME).await
}

/// A file that is ready to be offered.
struct Prepared {
    hash: ContentHash,
    file: SharedFile,
    outboards: tempfile::TempDir,
}

async fn prepare(path: PathBuf) -> Result<Prepared, OfferError> {
    let shown = path.clone();
    let hashed = tokio::task::spawn_blocking(move || {
        let hashed = hash_file(&path, &mut |_| true)?;
        let outboards = tempfile::tempdir()?;
        let outboard = hashed.store_outboard(outboards.path())?;
        let file = SharedFile { path, size: hashed.size, modified: hashed.modified, outboard };
        Ok(Prepared { hash: hashed.hash, file, outboards })
    });
    let outcome = hashed.await.unwrap_or_else(|error| Err(HashError::Read(io::Error::other(error))));
    outcome.map_err(|error| OfferError::File { path: shown, error })
}

/// Where offers go, and how many at once. Clones share the count.
#[derive(Clone, Debug)]
pub struct Inbox {
    directory: PathBuf,
    receiving: Arc<Mutex<BTreeSet<(NodeId, u64)>>>,
}

/// One offer's place in the inbox, given back when dropped.
struct Place {
    inbox: Inbox,
    key: (NodeId, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inbox.lock().remove(&self.key);
    }
}

impl Inbox {
    /// Files go into this folder, which is made when it is needed.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, receiving: Arc::default() }
    }

    fn take_place(&self, peer: NodeId) -> Option<Place> {
        let mut receiving = self.lock();
        let of_peer: Vec<u64> = receiving.range((peer, 0)..=(peer, u64::MAX)).map(|(_, n)| *n).collect();
        if of_peer.len() >= MAX_OFFERS_PER_PEER || receiving.len() >= MAX_OFFERS {
            return None;
        }
        let key = (peer, of_peer.last().map_or(0, |last| last + 1));
        receiving.insert(key);
        Some(Place { inbox: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(NodeId, u64)>> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives an offer that `from` made on this connection; `replies` is the offer's stream. The sender is told how it went.
///
/// # Errors
/// If the file could not be fetched; the sender knows. `None` if the offer was declined at once.
pub async fn receive_offer(
    connection: &Connection,
    mut replies: SendStream,
    offer: Offer,
    from: Source,
    inbox: &Inbox,
) -> Result<Option<Finished>, FetchError> {
    let place = inbox.take_place(from.node);
    if place.is_none() || !offer.within_bounds() {
        let _ = reply(&mut replies, &OfferReply::Declined(OfferDecline::TooMany)).await;
        let _ = replies.finish();
        return Ok(None);
    }
    let request = DownloadRequest {
        size: Some(offer.size),
        ..DownloadRequest::new(offer.hash, &safe_file_name(&offer.name), inbox.directory.clone(), vec![from])
    };
    let (sender, receiver) = watch::channel(Progress::default());
    let same = SameConnection(connection);
    let outcome = tokio::select! {
        outcome = download(request, &same, sender) => outcome,
        never = report(&mut replies, receiver) => match never {},
    };
    let last_word = match &outcome {
        Ok(finished) => OfferReply::Stored { name: stored_name(&finished.path) },
        Err(FetchError::NoRoom { .. }) => OfferReply::Declined(OfferDecline::NoRoom),
        Err(_) => OfferReply::Declined(OfferDecline::Failed),
    };
    let _ = tokio::time::timeout(LAST_WORD, reply(&mut replies, &last_word)).await;
    let _ = replies.finish();
    outcome.map(Some)
}

fn stored_name(path: &Path) -> Box<str> {
    path.file_name().unwrap_or_default().to_string_lossy().into()
}

async fn reply(replies: &mut SendStream, reply: &OfferReply) -> io::Result<()> {
    frame::write_frame(replies, reply).await
}

/// Says how far the download is, until it is dropped. A sender that does not listen changes nothing.
async fn report(replies: &mut SendStream, progress: watch::Receiver<Progress>) -> std::convert::Infallible {
    let mut interval = tokio::time::interval(REPORT_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let received = progress.borrow().verified;
        let _ = reply(replies, &OfferReply::Receiving { received }).await;
    }
}

/// The one source of an offer is the one who made it.
struct SameConnection<'a>(&'a Connection);

impl Connector for SameConnection<'_> {
    async fn connect(&self, _source: &Source) -> Result<Connection, String> {
        match self.0.close_reason() {
            None => Ok(self.0.clone()),
            Some(reason) => Err(reason.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_cannot_fill_the_inbox_and_places_are_given_back() {
        let inbox = Inbox::new(PathBuf::from("inbox"));
        let peer = |number| NodeId([number; 32]);
        let mut alice: Vec<_> = std::iter::from_fn(|| inbox.take_place(peer(1))).collect();
        assert_eq!(alice.len(), MAX_OFFERS_PER_PEER);
        assert!(inbox.take_place(peer(2)).is_some(), "bob's offer is received");
        alice.remove(0);
        assert!(inbox.take_place(peer(1)).is_some(), "one of alice's ended");
        let everybody: Vec<_> = (2..=255).filter_map(|number| inbox.take_place(peer(number))).collect();
        assert_eq!(everybody.len() + alice.len(), MAX_OFFERS);
    }
}
