//! `nearmesh share`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{
    Context, Quit,
    harmless::harmless,
    progress::Progress,
    table::table,
    units::{files, size},
};
use crate::control::api::{ApiError, Share, ShareEvent};

/// Share files and folders, and list what is shared.
#[derive(Debug, Args)]
pub(super) struct ShareCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Share a file or a folder, and keep watching it for changes
    #[command(after_help = "Example: nearmesh share add ~/Music")]
    Add {
        /// What
        path: PathBuf,
    },
    /// Share it no longer; the files stay where they are
    #[command(after_help = "Example: nearmesh share rm ~/Music")]
    Rm {
        /// What
        path: PathBuf,
    },
    /// List what is shared
    #[command(after_help = "Example: nearmesh share ls --json")]
    Ls,
}

impl ShareCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        match self.command {
            Command::Add { path } => add(&path, context).await,
            Command::Rm { path } => remove(&path, context).await,
            Command::Ls => list(context).await,
        }
    }
}

async fn add(path: &Path, context: &Context) -> Result<(), Quit> {
    let mut events = context.client().add_share(existing(path)?).await?;
    let mut progress = Progress::new(context.out);
    let share = loop {
        match events.next().await {
            Ok(ShareEvent::Progress(so_far)) => {
                let what = format!("{} of {} hashed", so_far.files_hashed, files(so_far.files_found));
                progress.update(so_far.bytes_hashed, Some(so_far.bytes_found), &what, None);
            }
            Ok(ShareEvent::Done(share)) => break Ok(share),
            Err(error) => break Err(error),
        }
    };
    progress.finish();
    let share = share?;
    context.out.answer(&share, |share| format!("sharing {}", line(share)))?;
    if share.unreadable > 0 {
        context.out.note(&format!("{} could not be read and are not shared", files(share.unreadable)));
    }
    Ok(())
}

async fn remove(path: &Path, context: &Context) -> Result<(), Quit> {
    // What was shared may be gone by now.
    let path =
        existing(path).or_else(|_| std::path::absolute(path)).map_err(|error| unusable(path, &error))?;
    let share = context.client().remove_share(path).await?;
    context.out.answer(&share, |share| format!("no longer sharing {}", line(share)))
}

async fn list(context: &Context) -> Result<(), Quit> {
    let shares = context.client().list_shares().await?;
    context.out.answer(&shares, |shares| {
        if shares.is_empty() {
            return "nothing is shared: share a folder with `nearmesh share add DIR`".to_owned();
        }
        let row = |share: &Share| {
            [share.files.to_string(), size(share.bytes), share.path.to_string_lossy().into_owned()]
        };
        table(["Files", "Size", "Path"], shares.iter().map(row).collect(), context.out.width())
    })
}

/// The absolute path of something that is there.
pub(super) fn existing(path: &Path) -> Result<PathBuf, ApiError> {
    let absolute = std::fs::canonicalize(path).map_err(|error| unusable(path, &error))?;
    match absolute.to_str() {
        Some(_) => Ok(absolute),
        None => Err(ApiError::usage(format!("the path {absolute:?} is not UTF-8"))
            .hint("rename it, or share a folder above it")),
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> ApiError {
    match error.kind() {
        std::io::ErrorKind::NotFound => ApiError::not_found(format!("there is no {path:?}")),
        _ => ApiError::failed(format!("{path:?} cannot be opened: {error}")),
    }
}

fn line(share: &Share) -> String {
    format!("{} ({}, {})", harmless(&share.path.to_string_lossy()), files(share.files), size(share.bytes))
}
