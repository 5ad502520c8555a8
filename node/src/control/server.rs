//! The serving side of the control API.
//!
//! An answer is JSON. A long one is one JSON object a line, so that `curl` and a pipe can read it as it comes; an
//! error in the middle is a last line with nothing but `error`. A client that goes away takes its stream with it.

mod answer;

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    response::Response,
    routing::{get, post},
};
use nearmesh_common::{UserAddress, wire::query::MAX_RESULTS};
use tokio::{net::UnixListener, sync::oneshot};
use tracing::debug;

use self::answer::{Body, MAX_REQUEST_BYTES, lines, object};
use super::api::{
    ApiError, DownloadId, GetRequest, InviteRequest, NodeApi, PingRequest, RevokeRequest, SearchRequest,
    SendRequest, ShareRequest, Started,
};

/// How long answers under way may take to end once the node stops (guess: a progress line is due every 100 ms).
const GRACE: Duration = Duration::from_millis(500);
/// Most pings one request may ask for (guess).
pub const MAX_PINGS: u32 = 1000;

/// Answers until `stopped`, and a short while longer for answers under way.
pub async fn serve<N: NodeApi>(
    listener: std::os::unix::net::UnixListener,
    node: Arc<N>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let (stopping, late) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router(node)).with_graceful_shutdown(async {
        stopped.await;
        drop(stopping);
    });
    tokio::select! {
        ended = serving => ended,
        () = async { let _ = late.await; tokio::time::sleep(GRACE).await } => {
            debug!("control connections are still open: they end with the program");
            Ok(())
        }
    }
}

/// All routes.
pub fn router<N: NodeApi>(node: Arc<N>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<N>))
        .route("/v1/shares", get(list_shares::<N>).post(add_share::<N>).delete(remove_share::<N>))
        .route("/v1/search", post(search::<N>))
        .route("/v1/downloads", get(downloads::<N>).post(start_download::<N>))
        .route("/v1/downloads/{id}", axum::routing::delete(cancel_download::<N>))
        .route("/v1/downloads/{id}/events", get(follow_download::<N>))
        .route("/v1/users/{user}", get(lookup::<N>))
        .route("/v1/ping", post(ping::<N>))
        .route("/v1/send", post(send_file::<N>))
        .route("/v1/supernodes", get(supernodes::<N>))
        .route("/v1/invitations", post(invite::<N>))
        .route("/v1/revocations", post(revoke::<N>))
        .route("/v1/stop", post(stop::<N>))
        .fallback(no_such_thing)
        .method_not_allowed_fallback(no_such_thing)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(node)
}

async fn status<N: NodeApi>(State(node): State<Arc<N>>) -> Response {
    object(node.status().await)
}

async fn list_shares<N: NodeApi>(State(node): State<Arc<N>>) -> Response {
    object(node.list_shares().await)
}

async fn add_share<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<ShareRequest>) -> Response {
    match absolute(&request.path) {
        Ok(()) => lines(node.add_share(request.path).await),
        Err(error) => answer::failure(error),
    }
}

async fn remove_share<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<ShareRequest>) -> Response {
    object(node.remove_share(request.path).await)
}

async fn search<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<SearchRequest>) -> Response {
    if !(1..=MAX_RESULTS).contains(&request.limit) {
        return answer::failure(ApiError::usage(format!("a search has a limit from 1 to {MAX_RESULTS}")));
    }
    lines(node.search(request).await)
}

async fn downloads<N: NodeApi>(State(node): State<Arc<N>>) -> Response {
    object(node.downloads().await)
}

async fn start_download<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<GetRequest>) -> Response {
    if let Some(Err(error)) = request.directory.as_deref().map(absolute) {
        return answer::failure(error);
    }
    object(node.start_download(request).await.map(|id| Started { id }))
}

async fn follow_download<N: NodeApi>(State(node): State<Arc<N>>, Path(id): Path<u64>) -> Response {
    lines(node.follow_download(DownloadId(id)).await)
}

async fn cancel_download<N: NodeApi>(State(node): State<Arc<N>>, Path(id): Path<u64>) -> Response {
    object(node.cancel_download(DownloadId(id)).await)
}

async fn lookup<N: NodeApi>(State(node): State<Arc<N>>, Path(user): Path<String>) -> Response {
    match user.parse::<UserAddress>() {
        Ok(user) => object(node.lookup(user).await),
        Err(error) => answer::failure(ApiError::usage(format!("{user:?} is no user: {error}"))),
    }
}

async fn ping<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<PingRequest>) -> Response {
    if !(1..=MAX_PINGS).contains(&request.count) {
        return answer::failure(ApiError::usage(format!("a ping has a count from 1 to {MAX_PINGS}")));
    }
    lines(node.ping(request).await)
}

async fn send_file<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<SendRequest>) -> Response {
    match absolute(&request.path) {
        Ok(()) => lines(node.send_file(request).await),
        Err(error) => answer::failure(error),
    }
}

async fn supernodes<N: NodeApi>(State(node): State<Arc<N>>) -> Response {
    object(node.supernodes().await)
}

async fn invite<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<InviteRequest>) -> Response {
    object(node.invite(request.user).await)
}

async fn revoke<N: NodeApi>(State(node): State<Arc<N>>, Body(request): Body<RevokeRequest>) -> Response {
    object(node.revoke(request.user).await)
}

async fn stop<N: NodeApi>(State(node): State<Arc<N>>) -> Response {
    object(node.stop().await)
}

async fn no_such_thing() -> Response {
    answer::failure(ApiError::usage("the control API has no such request"))
}

/// The node's current directory means nothing to whoever asks.
fn absolute(path: &std::path::Path) -> Result<(), ApiError> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(ApiError::usage(format!("{path:?} is not an absolute path")))
    }
}
