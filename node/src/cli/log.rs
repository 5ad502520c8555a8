//! The program's log, on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// The variable that says what is logged: `debug`, `nearmesh=debug,quinn=info`.
const VARIABLE: &str = "NEARMESH_LOG";

/// Logs what NEARMESH_LOG says; if it says nothing, what `default` says. The first call counts.
pub(super) fn to_stderr(default: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    // Losing a log line to a closed stderr must not end the node.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}
