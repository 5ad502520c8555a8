//! What a net's name and root key prove.
//!
//! A path to a root needs the root's subject and key, nothing else of its certificate. The subject follows from the
//! net's name, so a ticket that carries name and key is a full trust anchor.

use std::{fmt, time::Duration};

use data_encoding::HEXLOWER;
use rcgen::{Issuer, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, TrustAnchor, UnixTime},
};
use serde::{Deserialize, Serialize};
use webpki::{EndEntityCert, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    certificate::{CertificateError, Claim, malformed, read_claim, read_key},
    crl::Crl,
    key::PublicKey,
    root::root_params,
};
use crate::{NetName, UnixMillis, signed::Signer};

/// The public key of a net's root: what a net *is*, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RootKey(pub [u8; 32]);

/// The trust anchor of one net.
#[derive(Clone, Debug)]
pub struct NetTrust {
    net: NetName,
    root: RootKey,
    anchor: TrustAnchor<'static>,
}

impl NetTrust {
    /// The anchor of the net of this name and root key.
    ///
    /// # Panics
    /// Never: such an anchor can always be encoded.
    pub fn new(net: NetName, root: RootKey) -> Self {
        let params = root_params(&net);
        let issuer = Issuer::from_params(&params, Unsigned(root));
        let outline = params.signed_by(&PublicKey(root.0), &issuer).expect("a name and a key always encode");
        let anchor = webpki::anchor_from_trusted_cert(outline.der()).expect("rcgen writes what webpki reads");
        let anchor = anchor.to_owned();
        Self { net, root, anchor }
    }

    /// Reads the net's name and key from its root certificate, which is thereby trusted.
    ///
    /// # Errors
    /// If it is not a root certificate of the form that our authorities make.
    pub fn from_root(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| malformed("it does not parse"))?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let net = name.and_then(|name| name.parse().ok()).ok_or_else(|| malformed("it names no net"))?;
        let trust = Self::new(net, RootKey(read_key(&certificate)?));
        let der = CertificateDer::from(der);
        match webpki::anchor_from_trusted_cert(&der) {
            Ok(anchor) if rest.is_empty() && anchor == trust.anchor => Ok(trust),
            _ => Err(malformed("it is not a net's root")),
        }
    }

    /// The net's name.
    pub fn net(&self) -> &NetName {
        &self.net
    }

    /// Its root key.
    pub fn root(&self) -> RootKey {
        self.root
    }

    /// Which member `certificate` (DER) belongs to, if it holds in this net at `wall` and is not on the list.
    ///
    /// # Errors
    /// As [`CertificateError`] tells.
    pub fn identify(
        &self,
        certificate: &[u8],
        crl: Option<&Crl>,
        wall: UnixMillis,
    ) -> Result<Signer, CertificateError> {
        let claim = self.verify(certificate, crl, wall)?;
        Ok(Signer { node: claim.node, user: claim.address.user })
    }

    pub(super) fn verify(
        &self,
        certificate: &[u8],
        crl: Option<&Crl>,
        wall: UnixMillis,
    ) -> Result<Claim, CertificateError> {
        let der = CertificateDer::from(certificate);
        let leaf = EndEntityCert::try_from(&der).map_err(refusal)?;
        let lists: Vec<_> = crl.into_iter().map(Crl::list).collect();
        // No list at all is how a net begins; the builder's only error.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .build()
        });
        let time = UnixTime::since_unix_epoch(Duration::from_millis(wall.0));
        let anchors = std::slice::from_ref(&self.anchor);
        let ed25519 = &[webpki::ring::ED25519];
        leaf.verify_for_usage(ed25519, anchors, &[], time, KeyUsage::client_auth(), revocation, None)
            .map_err(refusal)?;
        let claim = read_claim(certificate)?;
        if claim.address.net == self.net { Ok(claim) } else { Err(CertificateError::Foreign) }
    }

    /// The subject, as a revocation list must name its issuer.
    pub(super) fn subject(&self) -> &[u8] {
        self.anchor.subject.as_ref()
    }

    pub(super) fn store(&self) -> RootCertStore {
        RootCertStore { roots: vec![self.anchor.clone()] }
    }

    /// Whether the root signed `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        PublicKey(self.root.0).signed(message, signature)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..6]))
    }
}

fn refusal(error: webpki::Error) -> CertificateError {
    use webpki::Error;
    match error {
        Error::CertRevoked => CertificateError::Revoked,
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => CertificateError::Expired,
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => CertificateError::Foreign,
        other => CertificateError::Malformed(format!("{other:?}")),
    }
}

/// Signs the outline of a root certificate that only lends its subject and key to a trust anchor: nobody ever looks
/// at the signature.
struct Unsigned(RootKey);

impl PublicKeyData for Unsigned {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl SigningKey for Unsigned {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0; 64])
    }
}
