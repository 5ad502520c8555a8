//! The control API of the running node.

use std::{path::PathBuf, sync::Arc};

use nearmesh_common::{UserAddress, UserName};

use super::{node::Node, search};
use crate::control::api::{
    ApiError, Download, DownloadEvent, DownloadId, Events, GetRequest, Invitation, Lookup, NodeApi,
    PingEvent, PingRequest, Revocation, SearchEvent, SearchRequest, SendEvent, SendRequest, Share,
    ShareEvent, Status, Supernode,
};

/// The node, as its owner reaches it.
#[derive(Clone)]
pub struct Api(pub Arc<Node>);

impl NodeApi for Api {
    async fn status(&self) -> Result<Status, ApiError> {
        Ok(self.0.status())
    }

    async fn add_share(&self, path: PathBuf) -> Result<Events<ShareEvent>, ApiError> {
        self.0.add_share(path).await
    }

    async fn remove_share(&self, path: PathBuf) -> Result<Share, ApiError> {
        self.0.remove_share(path).await
    }

    async fn list_shares(&self) -> Result<Vec<Share>, ApiError> {
        self.0.list_shares().await
    }

    async fn search(&self, request: SearchRequest) -> Result<Events<SearchEvent>, ApiError> {
        let node = &self.0;
        search::search(node.asker.clone(), node.address.net.clone(), node.last_results.clone(), request)
    }

    async fn start_download(&self, request: GetRequest) -> Result<DownloadId, ApiError> {
        self.0.start_download(request).await
    }

    async fn follow_download(&self, id: DownloadId) -> Result<Events<DownloadEvent>, ApiError> {
        self.0.follow(id)
    }

    async fn cancel_download(&self, id: DownloadId) -> Result<Download, ApiError> {
        self.0.cancel_download(id)
    }

    async fn downloads(&self) -> Result<Vec<Download>, ApiError> {
        Ok(self.0.downloads.list())
    }

    async fn lookup(&self, user: UserAddress) -> Result<Lookup, ApiError> {
        self.0.look_up(user).await
    }

    async fn ping(&self, request: PingRequest) -> Result<Events<PingEvent>, ApiError> {
        Arc::clone(&self.0).ping_user(request).await
    }

    async fn send_file(&self, request: SendRequest) -> Result<Events<SendEvent>, ApiError> {
        Arc::clone(&self.0).send_to(request).await
    }

    async fn supernodes(&self) -> Result<Vec<Supernode>, ApiError> {
        Ok(self.0.known_supernodes())
    }

    async fn invite(&self, user: Option<UserName>) -> Result<Invitation, ApiError> {
        self.0.invite(user).await
    }

    async fn revoke(&self, user: UserName) -> Result<Revocation, ApiError> {
        self.0.revoke(user).await
    }

    async fn stop(&self) -> Result<(), ApiError> {
        self.0.stop.send_replace(true);
        Ok(())
    }
}
