//! Between a newcomer and the authority, before the newcomer has a certificate.
//!
//! One bidirectional stream, one frame each way. The newcomer knows the net's root key from its ticket, so it
//! speaks to this net's authority or to nobody.

use serde::{Deserialize, Serialize};

use super::NodeAddress;
use crate::UserName;

/// A newcomer's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// A PKCS #10 certificate request (DER): proves that the newcomer holds the key it names.
    pub csr: Box<[u8]>,
    /// The one-time secret of the ticket; empty for a ticket of an open net.
    pub secret: Box<[u8]>,
    /// The wished name; must be the ticket's, where the ticket names one.
    pub user: UserName,
}

/// The authority's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolReply {
    /// Welcome.
    Enrolled(Enrolled),
    /// No, and why.
    Refused(EnrolRefusal),
}

/// What a new member needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The net's root certificate, DER.
    pub root: Box<[u8]>,
    /// The member's certificate, DER.
    pub certificate: Box<[u8]>,
    /// The newest revocation list, DER; empty if nobody was ever revoked.
    pub crl: Box<[u8]>,
    /// The authority's node: where tickets are made.
    pub authority: NodeAddress,
    /// Its user, by whom it is found again when its address has changed.
    pub authority_user: UserName,
    /// Supernodes to begin with.
    pub supernodes: Vec<NodeAddress>,
}

/// Why somebody is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolRefusal {
    /// The authority never made this ticket.
    UnknownTicket,
    /// The ticket has admitted somebody already.
    UsedTicket,
    /// Its time is over.
    ExpiredTicket,
    /// The name belongs to another user.
    NameTaken,
    /// The ticket is for another name.
    OtherName,
    /// The certificate request does not hold.
    BadRequest,
    /// Too many newcomers at once: try again in a minute.
    RateLimited,
    /// This node is a member of the net already.
    AlreadyMember,
}
