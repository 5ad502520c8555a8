//! `nearmesh demo`: a net of nine nodes on this machine, at work and in trouble, told in a page.
//!
//! The nodes are real processes of this very program on loopback, and everything is asked by its command line, so
//! that every line of the story can be typed by its reader. What the commands claim is checked again here: files are
//! hashed by the demo itself. However it ends, the processes are killed and the directory removed.
#![allow(clippy::disallowed_methods, reason = "io: it runs processes and measures them")]

mod acts;
mod cast;
mod documents;
mod stage;
mod story;

use std::{io, time::Duration};

use serde::Serialize;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use self::{stage::Stage, story::Story};
use crate::control::api::ApiError;

/// What people are promised at most.
const LIMIT: Duration = Duration::from_secs(60);
/// Lines of a node's log that are shown when a step fails (guess: a screen has room for them and the reason).
const LOG_TAIL: usize = 12;

/// What was measured, for `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Nodes that ran.
    pub nodes: usize,
    /// Documents of this machine that were shared.
    pub documents: usize,
    /// From the first command until every node had a home.
    pub net_ms: u64,
    /// One lookup.
    pub lookup_ms: u64,
    /// One search.
    pub search_ms: u64,
    /// The small file, fetched and verified.
    pub small_get_ms: u64,
    /// The large file, fetched and verified.
    pub large_get_ms: u64,
    /// Its bytes a second.
    pub large_get_rate: u64,
    /// From kill -9 of a home until its child was found again.
    pub lookup_again_ms: u64,
    /// From kill -9 of a home until its child's file was found again.
    pub search_again_ms: u64,
    /// Everything.
    pub total_ms: u64,
}

/// Why a step did not hold.
#[derive(Debug, Error)]
#[error("{what}")]
pub(crate) struct Failure {
    what: String,
    /// Whose log may tell more.
    who: Option<&'static str>,
}

impl Failure {
    fn of(who: &'static str, what: impl Into<String>) -> Self {
        Self { what: what.into(), who: Some(who) }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { what: error.to_string(), who: None }
    }
}

/// Runs the demo and tells it to `say`, line by line. With `keep` the directory stays.
///
/// # Errors
/// The step that did not hold, after its node's log was told.
pub async fn run(keep: bool, say: &(dyn Fn(&str) + Sync)) -> Result<Report, ApiError> {
    let mut story = Story::new(say);
    let mut stage =
        Stage::new().map_err(|error| ApiError::failed(format!("the demo has no room: {error}")))?;
    let ended = tokio::select! {
        ended = timeout(LIMIT, acts::play(&mut stage, &mut story)) => ended.unwrap_or_else(|_| {
            Err(Failure { what: format!("it took longer than {} s", LIMIT.as_secs()), who: None })
        }),
        () = interrupted() => Err(Failure { what: "it was interrupted".to_owned(), who: None }),
    };
    if let Err(failure) = &ended {
        for (name, tail) in stage.log_tails(failure.who, LOG_TAIL) {
            story.log(name, &tail);
        }
    }
    match stage.clear(keep).await {
        Ok(Some(directory)) => story.line(&format!("The directory {} stays.", directory.display())),
        Ok(None) => {}
        Err(error) => return Err(ApiError::failed(format!("the demo could not clean up: {error}"))),
    }
    let step = story.step();
    ended.map_err(|failure| {
        ApiError::failed(format!("{step} did not hold: {failure}"))
            .hint("`nearmesh demo --keep` leaves the logs of all nodes")
    })
}

/// SIGINT, SIGTERM or SIGHUP.
async fn interrupted() {
    let watch = |kind| signal(kind).ok();
    let (mut interrupt, mut terminate, mut hangup) =
        (watch(SignalKind::interrupt()), watch(SignalKind::terminate()), watch(SignalKind::hangup()));
    async fn next(signal: &mut Option<tokio::signal::unix::Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
    tokio::select! {
        () = next(&mut interrupt) => {},
        () = next(&mut terminate) => {},
        () = next(&mut hangup) => {},
    }
}
