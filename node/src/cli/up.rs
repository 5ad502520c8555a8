//! `nearmesh up`.

use std::{
    env,
    ffi::OsStr,
    future::Future,
    net::SocketAddr,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
    path::PathBuf,
};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use super::{Context, Quit, log, output::Output};
use crate::{
    config::{Config, Overrides, Promote},
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
    /// The configuration file [default: nearmesh.toml in the profile, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Up {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let profile = context.profile.clone();
        profile.create()?;
        let lock = profile.lock()?;
        let overrides = Overrides {
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
