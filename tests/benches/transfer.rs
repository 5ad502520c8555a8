//! One file between two processes on loopback: file to file, verified, against a bare QUIC stream, memory to memory, and one
//! that writes what it receives to a file unverified, with the same transport settings, alternating in the same run.
//!
//! `cargo bench -p tests --bench transfer -- --size-mib 1024 --runs 3 [--streams 4] [--directory /var/tmp] [--cold]`
//!
//! The file that is sent has just been written and hashed, so it is in the page cache; the file that is received is
//! written to disk, and "synced" includes waiting for the disk before the file gets its name.
//!
//! Each transfer writes into memory that a scratch file of the same size gives up as it goes (`--cold` leaves that out): a virtual
//! machine may have given its free memory back to its host, and getting it again costs several times what the transfer does.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh::{
    content::{ContentStore, SharedFile, hash_file},
    transfer::{
        Progress, UploadSlots,
        fetch::{Connector, DownloadRequest, download},
        serve::serve_ranges,
    },
};
use nearmesh_common::{
    ContentHash, NodeId, frame,
    wire::{query::Source, stream::Open},
};
use quinn::{
    Connection, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt, udp::UdpSocketState,
};
use rand::{Rng, SeedableRng};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;

/// The socket buffers, windows and blocks that came out best in the throughput measurements.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const STREAM_WINDOW_BYTES: u32 = 5 << 19;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
const BARE_BLOCK_BYTES: usize = 64 << 10;
/// How much of the scratch file is given up before it is needed.
const AHEAD_BYTES: u64 = 64 << 20;

struct Settings {
    size: u64,
    runs: usize,
    streams: usize,
    directory: PathBuf,
    warm: bool,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut settings =
        Settings { size: 1 << 30, runs: 3, streams: 4, directory: std::env::temp_dir(), warm: true };
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{option} needs a value"));
        match option.as_str() {
            "--size-mib" => settings.size = value().parse::<u64>().expect("a number of MiB") << 20,
            "--runs" => settings.runs = value().parse().expect("a number of runs"),
            "--streams" => settings.streams = value().parse().expect("a number of streams"),
            "--directory" => settings.directory = value().into(),
            "--cold" => settings.warm = false,
            "--serve" => return serve(Path::new(&value())),
            other => panic!("unknown option {other}"),
        }
    }
    measure(&settings);
}

#[tokio::main]
async fn measure(settings: &Settings) {
    let folder = tempfile::tempdir_in(&settings.directory).expect("a folder for the files");
    println!("{} MiB, files in {}", settings.size >> 20, folder.path().display());
    let hash = prepare(folder.path(), settings.size);
    let (server, address) = start_server(folder.path());
    let endpoint = client(folder.path());
    let dialer = Dialer { endpoint, address };
    let mut figures = Vec::new();
    println!(
        "{:>34} | {:>34} | {:>34} | synced",
        "bare, memory to memory", "bare, to a file", "file to file, verified"
    );
    for run in 0..settings.runs {
        let received = folder.path().join(format!("received-{run}"));
        let to_memory = Timed::of(&server, bare(&dialer, Kept::Nowhere, settings)).await;
        let kept = Kept::at(&received, settings);
        let to_file = Timed::of(&server, bare(&dialer, kept, settings)).await;
        std::fs::remove_file(&received).expect("removes what was received");
        let scratch = settings.warm.then(|| scratch_file(settings));
        let verified = Timed::of(&server, file_to_file(&dialer, (hash, scratch), &received, settings)).await;
        std::fs::remove_dir_all(&received).expect("removes what was received");
        let speed = |time: Duration| settings.size as f64 / time.as_secs_f64() / 1e6;
        let line = |timed: &Timed<Duration>| {
            let (sender, receiver) = timed.cpu;
            format!("{:5.0} MB/s, CPU {sender:4.2} + {receiver:4.2} s", speed(timed.value))
        };
        let synced = speed(verified.elapsed);
        let (bare, file, ours) = (line(&to_memory), line(&to_file), line(&verified));
        println!("{bare:>34} | {file:>34} | {ours:>34} | {synced:5.0} MB/s");
        figures.push([speed(to_memory.value), speed(to_file.value), speed(verified.value), synced]);
    }
    let median = |which: usize| {
        let mut values: Vec<f64> = figures.iter().map(|figure| figure[which]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (bare, to_file, verified, synced) = (median(0), median(1), median(2), median(3));
    println!(
        "medians: bare {bare:.0} MB/s; verified and written {verified:.0} MB/s, ratio {:.2}; \
         synced and named {synced:.0} MB/s, ratio {:.2}",
        verified / bare,
        synced / bare
    );
    println!(
        "against a bare stream that is written to a file, {to_file:.0} MB/s: ratio {:.2}",
        verified / to_file
    );
    drop(server);
}

/// How long something took by its own account, by the clock, and in CPU seconds of both processes.
struct Timed<T> {
    value: T,
    elapsed: Duration,
    cpu: (f64, f64),
}

impl<T> Timed<T> {
    async fn of(server: &Server, work: impl Future<Output = T>) -> Self {
        let before = (cpu_seconds(server.0.id()), cpu_seconds(std::process::id()));
        let start = Instant::now();
        let value = work.await;
        let elapsed = start.elapsed();
        let after = (cpu_seconds(server.0.id()), cpu_seconds(std::process::id()));
        Self { value, elapsed, cpu: (after.0 - before.0, after.1 - before.1) }
    }
}

/// User and system time of a process so far, from /proc, in ticks of 10 ms.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Where the bare stream's bytes go.
enum Kept {
    Nowhere,
    /// A file, and the scratch file that gives up its memory to it.
    File(File, Option<File>),
}

impl Kept {
    fn at(path: &Path, settings: &Settings) -> Self {
        let scratch = settings.warm.then(|| scratch_file(settings));
        Self::File(File::create(path).expect("creates a file"), scratch)
    }

    fn take(&mut self, bytes: &[u8], left: u64) {
        if let Self::File(file, scratch) = self {
            file.write_all(bytes).expect("writes");
            give_up(scratch.as_ref(), left);
        }
    }
}

fn give_up(scratch: Option<&File>, left: u64) {
    if let Some(scratch) = scratch {
        scratch.set_len(left.saturating_sub(AHEAD_BYTES)).expect("shrinks the scratch file");
    }
}

async fn bare(dialer: &Dialer, mut kept: Kept, settings: &Settings) -> Duration {
    let connection = dialer.connect_now().await;
    let start = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await.expect("opens a stream");
    frame::write_frame(&mut send, &Open::Ping).await.expect("asks");
    let (mut buffer, mut left) = (vec![0; 256 << 10], settings.size);
    while let Some(count) = recv.read(&mut buffer).await.expect("reads") {
        left -= count as u64;
        kept.take(&buffer[..count], left);
    }
    assert_eq!(left, 0);
    start.elapsed()
}

async fn file_to_file(
    dialer: &Dialer,
    (hash, scratch): (ContentHash, Option<File>),
    directory: &Path,
    settings: &Settings,
) -> Duration {
    let source = Source {
        user: "bob".parse().expect("a name"),
        node: NodeId([1; 32]),
        addresses: [dialer.address].into(),
        home: NodeId([1; 32]),
        reach: nearmesh_common::nat::Reach::Reachable,
    };
    let mut request = DownloadRequest::new(hash, "file.bin", directory.to_owned(), vec![source]);
    request.size = Some(settings.size);
    request.streams = settings.streams;
    let (sender, mut progress) = watch::channel(Progress::default());
    let start = Instant::now();
    let written = async {
        let mut left = settings.size;
        while left > 0 {
            progress.changed().await.expect("it completes");
            left = settings.size - progress.borrow_and_update().verified;
            give_up(scratch.as_ref(), left);
        }
        start.elapsed()
    };
    let (finished, written) = tokio::join!(download(request, dialer, sender), written);
    assert_eq!(finished.expect("the download finishes").fetched_bytes, settings.size);
    written
}

struct Dialer {
    endpoint: Endpoint,
    address: SocketAddr,
}

impl Dialer {
    async fn connect_now(&self) -> Connection {
        self.endpoint.connect(self.address, "peer").expect("dials").await.expect("connects")
    }
}

impl Connector for Dialer {
    async fn connect(&self, _source: &Source) -> Result<Connection, String> {
        Ok(self.connect_now().await)
    }
}

/// Writes the file, its outboard, and the certificate; returns the file's hash.
fn prepare(folder: &Path, size: u64) -> ContentHash {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut block = vec![0; 1 << 20];
    let mut file = File::create(folder.join("file.bin")).expect("creates the file");
    for _ in 0..size >> 20 {
        random.fill_bytes(&mut block);
        file.write_all(&block).expect("writes the file");
    }
    file.sync_all().expect("syncs the file");
    let start = Instant::now();
    let hashed = hash_file(&folder.join("file.bin"), &mut |_| true).expect("hashes the file");
    println!("hashed at {:.0} MB/s", size as f64 / start.elapsed().as_secs_f64() / 1e6);
    std::fs::write(folder.join("outboard"), &hashed.outboard).expect("writes the outboard");
    let key = rcgen::KeyPair::generate().expect("makes a key");
    let params = rcgen::CertificateParams::new(vec!["peer".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signs");
    std::fs::write(folder.join("certificate"), certificate.der()).expect("writes the certificate");
    std::fs::write(folder.join("key"), key.serialize_der()).expect("writes the key");
    hashed.hash
}

/// Memory that is really there, to be given up little by little.
fn scratch_file(settings: &Settings) -> File {
    let mut file = tempfile::tempfile_in(&settings.directory).expect("a scratch file");
    let block = vec![0; 1 << 20];
    for _ in 0..settings.size >> 20 {
        file.write_all(&block).expect("writes the scratch file");
    }
    file
}

/// The other process; ends with its standard input.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn start_server(folder: &Path) -> (Server, SocketAddr) {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .arg("--serve")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts the other process");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("reads its address");
    (Server(child), line.trim().parse().expect("an address"))
}

/// The file under whatever hash is asked for: this store has one.
struct OneFile(SharedFile);

impl ContentStore for OneFile {
    fn locate(&self, _hash: &ContentHash) -> Option<SharedFile> {
        Some(self.0.clone())
    }

    fn report_changed(&self, hash: &ContentHash) {
        panic!("{hash} has changed");
    }
}

#[tokio::main]
async fn serve(folder: &Path) {
    let path = folder.join("file.bin");
    let metadata = std::fs::metadata(&path).expect("the file");
    let modified = metadata.modified().expect("its time");
    let outboard = folder.join("outboard");
    let store = Arc::new(OneFile(SharedFile { path, size: metadata.len(), modified, outboard }));
    let key = std::fs::read(folder.join("key")).expect("the key");
    let certificate =
        CertificateDer::from(std::fs::read(folder.join("certificate")).expect("the certificate"));
    let mut config =
        quinn::ServerConfig::with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into())
            .expect("a server");
    config.transport_config(transport());
    let endpoint = endpoint(Some(config));
    println!("{}", endpoint.local_addr().expect("its address"));
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    let slots = UploadSlots::default();
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        let (store, slots) = (store.clone(), slots.clone());
        tokio::spawn(async move {
            while let Ok((send, recv)) = connection.accept_bi().await {
                tokio::spawn(answer(send, recv, store.clone(), slots.clone()));
            }
        });
    }
}

async fn answer(
    mut send: quinn::SendStream,
    mut recv: quinn::RecvStream,
    store: Arc<OneFile>,
    slots: UploadSlots,
) {
    match frame::read_frame(&mut recv, frame::MAX_OPEN_FRAME).await {
        Ok(Open::Ranges(request)) => {
            let _ = serve_ranges(send, request, NodeId([2; 32]), &*store, &slots).await;
        }
        _ => {
            let block = vec![7; BARE_BLOCK_BYTES];
            for _ in 0..store.0.size / block.len() as u64 {
                send.write_all(&block).await.expect("sends");
            }
            send.finish().expect("finishes");
        }
    }
}

fn client(folder: &Path) -> Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = std::fs::read(folder.join("certificate")).expect("the certificate");
    roots.add(certificate.into()).expect("trusts it");
    let mut config = quinn::ClientConfig::with_root_certificates(Arc::new(roots)).expect("a client");
    config.transport_config(transport());
    let mut endpoint = endpoint(None);
    endpoint.set_default_client_config(config);
    endpoint
}

fn endpoint(server: Option<quinn::ServerConfig>) -> Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let state = UdpSocketState::new((&socket).into()).expect("a socket that QUIC can use");
    let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES);
    let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES);
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime)).expect("an endpoint")
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES));
    config.receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
    config.send_window(u64::from(CONNECTION_WINDOW_BYTES));
    Arc::new(config)
}
