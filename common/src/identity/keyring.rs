//! The keyring of a running member: signs as its node, checks what others signed.
//!
//! A certificate path costs two signature checks (certificate and revocation list) and comes back with every record
//! of the same signer, so its outcome is remembered until the list changes. The record's own signature is always
//! checked.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    certificate::{CertificateError, Claim},
    crl::CrlError,
    key::PublicKey,
    membership::Membership,
};
use crate::{
    NodeId, UnixMillis, UserName,
    signed::{Keyring, Signer, VerifyError},
};

/// Most certificates whose check is remembered (guess: the users that one supernode hears of; about 1 MiB).
const MAX_REMEMBERED: usize = 4096;

/// A membership in use, to be shared behind an `Arc`.
#[derive(Debug)]
pub struct MemberKeyring {
    node: NodeId,
    user: UserName,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    membership: Membership,
    /// By the hash of the certificate. Only what was verified against the present list.
    verified: BTreeMap<[u8; 32], Claim>,
}

impl MemberKeyring {
    /// The keyring of this member.
    pub fn new(membership: Membership) -> Self {
        let (node, user) = (membership.node(), membership.user().clone());
        Self { node, user, state: RwLock::new(State { membership, verified: BTreeMap::new() }) }
    }

    /// The membership as it is now, with the newest revocation list: for TLS, and for the disk.
    pub fn membership(&self) -> Membership {
        self.read().membership.clone()
    }

    /// Takes a revocation list (DER), if it is this net's and newer than the present one. Says whether it was: then
    /// the TLS configurations are to be made anew, and peers to be looked at again with [`Self::identify`].
    ///
    /// # Errors
    /// If it is not a list of this net.
    pub fn adopt_crl(&self, der: &[u8]) -> Result<bool, CrlError> {
        // Parsed on a copy: a list of half a megabyte must not stop everybody who checks a record.
        let mut candidate = self.membership();
        if !candidate.adopt_crl(der)? {
            return Ok(false);
        }
        let mut state = self.write();
        let numbers = [&candidate, &state.membership].map(|holder| holder.crl().map(|crl| crl.number()));
        let newer = numbers[0] > numbers[1];
        if newer {
            *state = State { membership: candidate, verified: BTreeMap::new() };
        }
        Ok(newer)
    }

    /// Which member `certificate` (DER) belongs to, if it holds at `wall` and is not revoked.
    ///
    /// # Errors
    /// As [`CertificateError`] tells.
    pub fn identify(&self, certificate: &[u8], wall: UnixMillis) -> Result<Signer, CertificateError> {
        let hash: [u8; 32] = blake3::hash(certificate).into();
        let known = self.read().verified.get(&hash).cloned();
        let claim = match known {
            Some(claim) if claim.holds_at(wall) => claim,
            Some(_) => return Err(CertificateError::Expired),
            None => self.verify(hash, certificate, wall)?,
        };
        Ok(Signer { node: claim.node, user: claim.address.user })
    }

    fn verify(
        &self,
        hash: [u8; 32],
        certificate: &[u8],
        wall: UnixMillis,
    ) -> Result<Claim, CertificateError> {
        let (trust, crl) = {
            let state = self.read();
            (state.membership.trust().clone(), state.membership.crl().cloned())
        };
        let claim = trust.verify(certificate, crl.as_ref(), wall)?;
        let mut state = self.write();
        // A newer list came in between: this outcome may be wrong already, so it is used once and not kept.
        if state.membership.crl().map(|crl| crl.number()) == crl.map(|crl| crl.number()) {
            if state.verified.len() >= MAX_REMEMBERED {
                state.verified.clear();
            }
            state.verified.insert(hash, claim.clone());
        }
        Ok(claim)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keyring for MemberKeyring {
    fn node(&self) -> NodeId {
        self.node
    }

    fn user(&self) -> &UserName {
        &self.user
    }

    fn sign(&self, message: &[u8]) -> (Box<[u8]>, Box<[u8]>) {
        let state = self.read();
        (state.membership.certificate().into(), state.membership.key().sign(message))
    }

    fn check(
        &self,
        message: &[u8],
        certificate: &[u8],
        signature: &[u8],
        wall: UnixMillis,
    ) -> Result<Signer, VerifyError> {
        let signer =
            self.identify(certificate, wall).map_err(|error| VerifyError::Certificate(error.to_string()))?;
        match PublicKey(signer.node.0).signed(message, signature) {
            true => Ok(signer),
            false => Err(VerifyError::Signature),
        }
    }
}
