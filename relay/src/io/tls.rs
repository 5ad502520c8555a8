//! The TLS configurations of the port, as QUIC wants them. Who is trusted was decided by whoever made them.

use std::sync::Arc;

use nearmesh_common::{
    pace::Pace,
    wire::{ALPN, ENROL_ALPN},
};
use quinn::{
    ClientConfig, ConnectionId, ServerConfig,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};
use thiserror::Error;

use super::{congestion::PathEpoch, transport};

/// A newcomer's first packet carries a destination connection id that begins like this, so that the answerer knows which of
/// its two faces to show before it reads any TLS. Whoever forges it meets the enrolment protocol, and nothing else.
pub const ENROL_MARKER: [u8; 8] = *b"nm-enrol";

/// What a node shows and whom it trusts.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// For members that dial us: our certificate, a client verifier that demands theirs, the member ALPN alone.
    pub server: Arc<rustls::ServerConfig>,
    /// For members that we dial: our certificate, the net's root, the member ALPN alone.
    pub client: Arc<rustls::ClientConfig>,
    /// For newcomers, if this node is an authority: no client verifier, the enrolment ALPN alone.
    pub enrol_server: Option<Arc<rustls::ServerConfig>>,
}

/// Why a TLS configuration cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// QUIC's first packets need it.
    #[error("the TLS configuration lacks TLS13_AES_128_GCM_SHA256")]
    NoInitialCipherSuite(#[from] NoInitialCipherSuite),
    /// A configuration must speak its own protocol, and no other.
    #[error("the TLS configuration for {of} has to offer exactly the protocol {expected}")]
    Alpn {
        /// Which of the configurations.
        of: &'static str,
        /// What its list of protocols should have been.
        expected: String,
    },
}

/// The same for quinn.
#[derive(Debug)]
pub(crate) struct QuicConfigs {
    pub(crate) server: Arc<ServerConfig>,
    client: ClientConfig,
    pub(crate) enrol_server: Option<Arc<ServerConfig>>,
}

impl QuicConfigs {
    /// For quinn what `tls` says. What proves addresses is taken over from the configurations `before`.
    pub(crate) fn new(tls: TlsConfigs, before: Option<&Self>) -> Result<Self, TlsError> {
        let crypto_of_members = crypto(tls.server, "members", ALPN)?;
        let mut server = match before {
            Some(before) => (*before.server).clone(),
            None => ServerConfig::with_crypto(crypto_of_members.clone()),
        };
        server.crypto = crypto_of_members;
        server.transport_config(transport::member_accepted());
        let enrol_server = match tls.enrol_server {
            None => None,
            Some(tls) => {
                let mut config = server.clone();
                config.crypto = crypto(tls, "newcomers", ENROL_ALPN)?;
                config.transport_config(transport::enrol());
                Some(Arc::new(config))
            }
        };
        check_alpn("dialing members", &tls.client.alpn_protocols, ALPN)?;
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls.client)?));
        client.transport_config(transport::member(Pace::Quick));
        Ok(Self { server: Arc::new(server), client, enrol_server })
    }

    /// For dialling a member.
    pub(crate) fn client(&self, pace: Pace) -> ClientConfig {
        let mut client = self.client.clone();
        if pace != Pace::Quick {
            client.transport_config(transport::member(pace));
        }
        client
    }

    /// For dialling a member whose path changes.
    pub(crate) fn path_client(&self, epoch: Arc<PathEpoch>) -> ClientConfig {
        let mut client = self.client.clone();
        client.transport_config(transport::changing_path(epoch));
        client
    }

    /// For accepting one. Its packets that come by a route which is not accepted yet must not move the connection there.
    pub(crate) fn path_server(&self, epoch: Arc<PathEpoch>) -> Arc<ServerConfig> {
        let mut server = (*self.server).clone();
        server.transport_config(transport::changing_path(epoch)).migration(false);
        Arc::new(server)
    }
}

/// How a newcomer dials an authority.
pub(crate) fn enrol_client(tls: Arc<rustls::ClientConfig>) -> Result<ClientConfig, TlsError> {
    check_alpn("enrolling", &tls.alpn_protocols, ENROL_ALPN)?;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport::enrol());
    config.initial_dst_cid_provider(Arc::new(|| {
        let unique: [u8; 8] = rand::random();
        ConnectionId::new(&[ENROL_MARKER, unique].concat())
    }));
    Ok(config)
}

fn crypto(
    tls: Arc<rustls::ServerConfig>,
    of: &'static str,
    alpn: &[u8],
) -> Result<Arc<QuicServerConfig>, TlsError> {
    check_alpn(of, &tls.alpn_protocols, alpn)?;
    Ok(Arc::new(QuicServerConfig::try_from(tls)?))
}

fn check_alpn(of: &'static str, offered: &[Vec<u8>], expected: &[u8]) -> Result<(), TlsError> {
    if offered == [expected] {
        return Ok(());
    }
    Err(TlsError::Alpn { of, expected: String::from_utf8_lossy(expected).into_owned() })
}
