//! Where a command's words go, and how it ends.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::harmless::{escape_json, harmless};
use crate::{config::ConfigError, control::api::ApiError, profile::ProfileError};

/// Widest line when the terminal does not tell (the VT100's, and everybody's since).
const USUAL_WIDTH: usize = 80;

/// Why a command ends before it is done.
#[derive(Debug)]
pub(super) enum Quit {
    /// It failed.
    Failed(ApiError),
    /// The reader of stdout went away: no reason to go on, and none to complain.
    NobodyReads,
}

/// Stdout and stderr, in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Columns of the terminal; `None` where stdout is a file or a pipe, which has no end.
    pub(super) fn width(self) -> Option<usize> {
        if !io::stdout().is_terminal() {
            return None;
        }
        Some(terminal_size::terminal_size().map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0)))
    }

    /// An answer: the object with `--json`, otherwise its text.
    pub(super) fn answer<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Quit> {
        if self.json { self.object(value) } else { self.text(&text(value)) }
    }

    /// Lines for people; an end of line is added.
    pub(super) fn text(self, text: &str) -> Result<(), Quit> {
        write(&format!("{}\n", text.trim_end_matches('\n')))
    }

    /// One object, on one line.
    pub(super) fn object<T: Serialize>(self, value: &T) -> Result<(), Quit> {
        let json =
            serde_json::to_string(value).map_err(|error| ApiError::failed(format!("no JSON: {error}")))?;
        write(&format!("{}\n", escape_json(&json)))
    }

    /// Something to know besides the answer, for people only.
    pub(super) fn note(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Why it failed, and what to do next.
    pub(super) fn error(self, error: &ApiError) {
        let mut stderr = io::stderr();
        if self.json {
            let json = serde_json::to_string(error).unwrap_or_default();
            let _ = writeln!(stderr, "{}", escape_json(&json));
            return;
        }
        let _ = writeln!(stderr, "nearmesh: {}", harmless(&error.message));
        if let Some(hint) = &error.hint {
            let _ = writeln!(stderr, "          {}", harmless(hint));
        }
    }
}

fn write(text: &str) -> Result<(), Quit> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Quit::NobodyReads),
        Err(error) => Err(ApiError::failed(format!("the answer cannot be written: {error}")).into()),
    }
}

impl From<ApiError> for Quit {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl From<ConfigError> for Quit {
    fn from(error: ConfigError) -> Self {
        Self::Failed(ApiError::usage(error.to_string()).hint("deploy/nearmesh.toml shows every key"))
    }
}

impl From<ProfileError> for Quit {
    fn from(error: ProfileError) -> Self {
        Self::Failed(error.into())
    }
}
