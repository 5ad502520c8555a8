//! The asking side of the control API: what the command line is made of.

mod events;
mod http;

use std::{io, path::PathBuf};

use nearmesh_common::{UserAddress, UserName};

pub use self::events::EventReader;
use self::http::Ask;
use super::api::{
    ApiError, Code, Download, DownloadEvent, DownloadId, GetRequest, Invitation, InviteRequest, Lookup,
    PingEvent, PingRequest, Revocation, RevokeRequest, SearchEvent, SearchRequest, SendEvent, SendRequest,
    Share, ShareEvent, ShareRequest, Started, Status, Supernode,
};
use crate::profile::Profile;

/// Asks the running node of one profile. A connection for each question.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the node that runs, or does not, for this profile.
    pub fn new(profile: &Profile) -> Self {
        Self { socket: profile.control_socket() }
    }

    /// How the node is.
    ///
    /// # Errors
    /// As every question: [`Code::NotRunning`], what the node answered, or a connection that broke.
    pub async fn status(&self) -> Result<Status, ApiError> {
        self.object(Ask::get("/v1/status")).await
    }

    /// Shares a file or folder; the path is absolute.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn add_share(&self, path: PathBuf) -> Result<EventReader<ShareEvent>, ApiError> {
        self.events(Ask::post("/v1/shares").with(&ShareRequest { path })?).await
    }

    /// Shares it no longer.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn remove_share(&self, path: PathBuf) -> Result<Share, ApiError> {
        self.object(Ask::delete("/v1/shares").with(&ShareRequest { path })?).await
    }

    /// What is shared.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn list_shares(&self) -> Result<Vec<Share>, ApiError> {
        self.object(Ask::get("/v1/shares")).await
    }

    /// Searches the net. Dropping the reader ends the search.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn search(&self, request: &SearchRequest) -> Result<EventReader<SearchEvent>, ApiError> {
        self.events(Ask::post("/v1/search").with(request)?).await
    }

    /// Begins to fetch.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn start_download(&self, request: &GetRequest) -> Result<DownloadId, ApiError> {
        self.object::<Started>(Ask::post("/v1/downloads").with(request)?).await.map(|started| started.id)
    }

    /// How a download goes, until it ends.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn follow_download(&self, id: DownloadId) -> Result<EventReader<DownloadEvent>, ApiError> {
        self.events(Ask::get(format!("/v1/downloads/{id}/events"))).await
    }

    /// Gives a download up.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn cancel_download(&self, id: DownloadId) -> Result<Download, ApiError> {
        self.object(Ask::delete(format!("/v1/downloads/{id}"))).await
    }

    /// All downloads.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn downloads(&self) -> Result<Vec<Download>, ApiError> {
        self.object(Ask::get("/v1/downloads")).await
    }

    /// Where a user is.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn lookup(&self, user: &UserAddress) -> Result<Lookup, ApiError> {
        self.object(Ask::get(format!("/v1/users/{user}"))).await
    }

    /// Measures the way to a user's nodes.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn ping(&self, request: &PingRequest) -> Result<EventReader<PingEvent>, ApiError> {
        self.events(Ask::post("/v1/ping").with(request)?).await
    }

    /// Gives a file to a user; the path is absolute.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn send_file(&self, request: &SendRequest) -> Result<EventReader<SendEvent>, ApiError> {
        self.events(Ask::post("/v1/send").with(request)?).await
    }

    /// The supernodes that the node knows.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn supernodes(&self) -> Result<Vec<Supernode>, ApiError> {
        self.object(Ask::get("/v1/supernodes")).await
    }

    /// Makes a ticket, for a new user or for another node of this one.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn invite(&self, user: Option<UserName>) -> Result<Invitation, ApiError> {
        self.object(Ask::post("/v1/invitations").with(&InviteRequest { user })?).await
    }

    /// Revokes every certificate of a user.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn revoke(&self, user: UserName) -> Result<Revocation, ApiError> {
        self.object(Ask::post("/v1/revocations").with(&RevokeRequest { user })?).await
    }

    /// Ends the node.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn stop(&self) -> Result<(), ApiError> {
        self.object(Ask::post("/v1/stop")).await
    }
}

fn not_running() -> ApiError {
    ApiError::new(Code::NotRunning, "no node is running for this profile")
        .hint("start one with `nearmesh up`")
}

fn connection_broke(error: impl std::fmt::Display) -> ApiError {
    ApiError::failed(format!("the node stopped in the middle of its answer ({error})"))
        .hint("see its log, or start it again with `nearmesh up`")
}

fn cannot_open(error: &io::Error) -> ApiError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ApiError::refused("this profile belongs to somebody else")
            .hint("choose your own with `--profile DIR`"),
        _ => not_running(),
    }
}
