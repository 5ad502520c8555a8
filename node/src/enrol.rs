//! The enrolment conversation, both ends of it: a newcomer asks, the authority answers.
//!
//! One frame each way over a stream that somebody else opened, inside TLS that has proved to the newcomer that it
//! speaks to the authority of its ticket. The newcomer still checks all that it is given against the ticket's root
//! key: what it keeps is a membership that works, or nothing.

pub mod saved;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use nearmesh_common::{
    Now, UnixMillis, UserName,
    frame::{MAX_LINK_FRAME, MAX_OPEN_FRAME, ReadFrameError, read_frame, write_frame},
    identity::{CertificateError, CrlError, Membership, MembershipError, NodeKey, Ticket},
    presence::MAX_ADDRESSES,
    wire::{
        NodeAddress,
        enrol::{EnrolRefusal, EnrolReply, EnrolRequest, Enrolled},
        home::MAX_SUPERNODE_LIST,
    },
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::authority::{Authority, EnrolFault, Welcome};

/// How long either end waits for the whole conversation (guess: a disk that is busy, a path that loses packets).
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// Who wants to join.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// With which ticket.
    pub ticket: Ticket,
    /// With which node.
    pub key: NodeKey,
    /// Under which name.
    pub user: UserName,
}

/// A member, and how to find the authority again.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who we are.
    pub membership: Membership,
    /// The authority's node.
    pub authority: NodeAddress,
    /// Its user.
    pub authority_user: UserName,
}

/// A new member.
#[derive(Clone, Debug)]
pub struct Joined {
    /// To be kept.
    pub member: Member,
    /// Supernodes to begin with.
    pub supernodes: Vec<NodeAddress>,
}

/// Who calls at the authority.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Where its packets come from.
    pub source: IpAddr,
    /// When it called.
    pub now: Now,
}

/// Why somebody did not become a member.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// The ticket names somebody else; nobody was asked.
    #[error("the ticket is for {0}")]
    OtherName(UserName),
    /// The ticket's end has come; nobody was asked.
    #[error("the ticket has expired: ask for a new one")]
    Expired,
    /// The authority said no.
    #[error("{}", reason(*.0))]
    Refused(EnrolRefusal),
    /// The authority said nothing in time.
    #[error("the authority did not answer within {} seconds", TIME_LIMIT.as_secs())]
    NoAnswer,
    /// The connection failed, or what came was no answer.
    #[error("the authority's answer did not arrive: {0}")]
    Broken(#[from] ReadFrameError),
    /// What came does not make a member of the ticket's net.
    #[error("the authority's answer does not hold: {0}")]
    Unsound(#[from] UnsoundReply),
}

/// What is wrong with an answer that welcomes.
#[derive(Debug, Error)]
pub enum UnsoundReply {
    /// The root is not the ticket's.
    #[error("it leads into another net than the ticket")]
    OtherNet,
    /// The certificate is for somebody else.
    #[error("its certificate is for {0}")]
    OtherUser(UserName),
    /// A list beyond its bound, or another authority.
    #[error("its addresses are out of bounds")]
    Addresses,
    /// Certificates and key do not fit.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The revocation list.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// We are on the revocation list.
    #[error("its certificate: {0}")]
    Certificate(#[from] CertificateError),
}

/// Why a caller got no answer.
#[derive(Debug, Error)]
pub enum ServeError {
    /// It said nothing, or did not listen, for too long.
    #[error("the newcomer was silent for {} seconds", TIME_LIMIT.as_secs())]
    Silent,
    /// It sent no request.
    #[error("the newcomer's request did not arrive: {0}")]
    Broken(#[from] ReadFrameError),
    /// This node is being shut down.
    #[error("the node is stopping")]
    Stopping,
    /// The authority failed.
    #[error(transparent)]
    Fault(#[from] EnrolFault),
}

impl Member {
    /// The first member of a net: its own authority.
    pub fn founder(membership: Membership) -> Self {
        let authority = NodeAddress { node: membership.node(), addresses: Vec::new() };
        Self { authority, authority_user: membership.user().clone(), membership }
    }
}

/// Asks the authority at the other end to be admitted, and checks what it answers at the time `wall`.
///
/// # Errors
/// As [`EnrolError`] tells. A ticket is not lost by a lost answer: ask again with the same key.
pub async fn request(
    send: &mut (impl AsyncWrite + Unpin),
    receive: &mut (impl AsyncRead + Unpin),
    applicant: Applicant,
    wall: UnixMillis,
) -> Result<Joined, EnrolError> {
    let Applicant { ticket, key, user } = &applicant;
    if let Some(invited) = ticket.user.as_ref().filter(|invited| *invited != user) {
        return Err(EnrolError::OtherName(invited.clone()));
    }
    if ticket.expires <= wall {
        return Err(EnrolError::Expired);
    }
    let secret = ticket.secret.map(|secret| secret.0.into()).unwrap_or_default();
    let request = EnrolRequest { csr: key.certificate_request(), secret, user: user.clone() };
    let reply = timeout(TIME_LIMIT, exchange(send, receive, &request)).await;
    match reply.map_err(|_| EnrolError::NoAnswer)?? {
        EnrolReply::Refused(refusal) => Err(EnrolError::Refused(refusal)),
        EnrolReply::Enrolled(enrolled) => Ok(accept(applicant, enrolled, wall)?),
    }
}

/// Answers one newcomer, and says what was answered. The connection must live on until the newcomer closes it.
///
/// # Errors
/// As [`ServeError`] tells.
pub async fn serve(
    send: &mut (impl AsyncWrite + Unpin),
    receive: &mut (impl AsyncRead + Unpin),
    authority: Arc<Authority>,
    caller: Caller,
    welcome: Welcome,
) -> Result<EnrolReply, ServeError> {
    let request = timeout(TIME_LIMIT, read_frame::<EnrolRequest>(receive, MAX_OPEN_FRAME));
    let request = request.await.map_err(|_| ServeError::Silent)??;
    let deciding =
        tokio::task::spawn_blocking(move || authority.enrol(&request, caller.source, &welcome, caller.now));
    let reply = deciding.await.map_err(|_| ServeError::Stopping)??;
    let answering = timeout(TIME_LIMIT, finish(send, &reply));
    answering.await.map_err(|_| ServeError::Silent)?.map_err(ReadFrameError::from)?;
    Ok(reply)
}

async fn exchange(
    send: &mut (impl AsyncWrite + Unpin),
    receive: &mut (impl AsyncRead + Unpin),
    request: &EnrolRequest,
) -> Result<EnrolReply, ReadFrameError> {
    finish(send, request).await?;
    read_frame(receive, MAX_LINK_FRAME).await
}

async fn finish(
    send: &mut (impl AsyncWrite + Unpin),
    message: &impl serde::Serialize,
) -> std::io::Result<()> {
    write_frame(send, message).await?;
    send.shutdown().await
}

fn accept(applicant: Applicant, enrolled: Enrolled, wall: UnixMillis) -> Result<Joined, UnsoundReply> {
    let Applicant { ticket, key, user } = applicant;
    let mut membership = Membership::assemble(&enrolled.root, &enrolled.certificate, key, wall)?;
    if membership.trust().root() != ticket.root || *membership.net() != ticket.net {
        return Err(UnsoundReply::OtherNet);
    }
    if *membership.user() != user {
        return Err(UnsoundReply::OtherUser(membership.user().clone()));
    }
    let fits = |address: &NodeAddress| address.addresses.len() <= MAX_ADDRESSES;
    let all_fit = fits(&enrolled.authority)
        && enrolled.supernodes.len() <= MAX_SUPERNODE_LIST
        && enrolled.supernodes.iter().all(fits);
    if !all_fit || enrolled.authority.node != ticket.authority.node {
        return Err(UnsoundReply::Addresses);
    }
    if !enrolled.crl.is_empty() {
        membership.adopt_crl(&enrolled.crl)?;
        membership.trust().identify(membership.certificate(), membership.crl(), wall)?;
    }
    let member =
        Member { membership, authority: enrolled.authority, authority_user: enrolled.authority_user };
    Ok(Joined { member, supernodes: enrolled.supernodes })
}

/// A refusal, as a person reads it.
pub fn reason(refusal: EnrolRefusal) -> &'static str {
    match refusal {
        EnrolRefusal::UnknownTicket => "the authority does not know this ticket: ask for a new one",
        EnrolRefusal::UsedTicket => "the ticket was used already: ask for a new one",
        EnrolRefusal::ExpiredTicket => "the ticket has expired: ask for a new one",
        EnrolRefusal::NameTaken => "the name belongs to somebody else: choose another",
        EnrolRefusal::OtherName => "the ticket is for another name",
        EnrolRefusal::BadRequest => {
            "the authority does not understand this node: are both of the same version?"
        }
        EnrolRefusal::RateLimited => "too many are joining: try again in a minute",
        EnrolRefusal::AlreadyMember => "this node is a member of the net already",
    }
}
