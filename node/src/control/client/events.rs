//! Reading an answer that comes line by line.

use std::marker::PhantomData;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, de::DeserializeOwned};

use super::{ApiError, connection_broke, http::not_understood};

/// Longest line, in bytes: a result with a name of 765 bytes and 64 sources is 10 KiB (guess: a hundred times that).
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Events of one answer, in order. Dropping it tells the node that nobody listens any more.
#[derive(Debug)]
pub struct EventReader<T> {
    body: Incoming,
    unread: BytesMut,
    searched: usize,
    event: PhantomData<fn() -> T>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line<T> {
    Error { error: ApiError },
    Event(T),
}

impl<T> EventReader<T> {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, unread: BytesMut::new(), searched: 0, event: PhantomData }
    }
}

impl<T: DeserializeOwned> EventReader<T> {
    /// The next event.
    ///
    /// # Errors
    /// What the node says went wrong, or that the answer broke off: the caller stops at the event that ends it.
    pub async fn next(&mut self) -> Result<T, ApiError> {
        loop {
            if let Some(end) = self.unread[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(self.searched + end);
                self.unread.advance(1);
                self.searched = 0;
                return match serde_json::from_slice(&line).map_err(not_understood)? {
                    Line::Event(event) => Ok(event),
                    Line::Error { error } => Err(error),
                };
            }
            self.searched = self.unread.len();
            if self.unread.len() > MAX_LINE_BYTES {
                return Err(ApiError::failed("a line of the node's answer is too long"));
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), ApiError> {
        let frame = self.body.frame().await.ok_or_else(|| connection_broke("no more events"))?;
        if let Ok(bytes) = frame.map_err(connection_broke)?.into_data() {
            self.unread.extend_from_slice(&bytes);
        }
        Ok(())
    }
}
