//! Values to bytes and back: the one file that names bincode.
//!
//! Fixed little-endian integers of variable length, no type information, so both sides must agree on the version
//! (the ALPN carries it, see [`crate::wire`]). Decoding is bounded twice: by the bytes given, and by a limit on what
//! a length prefix may ask to allocate.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Most memory that one decoded value may claim, in bytes: the largest frame, with room for its in-memory form.
const DECODE_LIMIT: usize = 8 * 1024 * 1024;

/// Why bytes are not a value.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The bytes are not an encoding of the expected type.
    #[error("the bytes do not decode: {0}")]
    Malformed(String),
    /// The value ended before the bytes did.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT>()
}

/// Encodes `value`.
///
/// # Panics
/// If the type's own `Serialize` fails, which none of ours does.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).expect("our types always serialize")
}

/// How many bytes [`encode`] makes of `value`, without making them.
///
/// # Panics
/// As [`encode`].
pub fn size<T: Serialize>(value: &T) -> usize {
    let mut counter = bincode::enc::write::SizeWriter::default();
    bincode::serde::encode_into_writer(value, &mut counter, bincode::config::standard())
        .expect("our types always serialize");
    counter.bytes_written
}

/// Decodes exactly one `T` from `bytes`.
///
/// # Errors
/// If they are not an encoding of `T`, or go on after it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config())
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(value),
        rest => Err(DecodeError::Trailing(rest)),
    }
}

/// Decodes what a value begins with, without looking at the rest: a tuple of the plain types of its first fields. An id is copied at
/// once, where [`decode`] goes byte by byte.
///
/// # Errors
/// If the bytes do not begin with that.
pub fn peek<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    bincode::decode_from_slice(bytes, config())
        .map(|(value, _)| value)
        .map_err(|error| DecodeError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::LinkMessage;

    #[test]
    fn a_length_that_lies_costs_no_memory() {
        // A sequence that claims 2^60 strings in 10 bytes.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(matches!(decode::<Vec<String>>(&bytes), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn bytes_after_the_value_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(DecodeError::Trailing(1))));
    }

    #[test]
    fn what_a_value_begins_with_is_seen_without_the_rest() {
        let id = crate::NodeId([7; 32]);
        let bytes = encode(&(id, crate::UnixMillis(1 << 40), vec!["the rest"; 9]));
        assert_eq!(peek::<([u8; 32], u64)>(&bytes).unwrap(), (id.0, 1 << 40));
        assert!(matches!(peek::<([u8; 32], u64)>(&bytes[..33]), Err(DecodeError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode::<LinkMessage>(&bytes);
        }
    }
}
