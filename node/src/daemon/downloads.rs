//! Downloads: what was asked for, how far each is, and that none is forgotten.
//!
//! A download is written down in `<profile>/transfers/` before it begins, so that a node that was killed goes on with it when
//! it is up again. It runs until it is done, given up, or fails for a reason that waiting does not mend; while nobody online has the
//! content it waits and looks again.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nearmesh_common::{
    ContentHash, NodeId,
    wire::query::{Hit, Source},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::sleep,
};
use tracing::{info, warn};

use super::{
    connections::Lease,
    events::events,
    node::Node,
    search::{Found, sources, sources_of},
};
use crate::{
    control::api::{ApiError, Download, DownloadEvent, DownloadId, Events, GetRequest, State, Wanted},
    transfer::{
        Blamed, Progress,
        fetch::{self, Connector, DownloadRequest, FetchError},
    },
};

/// Downloads that run at once; the others wait (Soulseek and qBittorrent users are used to 3 to 5).
const RUNNING: usize = 3;
/// Downloads kept in the list, the finished ones included; the oldest finished ones go first (guess).
const MAX_LISTED: usize = 1000;
/// First wait before sources are looked for again; doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait between two looks for sources.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Attempts that may bring nothing before a download of which nothing is there is given up; one that has begun waits for ever.
const MAX_FRUITLESS: u32 = 3;
/// How often a running download's rate is measured and shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// All downloads of this node.
#[derive(Debug)]
pub struct Downloads {
    folder: PathBuf,
    table: Mutex<BTreeMap<DownloadId, Entry>>,
    running: Semaphore,
}

#[derive(Debug)]
struct Entry {
    state: watch::Sender<Download>,
    task: Option<AbortHandle>,
}

/// A download as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// As it was shown last.
    download: Download,
    directory: PathBuf,
}

impl Downloads {
    /// Those that are written down in `folder`, which is made if it is not there; none is running yet.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut table = BTreeMap::new();
        for record in read_records(&folder) {
            let state = watch::Sender::new(record.download.clone());
            table.insert(record.download.id, Entry { state, task: None });
        }
        Ok(Self { folder, table: Mutex::new(table), running: Semaphore::new(RUNNING) })
    }

    /// All, in the order in which they were begun.
    pub fn list(&self) -> Vec<Download> {
        self.lock().values().map(|entry| entry.state.borrow().clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<DownloadId, Entry>> {
        self.table.lock().expect("no holder panics")
    }

    fn watch(&self, id: DownloadId) -> Option<watch::Receiver<Download>> {
        self.lock().get(&id).map(|entry| entry.state.subscribe())
    }

    /// The download of this content into this folder that has not ended, if there is one.
    fn under_way(&self, hash: ContentHash, directory: &std::path::Path) -> Option<DownloadId> {
        let table = self.lock();
        let mut downloads = table.iter().map(|(id, entry)| (id, entry.state.borrow()));
        let same = |download: &Download| {
            download.hash.0 == hash && !ended(download.state) && download.path.parent() == Some(directory)
        };
        downloads.find(|(_, download)| same(download)).map(|(id, _)| *id)
    }

    fn add(&self, mut download: Download) -> DownloadId {
        let mut table = self.lock();
        let id = DownloadId(table.keys().next_back().map_or(1, |last| last.0 + 1));
        download.id = id;
        table.insert(id, Entry { state: watch::Sender::new(download), task: None });
        let surplus = table.len().saturating_sub(MAX_LISTED);
        let finished: Vec<DownloadId> = table
            .iter()
            .filter(|(_, entry)| ended(entry.state.borrow().state))
            .map(|(id, _)| *id)
            .take(surplus)
            .collect();
        for id in finished {
            table.remove(&id);
            let _ = std::fs::remove_file(self.record_path(id));
        }
        id
    }

    fn update(&self, id: DownloadId, change: impl FnOnce(&mut Download)) {
        if let Some(entry) = self.lock().get(&id) {
            entry.state.send_modify(change);
        }
    }

    /// Writes a download down as it stands. A disk that refuses costs only the memory of it.
    fn write_down(&self, id: DownloadId) {
        let Some(download) = self.watch(id).map(|state| state.borrow().clone()) else { return };
        let directory = download.path.parent().map(Into::into).unwrap_or_default();
        let text =
            serde_json::to_vec_pretty(&Record { download, directory }).expect("a record is plain data");
        if let Err(error) = crate::durable::replace(&self.record_path(id), &text) {
            warn!(%error, download = %id, "not written down: it will be forgotten when this node ends");
        }
    }

    fn record_path(&self, id: DownloadId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

impl Node {
    /// Begins to fetch a content, or finds the download of it that is under way.
    ///
    /// # Errors
    /// If nobody online shares it, or the request makes no sense.
    pub async fn start_download(self: &Arc<Self>, request: GetRequest) -> Result<DownloadId, ApiError> {
        let directory = request.directory.unwrap_or_else(|| self.settings.downloads.clone());
        let remembered = self.remembered(request.wanted.0)?;
        let hash = match (&remembered, request.wanted.0) {
            (Some(found), _) => found.hash,
            (None, Wanted::Hash(hash)) => hash,
            (None, Wanted::Result(_)) => unreachable!("a number that is not remembered is an error"),
        };
        if let Some(id) = self.downloads.under_way(hash, &directory) {
            return Ok(id);
        }
        let hits = sources_of(&self.asker, hash).await?;
        let others: Vec<&Hit> = hits.iter().filter(|hit| hit.source.node != self.id).collect();
        let Some(best) = others.iter().max_by_key(|hit| hit.score) else {
            let ours = hits.len() > others.len();
            return Err(nobody_has(hash, ours));
        };
        let name = request
            .name
            .or(remembered.map(|found| found.name.into()))
            .unwrap_or_else(|| best.name.to_string());
        let name = crate::safe_name::safe_file_name(&name);
        let id = self.downloads.add(Download {
            id: DownloadId(0),
            hash: hash.into(),
            size: Some(best.size),
            received: 0,
            rate: 0,
            state: State::Searching,
            error: None,
            sources: Vec::new(),
            paths: Vec::new(),
            path: directory.join(&name),
            name,
        });
        self.downloads.write_down(id);
        self.run_download(id);
        Ok(id)
    }

    /// Goes on with every download that had not ended when this node did.
    pub fn resume_downloads(self: &Arc<Self>) {
        for download in self.downloads.list() {
            if !ended(download.state) {
                info!(name = download.name, "going on with a download");
                self.run_download(download.id);
            }
        }
    }

    /// How a download goes, until it ends.
    ///
    /// # Errors
    /// If there is no such download.
    pub fn follow(&self, id: DownloadId) -> Result<Events<DownloadEvent>, ApiError> {
        let mut state = self.downloads.watch(id).ok_or_else(|| no_such(id))?;
        Ok(events(move |sink| async move {
            loop {
                let download = state.borrow_and_update().clone();
                if ended(download.state) {
                    let _ = sink.put(DownloadEvent::Ended(download)).await;
                    return Ok(());
                }
                if sink.put(DownloadEvent::Progress(download)).await.is_err()
                    || state.changed().await.is_err()
                {
                    return Ok(());
                }
            }
        }))
    }

    /// Gives a download up and removes what is there of it.
    ///
    /// # Errors
    /// If there is no such download.
    pub fn cancel_download(&self, id: DownloadId) -> Result<Download, ApiError> {
        let state = self.downloads.watch(id).ok_or_else(|| no_such(id))?;
        if let Some(task) = self.downloads.lock().get_mut(&id).and_then(|entry| entry.task.take()) {
            task.abort();
        }
        if !ended(state.borrow().state) {
            self.downloads.update(id, |download| download.state = State::Cancelled);
            let download = state.borrow().clone();
            if let Some(directory) = download.path.parent() {
                let _ = fetch::discard(directory, &download.name, &download.hash.0);
            }
            self.downloads.write_down(id);
        }
        Ok(state.borrow().clone())
    }

    fn remembered(&self, wanted: Wanted) -> Result<Option<Found>, ApiError> {
        match wanted {
            Wanted::Hash(hash) => Ok(self.last_results.of(hash)),
            Wanted::Result(number) => match self.last_results.numbered(number) {
                Some(found) => Ok(Some(found)),
                None => Err(ApiError::not_found(format!("the last search has no result {number}"))
                    .hint("numbers are those of this node's last `nearmesh search`; a hash always works")),
            },
        }
    }

    fn run_download(self: &Arc<Self>, id: DownloadId) {
        let node = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _turn = node.downloads.running.acquire().await.expect("the semaphore is never closed");
            node.fetch_until_it_ends(id).await;
            node.downloads.write_down(id);
        });
        if let Some(entry) = self.downloads.lock().get_mut(&id) {
            entry.task = Some(task.abort_handle());
        }
    }

    async fn fetch_until_it_ends(self: &Arc<Self>, id: DownloadId) {
        let received = || self.downloads.watch(id).map_or(0, |state| state.borrow().received);
        let mut wait = FIRST_WAIT;
        let mut fruitless = 0;
        loop {
            let before = received();
            let (state, error) = match self.fetch_once(id).await {
                Ok(()) => return,
                Err(Setback::Final(error)) => (State::Failed, error),
                Err(Setback::Waiting(error)) => {
                    let gained = received() > before;
                    fruitless = if gained { 0 } else { fruitless + 1 };
                    wait = if gained { FIRST_WAIT } else { (wait * 2).min(MAX_WAIT) };
                    let hopeless = fruitless >= MAX_FRUITLESS && received() == 0;
                    (if hopeless { State::Failed } else { State::Waiting }, error)
                }
            };
            self.downloads.update(id, |download| {
                download.state = state;
                download.rate = 0;
                download.error = Some(error.clone());
            });
            if state == State::Failed {
                warn!(download = %id, error, "a download failed");
                return;
            }
            sleep(wait).await;
        }
    }

    async fn fetch_once(self: &Arc<Self>, id: DownloadId) -> Result<(), Setback> {
        let state = self.downloads.watch(id).ok_or_else(|| Setback::Final("it was removed".to_owned()))?;
        let download = state.borrow().clone();
        let hash = download.hash.0;
        let hits = sources_of(&self.asker, hash).await.map_err(|error| Setback::Waiting(error.message))?;
        let from: Vec<Source> =
            hits.into_iter().map(|hit| hit.source).filter(|source| source.node != self.id).collect();
        if from.is_empty() {
            return Err(Setback::Waiting("nobody online shares it now".to_owned()));
        }
        self.downloads.update(id, |download| {
            download.state = State::Running;
            download.error = None;
            download.sources = sources(&self.address.net, &from);
        });
        let directory = download.path.parent().map(Into::into).unwrap_or_default();
        let nodes = from.iter().map(|source| source.node).collect();
        let mut request = DownloadRequest::new(hash, &download.name, directory, from);
        request.size = download.size;
        let progress = watch::Sender::new(Progress::default());
        let shown = self.show_progress(id, nodes, progress.subscribe());
        let connector = LeasingConnector { node: self, leases: Mutex::default() };
        let finished = tokio::select! {
            finished = fetch::download(request, &connector, progress) => finished,
            never = shown => never,
        };
        let finished = finished.map_err(|error| match error {
            FetchError::NoSource { .. } => Setback::Waiting(error.to_string()),
            FetchError::NoRoom { .. } | FetchError::AlreadyRunning | FetchError::Disk { .. } => {
                Setback::Final(format!("failed to {error}"))
            }
        })?;
        info!(path = %finished.path.display(), fetched = finished.fetched_bytes, resumed = finished.resumed_bytes, "downloaded");
        for Blamed { node, fault } in &finished.blamed {
            warn!(download = %id, source = %node, "a source was given up: {fault}");
        }
        self.downloads.update(id, |download| {
            let received = finished.fetched_bytes + finished.resumed_bytes;
            download.state = State::Done;
            download.rate = 0;
            download.size = Some(received);
            download.received = received;
            download.path = finished.path;
        });
        Ok(())
    }

    /// Shows how far a download is, every half second, for as long as it runs.
    async fn show_progress<T>(
        &self,
        id: DownloadId,
        sources: Vec<NodeId>,
        progress: watch::Receiver<Progress>,
    ) -> T {
        let mut last: Option<(u64, Instant)> = None;
        loop {
            sleep(SHOW_EVERY).await;
            let progress = progress.borrow().clone();
            let now = Instant::now();
            let rate = last.map_or(0.0, |(bytes, at)| {
                progress.verified.saturating_sub(bytes) as f64 / (now - at).as_secs_f64()
            });
            last = Some((progress.verified, now));
            self.downloads.update(id, |download| {
                download.received = progress.verified;
                download.size = progress.size.or(download.size);
                download.rate = rate as u64;
                download.paths = sources.iter().filter_map(|node| self.path_to(*node)).collect();
            });
        }
    }
}

/// Why one attempt did not complete a download.
enum Setback {
    /// Waiting may mend it.
    Waiting(String),
    /// It does not.
    Final(String),
}

/// Connects to sources and keeps the connections for as long as the download lasts.
struct LeasingConnector<'a> {
    node: &'a Arc<Node>,
    leases: Mutex<BTreeMap<NodeId, Lease>>,
}

impl Connector for LeasingConnector<'_> {
    async fn connect(&self, source: &Source) -> Result<quinn::Connection, String> {
        let lease = self.node.connect(&source.into()).await.map_err(|error| error.to_string())?;
        let connection = lease.connection().clone();
        self.leases.lock().expect("no holder panics").insert(source.node, lease);
        Ok(connection)
    }
}

fn ended(state: State) -> bool {
    matches!(state, State::Done | State::Failed | State::Cancelled)
}

fn nobody_has(hash: ContentHash, ours: bool) -> ApiError {
    if ours {
        ApiError::refused("this node shares that file itself").hint("`nearmesh share ls` says where it is")
    } else {
        ApiError::not_found(format!("nobody online shares {}", hash.short()))
            .hint("search again: whoever has it may have gone")
    }
}

fn no_such(id: DownloadId) -> ApiError {
    ApiError::not_found(format!("there is no download {id}")).hint("`nearmesh downloads` lists them")
}

/// The records in a folder. One that cannot be read is left where it is.
fn read_records(folder: &std::path::Path) -> Vec<Record> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let records = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    records
        .filter_map(|path| {
            let read = std::fs::read(&path).map_err(|error| error.to_string());
            let record =
                read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
            record
                .inspect_err(
                    |error| warn!(path = %path.display(), error, "a download's record is unreadable"),
                )
                .ok()
        })
        .collect()
}
