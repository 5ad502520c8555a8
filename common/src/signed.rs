//! Signed records: a value, who says it, and the proof, so that whoever carries it can withhold it but never
//! forge it.
//!
//! The signature covers the record's context (its type and version) and its encoded bytes, so that a record of one
//! kind never passes for another. The signer's certificate travels along: whoever knows the net's root can check.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use thiserror::Error;

use crate::{NodeId, UnixMillis, UserName, codec};

/// Largest signed payload, in bytes: a presence with 16 IPv6 addresses takes about 500.
pub const MAX_PAYLOAD_BYTES: usize = 4 * 1024;
/// Largest certificate that travels with a record, in bytes; ours take about 450.
pub const MAX_CERTIFICATE_BYTES: usize = 2 * 1024;

/// A value that is only ever believed when it is signed.
pub trait Content: Serialize + DeserializeOwned {
    /// The type and version, as signed: `"nearmesh presence 1"`.
    const CONTEXT: &'static str;
}

/// A `T` as it travels: encoded, with its signer's certificate and signature. Believe nothing of it before
/// `Keyring::verify`. Copies share their bytes: a supernode keeps a record in several tables, and sends it to many.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T> {
    parts: Arc<Parts>,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

/// What a [`Signed`] consists of.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// The encoded `T`.
    pub payload: Box<[u8]>,
    /// The signer's certificate, DER.
    pub certificate: Box<[u8]>,
    /// Ed25519, over context, a zero byte and payload.
    pub signature: Box<[u8]>,
}

/// A record for somebody who holds an earlier one of the same signer: it travels without the certificate, two thirds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal<T>(Signed<T>);

/// Who signed, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The node whose key signed.
    pub node: NodeId,
    /// The user that the net's root says this node belongs to.
    pub user: UserName,
}

/// A record that was checked: its content, its signer, and the original to pass on.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    /// What it says.
    pub content: T,
    /// Who says so.
    pub signer: Signer,
    /// The record as it came.
    pub signed: Signed<T>,
}

/// Why a signed record is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Larger than such a record can be.
    #[error("the record is over its size limit")]
    TooLarge,
    /// The certificate is not one of this net, or was revoked.
    #[error("its certificate does not hold in this net: {0}")]
    Certificate(String),
    /// The signature does not fit the bytes.
    #[error("its signature is wrong")]
    Signature,
    /// Signed, but not a record of this kind.
    #[error("its content does not decode")]
    Content,
}

/// Signs as this node, and checks what other members of the net signed.
///
/// A pure function of its arguments and of the revocation list it holds; protocol machines may call it.
pub trait Keyring: Send + Sync {
    /// The node that signs.
    fn node(&self) -> NodeId;

    /// Its user.
    fn user(&self) -> &UserName;

    /// Certificate (DER) and signature for `message`.
    fn sign(&self, message: &[u8]) -> (Box<[u8]>, Box<[u8]>);

    /// Who signed `message`, if the certificate holds in this net at `wall`, is not revoked, and the signature fits.
    ///
    /// # Errors
    /// [`VerifyError::Certificate`] or [`VerifyError::Signature`].
    fn check(
        &self,
        message: &[u8],
        certificate: &[u8],
        signature: &[u8],
        wall: UnixMillis,
    ) -> Result<Signer, VerifyError>;
}

impl dyn Keyring + '_ {
    /// Signs `content` as this node.
    pub fn seal<T: Content>(&self, content: &T) -> Signed<T> {
        let payload = codec::encode(content).into_boxed_slice();
        let (certificate, signature) = self.sign(&signed_bytes::<T>(&payload));
        Signed { parts: Arc::new(Parts { payload, certificate, signature }), of: PhantomData }
    }

    /// Checks a record and opens it.
    ///
    /// # Errors
    /// As [`VerifyError`] tells. What the content itself must satisfy (age, owner) is its type's matter.
    pub fn verify<T: Content>(
        &self,
        signed: Signed<T>,
        wall: UnixMillis,
    ) -> Result<Verified<T>, VerifyError> {
        if signed.payload.len() > MAX_PAYLOAD_BYTES || signed.certificate.len() > MAX_CERTIFICATE_BYTES {
            return Err(VerifyError::TooLarge);
        }
        let message = signed_bytes::<T>(&signed.payload);
        let signer = self.check(&message, &signed.certificate, &signed.signature, wall)?;
        let content = codec::decode(&signed.payload).map_err(|_| VerifyError::Content)?;
        Ok(Verified { content, signer, signed })
    }
}

impl<T> Renewal<T> {
    /// Of `signed`, whose certificate the other end holds.
    pub fn of(signed: Signed<T>) -> Self {
        Self(signed)
    }

    /// The record, with the certificate of one that the same signer made `before`. It is as little believed as any other.
    pub fn completed(mut self, before: &Signed<T>) -> Signed<T> {
        if self.0.certificate.is_empty() {
            self.0.certificate.clone_from(&before.certificate);
        }
        self.0
    }
}

impl<T> Serialize for Renewal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0.payload, &self.0.signature).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Renewal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (payload, signature) = Deserialize::deserialize(deserializer)?;
        let parts = Parts { payload, certificate: Box::default(), signature };
        Ok(Self(Signed { parts: Arc::new(parts), of: PhantomData }))
    }
}

impl<T> Deref for Signed<T> {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl<T> DerefMut for Signed<T> {
    /// This copy's own parts from now on.
    fn deref_mut(&mut self) -> &mut Parts {
        Arc::make_mut(&mut self.parts)
    }
}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} bytes)", self.payload.len())
    }
}

/// What the signature covers: context, a zero byte, payload.
fn signed_bytes<T: Content>(payload: &[u8]) -> Vec<u8> {
    [T::CONTEXT.as_bytes(), &[0], payload].concat()
}
