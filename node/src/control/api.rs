//! What a node can be asked by the person who owns it, and what it answers.
//!
//! The types here *are* the JSON of the control API and of `--json`. Ids, hashes and addresses are text; a time is
//! milliseconds since 1970-01-01 UTC; a size is bytes; a rate is bytes a second; a round trip is milliseconds. What
//! is not known is `null`.
//!
//! Long answers are streams of events: [`NodeApi`] yields them, the server writes one JSON object a line, and the
//! last one is the event that says how it ended. A stream that ends without it was cut.

mod as_text;
mod download;
mod error;
mod net;
mod path;
mod person;
mod reachability;
mod search;
mod share;
mod status;

use std::{future::Future, path::PathBuf};

use futures_util::stream::BoxStream;
use nearmesh_common::{UserAddress, UserName};

pub use as_text::AsText;
pub use download::{Download, DownloadEvent, DownloadId, GetRequest, Started, State, Wanted};
pub use error::{ApiError, Code};
pub use net::{Invitation, InviteRequest, Membership, Revocation, RevokeRequest};
pub use path::{NodePath, PathKind, Way};
pub use person::{
    Lookup, PathChange, PingEvent, PingReply, PingRequest, PingSummary, SendEvent, SendProgress, SendRequest,
    Sent, UserNode,
};
pub use reachability::{PortMapping, Reach, Reachability};
pub use search::{SearchEvent, SearchRequest, SearchResult, Searched, Source};
pub use share::{Share, ShareEvent, ShareProgress, ShareRequest};
pub use status::{
    Attachment, Bootstrap, BootstrapWay, Ready, Relaying, Role, SharedTotal, Status, Supernode,
};

/// Events, or the error that ended them.
pub type Events<T> = BoxStream<'static, Result<T, ApiError>>;

/// What the running node does for its owner. Whoever asked may go away at any time: then the stream that it was
/// given is dropped, which ends a search, a ping and a send, but neither a download nor the hashing of a share.
pub trait NodeApi: Send + Sync + 'static {
    /// How the node is.
    fn status(&self) -> impl Future<Output = Result<Status, ApiError>> + Send;

    /// Shares a file or a folder and keeps watching it. The path is absolute.
    fn add_share(&self, path: PathBuf) -> impl Future<Output = Result<Events<ShareEvent>, ApiError>> + Send;

    /// Shares it no longer; the files stay where they are. The path is absolute.
    fn remove_share(&self, path: PathBuf) -> impl Future<Output = Result<Share, ApiError>> + Send;

    /// What is shared.
    fn list_shares(&self) -> impl Future<Output = Result<Vec<Share>, ApiError>> + Send;

    /// Searches the net and remembers the results by their numbers until the next search.
    fn search(
        &self,
        request: SearchRequest,
    ) -> impl Future<Output = Result<Events<SearchEvent>, ApiError>> + Send;

    /// Begins to fetch a content, or finds the download of it that is there already.
    fn start_download(
        &self,
        request: GetRequest,
    ) -> impl Future<Output = Result<DownloadId, ApiError>> + Send;

    /// How a download goes, until it ends. A download that has ended yields its last event.
    fn follow_download(
        &self,
        id: DownloadId,
    ) -> impl Future<Output = Result<Events<DownloadEvent>, ApiError>> + Send;

    /// Gives a download up and removes what is there of it.
    fn cancel_download(&self, id: DownloadId) -> impl Future<Output = Result<Download, ApiError>> + Send;

    /// All downloads, in the order in which they were begun.
    fn downloads(&self) -> impl Future<Output = Result<Vec<Download>, ApiError>> + Send;

    /// Where a user is. Nobody of that name: [`Code::NotFound`].
    fn lookup(&self, user: UserAddress) -> impl Future<Output = Result<Lookup, ApiError>> + Send;

    /// Measures the way to a user's nodes.
    fn ping(&self, request: PingRequest) -> impl Future<Output = Result<Events<PingEvent>, ApiError>> + Send;

    /// Gives a file to a user. The path is absolute.
    fn send_file(
        &self,
        request: SendRequest,
    ) -> impl Future<Output = Result<Events<SendEvent>, ApiError>> + Send;

    /// The supernodes that this node knows, nearest first, itself included if it is one.
    fn supernodes(&self) -> impl Future<Output = Result<Vec<Supernode>, ApiError>> + Send;

    /// Makes a ticket for a new user. `None`: for whoever gets it in an open net, otherwise for another node of the
    /// user who asks.
    fn invite(&self, user: Option<UserName>) -> impl Future<Output = Result<Invitation, ApiError>> + Send;

    /// Revokes every certificate of a user. Only the authority can: others answer [`Code::Refused`].
    fn revoke(&self, user: UserName) -> impl Future<Output = Result<Revocation, ApiError>> + Send;

    /// Ends the node, politely.
    fn stop(&self) -> impl Future<Output = Result<(), ApiError>> + Send;
}
