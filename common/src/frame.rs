//! Frames on a stream: a 32-bit little-endian length, then that many bytes of one encoded value.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec::{self, DecodeError};

/// Largest frame on a link between nodes, in bytes. A batch of 500 results with long names fits four times.
pub const MAX_LINK_FRAME: usize = 1024 * 1024;
/// Largest frame that opens a stream or enrols, in bytes: a certificate, a few addresses, a name.
pub const MAX_OPEN_FRAME: usize = 64 * 1024;

/// Why no frame was read.
#[derive(Debug, Error)]
pub enum ReadFrameError {
    /// The peer finished the stream between two frames.
    #[error("the peer closed the stream")]
    Closed,
    /// The announced length is over the limit.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// What the peer announced.
        length: usize,
        /// What this stream allows.
        limit: usize,
    },
    /// The bytes do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream broke, or ended inside a frame.
    #[error("the stream broke: {0}")]
    Stream(#[from] std::io::Error),
}

/// Reads one frame of at most `limit` bytes.
///
/// # Errors
/// As [`ReadFrameError`] tells. After any error the stream is of no more use.
pub async fn read_frame<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<T, ReadFrameError> {
    let mut header = [0; 4];
    match stream.read(&mut header).await? {
        0 => return Err(ReadFrameError::Closed),
        n => stream.read_exact(&mut header[n..]).await?,
    };
    let length = u32::from_le_bytes(header) as usize;
    if length > limit {
        return Err(ReadFrameError::TooLong { length, limit });
    }
    // Grows with what arrives, so that an announced length alone reserves nothing.
    let mut body = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(codec::decode(&body)?)
}

/// Encodes `value` as one frame.
pub fn frame<T: Serialize>(value: &T) -> Vec<u8> {
    let body = codec::encode(value);
    let length = u32::try_from(body.len()).expect("frames are far below 4 GiB");
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Writes one frame. The caller flushes or finishes the stream.
///
/// # Errors
/// If the stream is closed or broken.
pub async fn write_frame<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> std::io::Result<()> {
    stream.write_all(&frame(value)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_arrive_in_order_and_the_end_is_told_from_a_break() {
        let mut bytes = frame(&"alice");
        bytes.extend(frame(&"bob"));
        let mut stream = bytes.as_slice();
        assert_eq!(read_frame::<String>(&mut stream, 64).await.unwrap(), "alice");
        assert_eq!(read_frame::<String>(&mut stream, 64).await.unwrap(), "bob");
        assert!(matches!(read_frame::<String>(&mut stream, 64).await, Err(ReadFrameError::Closed)));
    }

    #[tokio::test]
    async fn a_frame_over_its_limit_is_refused_before_its_body_is_read() {
        let bytes = u32::MAX.to_le_bytes();
        let outcome = read_frame::<String>(&mut bytes.as_slice(), 64).await;
        assert!(matches!(outcome, Err(ReadFrameError::TooLong { limit: 64, .. })));
    }

    #[tokio::test]
    async fn a_truncated_frame_is_a_broken_stream() {
        let bytes = frame(&"a long enough text");
        for cut in 1..bytes.len() {
            let outcome = read_frame::<String>(&mut &bytes[..cut], 64).await;
            assert!(matches!(outcome, Err(ReadFrameError::Stream(_))), "cut at {cut}");
        }
    }
}
