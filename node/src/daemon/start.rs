//! Starting and ending a node.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh_common::identity::{MemberKeyring, Membership, TlsError};
use nearmesh_relay::io::{
    endpoint::{BindError, Endpoint},
    tls::TlsConfigs,
};
use thiserror::Error;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::timeout,
};
use tracing::{debug, info, warn};

use super::{
    UpOptions,
    accept::{self, Incoming},
    addresses,
    api::Api,
    asking::Asker,
    bandwidth::Desk,
    bootstrap,
    clock::wall,
    connections::Connections,
    downloads::Downloads,
    gifts::Gifts,
    host_cache,
    links::Links,
    node::Node,
    overlay::{self, Command, Overlay, OverlayTask},
    port_mapping,
    reachability::{self, Reachability},
    search::LastResults,
    sessions::Sessions,
    signals::Signals,
    whereabouts::Whereabouts,
};
use crate::{
    authority::Authority,
    config::{Promote, Settings},
    control::{api::ApiError, server},
    durable,
    enrol::{
        Member,
        saved::{self, LoadError},
    },
    profile::{Profile, ProfileLock},
    shares::Shares,
    transfer::UploadSlots,
};

/// How long `up` waits for a home before it says that it is ready without one.
const HOME_PATIENCE: Duration = Duration::from_secs(5);
/// How long leaving may take: peers notice by themselves, the home within 15 s.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long closing the connections may take after that: each peer is told at once, and waited for in vain if it is gone (guess).
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long pairs that are relayed here may take to move elsewhere before this node leaves (the network promises that they need at most
/// two seconds even when nobody warns them; guess: half of it with a warning).
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Link events and progress reports that wait for their readers.
const EVENTS: usize = 1024;

/// Why the node did not run, or not to its end.
#[derive(Debug, Error)]
pub enum UpError {
    /// It belongs to no net.
    #[error("this profile has not joined a net")]
    NoNet,
    /// Its files cannot be used.
    #[error("the profile {0}")]
    Profile(String),
    /// Its UDP port cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its control socket cannot be made or served.
    #[error("the control socket: {0}")]
    Control(String),
}

impl From<UpError> for ApiError {
    fn from(error: UpError) -> Self {
        let answer = ApiError::failed(error.to_string());
        match error {
            UpError::NoNet => answer.hint(
                "`nearmesh net create NET --user NAME` makes a net, `nearmesh net join TICKET` joins one",
            ),
            UpError::Bind(_) => answer.hint("another program may use that port: try --listen with port 0"),
            UpError::Profile(_) | UpError::Tls(_) | UpError::Control(_) => answer,
        }
    }
}

/// Runs the node until it is stopped.
///
/// # Errors
/// As [`UpError`] tells.
pub async fn run(profile: Profile, options: UpOptions) -> Result<(), UpError> {
    let UpOptions { settings, lock, ready, interrupted } = options;
    let (control, socket) =
        profile.bind_control(&lock).map_err(|error| UpError::Control(error.to_string()))?;
    let (node, mut view) = start(profile, settings).await?;
    let mut stopped = node.stop.subscribe();
    let mut served = node.stop.subscribe();
    let serving = tokio::spawn(server::serve(control, Arc::new(Api(Arc::clone(&node))), async move {
        let _ = served.wait_for(|stop| *stop).await;
    }));
    let _ = timeout(HOME_PATIENCE, view.wait_for(|overlay| overlay.home.is_some())).await;
    ready(&node.ready());
    tokio::select! {
        () = interrupted => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    info!("leaving");
    node.stop.send_replace(true);
    tokio::join!(leave(&node), port_mapping::given_back(&node));
    if let Ok(Err(error)) = serving.await {
        warn!(%error, "the control socket failed");
    }
    drop(socket);
    drop::<ProfileLock>(lock);
    Ok(())
}

async fn leave(node: &Node) {
    node.endpoint.forwarding().drain(DRAIN_TIME).await;
    let (done, left) = oneshot::channel();
    let told = async {
        if node.commands.send(Command::Leave(done)).await.is_ok() {
            let _ = left.await;
        }
        // The last words are in the links' queues; closing the endpoint would overtake them.
        node.links.flush().await;
    };
    let all_told = timeout(LEAVE_TIMEOUT, told).await.is_ok();
    // In any case: one peer that is gone must not keep the others from hearing that this node is.
    let all_closed = timeout(CLOSE_TIMEOUT, node.endpoint.close()).await.is_ok();
    if !(all_told && all_closed) {
        debug!("some peers could not be told in time");
    }
}

/// Starts everything. Gives the node and what can be seen of its overlay.
async fn start(
    profile: Profile,
    settings: Settings,
) -> Result<(Arc<Node>, watch::Receiver<Overlay>), UpError> {
    let unusable = |error: &dyn std::fmt::Display| UpError::Profile(error.to_string());
    let member = saved::load(&profile.membership(), wall()).map_err(|error| match error {
        LoadError::Absent(_) => UpError::NoNet,
        error => unusable(&error),
    })?;
    let Member { membership, authority: authority_address, authority_user } = member;
    let authority = match profile.authority() {
        directory if directory.exists() => {
            Some(Arc::new(Authority::open(&directory).map_err(|error| unusable(&error))?))
        }
        _ => None,
    };
    let tls = tls_of(&membership, authority.is_some())?;
    let endpoint = bind(settings.listen, &profile, tls)?;
    let listen = endpoint.local_addr();
    endpoint.forwarding().set_limits(settings.relay.limits());
    let downloads =
        Downloads::open(profile.directory().join("transfers")).map_err(|error| unusable(&error))?;
    let (share_events, _) = broadcast::channel(EVENTS);
    let shares = Shares::open(profile.directory(), share_events.clone()).map_err(|error| unusable(&error))?;
    for path in &settings.share {
        if let Err(error) = shares.add(path) {
            info!("failed to {error}");
        }
    }

    let known = host_cache::load(&profile.host_cache());
    let towards: Vec<SocketAddr> = known.iter().flat_map(|known| known.address.addresses.clone()).collect();
    let (link_events, links_happen) = mpsc::channel(EVENTS);
    let (commands, commands_come) = mpsc::channel(overlay::QUEUE);
    let (discovery, discoveries) = mpsc::channel(reachability::QUEUE);
    let (view, overlay) = watch::channel(Overlay::default());
    let id = membership.node();
    let node = Arc::new(Node {
        id,
        address: membership.address(),
        listen,
        started: Instant::now(),
        connections: Connections::default(),
        incoming: Incoming::default(),
        links: Links::new(id, link_events),
        asker: Asker::new(commands.clone()),
        signals: Signals::new(id, commands.clone()),
        sessions: Sessions::default(),
        commands,
        overlay: overlay.clone(),
        relays: watch::Sender::new(Vec::new()),
        share_events,
        shares: Arc::new(shares),
        uploads: UploadSlots::new(settings.upload_slots as usize),
        downloads,
        gifts: Gifts::new(settings.inbox.clone()),
        last_results: LastResults::default(),
        authority,
        authority_address,
        authority_user,
        discovery,
        port_mapping: watch::Sender::default(),
        bootstrap: watch::Sender::default(),
        remembered: known.len(),
        whereabouts: watch::Sender::new(Whereabouts::new(addresses::of_socket(listen))),
        measuring: Desk::default(),
        stop: watch::Sender::new(false),
        keyring: Arc::new(MemberKeyring::new(membership)),
        endpoint,
        profile,
        settings,
    });
    let weak = Arc::downgrade(&node);
    node.endpoint
        .ask_where_plain(move |address| weak.upgrade().is_some_and(|node| node.connections.is_at(address)));
    let (feedback, fed_back) = mpsc::channel(overlay::QUEUE);
    let mut task = OverlayTask::new(Arc::clone(&node), feedback, view, known);
    let first = node.settings.promote == Promote::Auto && node.authority.is_some() && towards.is_empty();
    if node.settings.promote == Promote::Always || first {
        task.promote();
    }
    tokio::spawn(task.run(links_happen, commands_come, fed_back));
    tokio::spawn(accept::accept_connections(Arc::clone(&node)));
    bootstrap::spawn(&node, !towards.is_empty());
    Reachability::spawn(Arc::clone(&node), discoveries);
    tokio::spawn(port_mapping::keep(Arc::clone(&node)));
    node.resume_downloads();
    Ok((node, overlay))
}

/// The TLS that follows from a membership; the authority's port also admits newcomers.
pub fn tls_of(membership: &Membership, authority: bool) -> Result<TlsConfigs, TlsError> {
    Ok(TlsConfigs {
        server: membership.server_config()?,
        client: membership.client_config()?,
        enrol_server: authority.then(|| membership.enrol_server_config()).transpose()?,
    })
}

/// Opens the port. With port 0 the one that was used last comes first: peers remember it.
fn bind(listen: SocketAddr, profile: &Profile, tls: TlsConfigs) -> Result<Endpoint, BindError> {
    let note = profile.directory().join("port");
    let remembered = read_port(&note).filter(|_| listen.port() == 0);
    let again =
        remembered.and_then(|port| Endpoint::bind(SocketAddr::new(listen.ip(), port), tls.clone()).ok());
    let endpoint = match again {
        Some(endpoint) => endpoint,
        None => Endpoint::bind(listen, tls)?,
    };
    let port = endpoint.local_addr().port();
    if let Err(error) = durable::replace(&note, port.to_string().as_bytes()) {
        warn!(%error, "the port was not written down: it may be another one next time");
    }
    Ok(endpoint)
}

fn read_port(note: &Path) -> Option<u16> {
    let text: io::Result<String> = std::fs::read_to_string(note);
    text.ok()?.trim().parse().ok()
}
