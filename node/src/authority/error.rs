//! What can go wrong at the authority, one type for each operation.

use std::{io, path::PathBuf};

use nearmesh_common::{
    UserName,
    identity::{IssueError, LoadKeyError, MembershipError},
    wire::home::MAX_NODES_PER_USER,
};
use thiserror::Error;

use super::store::BooksError;

/// Why there is no authority to work with.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// There is one in that directory.
    #[error("{0} holds the authority of a net already")]
    Exists(PathBuf),
    /// Its directory.
    #[error(transparent)]
    File(#[from] io::Error),
    /// Its root key.
    #[error("the net's root key is unusable: {0}")]
    RootKey(#[from] LoadKeyError),
    /// Its first certificates.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Its books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// What it made for itself does not hold.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// Why no ticket was made.
#[derive(Debug, Error)]
pub enum InviteError {
    /// As many nodes as a user can have, those included who are invited and have not come yet.
    #[error("{0} has {MAX_NODES_PER_USER} nodes and open invitations already, and nobody can have more")]
    TooManyNodes(UserName),
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// Why a request has no answer: the fault is here, the newcomer may ask again.
#[derive(Debug, Error)]
pub enum EnrolFault {
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// Why nobody was revoked.
#[derive(Debug, Error)]
pub enum RevokeError {
    /// Nobody has the name.
    #[error("there is no {0} in this net, and no open invitation")]
    Unknown(UserName),
    /// The authority would cut itself off.
    #[error("{0} is the authority of this net and cannot be revoked")]
    Authority(UserName),
    /// No list could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
}
