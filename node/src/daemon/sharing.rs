//! Sharing for the user: what the control API says about [`Shares`](crate::shares::Shares).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::broadcast::error::RecvError;

use super::{events::events, node::Node};
use crate::{
    control::api::{ApiError, Events, Share, ShareEvent, ShareProgress},
    shares::{self, AddError, RemoveError, RootState, SharedRoot, Summary},
};

impl Node {
    /// Shares a file or folder, and tells how the hashing goes. It goes on if nobody listens.
    ///
    /// # Errors
    /// If it cannot be shared.
    pub async fn add_share(self: &Arc<Self>, path: PathBuf) -> Result<Events<ShareEvent>, ApiError> {
        let mut progress = self.share_events.subscribe();
        let node = Arc::clone(self);
        let scan = tokio::task::spawn_blocking(move || node.shares.add(&path))
            .await
            .map_err(|_| ApiError::failed("the shares are gone"))?
            .map_err(explain_add)?;
        Ok(events(move |sink| async move {
            let root = scan.root.clone();
            let finished = scan.finished();
            tokio::pin!(finished);
            let mut so_far = ShareProgress::default();
            loop {
                let event = tokio::select! {
                    summary = &mut finished => {
                        let summary = summary.ok_or_else(|| ApiError::failed("the scan was ended"))?;
                        let _ = sink.put(ShareEvent::Done(done(summary))).await;
                        return Ok(());
                    }
                    event = progress.recv() => event,
                };
                match event {
                    Ok(event) if take(&mut so_far, &root, &event) => {
                        if sink.put(ShareEvent::Progress(so_far)).await.is_err() {
                            return Ok(());
                        }
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(ApiError::failed("this node is going down")),
                }
            }
        }))
    }

    /// Shares it no longer.
    ///
    /// # Errors
    /// If it was not shared.
    pub async fn remove_share(self: &Arc<Self>, path: PathBuf) -> Result<Share, ApiError> {
        let node = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let before =
                node.shares.list().map_err(|error| ApiError::failed(format!("failed to {error}")))?;
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            node.shares.remove(&path).map_err(explain_remove)?;
            let gone = before.into_iter().find(|root| root.path == real || root.path == path);
            gone.map(share).ok_or_else(|| ApiError::not_found(format!("{} was not shared", path.display())))
        })
        .await
        .map_err(|_| ApiError::failed("the shares are gone"))?
    }

    /// What is shared.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn list_shares(self: &Arc<Self>) -> Result<Vec<Share>, ApiError> {
        let node = Arc::clone(self);
        let roots = tokio::task::spawn_blocking(move || node.shares.list())
            .await
            .map_err(|_| ApiError::failed("the shares are gone"))?
            .map_err(|error| ApiError::failed(format!("failed to {error}")))?;
        Ok(roots.into_iter().map(share).collect())
    }

    /// Shared folders that are not watched, and why.
    pub fn share_problems(&self) -> Vec<String> {
        let roots = self.shares.list().unwrap_or_default();
        let late = |root: SharedRoot| match root.state {
            RootState::Rescanned(why) => {
                Some(format!("{} is looked through from time to time only: {why}", root.path.display()))
            }
            RootState::Scanning | RootState::Watched => None,
        };
        roots.into_iter().filter_map(late).collect()
    }
}

/// Notes what an event says about the scan of `root`; says whether there is anything new to show.
fn take(so_far: &mut ShareProgress, root: &Path, event: &shares::ShareEvent) -> bool {
    match event {
        shares::ShareEvent::Scanning { root: of, files } if of == root => {
            so_far.files_found = *files;
            true
        }
        shares::ShareEvent::Hashing { path, done, total, files_done, files_total }
            if path.starts_with(root) =>
        {
            *so_far = ShareProgress {
                files_found: *files_total,
                files_hashed: *files_done,
                bytes_found: *total,
                bytes_hashed: *done,
            };
            true
        }
        _ => false,
    }
}

fn done(summary: Summary) -> Share {
    let Summary { root, files, bytes, problems } = summary;
    Share { path: root, files, bytes, unreadable: problems }
}

fn share(root: SharedRoot) -> Share {
    Share { path: root.path, files: root.files, bytes: root.bytes, unreadable: 0 }
}

fn explain_add(error: AddError) -> ApiError {
    let text = format!("failed to {error}");
    match error {
        AddError::Unreadable { .. } | AddError::NoFile(_) => ApiError::usage(text),
        AddError::Already { .. } | AddError::Hides { .. } | AddError::Profile(_) | AddError::TooMany(_) => {
            ApiError::refused(text)
        }
        AddError::Store(_) => ApiError::failed(text),
    }
}

fn explain_remove(error: RemoveError) -> ApiError {
    let text = format!("failed to {error}");
    match error {
        RemoveError::NotShared(_) => {
            ApiError::not_found(text).hint("`nearmesh share ls` lists what is shared")
        }
        RemoveError::Store(_) => ApiError::failed(text),
    }
}
