//! The ticket: one line of text that leads a newcomer into the right net.
//!
//! `nearmesh1`, then lower-case base32 of the encoded fields and a checksum. The digit is the version. The ticket
//! carries the net's root key, so that whoever answers at its addresses is the net's authority or is refused.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::trust::{NetTrust, RootKey};
use crate::{NetName, UnixMillis, UserName, codec, wire::NodeAddress};

/// Longest ticket, in characters. One with every field at its longest takes about 560.
pub const MAX_TICKET_CHARS: usize = 1024;
/// Most addresses in a ticket (guess: v4 and v6 of four interfaces). A line to paste should stay short.
pub const MAX_TICKET_ADDRESSES: usize = 8;
const PREFIX: &str = "nearmesh";
const VERSION: char = '1';
/// Bytes of checksum: a wrong ticket passes once in four thousand million times.
const CHECKSUM: usize = 4;

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Into which net.
    pub net: NetName,
    /// Its root key.
    pub root: RootKey,
    /// Whom to ask for a certificate; at most [`MAX_TICKET_ADDRESSES`].
    pub authority: NodeAddress,
    /// Who is invited, if the authority chose.
    pub user: Option<UserName>,
    /// Proves that the authority made it. None in an open net, where nobody has to.
    pub secret: Option<TicketSecret>,
    /// After this it is worth nothing.
    pub expires: UnixMillis,
}

/// The one-time secret of a ticket. Never printed, except inside its ticket.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketSecret(pub [u8; 16]);

/// Why a text is not a ticket.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseTicketError {
    /// It does not begin as one.
    #[error("it is not a ticket: a ticket begins with {PREFIX}{VERSION}")]
    NotATicket,
    /// It does, but its checksum is wrong.
    #[error("the ticket is damaged: some of it is missing or mistyped")]
    Damaged,
    /// Made by a later version of the program.
    #[error("the ticket is of a newer version: update nearmesh")]
    Newer,
    /// Longer than any ticket.
    #[error("it is too long for a ticket: that has at most {MAX_TICKET_CHARS} characters")]
    TooLong,
}

impl Ticket {
    /// The net that the ticket leads to, as a trust anchor.
    pub fn trust(&self) -> NetTrust {
        NetTrust::new(self.net.clone(), self.root)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = codec::encode(self);
        bytes.extend_from_slice(&checksum(&bytes));
        write!(f, "{PREFIX}{VERSION}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = ParseTicketError;

    fn from_str(text: &str) -> Result<Self, ParseTicketError> {
        use ParseTicketError::{Damaged, Newer, NotATicket, TooLong};
        let text = text.trim();
        if text.len() > MAX_TICKET_CHARS {
            return Err(TooLong);
        }
        let text = text.to_ascii_lowercase();
        let body = text.strip_prefix(PREFIX).ok_or(NotATicket)?;
        let body = match body.chars().next() {
            Some(VERSION) => &body[VERSION.len_utf8()..],
            Some('2'..='9') => return Err(Newer),
            _ => return Err(NotATicket),
        };
        let bytes = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| Damaged)?;
        let (fields, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Damaged)?;
        if *sum != checksum(fields) {
            return Err(Damaged);
        }
        let ticket: Self = codec::decode(fields).map_err(|_| Damaged)?;
        if ticket.authority.addresses.len() > MAX_TICKET_ADDRESSES { Err(Damaged) } else { Ok(ticket) }
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret")
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let hash = blake3::derive_key("nearmesh ticket 1", bytes);
    [hash[0], hash[1], hash[2], hash[3]]
}
