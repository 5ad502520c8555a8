//! A small net to test with: a root, and members with certificates under it.

use std::{net::SocketAddr, sync::Arc};

use nearmesh_common::{
    NodeId,
    wire::{ALPN, ENROL_ALPN},
};
use nearmesh_relay::{Endpoint, TlsConfigs};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
    version::TLS13,
};

pub struct Net {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

pub fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

pub fn node(seed: u8) -> NodeId {
    NodeId([seed; 32])
}

impl Net {
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root");
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).expect("a root");
        Self { issuer: Issuer::new(params, key), roots: Arc::new(roots) }
    }

    /// A member, and an authority if it also has a face for newcomers.
    pub fn member(&self, node: NodeId, authority: bool) -> TlsConfigs {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone());
        let verifier = verifier.build().expect("a verifier");
        let (chain, key) = self.certificate(node);
        let builder = || {
            let builder = ServerConfig::builder_with_provider(provider.clone());
            builder.with_protocol_versions(&[&TLS13]).expect("TLS 1.3")
        };
        let server =
            builder().with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key());
        let mut server = server.expect("a configuration");
        server.alpn_protocols = vec![ALPN.to_vec()];
        let enrol_server = authority.then(|| {
            let enrol = builder().with_no_client_auth().with_single_cert(chain.clone(), key.clone_key());
            let mut enrol = enrol.expect("a configuration");
            enrol.alpn_protocols = vec![ENROL_ALPN.to_vec()];
            Arc::new(enrol)
        });
        let client = self.client_builder().with_client_auth_cert(chain, key).expect("a configuration");
        TlsConfigs { server: Arc::new(server), client: with_alpn(client, ALPN), enrol_server }
    }

    /// Somebody who knows the net's root and has no certificate.
    pub fn newcomer(&self, alpn: &[u8]) -> Arc<ClientConfig> {
        with_alpn(self.client_builder().with_no_client_auth(), alpn)
    }

    /// Somebody who knows this net's root and shows a certificate of another one.
    pub fn trusted_by_holder_of(&self, other: &Self, node: NodeId) -> Arc<ClientConfig> {
        let (chain, key) = other.certificate(node);
        with_alpn(self.client_builder().with_client_auth_cert(chain, key).expect("a configuration"), ALPN)
    }

    pub fn endpoint(&self, node: NodeId, authority: bool) -> Endpoint {
        Endpoint::bind(any_port(), self.member(node, authority)).expect("a port")
    }

    fn client_builder(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        builder.with_protocol_versions(&[&TLS13]).expect("TLS 1.3").with_root_certificates(self.roots.clone())
    }

    fn certificate(&self, node: NodeId) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::new([node.dns_name()]).expect("a name");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }
}

fn with_alpn(mut config: ClientConfig, alpn: &[u8]) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}
