//! A node that answers from a script, behind the real server: what the command line is tested against.

use std::{
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use nearmesh::{
    control::{api::*, client::Client, server},
    profile::{ControlSocket, Profile},
};
use nearmesh_common::{ContentHash, NodeId, UnixMillis, UserAddress, UserName, wire::file::Kind};
use tempfile::TempDir;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

/// Results in the script. More lines than a pipe holds at once.
pub const RESULTS: u32 = 2000;
pub const HOSTILE_NAME: &str = "julia\u{1b}[2J\nfractal\u{202e}gpj.exe";
pub const TICKET: &str = "nearmesh1scripted";

/// The script: alice, with bob as her only acquaintance.
#[derive(Default)]
pub struct Alice {
    pub search_dropped: Arc<Notify>,
    pub stopped: AtomicBool,
}

/// Alice's node at work.
pub struct Running {
    pub home: TempDir,
    pub profile: Profile,
    pub alice: Arc<Alice>,
    _socket: ControlSocket,
    pub serving: JoinHandle<std::io::Result<()>>,
    pub stop: oneshot::Sender<()>,
}

pub fn hash(byte: u8) -> AsText<ContentHash> {
    ContentHash([byte; 32]).into()
}

pub fn node(byte: u8) -> AsText<NodeId> {
    NodeId([byte; 32]).into()
}

pub fn bob() -> UserAddress {
    "bob@lab".parse().unwrap()
}

/// Starts the scripted node in a fresh profile.
pub fn start() -> Running {
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::locate(Some(&home.path().join("alice"))).unwrap();
    profile.create().unwrap();
    let lock = profile.lock().unwrap();
    let (listener, socket) = profile.bind_control(&lock).unwrap();
    let alice = Arc::new(Alice::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve(listener, alice.clone(), async {
        let _ = stopped.await;
        drop(lock);
    }));
    Running { home, profile, alice, _socket: socket, serving, stop }
}

impl Running {
    pub fn client(&self) -> Client {
        Client::new(&self.profile)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearmesh"));
        command.current_dir(self.home.path()).args(["--profile", "alice"]).args(line.split(' '));
        command
    }

    /// Runs a command to its end, while the scripted node goes on answering.
    pub async fn run(&self, line: &str) -> Output {
        let mut command = self.command(line);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

/// Says so when it is dropped.
struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn result(number: u32, name: &str) -> SearchResult {
    let sources = vec![Source { user: bob(), node_id: node(2) }];
    SearchResult { number, name: name.to_owned(), size: 4_400_000, hash: hash(7), kind: Kind::Audio, sources }
}

fn events<T: Send + 'static>(events: Vec<Result<T, ApiError>>) -> Result<Events<T>, ApiError> {
    Ok(stream::iter(events).boxed())
}

fn nobody(user: &UserAddress) -> ApiError {
    ApiError::not_found(format!("nobody is {user}")).hint("is the name right?")
}

fn share(path: PathBuf) -> Share {
    Share { path, files: 3, bytes: 3 << 20, unreadable: 1 }
}

/// A path through a relay.
fn relayed() -> Way {
    Way { path: PathKind::Relayed, relay: Some("hub@lab".to_owned()) }
}

fn direct() -> Way {
    Way { path: PathKind::Direct, relay: None }
}

fn path_to_bob() -> NodePath {
    NodePath { node_id: node(2), user: bob(), way: relayed(), rtt_ms: Some(31.0) }
}

pub fn download(state: State, received: u64) -> Download {
    Download {
        id: DownloadId(1),
        hash: hash(7),
        name: "julia fractal.ogg".to_owned(),
        size: Some(1000),
        received,
        rate: 500,
        state,
        error: (state == State::Failed).then(|| "every source sent wrong bytes".to_owned()),
        sources: vec![Source { user: bob(), node_id: node(2) }],
        paths: vec![path_to_bob()],
        path: PathBuf::from("/got/julia fractal.ogg"),
    }
}

impl NodeApi for Alice {
    async fn status(&self) -> Result<Status, ApiError> {
        let home = Attachment {
            node_id: node(3),
            address: Some("127.0.0.1:3".parse().unwrap()),
            rtt_ms: Some(0.25),
        };
        Ok(Status {
            node_id: node(1),
            user: "alice@lab".parse().unwrap(),
            net: "lab".parse().unwrap(),
            role: Role::Ordinary,
            role_reason: "it is no supernode because there are enough: they are 40 % full".to_owned(),
            listen: "127.0.0.1:1".parse().unwrap(),
            home: Some(home),
            standby: None,
            children: 0,
            supernodes: 3,
            reachability: Reachability {
                verdict: "behind a NAT: direct connections work with most peers".to_owned(),
                reach: Reach::Behind,
                mapping: Some("endpoint-independent".to_owned()),
                filtering: Some("address-and-port-dependent".to_owned()),
                port_step: None,
                hairpinning: Some(false),
                mapping_lifetime_ms: Some(32_000),
                keep_alive_ms: 16_000,
                host: vec!["192.168.1.2:7117".parse().unwrap()],
                server_reflexive: vec!["203.0.113.7:7117".parse().unwrap()],
                port_mapping: PortMapping::Mapped {
                    protocol: "UPnP".to_owned(),
                    address: "203.0.113.7:7117".parse().unwrap(),
                    public: true,
                },
                relays: false,
            },
            shared: SharedTotal { files: 3, bytes: 3 << 20 },
            relaying: Relaying { sessions: 2, bytes: 5 << 20, packets: 4_000, refused: 1, dropped: 7 },
            bootstrap: vec![
                Bootstrap { way: BootstrapWay::Remembered, place: None, found: Some(12), problem: None },
                Bootstrap {
                    way: BootstrapWay::List,
                    place: Some("/etc/hubs".to_owned()),
                    found: Some(3),
                    problem: Some("line 4: the node id is wrong".to_owned()),
                },
                Bootstrap { way: BootstrapWay::Local, place: None, found: None, problem: None },
            ],
            paths: vec![path_to_bob()],
            uptime_ms: 61_000,
            version: "0.1.0".to_owned(),
            problems: vec!["The disk is nearly full.".to_owned()],
        })
    }

    async fn add_share(&self, path: PathBuf) -> Result<Events<ShareEvent>, ApiError> {
        let progress =
            ShareProgress { files_found: 3, files_hashed: 1, bytes_found: 3 << 20, bytes_hashed: 1 << 20 };
        events(vec![Ok(ShareEvent::Progress(progress)), Ok(ShareEvent::Done(share(path)))])
    }

    async fn remove_share(&self, path: PathBuf) -> Result<Share, ApiError> {
        Err(ApiError::not_found(format!("{path:?} is not shared")))
    }

    async fn list_shares(&self) -> Result<Vec<Share>, ApiError> {
        Ok(vec![share(PathBuf::from("/music"))])
    }

    async fn search(&self, request: SearchRequest) -> Result<Events<SearchEvent>, ApiError> {
        let done = Searched { asked: 3, answered: 2, limit_reached: false };
        match request.words.as_str() {
            "many" => {
                let all = (1..=RESULTS).map(|number| Ok(SearchEvent::Result(result(number, "many.ogg"))));
                Ok(stream::iter(all).chain(stream::iter([Ok(SearchEvent::Done(done))])).boxed())
            }
            "endless" => {
                let told = Told(self.search_dropped.clone());
                let first = stream::iter([Ok(SearchEvent::Result(result(1, "first.ogg")))]);
                Ok(first
                    .chain(stream::pending().map(move |event| {
                        let _ = &told;
                        event
                    }))
                    .boxed())
            }
            "hostile" => {
                events(vec![Ok(SearchEvent::Result(result(1, HOSTILE_NAME))), Ok(SearchEvent::Done(done))])
            }
            "twice" => {
                let mut better = result(1, "twice.ogg");
                better.sources.push(Source { user: "carol@lab".parse().unwrap(), node_id: node(4) });
                let first = SearchEvent::Result(result(1, "twice.ogg"));
                events(vec![Ok(first), Ok(SearchEvent::Result(better)), Ok(SearchEvent::Done(done))])
            }
            "broken" => {
                let error = ApiError::failed("the home went away").hint("try again");
                events(vec![Ok(SearchEvent::Result(result(1, "first.ogg"))), Err(error)])
            }
            "cut" => events(vec![Ok(SearchEvent::Result(result(1, "first.ogg")))]),
            _ => events(vec![Ok(SearchEvent::Done(done))]),
        }
    }

    async fn start_download(&self, request: GetRequest) -> Result<DownloadId, ApiError> {
        match request.wanted.0 {
            Wanted::Result(number) if number > 2 => {
                Err(ApiError::not_found(format!("the last search had no result {number}")))
            }
            Wanted::Result(number) => Ok(DownloadId(number.into())),
            Wanted::Hash(_) => Ok(DownloadId(1)),
        }
    }

    async fn follow_download(&self, id: DownloadId) -> Result<Events<DownloadEvent>, ApiError> {
        let state = if id == DownloadId(1) { State::Done } else { State::Failed };
        let progress = DownloadEvent::Progress(download(State::Running, 500));
        events(vec![Ok(progress), Ok(DownloadEvent::Ended(download(state, 1000)))])
    }

    async fn cancel_download(&self, _id: DownloadId) -> Result<Download, ApiError> {
        Ok(download(State::Cancelled, 500))
    }

    async fn downloads(&self) -> Result<Vec<Download>, ApiError> {
        Ok(vec![download(State::Running, 500)])
    }

    async fn lookup(&self, user: UserAddress) -> Result<Lookup, ApiError> {
        if user != bob() {
            return Err(nobody(&user));
        }
        let bobs = UserNode {
            node_id: node(2),
            addresses: vec!["127.0.0.1:2".parse().unwrap()],
            home: node(3),
            seen: UnixMillis(1_700_000_060_000),
            since: UnixMillis(1_700_000_000_000),
            online: true,
            rtt_ms: None,
            way: Some(relayed()),
        };
        Ok(Lookup { user, online: true, nodes: vec![bobs] })
    }

    async fn ping(&self, request: PingRequest) -> Result<Events<PingEvent>, ApiError> {
        let replies = if request.user == bob() { request.count } else { 0 };
        let reply = |round: u32| PingReply {
            node_id: node(2),
            address: (round > 0).then(|| "127.0.0.1:2".parse().unwrap()),
            way: if round > 0 { direct() } else { relayed() },
            rtt_ms: 0.3,
            at_ms: f64::from(round) * 1000.0 + 40.0,
        };
        let mut all: Vec<_> = (0..replies).map(|round| Ok(PingEvent::Reply(reply(round)))).collect();
        if replies > 1 {
            let change =
                PathChange { node_id: node(2), way: Some(direct()), rtt_ms: Some(12.0), at_ms: 1400.0 };
            all.insert(1, Ok(PingEvent::Path(change)));
        }
        all.push(Ok(PingEvent::Done(PingSummary { sent: request.count, received: replies })));
        events(all)
    }

    async fn send_file(&self, request: SendRequest) -> Result<Events<SendEvent>, ApiError> {
        let name = request.path.file_name().unwrap().to_string_lossy().into_owned();
        let sent = Sent { user: request.user, node_id: node(2), name, size: 5, hash: hash(7) };
        events(vec![
            Ok(SendEvent::Progress(SendProgress { size: 5, received: 5 })),
            Ok(SendEvent::Done(sent)),
        ])
    }

    async fn supernodes(&self) -> Result<Vec<Supernode>, ApiError> {
        let addresses = vec!["127.0.0.1:3".parse().unwrap()];
        Ok(vec![Supernode {
            node_id: node(3),
            addresses,
            children: Some(4),
            capacity: Some(500),
            rtt_ms: Some(0.25),
            home: true,
        }])
    }

    async fn invite(&self, user: Option<UserName>) -> Result<Invitation, ApiError> {
        let user = user.map(|user| UserAddress { user, net: "lab".parse().unwrap() });
        Ok(Invitation { ticket: TICKET.to_owned(), user, expires: Some(UnixMillis(u64::MAX)) })
    }

    async fn revoke(&self, _user: UserName) -> Result<Revocation, ApiError> {
        Err(ApiError::refused("only the authority of lab can revoke").hint("ask alice@lab"))
    }

    async fn stop(&self) -> Result<(), ApiError> {
        self.stopped.store(true, Ordering::SeqCst);
        Ok(())
    }
}
