//! The authority's side: the root key, what it issues and what it takes back.

use std::{fmt, io, path::Path, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose,
    PKCS_ED25519, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateSigningRequestDer;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    key::{LoadKeyError, NodeKey, PublicKey},
    trust::{NetTrust, RootKey},
};
use crate::{NetName, NodeId, UnixMillis, UserAddress, UserName};

/// How long a root lives: longer than the certificates it issues in its first twenty years.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
/// How long a member's certificate lives. Nobody is needed to operate a net once one has joined, so nothing renews
/// certificates; who has to go is revoked.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How long before its making a certificate begins to hold: the clocks of home machines differ.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// Largest certificate request, in bytes; ours take about 160.
pub const MAX_REQUEST_BYTES: usize = 2 * 1024;
/// Most certificates on a revocation list: at 37 bytes each it stays below
/// [`MAX_CRL_BYTES`](crate::wire::home::MAX_CRL_BYTES).
pub const MAX_REVOKED: usize = 10_000;

/// The serial number of a certificate: 126 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial(pub [u8; 16]);

/// A net's root, with its secret key. Only the authority has one.
#[derive(Clone, Debug)]
pub struct NetRoot {
    net: NetName,
    key: NodeKey,
    certificate: Box<[u8]>,
}

/// A certificate that a root made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// For whose key.
    pub node: NodeId,
    /// By which it can be revoked.
    pub serial: Serial,
    /// The certificate, DER.
    pub certificate: Box<[u8]>,
}

/// Why nothing was issued.
#[derive(Debug, Error)]
pub enum IssueError {
    /// The request is no proof that somebody holds an Ed25519 key.
    #[error("the certificate request does not hold: {0}")]
    Request(String),
    /// More revocations than a list may have.
    #[error("a revocation list holds at most {MAX_REVOKED} certificates")]
    ListFull,
    /// The clock shows a year that certificates cannot express.
    #[error("the clock is far off: a certificate cannot be dated")]
    Clock,
    /// rcgen or the random source failed.
    #[error("making it failed: {0}")]
    Making(String),
}

impl NetRoot {
    /// A new net: a new root key and its self-signed certificate.
    ///
    /// # Errors
    /// If the clock is far off.
    pub fn create(net: NetName, wall: UnixMillis) -> Result<Self, IssueError> {
        let key = NodeKey::generate();
        let mut params = root_params(&net);
        (params.not_before, params.not_after) = validity(wall, ROOT_LIFETIME)?;
        params.serial_number = Some(random_serial()?.into());
        let certificate = params.self_signed(key.pair()).map_err(making)?;
        Ok(Self { net, key, certificate: certificate.der().as_ref().into() })
    }

    /// Writes the root key to a new file of mode 0600.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn save_key(&self, path: &Path) -> io::Result<()> {
        self.key.save(path)
    }

    /// The root whose key is in the file at `path` and whose certificate is `certificate` (DER).
    ///
    /// # Errors
    /// If the key cannot be loaded, or is not the certificate's.
    pub fn load(path: &Path, certificate: &[u8]) -> Result<Self, LoadKeyError> {
        let key = NodeKey::load(path)?;
        let trust = NetTrust::from_root(certificate).map_err(io::Error::other)?;
        if trust.root() != RootKey(key.public()) {
            return Err(
                io::Error::other("the root key and the root certificate do not belong together").into()
            );
        }
        Ok(Self { net: trust.net().clone(), key, certificate: certificate.into() })
    }

    /// What everybody else needs to check this root's work.
    pub fn trust(&self) -> NetTrust {
        NetTrust::new(self.net.clone(), RootKey(self.key.public()))
    }

    /// The root certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Which node asks, if the request (PKCS #10, DER) proves that it holds its key.
    ///
    /// # Errors
    /// [`IssueError::Request`].
    pub fn requester(request: &[u8]) -> Result<NodeId, IssueError> {
        if request.len() > MAX_REQUEST_BYTES {
            return Err(IssueError::Request("it is too long".to_owned()));
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|error| IssueError::Request(error.to_string()))?;
        if PublicKeyData::algorithm(&request.public_key) != &PKCS_ED25519 {
            return Err(IssueError::Request("its key is not Ed25519".to_owned()));
        }
        let key = request.public_key.der_bytes().try_into();
        key.map(NodeId).map_err(|_| IssueError::Request("its key has a wrong length".to_owned()))
    }

    /// Makes `user` the owner of the node that asks. Of the request only the key is taken, never a name.
    ///
    /// # Errors
    /// If the request does not hold, or the clock is far off.
    pub fn issue(&self, request: &[u8], user: &UserName, wall: UnixMillis) -> Result<Issued, IssueError> {
        let node = Self::requester(request)?;
        let serial = random_serial()?;
        let mut params = leaf_params(&UserAddress { user: user.clone(), net: self.net.clone() }, node)?;
        (params.not_before, params.not_after) = validity(wall, LEAF_LIFETIME)?;
        params.serial_number = Some(serial.into());
        let root = root_params(&self.net);
        let issuer = Issuer::from_params(&root, self.key.pair());
        let certificate = params.signed_by(&PublicKey(node.0), &issuer).map_err(making)?;
        Ok(Issued { node, serial, certificate: certificate.der().as_ref().into() })
    }

    /// The revocation list (DER) that takes back all of `serials`, with when each was revoked. A list replaces those
    /// with a lower `number`.
    ///
    /// # Errors
    /// If there are more than [`MAX_REVOKED`], or the clock is far off.
    pub fn revoke(
        &self,
        serials: &[(Serial, UnixMillis)],
        number: u64,
        wall: UnixMillis,
    ) -> Result<Box<[u8]>, IssueError> {
        if serials.len() > MAX_REVOKED {
            return Err(IssueError::ListFull);
        }
        let entry = |(serial, at): &(Serial, UnixMillis)| {
            Ok(RevokedCertParams {
                serial_number: (*serial).into(),
                revocation_time: date(*at)?,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let (this_update, next_update) = validity(wall, ROOT_LIFETIME)?;
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect::<Result<_, _>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let root = root_params(&self.net);
        let list = params.signed_by(&Issuer::from_params(&root, self.key.pair())).map_err(making)?;
        Ok(list.der().as_ref().into())
    }
}

impl From<Serial> for SerialNumber {
    fn from(serial: Serial) -> Self {
        Self::from_slice(&serial.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// All that the root certificates of one net have in common, whatever their key and dates.
pub(super) fn root_params(net: &NetName) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(net.as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(address: &UserAddress, node: NodeId) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&address.to_string());
    params.subject_alt_names = vec![
        SanType::Rfc822Name(address.to_string().try_into().map_err(making)?),
        SanType::DnsName(node.dns_name().try_into().map_err(making)?),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn validity(wall: UnixMillis, lifetime: Duration) -> Result<(OffsetDateTime, OffsetDateTime), IssueError> {
    let since = UnixMillis(wall.0.saturating_sub(u64::try_from(BACKDATED.as_millis()).unwrap_or(0)));
    Ok((date(since)?, date(wall.after(lifetime))?))
}

fn date(wall: UnixMillis) -> Result<OffsetDateTime, IssueError> {
    let seconds = i64::try_from(wall.0 / 1000).map_err(|_| IssueError::Clock)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| IssueError::Clock)
}

fn random_serial() -> Result<Serial, IssueError> {
    let mut bytes = [0; 16];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| IssueError::Making("no random bytes".to_owned()))?;
    // Positive and of full length, so that its DER is these 16 bytes and no others.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(Serial(bytes))
}

fn making(error: rcgen::Error) -> IssueError {
    IssueError::Making(error.to_string())
}
