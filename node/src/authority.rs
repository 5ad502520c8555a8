//! The authority: the one node of a net that admits and revokes.
//!
//! It holds the root key and the books. Nobody else needs it once they have joined; whoever can read its directory
//! *is* the net, so the directory is its owner's alone.
//!
//! [`admission`] decides, `store` remembers, and this module lets an answer go out only after what it says is on
//! disk.

pub mod admission;
mod error;
mod rate;
mod store;

#[cfg(test)]
mod tests;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nearmesh_common::{
    NetName, NodeId, Now, UnixMillis, UserName,
    identity::{Issued, MAX_TICKET_ADDRESSES, Membership, NetRoot, NodeKey, Ticket, TicketSecret},
    presence::MAX_ADDRESSES,
    wire::{
        NodeAddress,
        enrol::{EnrolRefusal, EnrolReply, EnrolRequest, Enrolled},
        home::{MAX_NODES_PER_USER, MAX_SUPERNODE_LIST},
    },
};

use crate::durable;
pub use admission::Policy;
use admission::{Decision, MemberEntry, TicketEntry, Wish, decide};
pub use error::{AuthorityError, EnrolFault, InviteError, RevokeError};
use rate::RequestRate;
pub use store::BooksError;
use store::{Books, Charter, CurrentCrl, Page};

/// How long a ticket is good, unless its maker says otherwise (guess: somebody who is invited answers within a week).
pub const TICKET_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long an ended ticket is remembered, so that it is called expired or used, not unknown.
const TICKET_MEMORY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of a ticket's secret.
const SECRET_BYTES: usize = 16;

/// The authority of one net. Calls may block on the disk.
pub struct Authority {
    root: NetRoot,
    charter: Charter,
    books: Books,
    rate: Mutex<RequestRate>,
}

/// What a new member is told beside its certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// Where the authority's node is reached.
    pub addresses: Vec<SocketAddr>,
    /// Supernodes to begin with.
    pub supernodes: Vec<NodeAddress>,
}

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which nodes are no longer members.
    pub nodes: Vec<NodeId>,
    /// The list that says so, DER.
    pub crl: Box<[u8]>,
}

impl Authority {
    /// Makes a net in the new directory `dir`, whose first member is this node's `user`.
    ///
    /// # Errors
    /// As [`AuthorityError`] tells. Whatever fails, `dir` is there completely or not at all.
    pub fn create(
        dir: &Path,
        net: NetName,
        policy: Policy,
        user: UserName,
        key: NodeKey,
        wall: UnixMillis,
    ) -> Result<(Self, Membership), AuthorityError> {
        if dir.exists() {
            return Err(AuthorityError::Exists(dir.to_owned()));
        }
        let unfinished = durable::begin_dir(dir)?;
        let root = NetRoot::create(net, wall)?;
        root.save_key(&root_key(&unfinished))?;
        durable::write_new(&root_certificate(&unfinished), root.certificate())?;
        let charter = Charter { policy, authority: key.node_id(), user };
        let books = Books::create(&books_file(&unfinished), &charter)?;
        let issued = root.issue(&key.certificate_request(), &charter.user, wall)?;
        let membership = Membership::assemble(root.certificate(), &issued.certificate, key, wall)?;
        books.write(|page| enter(page, &issued, &charter.user, &[], wall))?;
        drop(books);
        durable::finish_dir(&unfinished, dir)?;
        Ok((Self::open(dir)?, membership))
    }

    /// The authority whose directory is `dir`. There can be one at a time.
    ///
    /// # Errors
    /// As [`AuthorityError`] tells.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let certificate = fs::read(root_certificate(dir))?;
        let root = NetRoot::load(&root_key(dir), &certificate)?;
        let (books, charter) = Books::open(&books_file(dir))?;
        Ok(Self { root, charter, books, rate: Mutex::default() })
    }

    /// How this net admits.
    pub fn policy(&self) -> Policy {
        self.charter.policy
    }

    /// The newest revocation list (DER); none if nobody was ever revoked.
    ///
    /// # Errors
    /// If the books cannot be read.
    pub fn crl(&self) -> Result<Option<Box<[u8]>>, BooksError> {
        let crl = self.books.crl()?;
        Ok((crl.number > 0).then_some(crl.der))
    }

    /// A ticket for one node of `user`, or for whoever has it if that is `None`. In an open net the latter has no
    /// secret and can be given to many. Of `addresses`, where this node is reached, the first
    /// [`MAX_TICKET_ADDRESSES`] are on it.
    ///
    /// # Errors
    /// As [`InviteError`] tells.
    pub fn invite(
        &self,
        user: Option<UserName>,
        lifetime: Duration,
        addresses: &[SocketAddr],
        wall: UnixMillis,
    ) -> Result<Ticket, InviteError> {
        let expires = wall.after(lifetime);
        let secret = match (&user, self.charter.policy) {
            (None, Policy::Open) => None,
            _ => Some(self.record_ticket(TicketEntry { user: user.clone(), expires, used_by: None }, wall)?),
        };
        let trust = self.root.trust();
        let addresses = addresses.iter().copied().take(MAX_TICKET_ADDRESSES).collect();
        Ok(Ticket {
            net: trust.net().clone(),
            root: trust.root(),
            authority: NodeAddress { node: self.charter.authority, addresses },
            user,
            secret,
            expires,
        })
    }

    /// Answers a newcomer whose packets come from `source`. A positive answer is on disk before it is returned.
    ///
    /// # Errors
    /// As [`EnrolFault`] tells.
    pub fn enrol(
        &self,
        request: &EnrolRequest,
        source: IpAddr,
        welcome: &Welcome,
        now: Now,
    ) -> Result<EnrolReply, EnrolFault> {
        let member = match self.admit(request, source, now)? {
            Ok(member) => member,
            Err(refusal) => return Ok(EnrolReply::Refused(refusal)),
        };
        Ok(EnrolReply::Enrolled(Enrolled {
            root: self.root.certificate().into(),
            certificate: member.certificate,
            crl: self.books.crl()?.der,
            authority: NodeAddress {
                node: self.charter.authority,
                addresses: welcome.addresses.iter().copied().take(MAX_ADDRESSES).collect(),
            },
            authority_user: self.charter.user.clone(),
            supernodes: welcome.supernodes.iter().take(MAX_SUPERNODE_LIST).cloned().collect(),
        }))
    }

    /// Expels all nodes of `user` and withdraws the invitations to that name. The name stays reserved; a new
    /// invitation can give it again.
    ///
    /// # Errors
    /// As [`RevokeError`] tells.
    pub fn revoke(&self, user: &UserName, wall: UnixMillis) -> Result<Revocation, RevokeError> {
        if *user == self.charter.user {
            return Err(RevokeError::Authority(user.clone()));
        }
        self.books.write(|page| {
            let members = page.nodes_of(user)?;
            let withdrawn = page.withdraw_tickets(user)?;
            if members.is_empty() && withdrawn == 0 {
                return Err(RevokeError::Unknown(user.clone()));
            }
            for (node, member) in &members {
                page.expel(*node, member.serial, wall)?;
            }
            let number = page.crl_number()? + 1;
            let crl = self.root.revoke(&page.revoked()?, number, wall)?;
            page.set_crl(&CurrentCrl { number, der: crl.clone() })?;
            Ok(Revocation { nodes: members.into_iter().map(|(node, _)| node).collect(), crl })
        })
    }

    fn record_ticket(&self, ticket: TicketEntry, wall: UnixMillis) -> Result<TicketSecret, InviteError> {
        let secret = TicketSecret(rand::random());
        self.books.write(|page| {
            if let Some(user) = &ticket.user
                && page.nodes_of(user)?.len() + page.open_tickets(user, wall)? >= MAX_NODES_PER_USER
            {
                return Err(InviteError::TooManyNodes(user.clone()));
            }
            page.forget_tickets(before(wall, TICKET_MEMORY))?;
            page.add_ticket(&secret, &ticket)?;
            Ok(secret)
        })
    }

    fn admit(
        &self,
        request: &EnrolRequest,
        source: IpAddr,
        now: Now,
    ) -> Result<Result<MemberEntry, EnrolRefusal>, EnrolFault> {
        if ![0, SECRET_BYTES].contains(&request.secret.len()) {
            return Ok(Err(EnrolRefusal::BadRequest));
        }
        let open = request.secret.is_empty() && self.charter.policy == Policy::Open;
        if open && !self.rate.lock().unwrap_or_else(PoisonError::into_inner).allow(source, now.instant) {
            return Ok(Err(EnrolRefusal::RateLimited));
        }
        let Ok(node) = NetRoot::requester(&request.csr) else {
            return Ok(Err(EnrolRefusal::BadRequest));
        };
        self.books.write(|page| {
            let grounds = page.grounds(&request.secret)?;
            let facts = page.facts(self.charter.policy, node, &request.user, now.wall)?;
            let wish = Wish { node, user: &request.user, grounds: &grounds };
            match decide(wish, facts, now.wall) {
                Decision::Refuse(refusal) => Ok(Err(refusal)),
                Decision::Repeat(member) => Ok(Ok(member)),
                Decision::Admit => {
                    let issued = self.root.issue(&request.csr, &request.user, now.wall)?;
                    Ok(Ok(enter(page, &issued, &request.user, &request.secret, now.wall)?))
                }
            }
        })
    }
}

/// Enters a new member in the books.
fn enter(
    page: &mut Page<'_>,
    issued: &Issued,
    user: &UserName,
    secret: &[u8],
    wall: UnixMillis,
) -> Result<MemberEntry, BooksError> {
    let member = MemberEntry {
        user: user.clone(),
        serial: issued.serial,
        certificate: issued.certificate.clone(),
        since: wall,
    };
    page.admit(issued.node, &member, secret)?;
    Ok(member)
}

fn before(wall: UnixMillis, by: Duration) -> UnixMillis {
    UnixMillis(wall.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

fn root_key(dir: &Path) -> PathBuf {
    dir.join("root.key")
}

fn root_certificate(dir: &Path) -> PathBuf {
    dir.join("root.crt")
}

fn books_file(dir: &Path) -> PathBuf {
    dir.join("books.redb")
}
