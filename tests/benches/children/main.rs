//! One supernode with many children: `cargo bench -p tests --bench children -- --children 5000`.
//!
//! The supernode is a process of its own. Its children are real ones as far as it can see: each has a key, a certificate and a QUIC
//! connection of its own, attaches with its presence, asks for the pulses of a home with many children and refreshes the presence as a node does. They share
//! sockets, `--per-socket` of them each, because what is measured is the supernode and not the load. Printed: memory for each child, and
//! the processor time that the supernode takes when nothing happens but that.

// A benchmark reads the clock.
#![allow(clippy::disallowed_methods)]

#[cfg(target_os = "linux")]
mod child;

#[cfg(target_os = "linux")]
fn main() {
    on_linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("skipped: /proc tells what a process takes, on Linux");
}

#[cfg(target_os = "linux")]
mod on_linux {
    use std::{
        fs,
        path::Path,
        sync::Arc,
        time::{Duration, Instant},
    };

    use nearmesh_common::identity::NetRoot;
    use tests::process::{Lab, Node, eventually};
    use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

    use super::child::{Child, Sockets};

    /// Handshakes at a time: more would have to prove their addresses first, and the machine is small.
    const AT_A_TIME: usize = 16;
    /// Ticks in a second of /proc/PID/stat (USER_HZ, the same on every Linux).
    const TICKS: f64 = 100.0;

    struct Settings {
        children: usize,
        per_socket: usize,
        idle: Duration,
    }

    pub fn main() {
        let settings = settings();
        let lab = Lab::new(env!("CARGO_BIN_EXE_nearmesh-under-test"));
        let supernode = supernode(&lab, settings.children);
        println!("supernode          process {}, alone for {:?} first", supernode.pid(), settings.idle / 4);
        std::thread::sleep(settings.idle / 4);
        let alone = supernode.resident_kib();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(measure(&supernode, &settings, alone));
    }

    /// The authority of a net of its own, with room for that many.
    fn supernode(lab: &Lab, children: usize) -> Node {
        let config = lab.path().join("config.toml");
        fs::write(&config, format!("capacity = {}\nlog = \"warn\"\n", children + 10)).expect("a file");
        let node = lab.node("alice");
        node.founds("lab", "alice", &["--config", config.to_str().expect("a path that can be printed")])
    }

    async fn measure(supernode: &Node, settings: &Settings, alone: u64) {
        let begun = Instant::now();
        let children = attach(supernode, settings).await;
        let (took, spent) = (begun.elapsed(), cpu(supernode.pid()));
        println!(
            "attached           {} in {took:.1?}, {:.1} ms of CPU each",
            children.len(),
            spent * 1e3 / children.len() as f64
        );
        sleep(settings.idle / 4).await;
        look_up(supernode, settings.children);
        let peak = supernode.resident_kib();
        let (before, begun) = (cpu(supernode.pid()), Instant::now());
        sleep(settings.idle).await;
        let spent = (cpu(supernode.pid()) - before) / begun.elapsed().as_secs_f64();
        let resident = supernode.resident_kib();
        println!(
            "memory             {alone} KiB alone, {peak} KiB, {resident} KiB after {:?}",
            settings.idle
        );
        println!("memory of a child  {:.1} KiB", (resident - alone) as f64 / children.len() as f64);
        println!("idle               {:.1} % of a core", spent * 100.0);
        look_up(supernode, settings.children);
        let gone = children.iter().filter(|child| child.is_gone()).count();
        println!("lost connections   {gone}");
    }

    async fn attach(supernode: &Node, settings: &Settings) -> Vec<Child> {
        let root = Arc::new(root_of(&supernode.profile));
        let sockets = Arc::new(Sockets::open(settings.children.div_ceil(settings.per_socket)));
        let (id, address) = (tests::rogue::id_of(supernode), tests::rogue::address_of(supernode));
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        let mut attaching = JoinSet::new();
        for number in 0..settings.children {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            let (root, sockets) = (Arc::clone(&root), Arc::clone(&sockets));
            attaching.spawn(async move {
                let child = Child::attach(number, &root, &sockets, (id, address)).await;
                drop(place);
                child
            });
        }
        attaching.join_all().await
    }

    /// The supernode knows its children: what is measured is not an empty shell.
    fn look_up(supernode: &Node, children: usize) {
        for number in [0, children / 2, children - 1] {
            eventually("a child is found", || {
                let ran = supernode.run(&["--json", "lookup", &format!("{}@lab", Child::name(number))]);
                (ran.code == 0 && ran.stdout.contains("\"online\":true")).then_some(())
            });
        }
    }

    fn root_of(profile: &Path) -> NetRoot {
        let authority = profile.join("authority");
        let certificate = fs::read(authority.join("root.crt")).expect("the net's root");
        NetRoot::load(&authority.join("root.key"), &certificate).expect("the root's key")
    }

    /// Seconds of processor time that a process has taken.
    fn cpu(pid: u32) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // utime and stime are fields 14 and 15, of which two come before the parenthesis.
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
        ticks / TICKS
    }

    fn settings() -> Settings {
        let mut settings = Settings { children: 500, per_socket: 50, idle: Duration::from_secs(60) };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number");
            match argument.as_str() {
                "--children" => settings.children = number(),
                "--per-socket" => settings.per_socket = number(),
                "--idle" => settings.idle = Duration::from_secs(number() as u64),
                // What cargo says to every benchmark.
                "--bench" => {}
                other => panic!("unknown option {other}"),
            }
        }
        settings
    }
}
