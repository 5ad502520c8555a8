//! Where the demo plays: a temporary directory with a profile, a log and perhaps a running process for everybody.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::Failure;
use crate::control::api::{ApiError, Code, Ready};

/// How long one command may take (guess: the large file on a slow disk).
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// How long a node may take until it is ready (guess).
const READY_LIMIT: Duration = Duration::from_secs(15);
/// Most of a node's line that says that it is ready, in bytes (guess: it has less than 1 KiB).
const MAX_READY_BYTES: u64 = 64 * 1024;
/// Most of a log's end that is read, in bytes: the lines that are shown, at 300 bytes each.
const MAX_TAIL_BYTES: u64 = 4096;

/// The directory and the running nodes.
pub(super) struct Stage {
    program: PathBuf,
    directory: TempDir,
    running: BTreeMap<&'static str, Child>,
    /// Threads that write in the directory: it cannot be removed under them.
    writing: Vec<JoinHandle<()>>,
}

/// What a command printed, and how long it took.
pub(super) struct Answer<T> {
    /// One for each line.
    pub objects: Vec<T>,
    /// From the start of the process to its end.
    pub took: Duration,
}

impl Stage {
    pub(super) fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("nearmesh-demo-").tempdir()?;
        Ok(Self { program: env::current_exe()?, directory, running: BTreeMap::new(), writing: Vec::new() })
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Does work in the directory meanwhile.
    pub(super) fn meanwhile<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T, Failure>> + 'static {
        let (done, result) = oneshot::channel();
        self.writing.push(spawn_blocking(move || drop(done.send(work()))));
        async {
            match result.await {
                Ok(result) => result.map_err(Failure::from),
                Err(_) => Err(io::Error::other("the demo's own work was cut off").into()),
            }
        }
    }

    /// Runs `nearmesh --profile WHO ARGUMENTS --json` and reads its answer. Nothing found is an empty answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        who: &'static str,
        arguments: &[&str],
    ) -> Result<Answer<T>, Failure> {
        let begun = Instant::now();
        let output = timeout(COMMAND_LIMIT, self.command(who, arguments).output()).await;
        let what = arguments.join(" ");
        let output = output.map_err(|_| Failure::of(who, format!("`{what}` took too long")))??;
        let took = begun.elapsed();
        let exit = output.status.code();
        if exit == Some(i32::from(Code::NotFound.exit_code())) {
            return Ok(Answer { objects: Vec::new(), took });
        }
        if exit != Some(0) {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let last = stderr.lines().last().unwrap_or("it said nothing");
            let why = serde_json::from_str::<ApiError>(last).map_or(last.to_owned(), |error| error.message);
            return Err(Failure::of(who, format!("`{what}` of {who} failed: {why}")));
        }
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let objects: Result<Vec<T>, _> = lines.map(serde_json::from_slice).collect();
        let not_understood =
            |error| Failure::of(who, format!("the answer to `{what}` makes no sense: {error}"));
        Ok(Answer { objects: objects.map_err(not_understood)?, took })
    }

    /// The same, for a command that answers with one object.
    pub(super) async fn ask_one<T: DeserializeOwned>(
        &self,
        who: &'static str,
        arguments: &[&str],
    ) -> Result<(T, Duration), Failure> {
        let answer = self.ask(who, arguments).await?;
        match answer.objects.into_iter().next() {
            Some(object) => Ok((object, answer.took)),
            None => Err(Failure::of(who, format!("`{}` of {who} found nothing", arguments.join(" ")))),
        }
    }

    /// Starts a node; it is ready when [`Starting::ready`] has its line.
    pub(super) fn start(&mut self, who: &'static str, promote: &str) -> Result<Starting, Failure> {
        let arguments = ["up", "--listen", "127.0.0.1:0", "--promote", promote];
        let mut command = self.command(who, &arguments);
        let log = fs::File::create(self.log(who))?;
        let mut child = command.stderr(log).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| Failure::of(who, "the node has no output"))?;
        self.running.insert(who, child);
        Ok(Starting { who, stdout })
    }

    /// Kills a node as `kill -9` does, at once.
    pub(super) async fn kill(&mut self, who: &'static str) -> Result<Instant, Failure> {
        let mut child =
            self.running.remove(who).ok_or_else(|| Failure::of(who, format!("{who}'s node does not run")))?;
        let killed = Instant::now();
        child.kill().await?;
        Ok(killed)
    }

    /// The process of a running node.
    pub(super) fn process(&self, who: &str) -> Option<u32> {
        self.running.get(who).and_then(Child::id)
    }

    /// The ends of the logs of one node, or of all that have ended by themselves.
    pub(super) fn log_tails(
        &mut self,
        who: Option<&'static str>,
        lines: usize,
    ) -> Vec<(&'static str, Vec<String>)> {
        let ended = |child: &mut Child| matches!(child.try_wait(), Ok(Some(_)));
        let mut names: Vec<_> =
            self.running.iter_mut().filter_map(|(name, child)| ended(child).then_some(*name)).collect();
        names.extend(who.filter(|who| !names.contains(who)));
        names.into_iter().filter_map(|name| Some((name, tail(&self.log(name), lines).ok()?))).collect()
    }

    /// Kills what runs and removes the directory; with `keep` returns where it is.
    pub(super) async fn clear(mut self, keep: bool) -> io::Result<Option<PathBuf>> {
        for child in self.running.values_mut() {
            // One that has ended by itself cannot be killed.
            let _ = child.start_kill();
        }
        for child in self.running.values_mut() {
            child.wait().await?;
        }
        for writing in self.writing {
            writing.await?;
        }
        if keep {
            return Ok(Some(self.directory.keep()));
        }
        self.directory.close().map(|()| None)
    }

    fn command(&self, who: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.directory())
            .args(["--profile", who])
            .args(arguments)
            .arg("--json")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn log(&self, who: &str) -> PathBuf {
        self.directory().join(format!("{who}.log"))
    }
}

/// A node that is coming up.
pub(super) struct Starting {
    who: &'static str,
    stdout: tokio::process::ChildStdout,
}

impl Starting {
    /// Waits for the line that says that the node is ready.
    pub(super) async fn ready(self) -> Result<Ready, Failure> {
        let who = self.who;
        let mut line = String::new();
        let mut stdout = BufReader::new(self.stdout.take(MAX_READY_BYTES));
        let read = timeout(READY_LIMIT, stdout.read_line(&mut line)).await;
        match read.map_err(|_| Failure::of(who, format!("{who}'s node did not become ready")))?? {
            0 => Err(Failure::of(who, format!("{who}'s node ended before it was ready"))),
            _ => serde_json::from_str(&line)
                .map_err(|error| Failure::of(who, format!("{who}'s node said {line:?}: {error}"))),
        }
    }
}

fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    use io::{Read, Seek};
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(MAX_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MAX_TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect())
}
