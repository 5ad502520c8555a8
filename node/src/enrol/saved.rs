//! A membership on disk: the directory `membership` of a profile.
//!
//! | file | holds |
//! |---|---|
//! | `node.key` | the node's key, PKCS #8 PEM, mode 0600 |
//! | `node.crt` | its certificate, DER |
//! | `root.crt` | the net's root certificate, DER |
//! | `authority.toml` | where and who the authority is |
//! | `revoked.crl` | the newest revocation list, DER; absent while nobody was revoked |
//!
//! It appears as a whole and is never overwritten; only the revocation list is replaced by newer ones.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use nearmesh_common::{
    UnixMillis, UserName,
    identity::{Crl, CrlError, LoadKeyError, Membership, MembershipError, NodeKey},
    wire::NodeAddress,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Member;
use crate::durable;

/// Why a membership was not saved.
#[derive(Debug, Error)]
pub enum SaveError {
    /// There is one already, and its key would be lost.
    #[error("{0} holds a membership already: use another profile")]
    Exists(PathBuf),
    /// The disk.
    #[error("the membership cannot be written: {0}")]
    File(#[from] io::Error),
}

/// Why a membership cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// There is none.
    #[error("{0} holds no membership: create a net or join one")]
    Absent(PathBuf),
    /// A file of it.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// The key.
    #[error("the node's key (node.key) is unusable: {0}")]
    Key(#[from] LoadKeyError),
    /// The certificates.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// Where the authority is.
    #[error("authority.toml is unusable: {0}")]
    Authority(String),
    /// The revocation list.
    #[error("revoked.crl is unusable: {0}")]
    Crl(#[from] CrlError),
}

#[derive(Serialize, Deserialize)]
struct AuthorityFile {
    node: String,
    user: UserName,
    addresses: Vec<SocketAddr>,
}

/// Writes a membership to the new directory `dir`.
///
/// # Errors
/// As [`SaveError`] tells. Whatever fails, `dir` is there completely or not at all.
pub fn save(dir: &Path, member: &Member) -> Result<(), SaveError> {
    if dir.exists() {
        return Err(SaveError::Exists(dir.to_owned()));
    }
    let unfinished = durable::begin_dir(dir)?;
    let membership = &member.membership;
    membership.key().save(&unfinished.join("node.key"))?;
    durable::write_new(&unfinished.join("node.crt"), membership.certificate())?;
    durable::write_new(&unfinished.join("root.crt"), membership.root())?;
    let authority = AuthorityFile {
        node: member.authority.node.to_string(),
        user: member.authority_user.clone(),
        addresses: member.authority.addresses.clone(),
    };
    let text = toml::to_string(&authority).map_err(io::Error::other)?;
    durable::write_new(&unfinished.join("authority.toml"), text.as_bytes())?;
    if let Some(crl) = membership.crl() {
        durable::write_new(&unfinished.join("revoked.crl"), crl.der())?;
    }
    durable::finish_dir(&unfinished, dir)?;
    Ok(())
}

/// Replaces the revocation list of the membership in `dir`.
///
/// # Errors
/// If it cannot be written; the former one is then still there.
pub fn save_crl(dir: &Path, crl: &Crl) -> io::Result<()> {
    durable::replace(&dir.join("revoked.crl"), crl.der())
}

/// Reads the membership in `dir` and checks it at the time `wall`.
///
/// # Errors
/// As [`LoadError`] tells.
pub fn load(dir: &Path, wall: UnixMillis) -> Result<Member, LoadError> {
    if !dir.exists() {
        return Err(LoadError::Absent(dir.to_owned()));
    }
    let key = NodeKey::load(&dir.join("node.key"))?;
    let (root, certificate) = (read(dir, "root.crt")?, read(dir, "node.crt")?);
    let mut membership = Membership::assemble(&root, &certificate, key, wall)?;
    if dir.join("revoked.crl").exists() {
        membership.adopt_crl(&read(dir, "revoked.crl")?)?;
    }
    let text = read(dir, "authority.toml")?;
    let unusable = |error: &dyn std::fmt::Display| LoadError::Authority(error.to_string());
    let file: AuthorityFile = toml::from_slice(&text).map_err(|error| unusable(&error))?;
    let node = file.node.parse().map_err(|error| unusable(&error))?;
    let authority = NodeAddress { node, addresses: file.addresses };
    Ok(Member { membership, authority, authority_user: file.user })
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, LoadError> {
    let path = dir.join(name);
    fs::read(&path).map_err(|error| LoadError::File { path, error })
}
