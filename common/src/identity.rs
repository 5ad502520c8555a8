//! Who is who in a net: keys, certificates, revocation, tickets, and the TLS that follows from them.
//!
//! A net is its root key. The root signs one certificate for each node, for the node's own key, which says
//! `user@net` (rfc822Name) and `<node id>.nearmesh` (dNSName). So three questions have one answer, a certificate
//! path that rustls' own verifiers walk: is this a member, which user is it, and is it the node that I dialled.
//!
//! - [`NodeKey`]: the key of a node, in a file that only its owner can read.
//! - [`NetRoot`]: the authority's side: issues and revokes.
//! - [`NetTrust`]: everybody's side: what a net's name and root key prove about a certificate. A [`Ticket`] holds
//!   both, so that a newcomer knows its net before it has spoken to anybody.
//! - [`Membership`]: all that one member holds; [`MemberKeyring`] is its live form, whose revocation list moves on.
//!
//! Invariant: no certificate, list or signature is believed before it was checked against the root key.

mod certificate;
mod crl;
mod key;
mod keyring;
mod membership;
mod root;
mod ticket;
mod tls;
mod trust;

#[cfg(test)]
mod tests;

pub use certificate::{CertificateError, peer_identity};
pub use crl::{Crl, CrlError};
pub use key::{LoadKeyError, NodeKey, ParseKeyError};
pub use keyring::MemberKeyring;
pub use membership::{Membership, MembershipError};
pub use root::{
    IssueError, Issued, LEAF_LIFETIME, MAX_REQUEST_BYTES, MAX_REVOKED, NetRoot, ROOT_LIFETIME, Serial,
};
pub use ticket::{MAX_TICKET_ADDRESSES, MAX_TICKET_CHARS, ParseTicketError, Ticket, TicketSecret};
pub use tls::{TlsError, enrol_client_config};
pub use trust::{NetTrust, RootKey};
