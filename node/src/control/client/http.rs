//! One question over one connection.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Method, Request, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{ApiError, Client, EventReader, cannot_open, connection_broke};

/// Largest answer that is one object, in bytes: 16 384 downloads of 1 KiB (guess).
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A question.
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Bytes,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Bytes::new() }
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    pub(super) fn with(self, request: &impl Serialize) -> Result<Self, ApiError> {
        match serde_json::to_vec(request) {
            Ok(body) => Ok(Self { body: body.into(), ..self }),
            Err(error) => Err(ApiError::usage(format!("this cannot be asked: {error}"))),
        }
    }
}

impl Client {
    pub(super) async fn object<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, ApiError> {
        let bytes = collect(self.ask(ask).await?).await?;
        serde_json::from_slice(&bytes).map_err(not_understood)
    }

    pub(super) async fn events<T>(&self, ask: Ask) -> Result<EventReader<T>, ApiError> {
        self.ask(ask).await.map(EventReader::new)
    }

    async fn ask(&self, ask: Ask) -> Result<Incoming, ApiError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| cannot_open(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(connection_broke)?;
        // It ends by itself when the answer has been read or dropped.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(HOST, "node")
            .body(Full::new(ask.body))
            .map_err(|error| ApiError::usage(format!("this cannot be asked: {error}")))?;
        let response = sender.send_request(request).await.map_err(connection_broke)?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let bytes = collect(body).await?;
        Err(serde_json::from_slice(&bytes).unwrap_or_else(not_understood))
    }
}

async fn collect(body: Incoming) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::failed("the node's answer is too long"))
        }
        Err(error) => Err(connection_broke(error)),
    }
}

pub(super) fn not_understood(error: serde_json::Error) -> ApiError {
    ApiError::failed(format!("the node's answer makes no sense: {error}"))
        .hint("is the running node of another version? Stop it and start it again with `nearmesh up`")
}
