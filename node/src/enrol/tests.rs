//! Bob talks to alice's authority, and to some who are not.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::{Instant, SystemTime},
};

use nearmesh_common::{
    NodeId,
    identity::{NetRoot, enrol_client_config},
    wire::NodeAddress,
};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::{
    saved::{LoadError, SaveError},
    *,
};
use crate::authority::{Policy, TICKET_LIFETIME};

const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

struct Lab {
    scratch: TempDir,
    authority: Arc<Authority>,
    alice: Membership,
    now: Now,
}

type Stream = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);

impl Lab {
    fn new() -> Self {
        let (scratch, now) = (TempDir::new().unwrap(), now());
        let (net, alice, key) = ("lab".parse().unwrap(), name("alice"), NodeKey::generate());
        let dir = scratch.path().join("authority");
        let (authority, alice) = Authority::create(&dir, net, Policy::Invite, alice, key, now.wall).unwrap();
        Self { scratch, authority: authority.into(), alice, now }
    }

    fn applicant(&self, user: &str) -> Applicant {
        let addresses = ["192.0.2.1:4433".parse().unwrap()];
        let ticket =
            self.authority.invite(Some(name(user)), TICKET_LIFETIME, &addresses, self.now.wall).unwrap();
        Applicant { ticket, key: NodeKey::generate(), user: name(user) }
    }

    fn welcome(&self) -> Welcome {
        let supernode =
            NodeAddress { node: NodeId([9; 32]), addresses: vec!["192.0.2.9:1".parse().unwrap()] };
        Welcome { addresses: vec!["192.0.2.1:4433".parse().unwrap()], supernodes: vec![supernode] }
    }

    async fn converse(&self, applicant: Applicant) -> Result<Joined, EnrolError> {
        let ((mut bob_in, mut bob_out), (mut alice_in, mut alice_out)) = wire();
        let caller = Caller { source: CALLER, now: self.now };
        let (joined, served) = tokio::join!(
            request(&mut bob_out, &mut bob_in, applicant, self.now.wall),
            serve(&mut alice_out, &mut alice_in, self.authority.clone(), caller, self.welcome()),
        );
        served.unwrap();
        joined
    }

    fn profile(&self) -> PathBuf {
        self.scratch.path().join("bob/membership")
    }
}

#[allow(clippy::disallowed_methods, reason = "not a protocol machine")]
fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Now { instant: Instant::now(), wall: UnixMillis(u64::try_from(since.as_millis()).unwrap()) }
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn wire() -> (Stream, Stream) {
    let (bob, alice) = duplex(1024);
    (split(bob), split(alice))
}

/// What bob makes of an answer.
async fn hear(applicant: Applicant, reply: &EnrolReply, wall: UnixMillis) -> Result<Joined, EnrolError> {
    let ((mut bob_in, mut bob_out), (mut alice_in, mut alice_out)) = wire();
    let answering = async {
        read_frame::<EnrolRequest>(&mut alice_in, MAX_OPEN_FRAME).await.unwrap();
        finish(&mut alice_out, reply).await.unwrap();
    };
    tokio::join!(request(&mut bob_out, &mut bob_in, applicant, wall), answering).0
}

#[tokio::test]
async fn bob_joins_with_his_ticket_and_is_a_member_after_a_restart() {
    let lab = Lab::new();
    let applicant = lab.applicant("bob");
    let node = applicant.key.node_id();
    let joined = lab.converse(applicant).await.unwrap();
    assert_eq!(joined.supernodes, lab.welcome().supernodes);
    saved::save(&lab.profile(), &joined.member).unwrap();

    let bob = saved::load(&lab.profile(), lab.now.wall).unwrap();
    assert_eq!((bob.membership.node(), bob.membership.address().to_string().as_str()), (node, "bob@lab"));
    assert_eq!(bob.membership.trust().root(), lab.alice.trust().root());
    assert_eq!((bob.authority.node, bob.authority_user), (lab.alice.node(), name("alice")));
    assert_eq!(bob.authority.addresses, lab.welcome().addresses);
}

#[tokio::test]
async fn bob_asks_again_when_the_answer_was_lost() {
    let lab = Lab::new();
    let applicant = lab.applicant("bob");
    {
        let ((bob_in, mut bob_out), (mut alice_in, mut alice_out)) = wire();
        drop(bob_in);
        let csr = applicant.key.certificate_request();
        let secret = applicant.ticket.secret.unwrap().0.into();
        finish(&mut bob_out, &EnrolRequest { csr, secret, user: name("bob") }).await.unwrap();
        drop(bob_out);
        let caller = Caller { source: CALLER, now: lab.now };
        let served = serve(&mut alice_out, &mut alice_in, lab.authority.clone(), caller, lab.welcome());
        assert!(matches!(served.await, Err(ServeError::Broken(_))));
    }
    assert_eq!(lab.converse(applicant).await.unwrap().member.membership.user(), &name("bob"));
}

#[tokio::test]
async fn a_refusal_reaches_the_newcomer_with_its_reason() {
    let lab = Lab::new();
    let applicant = lab.applicant("bob");
    lab.converse(applicant.clone()).await.unwrap();
    let thief = Applicant { key: NodeKey::generate(), ..applicant };
    let error = lab.converse(thief).await.unwrap_err();
    assert!(matches!(error, EnrolError::Refused(EnrolRefusal::UsedTicket)));
    assert_eq!(error.to_string(), "the ticket was used already: ask for a new one");
}

#[tokio::test]
async fn a_ticket_that_cannot_work_troubles_nobody() {
    let lab = Lab::new();
    let (mut silent_in, mut silent_out) = (tokio::io::empty(), tokio::io::sink());
    let carol = Applicant { user: name("carol"), ..lab.applicant("bob") };
    let outcome = request(&mut silent_out, &mut silent_in, carol, lab.now.wall).await;
    assert!(matches!(outcome, Err(EnrolError::OtherName(user)) if user == name("bob")));
    let late = lab.now.wall.after(TICKET_LIFETIME);
    let outcome = request(&mut silent_out, &mut silent_in, lab.applicant("bob"), late).await;
    assert!(matches!(outcome, Err(EnrolError::Expired)));
}

#[tokio::test]
async fn an_answer_that_does_not_make_bob_a_member_of_his_net_is_refused() {
    let lab = Lab::new();
    let bob = lab.applicant("bob");
    let other = NetRoot::create("lab".parse().unwrap(), lab.now.wall).unwrap();
    let request_of = |key: &NodeKey| key.certificate_request();
    let genuine = lab.authority.enrol(
        &EnrolRequest {
            csr: request_of(&bob.key),
            secret: bob.ticket.secret.unwrap().0.into(),
            user: name("bob"),
        },
        CALLER,
        &lab.welcome(),
        lab.now,
    );
    let EnrolReply::Enrolled(genuine) = genuine.unwrap() else { panic!("refused") };
    let hear =
        async |enrolled: Enrolled| match hear(bob.clone(), &EnrolReply::Enrolled(enrolled), lab.now.wall)
            .await
        {
            Err(EnrolError::Unsound(why)) => why,
            outcome => panic!("{outcome:?}"),
        };

    let foreign = other.issue(&request_of(&bob.key), &name("bob"), lab.now.wall).unwrap().certificate;
    let why =
        hear(Enrolled { root: other.certificate().into(), certificate: foreign.clone(), ..genuine.clone() });
    assert!(matches!(why.await, UnsoundReply::OtherNet));
    let why = hear(Enrolled { certificate: foreign, ..genuine.clone() });
    assert!(matches!(why.await, UnsoundReply::Membership(MembershipError::Certificate(_))));
    let why = hear(Enrolled { certificate: lab.alice.certificate().into(), ..genuine.clone() });
    assert!(matches!(why.await, UnsoundReply::Membership(MembershipError::OtherKey)));
    let why = hear(Enrolled { crl: other.revoke(&[], 1, lab.now.wall).unwrap(), ..genuine.clone() });
    assert!(matches!(why.await, UnsoundReply::Crl(CrlError::Foreign)));
    let crowd = vec![genuine.authority.clone(); MAX_SUPERNODE_LIST + 1];
    let why = hear(Enrolled { supernodes: crowd, ..genuine.clone() });
    assert!(matches!(why.await, UnsoundReply::Addresses));
    let crl = lab.authority.revoke(&name("bob"), lab.now.wall).unwrap().crl;
    let why = hear(Enrolled { crl, ..genuine.clone() });
    assert!(matches!(why.await, UnsoundReply::Certificate(CertificateError::Revoked)));
}

#[tokio::test]
async fn a_certificate_in_another_name_is_refused() {
    let lab = Lab::new();
    let applicant = lab.applicant("bob");
    let EnrolReply::Enrolled(enrolled) = lab
        .authority
        .enrol(
            &EnrolRequest {
                csr: applicant.key.certificate_request(),
                secret: applicant.ticket.secret.unwrap().0.into(),
                user: name("bob"),
            },
            CALLER,
            &lab.welcome(),
            lab.now,
        )
        .unwrap()
    else {
        panic!("refused")
    };
    let ticket = Ticket { user: None, ..applicant.ticket.clone() };
    let carol = Applicant { ticket, user: name("carol"), ..applicant };
    let outcome = hear(carol, &EnrolReply::Enrolled(enrolled), lab.now.wall).await;
    assert!(
        matches!(outcome, Err(EnrolError::Unsound(UnsoundReply::OtherUser(user))) if user == name("bob"))
    );
}

#[tokio::test]
async fn frames_beyond_their_limit_end_the_conversation() {
    let lab = Lab::new();
    let caller = Caller { source: CALLER, now: lab.now };
    let long = u32::try_from(MAX_OPEN_FRAME + 1).unwrap().to_le_bytes();
    let (mut stream, mut sink) = (long.as_slice(), tokio::io::sink());
    let served = serve(&mut sink, &mut stream, lab.authority.clone(), caller, lab.welcome()).await;
    assert!(matches!(served, Err(ServeError::Broken(ReadFrameError::TooLong { .. }))));

    let longest = u32::MAX.to_le_bytes();
    let (mut stream, applicant) = (longest.as_slice(), lab.applicant("bob"));
    let asked = request(&mut sink, &mut stream, applicant, lab.now.wall).await;
    assert!(matches!(asked, Err(EnrolError::Broken(ReadFrameError::TooLong { .. }))));
}

#[test]
fn garbage_and_truncated_frames_end_the_conversation_without_a_panic() {
    let lab = Lab::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let applicant = lab.applicant("bob");
    proptest!(|(body in proptest::collection::vec(any::<u8>(), 0..200), extra in 0u32..3)| {
        let mut bytes = (u32::try_from(body.len()).unwrap() + extra).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        let caller = Caller { source: CALLER, now: lab.now };
        let served = runtime.block_on(serve(
            &mut tokio::io::sink(), &mut bytes.as_slice(), lab.authority.clone(), caller, lab.welcome(),
        ));
        prop_assert!(!matches!(served, Ok(EnrolReply::Enrolled(_))));
        let asked = runtime.block_on(request(
            &mut tokio::io::sink(), &mut bytes.as_slice(), applicant.clone(), lab.now.wall,
        ));
        prop_assert!(asked.is_err());
    });
}

#[tokio::test]
async fn the_founder_is_a_member_like_any_other_and_its_own_authority() {
    let lab = Lab::new();
    saved::save(&lab.profile(), &Member::founder(lab.alice.clone())).unwrap();
    let alice = saved::load(&lab.profile(), lab.now.wall).unwrap();
    assert_eq!(alice.membership.node(), lab.alice.node());
    assert_eq!((alice.authority.node, alice.authority_user), (lab.alice.node(), name("alice")));
}

#[test]
fn every_tls_configuration_can_carry_quic() {
    use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
    let lab = Lab::new();
    assert!(QuicServerConfig::try_from(lab.alice.server_config().unwrap()).is_ok());
    assert!(QuicServerConfig::try_from(lab.alice.enrol_server_config().unwrap()).is_ok());
    assert!(QuicClientConfig::try_from(lab.alice.client_config().unwrap()).is_ok());
    let newcomer = enrol_client_config(&lab.applicant("bob").ticket.trust()).unwrap();
    assert!(QuicClientConfig::try_from(newcomer).is_ok());
}

#[tokio::test]
async fn a_membership_is_never_overwritten_and_its_key_is_its_owners_alone() {
    let lab = Lab::new();
    let bob = lab.converse(lab.applicant("bob")).await.unwrap().member;
    let carol = lab.converse(lab.applicant("carol")).await.unwrap().member;
    saved::save(&lab.profile(), &bob).unwrap();
    assert!(matches!(saved::save(&lab.profile(), &carol), Err(SaveError::Exists(_))));
    let loaded = saved::load(&lab.profile(), lab.now.wall).unwrap();
    assert_eq!(loaded.membership.user(), &name("bob"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = fs::metadata(lab.profile().join("node.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn the_newest_revocation_list_is_still_known_after_a_restart() {
    let lab = Lab::new();
    let mut bob = lab.converse(lab.applicant("bob")).await.unwrap().member;
    saved::save(&lab.profile(), &bob).unwrap();
    for (number, user) in [(1, "carol"), (2, "dave")] {
        lab.converse(lab.applicant(user)).await.unwrap();
        let crl = lab.authority.revoke(&name(user), lab.now.wall).unwrap().crl;
        assert_eq!(bob.membership.adopt_crl(&crl), Ok(true));
        saved::save_crl(&lab.profile(), bob.membership.crl().unwrap()).unwrap();
        let loaded = saved::load(&lab.profile(), lab.now.wall).unwrap().membership;
        assert_eq!(loaded.crl().unwrap().number(), number);
    }
}

#[tokio::test]
async fn a_damaged_membership_says_what_is_wrong_with_it() {
    let lab = Lab::new();
    let load = || saved::load(&lab.profile(), lab.now.wall).map(|_| ()).unwrap_err();
    assert!(matches!(load(), LoadError::Absent(_)));
    let bob = lab.converse(lab.applicant("bob")).await.unwrap().member;
    saved::save(&lab.profile(), &bob).unwrap();
    let file = |name: &str| lab.profile().join(name);

    fs::write(file("revoked.crl"), "garbage").unwrap();
    assert!(load().to_string().starts_with("revoked.crl is unusable"), "{}", load());
    fs::write(file("authority.toml"), "node = 7").unwrap();
    fs::remove_file(file("revoked.crl")).unwrap();
    assert!(load().to_string().starts_with("authority.toml is unusable"), "{}", load());
    fs::write(file("node.crt"), lab.alice.certificate()).unwrap();
    assert!(matches!(load(), LoadError::Membership(MembershipError::OtherKey)));
    fs::remove_file(file("node.crt")).unwrap();
    assert!(load().to_string().contains("node.crt"), "{}", load());
    fs::write(file("node.key"), "no key").unwrap();
    assert!(matches!(load(), LoadError::Key(_)));
}
