//! Files are fetched, and checked once more by the demo itself.

use std::time::{Duration, Instant};

use nearmesh_common::ContentHash;
use tokio::time::sleep;

use super::{
    super::{
        Failure,
        documents::{self, LARGE_BYTES},
        stage::Stage,
        story::{Story, seconds},
    },
    LOOK_EVERY, PATIENCE,
    finding::{Found, SEARCHER},
    sharing::Prepared,
};
use crate::control::api::{Download, State};

const TAKER: &str = "frank";

/// How long it took.
pub(super) struct Fetched {
    pub small: Duration,
    pub large: Duration,
}

pub(super) async fn play(
    stage: &Stage,
    story: &mut Story<'_>,
    found: &Found,
    prepared: &Prepared,
) -> Result<Fetched, Failure> {
    story.begin("Grace fetches it, and Frank the large file");
    let number = found.number.to_string();
    story.command(&format!("nearmesh --profile {SEARCHER} get {number} --output got/{SEARCHER}"));
    let small = fetch(stage, SEARCHER, &number, found.target.document.hash).await?;
    story.line(&format!("Fetched in {}; the demo compared it: every byte is right.", seconds(small)));

    let hash = prepared.large.to_string();
    story
        .command(&format!("nearmesh --profile {TAKER} get {}… --output got/{TAKER}", prepared.large.short()));
    let large = fetch(stage, TAKER, &hash, prepared.large).await?;
    let speed = LARGE_BYTES as f64 / 1e6 / large.as_secs_f64();
    story.line(&format!(
        "256 MiB fetched in {}: {speed:.0} MB/s, encrypted, every part verified before it was written. \
         The demo hashed it again: it is the same.",
        seconds(large)
    ));
    Ok(Fetched { small, large })
}

async fn fetch(
    stage: &Stage,
    who: &'static str,
    what: &str,
    expected: ContentHash,
) -> Result<Duration, Failure> {
    let folder = format!("got/{who}");
    let begun = Instant::now();
    let (download, took) = loop {
        let answer = stage.ask::<Download>(who, &["get", what, "--output", &folder]).await?;
        if let Some(download) = answer.objects.into_iter().next() {
            break (download, answer.took);
        }
        // What was shared a moment ago is known at other supernodes a moment later.
        if begun.elapsed() > PATIENCE {
            return Err(Failure::of(who, format!("`get {what}` of {who} found nothing")));
        }
        sleep(LOOK_EVERY).await;
    };
    if download.state != State::Done {
        return Err(Failure::of(who, format!("the download of {who} ended as {}", download.state.as_str())));
    }
    let inside = stage.directory().join(&folder).canonicalize()?;
    if !download.path.starts_with(&inside) {
        return Err(Failure::of(who, format!("{:?} is not in {folder}", download.path)));
    }
    let path = download.path.clone();
    let hashed = tokio::task::spawn_blocking(move || documents::hash(&path)).await;
    let actual = hashed.map_err(|error| Failure::of(who, error.to_string()))??;
    if actual == expected {
        Ok(took)
    } else {
        Err(Failure::of(who, format!("{:?} has other bytes than what was shared", download.path)))
    }
}
