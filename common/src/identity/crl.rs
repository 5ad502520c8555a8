//! The net's revocation list: who is no longer a member.

use std::{fmt, sync::Arc};

use rustls::pki_types::CertificateRevocationListDer;
use thiserror::Error;
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::trust::NetTrust;
use crate::wire::home::MAX_CRL_BYTES;

/// A revocation list that was checked against a net's root. Cheap to clone.
#[derive(Clone)]
pub struct Crl(Arc<Inner>);

struct Inner {
    number: u64,
    der: CertificateRevocationListDer<'static>,
    list: CertRevocationList<'static>,
}

/// Why a revocation list is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CrlError {
    /// Longer than lists can be.
    #[error("the revocation list is over {MAX_CRL_BYTES} bytes")]
    TooLong,
    /// Not a list of the form that our authorities make.
    #[error("it is not a revocation list: {0}")]
    Malformed(String),
    /// Not signed by this net's root.
    #[error("the revocation list is not of this net")]
    Foreign,
}

impl Crl {
    /// Reads and checks a list (DER).
    ///
    /// # Errors
    /// As [`CrlError`] tells.
    pub fn read(der: &[u8], trust: &NetTrust) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_BYTES {
            return Err(CrlError::TooLong);
        }
        let strict = BorrowedCertRevocationList::from_der(der).map_err(|error| malformed(&error))?;
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|error| malformed(&error))?;
        let signed = trust.signed(parsed.tbs_cert_list.as_ref(), parsed.signature_value.as_ref());
        let list = CertRevocationList::from(strict.to_owned().map_err(|error| malformed(&error))?);
        if !signed || list.issuer() != trust.subject() {
            return Err(CrlError::Foreign);
        }
        let digits = parsed.crl_number().map(|number| number.to_u64_digits());
        let number = match digits.as_deref() {
            Some([]) => 0,
            Some([number]) => *number,
            _ => return Err(CrlError::Malformed("it has no usable number".to_owned())),
        };
        let der = CertificateRevocationListDer::from(der.to_vec());
        Ok(Self(Arc::new(Inner { number, der, list })))
    }

    /// Which list this is; a higher one replaces a lower one.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The list as it travels.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    pub(super) fn for_tls(&self) -> CertificateRevocationListDer<'static> {
        self.0.der.clone()
    }

    pub(super) fn list(&self) -> &CertRevocationList<'static> {
        &self.0.list
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({})", self.0.number)
    }
}

fn malformed(error: &impl fmt::Debug) -> CrlError {
    CrlError::Malformed(format!("{error:?}"))
}
