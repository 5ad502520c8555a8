use std::sync::Arc;

use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, ClientConnection, Error, ServerConfig,
    ServerConnection, pki_types::ServerName,
};

use super::{Member, Net};
use crate::{
    NodeId,
    identity::{Ticket, enrol_client_config, peer_identity},
    wire::{ALPN, ENROL_ALPN, NodeAddress},
};

type Ends = (ClientConnection, ServerConnection);

/// A whole handshake over buffers. The error is that of whoever refused first.
fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>, dialled: NodeId) -> Result<Ends, Error> {
    let name = ServerName::try_from(dialled.dns_name()).unwrap();
    let mut ends = (ClientConnection::new(client, name)?, ServerConnection::new(server)?);
    while ends.0.is_handshaking() || ends.1.is_handshaking() || ends.0.wants_write() || ends.1.wants_write() {
        let mut bytes = Vec::new();
        ends.0.write_tls(&mut bytes).unwrap();
        deliver(&bytes, |part| ends.1.read_tls(part));
        ends.1.process_new_packets()?;
        let mut bytes = Vec::new();
        ends.1.write_tls(&mut bytes).unwrap();
        deliver(&bytes, |part| ends.0.read_tls(part));
        ends.0.process_new_packets()?;
    }
    Ok(ends)
}

fn deliver(mut bytes: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

fn dial(from: &Member, to: &Member) -> Result<Ends, Error> {
    let (client, server) = (from.membership.client_config().unwrap(), to.membership.server_config().unwrap());
    shake(client, server, to.membership.node())
}

fn newcomer(net: &Net, authority: &Member) -> Arc<ClientConfig> {
    let ticket = Ticket {
        net: authority.membership.net().clone(),
        root: net.root.trust().root(),
        authority: NodeAddress { node: authority.membership.node(), addresses: Vec::new() },
        user: None,
        secret: None,
        expires: net.wall,
    };
    let ticket: Ticket = ticket.to_string().parse().unwrap();
    enrol_client_config(&ticket.trust()).unwrap()
}

#[test]
fn alice_and_bob_of_one_net_meet_and_know_one_another() {
    let lab = Net::new("lab");
    let (alice, bob) = (lab.join("alice"), lab.join("bob"));
    let (client, server) = dial(&alice, &bob).unwrap();
    let seen = peer_identity(server.peer_certificates().unwrap()).unwrap();
    assert_eq!((seen.node, seen.user.as_str()), (alice.membership.node(), "alice"));
    let seen = peer_identity(client.peer_certificates().unwrap()).unwrap();
    assert_eq!((seen.node, seen.user.as_str()), (bob.membership.node(), "bob"));
    assert_eq!(client.alpn_protocol(), Some(ALPN));
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn members_of_two_nets_refuse_one_another_both_ways() {
    let (lab, other) = (Net::new("lab"), Net::new("lab"));
    let (alice, mallory) = (lab.join("alice"), other.join("mallory"));
    for (from, to) in [(&alice, &mallory), (&mallory, &alice)] {
        let error = dial(from, to).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
    }
}

#[test]
fn a_server_refuses_a_stranger_also_if_the_stranger_trusts_everybody() {
    let (lab, other) = (Net::new("lab"), Net::new("lab"));
    let (alice, mallory) = (lab.join("alice"), other.join("mallory"));
    // Knows alice's root, shows a certificate of another.
    let mut config = (*lab.join("carol").membership.client_config().unwrap()).clone();
    config.client_auth_cert_resolver =
        mallory.membership.client_config().unwrap().client_auth_cert_resolver.clone();
    let outcome = shake(config.into(), alice.membership.server_config().unwrap(), alice.membership.node());
    let error = outcome.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
}

#[test]
fn whoever_answers_in_place_of_the_dialled_node_is_refused() {
    let lab = Net::new("lab");
    let (alice, bob, carol) = (lab.join("alice"), lab.join("bob"), lab.join("carol"));
    let (client, server) =
        (alice.membership.client_config().unwrap(), carol.membership.server_config().unwrap());
    let error = shake(client, server, bob.membership.node()).map(|_| ()).unwrap_err();
    let by_name = matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }));
    assert!(by_name, "{error:?}");
}

#[test]
fn a_revoked_node_is_refused_as_client_and_as_server() {
    let lab = Net::new("lab");
    let (mut alice, bob) = (lab.join("alice"), lab.join("bob"));
    assert!(dial(&alice, &bob).is_ok() && dial(&bob, &alice).is_ok());
    alice.membership.adopt_crl(&lab.revoke(&[&bob], 1)).unwrap();
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let error = dial(from, to).map(|_| ()).unwrap_err();
        assert_eq!(error, Error::InvalidCertificate(CertificateError::Revoked));
    }
    let carol = lab.join("carol");
    assert!(dial(&alice, &carol).is_ok() && dial(&carol, &alice).is_ok(), "the others are not affected");
}

#[test]
fn a_client_without_a_certificate_gets_nowhere_among_members() {
    let lab = Net::new("lab");
    let alice = lab.join("alice");
    let mut config = (*newcomer(&lab, &alice)).clone();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let outcome = shake(config.into(), alice.membership.server_config().unwrap(), alice.membership.node());
    assert_eq!(outcome.map(|_| ()).unwrap_err(), Error::NoCertificatesPresented);
}

#[test]
fn a_newcomer_enrols_with_nothing_but_its_ticket_and_cannot_speak_anything_else() {
    let lab = Net::new("lab");
    let alice = lab.join("alice");
    let (client, server) = (newcomer(&lab, &alice), alice.membership.enrol_server_config().unwrap());
    let (client_end, server_end) = shake(client.clone(), server.clone(), alice.membership.node()).unwrap();
    assert_eq!(client_end.alpn_protocol(), Some(ENROL_ALPN));
    assert_eq!(server_end.peer_certificates(), None);

    let mut config = (*client).clone();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let error = shake(config.into(), server, alice.membership.node()).map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        ),
        "{error:?}"
    );
}

#[test]
fn a_newcomer_is_not_lured_into_another_net_of_the_same_name() {
    let (lab, other) = (Net::new("lab"), Net::new("lab"));
    let (alice, mallory) = (lab.join("alice"), other.join("alice"));
    let outcome = shake(
        newcomer(&lab, &alice),
        mallory.membership.enrol_server_config().unwrap(),
        mallory.membership.node(),
    );
    let error = outcome.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
}

#[test]
fn no_session_is_resumed_past_a_revocation() {
    let lab = Net::new("lab");
    let (alice, bob) = (lab.join("alice"), lab.join("bob"));
    let (client, server) =
        (bob.membership.client_config().unwrap(), alice.membership.server_config().unwrap());
    for _ in 0..2 {
        let (end, _) = shake(client.clone(), server.clone(), alice.membership.node()).unwrap();
        assert_eq!(end.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}
