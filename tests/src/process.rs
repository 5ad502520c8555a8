//! Real `nearmesh` processes on loopback, driven through the command line as a user would (rung 4).
//!
//! Everything lives in one temporary directory; every process is killed when its [`Node`] is dropped.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for something that takes a second on a quiet machine, before it fails. Never a measure
/// of speed: our machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A temporary directory and the program under test.
pub struct Lab {
    program: PathBuf,
    directory: TempDir,
}

/// Where processes run, if not on the machine's own network.
pub trait Place: Send + Sync {
    /// Makes a command run there.
    fn enter(&self, command: &mut Command);
    /// Starts a command that was made to run there, from a thread that outlives it.
    fn spawn(&self, command: Command) -> io::Result<Child>;
}

/// One profile, and its process while it is up.
pub struct Node {
    program: PathBuf,
    place: Option<Arc<dyn Place>>,
    /// Its directory in the lab.
    pub home: PathBuf,
    /// Its profile.
    pub profile: PathBuf,
    process: Option<Child>,
    /// What `up --json` printed.
    pub ready: Value,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Lab {
    /// An empty lab for this program: `env!("CARGO_BIN_EXE_nearmesh-under-test")`.
    pub fn new(program: &str) -> Self {
        let directory =
            tempfile::Builder::new().prefix("nearmesh-lab-").tempdir().expect("a temporary directory");
        Self { program: program.into(), directory }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A node called `name` with an empty profile.
    pub fn node(&self, name: &str) -> Node {
        let home = self.path().join(name);
        std::fs::create_dir_all(&home).expect("a directory for the node");
        let profile = home.join("profile");
        let program = self.program.clone();
        Node { program, place: None, home, profile, process: None, ready: Value::Null }
    }

    /// The same, in a place: there it listens on all addresses.
    pub fn node_in(&self, name: &str, place: &(impl Place + Clone + 'static)) -> Node {
        let mut node = self.node(name);
        node.place = Some(Arc::new(place.clone()));
        node
    }

    /// A supernode that is the authority of a new net, up.
    pub fn authority(&self, net: &str, user: &str) -> Node {
        self.node(user).founds(net, user, &[])
    }

    /// A node that joined with a ticket from `authority`, not yet up.
    pub fn joined(&self, authority: &Node, user: &str) -> Node {
        let node = self.node(user);
        node.admit(authority, user);
        node
    }

    /// The same, up with these further options.
    pub fn member(&self, authority: &Node, user: &str, options: &[&str]) -> Node {
        self.node(user).joins(authority, user, options)
    }
}

impl Node {
    /// Makes it a supernode that is the authority of a new net, up.
    pub fn founds(mut self, net: &str, user: &str, options: &[&str]) -> Self {
        self.ok(&["net", "create", net, "--user", user]);
        self.up(&[&["--promote", "always"], options].concat());
        self
    }

    /// Makes it a member, with a ticket from `authority`, up with these further options.
    pub fn joins(mut self, authority: &Self, user: &str, options: &[&str]) -> Self {
        self.admit(authority, user);
        self.up(options);
        self
    }

    /// Makes it a member, with a ticket from `authority`; what it said, if it could not join.
    pub fn try_join(&self, authority: &Self, user: &str) -> Result<(), Ran> {
        let ticket = authority.ok(&["net", "invite", user]).stdout;
        let ran = self.run(&["net", "join", ticket.trim()]);
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    }

    fn admit(&self, authority: &Self, user: &str) {
        self.try_join(authority, user).unwrap_or_else(|ran| panic!("{user} could not join: {ran:?}"));
    }

    /// Runs `nearmesh --profile … ARGUMENTS`.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program runs");
        let pid = child.id();
        let (ended, end) = mpsc::channel::<()>();
        // A command that hangs must fail its test, not the whole suite.
        let watchdog = std::thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            }
        });
        let output = child.wait_with_output().expect("its output can be read");
        drop(ended);
        watchdog.join().expect("the watchdog does not panic");
        Ran::from(output)
    }

    /// Runs it and fails the test unless it exits with 0.
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "nearmesh {arguments:?} of {}: {ran:?}", self.home.display());
        ran
    }

    /// Runs it with `--json` and reads the one object it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.ok(&[&["--json"], arguments].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error} in {ran:?}"))
    }

    /// Runs it with `--json` and reads one object a line.
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.run(&[&["--json"], arguments].concat());
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    /// The command, for tests that drive it themselves.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--profile").arg(&self.profile).args(arguments).env_remove("NEARMESH_PROFILE");
        if let Some(place) = &self.place {
            place.enter(&mut command);
        }
        command
    }

    /// Starts it on a free port, of loopback unless it is in a place, and waits until it says that it is ready.
    pub fn up(&mut self, options: &[&str]) {
        let listen = if self.place.is_some() { "0.0.0.0:0" } else { "127.0.0.1:0" };
        let listen: &[&str] = if options.contains(&"--listen") { &[] } else { &["--listen", listen] };
        // Neighbours that find each other by themselves are for the tests that ask for it.
        let alone = self.place.is_some() && !options.contains(&"--local-discovery");
        let alone: &[&str] = if alone { &["--local-discovery", "false"] } else { &[] };
        let arguments = [&["--json", "up"], listen, alone, options].concat();
        let command = self.command(&arguments);
        self.start(command);
    }

    /// Starts a command that ends in `up --json …`, and waits until it says that it is ready.
    pub fn start(&mut self, mut command: Command) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .env("NEARMESH_LOG", "nearmesh=debug,info");
        let started = match &self.place {
            Some(place) => place.spawn(command),
            None => command.spawn(),
        };
        let mut process = started.expect("the program starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line).expect("its output can be read");
        self.process = Some(process);
        self.ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("not ready: {error}: {line:?}"));
        // Somebody must go on reading, or a node that prints would block.
        std::thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
    }

    /// Whether it was started, and neither killed nor stopped.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the node is up").id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, then waits for its end; its exit code.
    pub fn stop(&mut self) -> i32 {
        let mut process = self.process.take().expect("the node is up");
        let pid = process.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().expect("kill runs").success());
        process.wait().expect("the process ends").code().unwrap_or(-1)
    }

    /// Its id, as `up` said.
    pub fn id(&self) -> &str {
        self.ready["node_id"].as_str().expect("a node id")
    }

    /// Its address, as `up` said.
    pub fn listen(&self) -> &str {
        self.ready["listen"].as_str().expect("an address")
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is there");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Writes a file into a folder of the node, making the folder.
    pub fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.join(path);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder is made");
        std::fs::write(&path, bytes).expect("the file is written");
        path
    }

    /// The end of its log, for whoever wants to know why a test failed.
    fn log_tail(&self) -> String {
        let mut text = String::new();
        let _ = File::open(self.log()).and_then(|mut log| log.read_to_string(&mut text));
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The last line of its log that has this text.
    pub fn log_line(&self, text: &str) -> String {
        let log = std::fs::read(self.log()).expect("a log file");
        let log = String::from_utf8_lossy(&log);
        let line = log.lines().rev().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no {text:?} in the log")).to_owned()
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the log in {}:\n{}", self.home.display(), self.log_tail());
        }
        self.kill();
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Waits until `condition` gives something; fails the test, naming `what`, when patience ends. Gives the time it took.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> (T, Duration) {
    eventually_or(what, condition).unwrap_or_else(|late| panic!("{late}"))
}

/// The same, for a test that has more to say when it does not.
///
/// # Errors
/// What did not happen in time.
pub fn eventually_or<T>(
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<(T, Duration), String> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok((value, begun.elapsed()));
        }
        if begun.elapsed() >= PATIENCE {
            return Err(format!("{what}: not within {PATIENCE:?}"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
