//! The key of a node, or of a net's root: Ed25519, kept as PKCS #8 PEM in a file that only its owner can read.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519, PublicKeyData, SignatureAlgorithm,
    SigningKey,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use thiserror::Error;
use webpki::RawPublicKeyEntity;

use crate::NodeId;

/// Largest key file, in bytes; ours take about 170.
const MAX_KEY_FILE: u64 = 4 * 1024;

/// An Ed25519 key pair. Cheap to clone; never printed.
#[derive(Clone)]
pub struct NodeKey(Arc<KeyPair>);

/// Why a text is not a key.
#[derive(Debug, Error)]
pub enum ParseKeyError {
    /// Not PKCS #8 PEM.
    #[error("it is not a private key: {0}")]
    Malformed(String),
    /// A key of another kind.
    #[error("it is not an Ed25519 key")]
    Algorithm,
}

/// Why a key file is not used.
#[derive(Debug, Error)]
pub enum LoadKeyError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// Somebody else may have read it.
    #[error("its mode is {mode:03o}: others can read it. If nobody else had access, run chmod 600 on it")]
    Exposed {
        /// The permission bits.
        mode: u32,
    },
    /// Not a key.
    #[error(transparent)]
    Key(#[from] ParseKeyError),
}

impl NodeKey {
    /// A new random key.
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub fn generate() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("the operating system gives random bytes");
        Self(Arc::new(pair))
    }

    /// The node that this key makes.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.public())
    }

    /// Reads a key from PKCS #8 PEM.
    ///
    /// # Errors
    /// As [`ParseKeyError`] tells.
    pub fn from_pem(text: &str) -> Result<Self, ParseKeyError> {
        let pair = KeyPair::from_pem(text).map_err(|error| ParseKeyError::Malformed(error.to_string()))?;
        if pair.algorithm() != &PKCS_ED25519 {
            return Err(ParseKeyError::Algorithm);
        }
        Ok(Self(Arc::new(pair)))
    }

    /// Writes the key to a new file of mode 0600. Never overwrites one.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(self.0.serialize_pem().as_bytes())?;
        file.sync_all()
    }

    /// Reads a key from its file.
    ///
    /// # Errors
    /// If it cannot be read, is no key, or could be read by somebody other than its owner.
    pub fn load(path: &Path) -> Result<Self, LoadKeyError> {
        let file = File::open(path)?;
        check_private(&file)?;
        let mut text = String::new();
        file.take(MAX_KEY_FILE).read_to_string(&mut text)?;
        Ok(Self::from_pem(&text)?)
    }

    /// A PKCS #10 request (DER) that proves possession of this key. It names nobody: who the key belongs to is for the
    /// authority to say.
    ///
    /// # Panics
    /// Never: such a request can always be encoded and signed.
    pub fn certificate_request(&self) -> Box<[u8]> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&*self.0).expect("an empty request with a sound key encodes");
        request.der().as_ref().into()
    }

    pub(super) fn public(&self) -> [u8; 32] {
        self.0.public_key_raw().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    pub(super) fn sign(&self, message: &[u8]) -> Box<[u8]> {
        self.0.sign(message).expect("Ed25519 signs every message").into()
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }

    pub(super) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.node_id().short())
    }
}

/// A public key alone, as rcgen takes it.
pub(super) struct PublicKey(pub [u8; 32]);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl PublicKey {
    /// Whether the holder of this key signed `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let info = SubjectPublicKeyInfoDer::from(self.subject_public_key_info());
        RawPublicKeyEntity::try_from(&info)
            .is_ok_and(|key| key.verify_signature(webpki::ring::ED25519, message, signature).is_ok())
    }
}

#[cfg(unix)]
fn check_private(file: &File) -> Result<(), LoadKeyError> {
    use std::os::unix::fs::MetadataExt;
    match file.metadata()?.mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(LoadKeyError::Exposed { mode }),
    }
}

#[cfg(not(unix))]
fn check_private(_: &File) -> Result<(), LoadKeyError> {
    Ok(())
}
