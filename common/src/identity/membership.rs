//! All that makes a machine a member: its key, its certificate, the net's root and the newest revocation list.

use thiserror::Error;

use super::{
    certificate::CertificateError,
    crl::{Crl, CrlError},
    key::NodeKey,
    trust::NetTrust,
};
use crate::{NetName, NodeId, UnixMillis, UserAddress, UserName};

/// One node's membership of one net.
#[derive(Clone, Debug)]
pub struct Membership {
    trust: NetTrust,
    root: Box<[u8]>,
    certificate: Box<[u8]>,
    user: UserName,
    key: NodeKey,
    crl: Option<Crl>,
}

/// Why the parts do not make a membership.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MembershipError {
    /// The root certificate.
    #[error("the net's root certificate is unusable: {0}")]
    Root(CertificateError),
    /// The node's own certificate.
    #[error("this node's certificate is unusable: {0}")]
    Certificate(CertificateError),
    /// A certificate for another key.
    #[error("this node's key and certificate do not belong together")]
    OtherKey,
}

impl Membership {
    /// Puts a membership together from the root certificate and the node's own (both DER) and its key, and checks that
    /// they fit at `wall`. That one was revoked is no error here: it shows when peers refuse.
    ///
    /// # Errors
    /// As [`MembershipError`] tells.
    pub fn assemble(
        root: &[u8],
        certificate: &[u8],
        key: NodeKey,
        wall: UnixMillis,
    ) -> Result<Self, MembershipError> {
        let trust = NetTrust::from_root(root).map_err(MembershipError::Root)?;
        let owner = trust.identify(certificate, None, wall).map_err(MembershipError::Certificate)?;
        if owner.node != key.node_id() {
            return Err(MembershipError::OtherKey);
        }
        Ok(Self {
            trust,
            root: root.into(),
            certificate: certificate.into(),
            user: owner.user,
            key,
            crl: None,
        })
    }

    /// Takes a revocation list (DER), if it is this net's and newer than the present one. Says whether it was.
    ///
    /// # Errors
    /// If it is not a list of this net.
    pub fn adopt_crl(&mut self, der: &[u8]) -> Result<bool, CrlError> {
        if self.crl.as_ref().is_some_and(|crl| crl.der() == der) {
            return Ok(false);
        }
        let crl = Crl::read(der, &self.trust)?;
        let newer = self.crl.as_ref().is_none_or(|present| crl.number() > present.number());
        if newer {
            self.crl = Some(crl);
        }
        Ok(newer)
    }

    /// The net.
    pub fn net(&self) -> &NetName {
        self.trust.net()
    }

    /// The user.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Both: `user@net`.
    pub fn address(&self) -> UserAddress {
        UserAddress { user: self.user.clone(), net: self.net().clone() }
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.key.node_id()
    }

    /// Its key.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The net's root certificate, DER.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The net's trust anchor.
    pub fn trust(&self) -> &NetTrust {
        &self.trust
    }

    /// The newest revocation list seen; none if nobody was ever revoked.
    pub fn crl(&self) -> Option<&Crl> {
        self.crl.as_ref()
    }
}
