use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{DAY, Net};
use crate::{
    UnixMillis,
    identity::{
        CertificateError, CrlError, IssueError, LEAF_LIFETIME, MAX_REVOKED, Membership, MembershipError,
        NetRoot, NetTrust, NodeKey, RootKey, Serial, peer_identity, root::root_params,
    },
    signed::MAX_CERTIFICATE_BYTES,
    wire::home::MAX_CRL_BYTES,
};

#[test]
fn a_certificate_says_which_user_and_which_node() {
    let lab = Net::new("lab");
    let alice = lab.join("alice").membership;
    assert_eq!(alice.address().to_string(), "alice@lab");
    let chain = [alice.certificate().to_vec().into()];
    let signer = peer_identity(&chain).unwrap();
    assert_eq!((signer.node, signer.user.as_str()), (alice.node(), "alice"));
    assert!(alice.certificate().len() < 480, "{} bytes travel with every record", alice.certificate().len());
    assert!(alice.certificate().len() <= MAX_CERTIFICATE_BYTES);
    assert!(matches!(peer_identity(&[]), Err(CertificateError::Malformed(_))));
}

#[test]
fn the_name_and_key_of_a_ticket_are_the_same_anchor_as_the_root_certificate() {
    let lab = Net::new("lab");
    let der = lab.root.certificate().into();
    let real = webpki::anchor_from_trusted_cert(&der).unwrap();
    let outlined = NetTrust::new("lab".parse().unwrap(), lab.root.trust().root()).store();
    assert_eq!(outlined.roots, std::slice::from_ref(&real));
    let subject = X509Certificate::from_der(lab.root.certificate()).unwrap().1.subject.as_raw().to_vec();
    assert!(subject.ends_with(real.subject.as_ref()), "the subject is the certificate's, byte for byte");

    let bob = lab.join("bob").membership;
    let trust = NetTrust::new("lab".parse().unwrap(), lab.root.trust().root());
    assert_eq!(trust.identify(bob.certificate(), None, lab.wall).unwrap().user.as_str(), "bob");
}

#[test]
fn a_certificate_of_another_net_is_refused_even_if_the_net_has_the_same_name() {
    let lab = Net::new("lab");
    for stranger in [Net::new("lab"), Net::new("club")] {
        let mallory = stranger.join("bob").membership;
        let outcome = lab.root.trust().identify(mallory.certificate(), None, lab.wall);
        assert_eq!(outcome, Err(CertificateError::Foreign));
    }
}

#[test]
fn a_certificate_does_not_hold_after_its_time_nor_before_it() {
    let lab = Net::new("lab");
    let bob = lab.join("bob").membership;
    let at = |wall| lab.root.trust().identify(bob.certificate(), None, wall);
    assert!(at(lab.wall.after(LEAF_LIFETIME - DAY)).is_ok());
    assert_eq!(at(lab.wall.after(LEAF_LIFETIME + DAY)), Err(CertificateError::Expired));
    assert_eq!(at(UnixMillis(lab.wall.0 - 2 * 60 * 60 * 1000)), Err(CertificateError::Expired));
    assert!(at(UnixMillis(lab.wall.0 - 30 * 60 * 1000)).is_ok(), "a clock half an hour slow is no reason");
}

#[test]
fn a_member_cannot_issue_certificates() {
    let lab = Net::new("lab");
    let mallory = lab.join("mallory").membership;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "mallory@lab");
    let issuer = rcgen::Issuer::from_params(&params, mallory.key().pair());
    let forged_key = NodeKey::generate();
    let mut forged = CertificateParams::default();
    forged.subject_alt_names = vec![
        SanType::Rfc822Name("bob@lab".try_into().unwrap()),
        SanType::DnsName(forged_key.node_id().dns_name().try_into().unwrap()),
    ];
    let forged = forged.signed_by(forged_key.pair(), &issuer).unwrap();
    assert_eq!(lab.root.trust().identify(forged.der(), None, lab.wall), Err(CertificateError::Foreign));
}

#[test]
fn what_a_careless_root_signed_is_refused_unless_it_says_one_thing_clearly() {
    let (wall, root, node) = (super::wall(), NodeKey::generate(), NodeKey::generate());
    let net = "lab".parse().unwrap();
    let params = root_params(&net);
    let issuer = rcgen::Issuer::from_params(&params, root.pair());
    let trust = NetTrust::new(net, RootKey(root.public()));
    let user = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
    let dns = |key: &NodeKey| SanType::DnsName(key.node_id().dns_name().try_into().unwrap());
    let identify = |names: &[SanType]| {
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = names.to_vec();
        let leaf = leaf.signed_by(node.pair(), &issuer).unwrap();
        trust.identify(leaf.der(), None, wall)
    };
    assert_eq!(identify(&[user("bob@lab"), dns(&node)]).unwrap().user.as_str(), "bob");
    assert_eq!(identify(&[user("bob@club"), dns(&node)]), Err(CertificateError::Foreign));
    let alice = NodeKey::generate();
    for unclear in [
        vec![user("bob@lab"), dns(&alice)],
        vec![user("bob@lab"), user("alice@lab"), dns(&node)],
        vec![user("bob@lab"), dns(&node), dns(&alice)],
        vec![user("bob"), dns(&node)],
        vec![user("bob@lab")],
        vec![dns(&node)],
    ] {
        let outcome = identify(&unclear);
        assert!(matches!(outcome, Err(CertificateError::Malformed(_))), "{unclear:?}: {outcome:?}");
    }
}

#[test]
fn a_certificate_that_was_changed_in_a_single_bit_is_refused() {
    let lab = Net::new("lab");
    let bob = lab.join("bob").membership;
    for at in 0..bob.certificate().len() {
        let mut forged = bob.certificate().to_vec();
        forged[at] ^= 1;
        assert!(lab.root.trust().identify(&forged, None, lab.wall).is_err(), "byte {at}");
    }
}

#[test]
fn of_a_request_only_the_key_counts() {
    let lab = Net::new("lab");
    let key = NodeKey::generate();
    let mut wish = CertificateParams::new(vec!["evil.nearmesh".to_owned()]).unwrap();
    wish.subject_alt_names.push(SanType::Rfc822Name("alice@lab".try_into().unwrap()));
    wish.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = wish.serialize_request(key.pair()).unwrap();
    let issued = lab.root.issue(request.der(), &"bob".parse().unwrap(), lab.wall).unwrap();
    let signer = lab.root.trust().identify(&issued.certificate, None, lab.wall).unwrap();
    assert_eq!((signer.node, signer.user.as_str()), (key.node_id(), "bob"));
    let (_, certificate) = X509Certificate::from_der(&issued.certificate).unwrap();
    assert!(!certificate.is_ca());
    assert_eq!(certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);
}

#[test]
fn a_request_without_proof_of_possession_is_refused() {
    let key = NodeKey::generate();
    let request = key.certificate_request();
    let public = request.windows(32).position(|bytes| bytes == key.node_id().0).unwrap();
    let covered = (public..public + 32).chain(request.len() - 64..request.len());
    for at in covered {
        let mut forged = request.clone();
        forged[at] ^= 1;
        assert!(matches!(NetRoot::requester(&forged), Err(IssueError::Request(_))), "byte {at}");
    }
    let mut borrowed = NodeKey::generate().certificate_request();
    borrowed[public..public + 32].copy_from_slice(&key.node_id().0);
    assert!(matches!(NetRoot::requester(&borrowed), Err(IssueError::Request(_))));
}

#[test]
fn a_request_for_a_key_of_another_kind_is_refused() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    assert!(matches!(NetRoot::requester(request.der()), Err(IssueError::Request(_))));
}

#[test]
fn a_membership_needs_the_key_that_its_certificate_names() {
    let lab = Net::new("lab");
    let bob = lab.join("bob").membership;
    let outcome = Membership::assemble(bob.root(), bob.certificate(), NodeKey::generate(), lab.wall);
    assert_eq!(outcome.unwrap_err(), MembershipError::OtherKey);
    let other = Net::new("lab");
    let outcome =
        Membership::assemble(other.root.certificate(), bob.certificate(), bob.key().clone(), lab.wall);
    assert_eq!(outcome.unwrap_err(), MembershipError::Certificate(CertificateError::Foreign));
    let outcome = Membership::assemble(bob.certificate(), bob.certificate(), bob.key().clone(), lab.wall);
    assert!(matches!(outcome.unwrap_err(), MembershipError::Root(_)));
}

#[test]
fn a_newer_revocation_list_replaces_an_older_one_and_never_the_other_way_round() {
    let lab = Net::new("lab");
    let (bob, carol) = (lab.join("bob"), lab.join("carol"));
    let mut alice = lab.join("alice").membership;
    let (first, second) = (lab.revoke(&[&bob], 1), lab.revoke(&[&bob, &carol], 2));
    assert_eq!(alice.adopt_crl(&second), Ok(true));
    assert_eq!(alice.adopt_crl(&second), Ok(false));
    assert_eq!(alice.adopt_crl(&first), Ok(false));
    assert_eq!(alice.crl().unwrap().number(), 2);
    let carols = carol.membership.certificate();
    assert_eq!(alice.trust().identify(carols, alice.crl(), lab.wall), Err(CertificateError::Revoked));
    assert!(alice.trust().identify(alice.certificate(), alice.crl(), lab.wall).is_ok());
}

#[test]
fn a_revocation_list_of_another_net_or_a_changed_one_is_refused() {
    let (lab, other) = (Net::new("lab"), Net::new("lab"));
    let bob = lab.join("bob");
    let mut alice = lab.join("alice").membership;
    assert_eq!(alice.adopt_crl(&other.revoke(&[&bob], 9)), Err(CrlError::Foreign));
    let list = lab.revoke(&[&bob], 1);
    for at in 0..list.len() {
        let mut forged = list.clone();
        forged[at] ^= 1;
        assert!(alice.adopt_crl(&forged).is_err(), "byte {at}");
    }
    assert!(alice.crl().is_none());
}

#[test]
fn the_longest_revocation_list_fits_its_limit_on_the_wire() {
    let lab = Net::new("lab");
    let serial = |n: usize| {
        let mut bytes = [0x7f; 16];
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        (Serial(bytes), lab.wall)
    };
    let mut serials: Vec<_> = (0..MAX_REVOKED).map(serial).collect();
    let list = lab.root.revoke(&serials, u64::MAX, lab.wall).unwrap();
    assert!(list.len() <= MAX_CRL_BYTES, "{} bytes", list.len());
    assert_eq!(lab.join("alice").membership.adopt_crl(&list), Ok(true));
    serials.push(serial(MAX_REVOKED));
    assert!(matches!(lab.root.revoke(&serials, 1, lab.wall), Err(IssueError::ListFull)));
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let trust = NetTrust::new("lab".parse().unwrap(), RootKey([7; 32]));
        prop_assert!(trust.identify(&bytes, None, UnixMillis(0)).is_err());
        prop_assert!(NetTrust::from_root(&bytes).is_err());
        prop_assert!(NetRoot::requester(&bytes).is_err());
        prop_assert!(super::super::Crl::read(&bytes, &trust).is_err());
        prop_assert!(peer_identity(&[bytes.into()]).is_err());
    }

    #[test]
    fn mutilated_requests_and_certificates_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let lab = Net::new("lab");
        let bob = lab.join("bob");
        let list = lab.revoke(&[&bob], 1);
        let mangle = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
            bytes
        };
        let _ = NetRoot::requester(&mangle(&bob.membership.key().certificate_request()));
        let _ = peer_identity(&[mangle(bob.membership.certificate()).into()]);
        let _ = NetTrust::from_root(&mangle(lab.root.certificate()));
        let _ = super::super::Crl::read(&mangle(&list), bob.membership.trust());
    }
}
