//! How requests are read and answers written.

use axum::{
    Json,
    body::{Body as StreamBody, Bytes, HttpBody},
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde::{Serialize, de::DeserializeOwned};

use crate::control::api::{ApiError, Code, Events};

/// Largest request, in bytes: a path of 4 KiB, every byte of it escaped, with room to spare.
pub(super) const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// The JSON of a request, whatever its content type says: `curl -d` says it is a form.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if request.body().size_hint().lower() > MAX_REQUEST_BYTES as u64 {
            return Err(failure(ApiError::usage(format!("a request has at most {MAX_REQUEST_BYTES} bytes"))));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error: BytesRejection| failure(ApiError::usage(error.body_text())))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| failure(ApiError::usage(format!("the request makes no sense: {error}"))))
    }
}

/// One object.
pub(super) fn object<T: Serialize>(result: Result<T, ApiError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => failure(error),
    }
}

/// One object a line, as they come.
pub(super) fn lines<T: Serialize + 'static>(result: Result<Events<T>, ApiError>) -> Response {
    match result {
        Ok(events) => {
            let body = StreamBody::from_stream(events.map(|event| line(&event)));
            ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
        }
        Err(error) => failure(error),
    }
}

/// No, and why.
pub(super) fn failure(error: ApiError) -> Response {
    let status = match error.code {
        Code::Usage => StatusCode::BAD_REQUEST,
        Code::Refused => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::NotRunning => StatusCode::SERVICE_UNAVAILABLE,
        Code::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(error)).into_response()
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a, T> {
    Event(&'a T),
    Error { error: &'a ApiError },
}

fn line<T: Serialize>(event: &Result<T, ApiError>) -> Result<Bytes, serde_json::Error> {
    let line = match event {
        Ok(event) => Line::Event(event),
        Err(error) => Line::Error { error },
    };
    let mut text = serde_json::to_vec(&line)?;
    text.push(b'\n');
    Ok(text.into())
}
