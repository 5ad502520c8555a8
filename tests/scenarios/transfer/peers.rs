//! Peers on loopback: a folder, a content store over it, and an endpoint that answers as a node does, or does not.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bao_tree::{
    BaoTree, ChunkNum, ChunkRanges,
    io::{outboard::PreOrderMemOutboard, sync::encode_ranges},
};
use nearmesh::{
    content::{CHUNK_GROUP, ContentStore, SharedFile, hash_file},
    transfer::{
        Progress, UploadSlots,
        fetch::{Connector, DownloadRequest, FetchError, Finished, download},
        offer::{Inbox, Offers, receive_offer},
        serve::{Served, serve_ranges},
    },
};
use nearmesh_common::{
    ContentHash, NodeId, frame,
    wire::{
        query::Source,
        stream::{ByteRange, Open, RangesReply, RangesRequest, Unavailable},
    },
};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rand::{Rng, SeedableRng};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::watch;

pub const MIB: usize = 1 << 20;

/// How a peer answers `Open::Ranges`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As a node does.
    Honest,
    /// One bit of the byte at this offset is wrong.
    WrongAt(u64),
    /// Claims this size.
    ClaimsSize(u64),
    /// Has only the bytes from here to there.
    HasOnly(u64, u64),
    /// Ends each range after so many bytes of its encoding.
    EndsAfter(usize),
    /// Answers with noise instead of a frame.
    Noise,
    /// Answers with noise instead of content.
    NoiseAfterReply,
    /// Takes the question and says nothing.
    Silent,
    /// Has no slot for the first so many questions.
    BusyFor(u64),
    /// Closes the connection after so many answers.
    HangsUpAfter(u64),
}

/// One peer.
pub struct Peer {
    pub node: NodeId,
    pub folder: tempfile::TempDir,
    pub store: Arc<Folder>,
    pub offers: Offers,
    pub endpoint: Endpoint,
    /// Content bytes that were sent honestly.
    pub sent: Arc<AtomicU64>,
    questions: Arc<AtomicU64>,
    manner: Manner,
}

/// A content store over a folder.
#[derive(Default)]
pub struct Folder {
    files: Mutex<BTreeMap<ContentHash, SharedFile>>,
    pub changed: Mutex<Vec<ContentHash>>,
}

impl ContentStore for Folder {
    fn locate(&self, hash: &ContentHash) -> Option<SharedFile> {
        self.files.lock().unwrap().get(hash).cloned()
    }

    fn report_changed(&self, hash: &ContentHash) {
        self.changed.lock().unwrap().push(*hash);
    }
}

/// Bytes that look like nothing, the same for the same seed.
pub fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rand_chacha::ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

impl Peer {
    pub fn honest(number: u8) -> Arc<Self> {
        Self::new(number, Manner::Honest)
    }

    pub fn new(number: u8, manner: Manner) -> Arc<Self> {
        let peer = Arc::new(Self {
            node: NodeId([number; 32]),
            folder: tempfile::tempdir().unwrap(),
            store: Arc::default(),
            offers: Offers::default(),
            endpoint: endpoint(),
            sent: Arc::default(),
            questions: Arc::default(),
            manner,
        });
        tokio::spawn(peer.clone().accept());
        peer
    }

    /// Puts a file into the folder and shares it.
    pub fn share(&self, name: &str, bytes: &[u8]) -> ContentHash {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        let hashed = hash_file(&path, &mut |_| true).unwrap();
        let outboard = hashed.store_outboard(self.folder.path()).unwrap();
        let file = SharedFile { path, size: hashed.size, modified: hashed.modified, outboard };
        self.store.files.lock().unwrap().insert(hashed.hash, file);
        hashed.hash
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn source(&self) -> Source {
        Source {
            user: "bob".parse().unwrap(),
            node: self.node,
            addresses: [self.endpoint.local_addr().unwrap()].into(),
            home: self.node,
            reach: nearmesh_common::nat::Reach::Reachable,
        }
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Answers on a connection that this peer opened or accepted.
    pub async fn answer(self: Arc<Self>, connection: Connection, peer: NodeId) {
        while let Ok((send, mut recv)) = connection.accept_bi().await {
            let Ok(open) = frame::read_frame(&mut recv, frame::MAX_OPEN_FRAME).await else { continue };
            match open {
                Open::Ranges(request) => {
                    drop(tokio::spawn(self.clone().give(connection.clone(), peer, request, send, recv)))
                }
                Open::Offer(offer) => {
                    let (me, connection) = (self.clone(), connection.clone());
                    let inbox = Inbox::new(self.path("inbox"));
                    let from = Source {
                        user: "alice".parse().unwrap(),
                        node: peer,
                        addresses: [].into(),
                        home: peer,
                        reach: nearmesh_common::nat::Reach::Reachable,
                    };
                    tokio::spawn(async move {
                        let _ = receive_offer(&connection, send, offer, from, &inbox).await;
                        drop(me);
                    });
                }
                other => panic!("nobody asks {other:?} here"),
            }
        }
    }

    async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let Ok(connection) = incoming.await else { continue };
            tokio::spawn(self.clone().answer(connection, NodeId([0xA1; 32])));
        }
    }

    async fn give(
        self: Arc<Self>,
        connection: Connection,
        peer: NodeId,
        request: RangesRequest,
        mut send: SendStream,
        recv: RecvStream,
    ) {
        let question = self.questions.fetch_add(1, Ordering::Relaxed);
        let content = |size| {
            let all = ByteRange { start: 0, end: size };
            RangesReply::Content { size, available: Some(all).filter(|_| size > 0).into_iter().collect() }
        };
        let size = self.store.locate(&request.hash).map_or(0, |file| file.size);
        match self.manner {
            Manner::HangsUpAfter(answers) if question >= answers => connection.close(9u32.into(), b"bye"),
            Manner::BusyFor(questions) if question < questions => {
                let busy = RangesReply::Unavailable(Unavailable::Busy);
                frame::write_frame(&mut send, &busy).await.unwrap();
            }
            Manner::Honest | Manner::BusyFor(_) | Manner::HangsUpAfter(_) => {
                let view = self.offers.view_of(peer, self.store.clone());
                let slots = UploadSlots::default();
                if let Ok(Served::Content(bytes)) = serve_ranges(send, request, peer, &view, &slots).await {
                    self.sent.fetch_add(bytes, Ordering::Relaxed);
                }
            }
            Manner::Noise => send.write_all(&bytes(1, 1000)).await.unwrap_or(()),
            Manner::NoiseAfterReply => {
                frame::write_frame(&mut send, &content(size)).await.unwrap();
                send.write_all(&bytes(1, 100_000)).await.unwrap_or(());
            }
            Manner::ClaimsSize(size) => {
                frame::write_frame(&mut send, &content(size)).await.unwrap();
                self.send_unproven(&request, send, 0..u64::MAX, usize::MAX).await;
            }
            Manner::HasOnly(start, end) => {
                let reply = RangesReply::Content { size, available: vec![ByteRange { start, end }] };
                frame::write_frame(&mut send, &reply).await.unwrap();
                self.send_unproven(&request, send, start..end, usize::MAX).await;
            }
            Manner::WrongAt(_) | Manner::EndsAfter(_) => {
                frame::write_frame(&mut send, &content(size)).await.unwrap();
                let most = if let Manner::EndsAfter(bytes) = self.manner { bytes } else { usize::MAX };
                self.send_unproven(&request, send, 0..size, most).await;
            }
            Manner::Silent => {
                connection.closed().await;
                drop(recv);
            }
        }
    }

    /// Encodes without looking, as a liar or an outdated program would.
    async fn send_unproven(
        &self,
        request: &RangesRequest,
        mut send: SendStream,
        has: std::ops::Range<u64>,
        most: usize,
    ) {
        let file = self.store.locate(&request.hash).unwrap();
        let mut data = std::fs::read(&file.path).unwrap();
        let outboard = PreOrderMemOutboard {
            root: request.hash.0.into(),
            tree: BaoTree::new(file.size, CHUNK_GROUP),
            data: std::fs::read(&file.outboard).unwrap_or_default(),
        };
        if let Manner::WrongAt(offset) = self.manner {
            data[offset as usize] ^= 4;
        }
        for range in &request.ranges {
            let (start, end) = (range.start.max(has.start), range.end.min(has.end));
            if start < end {
                let chunks = ChunkRanges::from(ChunkNum::full_chunks(start)..ChunkNum::chunks(end));
                let mut encoded = Vec::new();
                encode_ranges(data.as_slice(), &outboard, &chunks, &mut encoded).unwrap();
                encoded.truncate(most);
                let _ = send.write_all(&encoded).await;
            }
        }
        let _ = send.finish();
    }
}

/// Alice's side: an endpoint that dials.
pub struct Dialer(pub Endpoint);

impl Dialer {
    pub fn new() -> Self {
        Self(endpoint())
    }
}

impl Connector for Dialer {
    async fn connect(&self, source: &Source) -> Result<Connection, String> {
        let connecting = self.0.connect(source.addresses[0], "peer").map_err(|error| error.to_string())?;
        connecting.await.map_err(|error| error.to_string())
    }
}

/// What alice asks for.
pub fn request(hash: ContentHash, directory: &Path, sources: &[&Arc<Peer>]) -> DownloadRequest {
    let sources = sources.iter().map(|peer| peer.source()).collect();
    DownloadRequest::new(hash, "file.bin", directory.to_owned(), sources)
}

pub async fn fetch(request: DownloadRequest) -> Result<Finished, FetchError> {
    download(request, &Dialer::new(), watch::Sender::new(Progress::default())).await
}

/// The names in a folder, hidden ones too.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Certified by an authority that all peers of this process trust.
fn endpoint() -> Endpoint {
    static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    });
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["peer".to_owned()]).unwrap().signed_by(&key, &*AUTHORITY).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.serialize_der());
    let server =
        quinn::ServerConfig::with_single_cert(vec![certificate.der().clone()], private.into()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(AUTHORITY.der().clone()).unwrap();
    let mut endpoint = Endpoint::server(server, ([127, 0, 0, 1], 0).into()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::with_root_certificates(Arc::new(roots)).unwrap());
    endpoint
}
