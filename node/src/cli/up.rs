//! `nearmesh up`.

use std::{
    env,
    ffi::OsStr,
    future::Future,
    net::SocketAddr,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
    path::{Path, PathBuf},
};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use super::{Context, Quit, log, output::Output};
use crate::{
    bootstrap::HostName,
    config::{Config, DnsServer, Overrides, Promote},
    control::api::{ApiError, Ready},
    daemon::{self, UpOptions},
};

/// What systemd wants to hear.
const READY: &[u8] = b"READY=1";

/// Run this profile's node until it is stopped.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh up --listen 0.0.0.0:7117 --promote auto\n\n\
                        Prints one line when it is ready and runs until SIGINT, SIGTERM or `nearmesh down`. \
                        Under systemd it also notifies. NEARMESH_LOG=debug logs more.")]
pub(super) struct Up {
    /// The UDP address of everything; port 0 lets the system choose [default: 0.0.0.0:0]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// When to be a supernode; `nearmesh status` says why it is one or not [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    promote: Option<Promote>,
    /// Whether to forward packets for nodes that cannot reach each other [default: true]
    #[arg(long, value_name = "BOOL")]
    relay: Option<bool>,
    /// The bytes a second to forward for others, all together; 0 for no limit [default: 0]
    #[arg(long, value_name = "BYTES")]
    relay_rate: Option<u64>,
    /// The pairs of nodes to forward for at a time [default: 1000]
    #[arg(long, value_name = "PAIRS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    relay_sessions: Option<u32>,
    /// Where to look for supernodes: a file (if there is one, or there is a / in it) with lines like node-id@address:port, or a DNS
    /// name; one of each may be given
    #[arg(long, value_name = "WHERE")]
    bootstrap: Vec<String>,
    /// The DNS server to ask: an address, with a port or without, or "system" [default: system]
    #[arg(long, value_name = "ADDRESS")]
    dns_server: Option<DnsServer>,
    /// Whether to announce supernodes in the local network, and to look for them there [default: true]
    #[arg(long, value_name = "BOOL")]
    local_discovery: Option<bool>,
    /// The configuration file [default: nearmesh.toml in the profile, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Up {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let profile = context.profile.clone();
        profile.create()?;
        let lock = profile.lock()?;
        let (bootstrap_list, bootstrap_name) = places(&self.bootstrap)?;
        let overrides = Overrides {
            bootstrap_list,
            bootstrap_name,
            dns_server: self.dns_server,
            local_discovery: self.local_discovery,
            listen: self.listen,
            promote: self.promote,
            relay: self.relay,
            relay_rate: self.relay_rate,
            relay_sessions: self.relay_sessions,
        };
        let settings = Config::load(self.config.as_deref(), &profile)?.settle(overrides, &profile);
        log::to_stderr(settings.log.as_deref().unwrap_or("info"));
        let interrupted = interrupted()?;
        let out = context.out;
        let ready = Box::new(move |ready: &Ready| announce(ready, out));
        let options = UpOptions { settings, lock, ready, interrupted: Box::pin(interrupted) };
        Ok(daemon::run(profile, options).await.map_err(ApiError::from)?)
    }
}

/// Tells files and names apart.
fn places(given: &[String]) -> Result<(Option<PathBuf>, Option<HostName>), ApiError> {
    let (mut list, mut name) = (None, None);
    for place in given {
        let twice = if place.contains('/') || Path::new(place).exists() {
            // The node may be asked for it from elsewhere.
            let path =
                std::path::absolute(place).map_err(|error| ApiError::usage(format!("{place}: {error}")))?;
            list.replace(path).is_some()
        } else {
            let parsed = place.parse().map_err(|error| {
                ApiError::usage(format!("--bootstrap {place}: there is no such file, and {error}"))
            })?;
            name.replace(parsed).is_some()
        };
        if twice {
            return Err(ApiError::usage("--bootstrap takes one file and one DNS name")
                .hint("one file lists up to 200 supernodes"));
        }
    }
    Ok((list, name))
}

/// A node whose starter no longer reads goes on all the same.
fn announce(ready: &Ready, out: Output) {
    if let Err(Quit::Failed(error)) = out.answer(ready, text) {
        warn!(%error, "nobody could be told that the node is ready");
    }
    let notified = env::var_os("NOTIFY_SOCKET").map_or(Ok(()), |socket| notify_systemd(&socket));
    if let Err(error) = notified {
        warn!(%error, "systemd could not be told that the node is ready");
    }
}

fn text(ready: &Ready) -> String {
    let home = match &ready.home {
        None => "no home yet".to_owned(),
        Some(home) if home.node_id == ready.node_id => "its own home".to_owned(),
        Some(home) => format!("home {}", home.node_id.0.short()),
    };
    format!(
        "{} is up: node {} on {}, {home}, control socket {}",
        ready.user,
        ready.node_id.0.short(),
        ready.listen,
        ready.control_socket.display()
    )
}

/// As sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names; a leading `@` stands for the abstract namespace.
fn notify_systemd(socket: &OsStr) -> std::io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
        use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
        return sender.send_to_addr(READY, &SocketAddr::from_abstract_name(name)?).map(drop);
    }
    sender.send_to(READY, socket).map(drop)
}

/// Comes true at the first SIGINT or SIGTERM; a second one ends the program at once.
fn interrupted() -> Result<impl Future<Output = ()> + Send + 'static, ApiError> {
    let failed = |error| ApiError::failed(format!("signals cannot be watched: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            std::process::exit(1);
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_that_the_node_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        notify_systemd(path.as_os_str()).unwrap();
        let mut heard = [0; 32];
        let length = systemd.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], READY);
    }

    #[test]
    fn a_place_to_look_for_supernodes_is_a_file_or_a_name() {
        let given = |places_given: &[&str]| {
            let places_given: Vec<String> = places_given.iter().map(ToString::to_string).collect();
            places(&places_given).map_err(|error| error.message)
        };
        let name = || Some("hubs.example.org".parse().unwrap());
        assert_eq!(given(&[]), Ok((None, None)));
        assert_eq!(given(&["/etc/hubs", "hubs.example.org"]), Ok((Some("/etc/hubs".into()), name())));
        assert!(given(&["./hubs"]).unwrap().0.unwrap().is_absolute());
        assert!(given(&["a.example.org", "b.example.org"]).unwrap_err().contains("one DNS name"));
        assert!(given(&["192.0.2.7"]).unwrap_err().contains("no host name"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn systemd_hears_it_in_the_abstract_namespace_too() {
        use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
        let name = format!("nearmesh-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        notify_systemd(OsStr::new(&format!("@{name}"))).unwrap();
        let mut heard = [0; 32];
        let length = systemd.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], READY);
    }
}
