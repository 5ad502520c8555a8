//! TLS 1.3 between members, and between a newcomer and the authority, with rustls' own verifiers.
//!
//! | configuration | proves | asks of the other side | speaks |
//! |---|---|---|---|
//! | [`Membership::server_config`] | its certificate | a certificate of the net, not revoked | [`ALPN`] |
//! | [`Membership::client_config`] | its certificate | the same, and that it is the node that was dialled | [`ALPN`] |
//! | [`Membership::enrol_server_config`] | its certificate | nothing | [`ENROL_ALPN`] |
//! | [`enrol_client_config`] | nothing | a certificate of the ticket's net and node | [`ENROL_ALPN`] |
//!
//! Each speaks one protocol, so that nobody without a certificate ever completes a handshake that leads anywhere but
//! to enrolment. Sessions are never resumed: a resumed one would skip the revocation list.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};
use thiserror::Error;

use super::{membership::Membership, trust::NetTrust};
use crate::wire::{ALPN, ENROL_ALPN};

/// Why no configuration was made: the membership's parts do not work together.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Of certificate and key, or of versions and ciphers.
    #[error("TLS cannot be set up: {0}")]
    Config(#[from] rustls::Error),
    /// Of root and revocation list.
    #[error("TLS verification cannot be set up: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

impl Membership {
    /// For connections that members open to us.
    ///
    /// # Errors
    /// As [`TlsError`] tells.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.trust().store()), provider())
                .with_crls(self.crl().map(|crl| crl.for_tls()))
                .only_check_end_entity_revocation()
                .allow_unknown_revocation_status()
                .build()?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain(), self.key().for_tls())?;
        Ok(finish_server(config, ALPN))
    }

    /// For connections that we open to members. The server name is the dialled node's
    /// [`dns_name`](crate::NodeId::dns_name).
    ///
    /// # Errors
    /// As [`TlsError`] tells.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(self.trust().store()), provider())
                .with_crls(self.crl().map(|crl| crl.for_tls()))
                .only_check_end_entity_revocation()
                .allow_unknown_revocation_status()
                .build()?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(self.chain(), self.key().for_tls())?;
        Ok(finish_client(config, ALPN))
    }

    /// For connections that newcomers open to us, who have no certificate yet.
    ///
    /// # Errors
    /// As [`TlsError`] tells.
    pub fn enrol_server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.key().for_tls())?;
        Ok(finish_server(config, ENROL_ALPN))
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.certificate().to_vec())]
    }
}

/// For the connection that a newcomer opens to the authority of its ticket's net.
///
/// # Errors
/// As [`TlsError`] tells.
pub fn enrol_client_config(trust: &NetTrust) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(trust.store())
        .with_no_client_auth();
    Ok(finish_client(config, ENROL_ALPN))
}

fn finish_server(mut config: ServerConfig, alpn: &[u8]) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

fn finish_client(mut config: ClientConfig, alpn: &[u8]) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// AES-128-GCM first: the fastest on machines with AES instructions, and the one that QUIC cannot do without.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    let first = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|suite| *suite != first);
    provider.cipher_suites.insert(0, first);
    Arc::new(provider)
}
