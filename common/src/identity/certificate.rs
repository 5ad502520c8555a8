//! What a certificate of ours says: which node, which user, in which net.

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry::OID_SIG_ED25519, prelude::FromDer,
};

use crate::{NodeId, UnixMillis, UserAddress, signed::Signer};

/// Why a certificate proves nothing here.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Not a certificate of the form that our authorities issue.
    #[error("it is not a member's certificate: {0}")]
    Malformed(String),
    /// Not signed by this net's root.
    #[error("it was not issued by this net's authority")]
    Foreign,
    /// Its time is over, or has not come: one of the clocks may be wrong.
    #[error("it is not valid at this time")]
    Expired,
    /// The authority took it back.
    #[error("it was revoked")]
    Revoked,
}

/// What a certificate says; whether it is true is for [`NetTrust`](super::NetTrust) to check.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub node: NodeId,
    pub address: UserAddress,
    /// First and last second, since 1970.
    validity: [i64; 2],
}

impl Claim {
    /// Whether the certificate's time includes `wall`.
    pub(super) fn holds_at(&self, wall: UnixMillis) -> bool {
        let [from, until] = self.validity;
        i64::try_from(wall.0 / 1000).is_ok_and(|now| from <= now && now <= until)
    }
}

/// Who is at the other end, from the chain that a finished handshake verified.
///
/// # Errors
/// If there is no certificate or it is not of our form, neither of which the net's root signs.
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> Result<Signer, CertificateError> {
    let leaf = chain.first().ok_or_else(|| malformed("there is none"))?;
    let claim = read_claim(leaf)?;
    Ok(Signer { node: claim.node, user: claim.address.user })
}

pub(super) fn read_claim(der: &[u8]) -> Result<Claim, CertificateError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| malformed("it does not parse"))?;
    if !rest.is_empty() {
        return Err(malformed("bytes follow it"));
    }
    let node = NodeId(read_key(&certificate)?);
    let (address, dns_name) = read_names(&certificate)?;
    if dns_name != node.dns_name() {
        return Err(malformed("its key and its node differ"));
    }
    let validity = certificate.validity();
    let validity = [validity.not_before, validity.not_after].map(|time| time.timestamp());
    Ok(Claim { node, address, validity })
}

pub(super) fn read_key(certificate: &X509Certificate<'_>) -> Result<[u8; 32], CertificateError> {
    let info = certificate.public_key();
    if info.algorithm.algorithm != OID_SIG_ED25519 {
        return Err(malformed("its key is not Ed25519"));
    }
    info.subject_public_key.as_ref().try_into().map_err(|_| malformed("its key has a wrong length"))
}

/// The one rfc822Name and the one dNSName; more of either would let a certificate mean two things.
fn read_names(certificate: &X509Certificate<'_>) -> Result<(UserAddress, String), CertificateError> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let (mail, dns) = match names {
        [GeneralName::RFC822Name(mail), GeneralName::DNSName(dns)]
        | [GeneralName::DNSName(dns), GeneralName::RFC822Name(mail)] => (mail, dns),
        _ => return Err(malformed("it does not name one user and one node")),
    };
    let address = mail.parse().map_err(|_| malformed("its user is not user@net"))?;
    Ok((address, (*dns).to_owned()))
}

pub(super) fn malformed(why: &str) -> CertificateError {
    CertificateError::Malformed(why.to_owned())
}
