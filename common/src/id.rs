//! Identifiers: a node is its public key, content is its hash.

use std::{cmp::Ordering, fmt, str::FromStr};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A node: its Ed25519 public key.
///
/// Written as 52 characters of lower-case base32 (RFC 4648, no padding), so that it fits one DNS label (63).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 32]);

/// Content: the BLAKE3 root hash of its bytes. Written as 64 characters of lower-case hex, as `b3sum` does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);

/// Why a text is not an id.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseIdError {
    /// Wrong number of characters.
    #[error("it has {found} characters and an id has {expected}")]
    Length {
        /// How many an id of this kind has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A character outside the alphabet.
    #[error("it has a character that no id has")]
    Alphabet,
}

const NODE_ID_CHARS: usize = 52;
const HASH_CHARS: usize = 64;

impl NodeId {
    /// The first 8 characters: enough for a log or a table, never for a decision.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// The name under which rustls verifies this node: `<id>.nearmesh`.
    pub fn dns_name(&self) -> String {
        format!("{self}.nearmesh")
    }
}

impl Ord for NodeId {
    /// By the bytes. Ids are random: nearly always the first eight decide, and comparing those as one number is what the tables of a supernode
    /// spend a tenth of their time on otherwise.
    fn cmp(&self, other: &Self) -> Ordering {
        let first = |id: &Self| u64::from_be_bytes(std::array::from_fn(|index| id.0[index]));
        first(self).cmp(&first(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ContentHash {
    /// The first 12 characters: enough for a table, never for a decision.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        check_length(text, NODE_ID_CHARS)?;
        let bytes =
            BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| ParseIdError::Alphabet)?;
        bytes.try_into().map(Self).map_err(|_| ParseIdError::Alphabet)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for ContentHash {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        check_length(text, HASH_CHARS)?;
        let bytes =
            HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).map_err(|_| ParseIdError::Alphabet)?;
        bytes.try_into().map(Self).map_err(|_| ParseIdError::Alphabet)
    }
}

fn check_length(text: &str, expected: usize) -> Result<(), ParseIdError> {
    let found = text.chars().count();
    if found == expected { Ok(()) } else { Err(ParseIdError::Length { expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let node = NodeId([0xa7; 32]);
        assert_eq!(node.to_string().parse(), Ok(node));
        assert!(node.to_string().len() <= 63, "an id is one DNS label");
        let hash = ContentHash([0x1b; 32]);
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
    }

    #[test]
    fn ids_are_in_the_order_of_their_bytes() {
        let id = |at: usize, byte: u8| {
            let mut id = [7; 32];
            id[at] = byte;
            NodeId(id)
        };
        for at in [0, 6, 7, 8, 9, 31] {
            assert!(id(at, 6) < id(at, 7) && id(at, 7) < id(at, 200), "byte {at}");
        }
        assert!(id(0, 8) > id(1, 200) && id(7, 8) > id(8, 200));
        assert_eq!(id(3, 9).cmp(&id(3, 9)), Ordering::Equal);
    }

    #[test]
    fn a_text_that_is_no_id_is_refused_with_the_reason() {
        assert_eq!("abc".parse::<ContentHash>(), Err(ParseIdError::Length { expected: 64, found: 3 }));
        assert_eq!("!".repeat(52).parse::<NodeId>(), Err(ParseIdError::Alphabet));
        assert_eq!("é".repeat(64).parse::<ContentHash>(), Err(ParseIdError::Alphabet));
    }
}
