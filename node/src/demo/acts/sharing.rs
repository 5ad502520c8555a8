//! Everybody shares something.

use std::{fs, io, path::PathBuf, time::Instant};

use futures_util::future::try_join_all;
use nearmesh_common::ContentHash;

use super::super::{
    Failure,
    cast::{GIVER, ORDINARY},
    documents::{self, Document, LARGE_NAME},
    stage::Stage,
    story::{Story, seconds},
};
use crate::control::api::Share;

/// What there is to share.
pub(super) struct Prepared {
    /// Documents of this machine.
    pub documents: Vec<Document>,
    /// The large file's content.
    pub large: ContentHash,
}

/// Fills everybody's folder.
pub(super) fn prepare(folders: &[PathBuf]) -> io::Result<Prepared> {
    for folder in folders {
        fs::create_dir_all(folder)?;
    }
    let documents = documents::collect(folders)?;
    let giver = ORDINARY.iter().position(|who| *who == GIVER).unwrap_or(0);
    let large = documents::make_large(&folders[giver].join(LARGE_NAME))?;
    Ok(Prepared { documents, large })
}

pub(super) async fn play(stage: &Stage, story: &mut Story<'_>, prepared: &Prepared) -> Result<(), Failure> {
    story.begin("Six people share real documents of this machine, and Erin a large file");
    story.command("nearmesh --profile dave share add docs/dave");
    let begun = Instant::now();
    let shares = try_join_all(ORDINARY.map(|who| share(stage, who))).await?;
    let files: u64 = shares.iter().map(|share| share.files).sum();
    let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
    let expected = prepared.documents.len() as u64 + 1;
    if files != expected {
        return Err(Failure::of(GIVER, format!("{files} files are shared, not {expected}")));
    }
    let mib = bytes / (1024 * 1024);
    story.line(&format!(
        "{} documents and one file of 256 MiB, {mib} MiB in all, are hashed and shared after {}.",
        prepared.documents.len(),
        seconds(begun.elapsed())
    ));
    Ok(())
}

async fn share(stage: &Stage, who: &'static str) -> Result<Share, Failure> {
    let folder = format!("docs/{who}");
    stage.ask_one(who, &["share", "add", &folder]).await.map(|(share, _)| share)
}
