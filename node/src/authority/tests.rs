//! Alice founds the net lab; bob, carol and eve stand at its door.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use nearmesh_common::{
    Now, UnixMillis,
    identity::{CertificateError, Crl, Membership, NodeKey, Ticket},
    signed::Signer,
    wire::enrol::{EnrolRefusal, EnrolReply, EnrolRequest, Enrolled},
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

struct Lab {
    scratch: TempDir,
    authority: Authority,
    alice: Membership,
    now: Now,
}

#[allow(clippy::disallowed_methods, reason = "not a protocol machine")]
fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Now { instant: Instant::now(), wall: UnixMillis(u64::try_from(since.as_millis()).unwrap()) }
}

impl Lab {
    fn new(policy: Policy) -> Self {
        let (scratch, now) = (TempDir::new().unwrap(), now());
        let dir = scratch.path().join("authority");
        let (authority, alice) = found(&dir, policy, now).unwrap();
        Self { scratch, authority, alice, now }
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path().join("authority")
    }

    /// What a power cut leaves: the files as they are on disk at this moment, never closed.
    fn crash(self) -> Self {
        let scratch = TempDir::new().unwrap();
        let copy = scratch.path().join("authority");
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(self.dir()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        Self { authority: Authority::open(&copy).unwrap(), scratch, alice: self.alice, now: self.now }
    }

    fn invite(&self, user: &str) -> Ticket {
        self.authority.invite(Some(name(user)), TICKET_LIFETIME, &[], self.now.wall).unwrap()
    }

    fn ask(&self, ticket: &Ticket, key: &NodeKey, user: &str) -> EnrolReply {
        self.ask_at(ticket, key, user, self.now)
    }

    fn ask_at(&self, ticket: &Ticket, key: &NodeKey, user: &str, now: Now) -> EnrolReply {
        self.authority.enrol(&request(ticket, key, user), HOME, &Welcome::default(), now).unwrap()
    }

    /// Admits and says who that is under the list that came along.
    fn join(&self, ticket: &Ticket, key: &NodeKey, user: &str) -> Signer {
        let enrolled = welcomed(self.ask(ticket, key, user));
        let trust = ticket.trust();
        let crl = (!enrolled.crl.is_empty()).then(|| Crl::read(&enrolled.crl, &trust).unwrap());
        trust.identify(&enrolled.certificate, crl.as_ref(), self.now.wall).unwrap()
    }
}

fn found(dir: &Path, policy: Policy, now: Now) -> Result<(Authority, Membership), AuthorityError> {
    Authority::create(dir, "lab".parse().unwrap(), policy, name("alice"), NodeKey::generate(), now.wall)
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn request(ticket: &Ticket, key: &NodeKey, user: &str) -> EnrolRequest {
    let secret = ticket.secret.map(|secret| secret.0.into()).unwrap_or_default();
    EnrolRequest { csr: key.certificate_request(), secret, user: name(user) }
}

fn welcomed(reply: EnrolReply) -> Enrolled {
    match reply {
        EnrolReply::Enrolled(enrolled) => enrolled,
        EnrolReply::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

fn refused(reply: EnrolReply) -> EnrolRefusal {
    match reply {
        EnrolReply::Refused(refusal) => refusal,
        EnrolReply::Enrolled(_) => panic!("enrolled"),
    }
}

#[test]
fn alice_founds_a_net_and_bob_joins_it_with_a_ticket() {
    let lab = Lab::new(Policy::Invite);
    assert_eq!(lab.alice.address().to_string(), "alice@lab");
    let (ticket, key) = (lab.invite("bob"), NodeKey::generate());
    assert_eq!((ticket.authority.node, &ticket.root), (lab.alice.node(), &lab.alice.trust().root()));
    let bob = lab.join(&ticket, &key, "bob");
    assert_eq!((bob.node, bob.user), (key.node_id(), name("bob")));
    assert_eq!(welcomed(lab.ask(&ticket, &key, "bob")).authority_user, name("alice"));
}

#[test]
fn a_lost_answer_costs_nothing_even_if_the_authority_crashes_in_between() {
    let lab = Lab::new(Policy::Invite);
    let (ticket, key) = (lab.invite("bob"), NodeKey::generate());
    let lost = welcomed(lab.ask(&ticket, &key, "bob"));
    let lab = lab.crash();
    assert_eq!(welcomed(lab.ask(&ticket, &key, "bob")), lost);
}

#[test]
fn a_ticket_survives_a_crash_and_admits_one_node_only() {
    let lab = Lab::new(Policy::Invite);
    let ticket = lab.invite("bob");
    let lab = lab.crash();
    lab.join(&ticket, &NodeKey::generate(), "bob");
    let thief = NodeKey::generate();
    assert_eq!(refused(lab.ask(&ticket, &thief, "bob")), EnrolRefusal::UsedTicket);
    assert_eq!(refused(lab.crash().ask(&ticket, &thief, "bob")), EnrolRefusal::UsedTicket);
}

#[test]
fn of_many_who_present_one_ticket_at_once_one_is_admitted() {
    let lab = Arc::new(Lab::new(Policy::Invite));
    let ticket = lab.invite("bob");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (lab, ticket) = (lab.clone(), ticket.clone());
            #[allow(clippy::disallowed_methods, reason = "not a protocol machine")]
            std::thread::spawn(move || lab.ask(&ticket, &NodeKey::generate(), "bob"))
        })
        .collect();
    let replies: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let admitted = replies.iter().filter(|reply| matches!(reply, EnrolReply::Enrolled(_))).count();
    assert_eq!(admitted, 1);
}

#[test]
fn an_expired_a_foreign_and_a_garbled_ticket_are_refused_with_the_reason() {
    let (lab, other) = (Lab::new(Policy::Invite), Lab::new(Policy::Invite));
    let key = NodeKey::generate();
    let ticket = lab.invite("bob");
    let late = lab.now.after(TICKET_LIFETIME);
    assert_eq!(refused(lab.ask_at(&ticket, &key, "bob", late)), EnrolRefusal::ExpiredTicket);
    assert_eq!(refused(lab.ask(&other.invite("bob"), &key, "bob")), EnrolRefusal::UnknownTicket);
    let without = Ticket { secret: None, ..ticket.clone() };
    assert_eq!(refused(lab.ask(&without, &key, "bob")), EnrolRefusal::UnknownTicket);
    assert_eq!(refused(lab.ask(&ticket, &key, "carol")), EnrolRefusal::OtherName);

    let mut garbled = request(&ticket, &key, "bob");
    garbled.secret = garbled.secret[..15].into();
    let reply = lab.authority.enrol(&garbled, HOME, &Welcome::default(), lab.now).unwrap();
    assert_eq!(refused(reply), EnrolRefusal::BadRequest);
    assert_eq!(lab.join(&ticket, &key, "bob").user, name("bob"), "none of this used the ticket up");
}

#[test]
fn a_request_that_proves_nothing_does_not_use_the_ticket_up() {
    let lab = Lab::new(Policy::Invite);
    let (ticket, key) = (lab.invite("bob"), NodeKey::generate());
    let mut forged = request(&ticket, &key, "bob");
    *forged.csr.last_mut().unwrap() ^= 1;
    let reply = lab.authority.enrol(&forged, HOME, &Welcome::default(), lab.now).unwrap();
    assert_eq!(refused(reply), EnrolRefusal::BadRequest);
    assert_eq!(lab.join(&ticket, &key, "bob").node, key.node_id());
}

#[test]
fn two_users_who_ask_for_the_same_name_do_not_both_get_it() {
    let lab = Lab::new(Policy::Open);
    let door = lab.authority.invite(None, TICKET_LIFETIME, &[], lab.now.wall).unwrap();
    assert_eq!(door.secret, None);
    let bob = NodeKey::generate();
    lab.join(&door, &bob, "bob");
    assert_eq!(refused(lab.ask(&door, &NodeKey::generate(), "bob")), EnrolRefusal::NameTaken);
    let founders = refused(lab.ask(&door, &NodeKey::generate(), "alice"));
    assert_eq!(founders, EnrolRefusal::NameTaken, "the founder's name is nobody else's");
}

#[test]
fn an_open_net_slows_the_greedy_down_and_repeats_a_lost_answer() {
    let lab = Lab::new(Policy::Open);
    let door = lab.authority.invite(None, TICKET_LIFETIME, &[], lab.now.wall).unwrap();
    let bob = NodeKey::generate();
    let first = welcomed(lab.ask(&door, &bob, "bob"));
    for user in ["eve1", "eve2"] {
        welcomed(lab.ask(&door, &NodeKey::generate(), user));
    }
    assert_eq!(refused(lab.ask(&door, &NodeKey::generate(), "eve3")), EnrolRefusal::RateLimited);
    assert_eq!(lab.join(&lab.invite("carol"), &NodeKey::generate(), "carol").user, name("carol"));
    let later = lab.now.after(Duration::from_secs(60));
    assert_eq!(welcomed(lab.ask_at(&door, &bob, "bob", later)), first);
}

#[test]
fn a_name_on_a_ticket_is_kept_for_its_holder() {
    let lab = Lab::new(Policy::Open);
    let door = lab.authority.invite(None, TICKET_LIFETIME, &[], lab.now.wall).unwrap();
    let ticket = lab.invite("bob");
    assert_eq!(refused(lab.ask(&door, &NodeKey::generate(), "bob")), EnrolRefusal::NameTaken);
    assert_eq!(lab.join(&ticket, &NodeKey::generate(), "bob").user, name("bob"));
}

#[test]
fn an_invitation_for_a_user_who_is_there_adds_a_node() {
    let lab = Lab::new(Policy::Invite);
    let (desk, laptop) = (NodeKey::generate(), NodeKey::generate());
    lab.join(&lab.invite("bob"), &desk, "bob");
    let second = lab.join(&lab.invite("bob"), &laptop, "bob");
    assert_eq!((second.node, second.user), (laptop.node_id(), name("bob")));
    let again = lab.invite("bob");
    assert_eq!(refused(lab.ask(&again, &desk, "bob")), EnrolRefusal::AlreadyMember);
}

#[test]
fn a_user_has_a_bounded_number_of_nodes_and_open_invitations() {
    let lab = Lab::new(Policy::Invite);
    lab.join(&lab.invite("bob"), &NodeKey::generate(), "bob");
    for _ in 1..MAX_NODES_PER_USER {
        lab.invite("bob");
    }
    let another = |wall| lab.authority.invite(Some(name("bob")), TICKET_LIFETIME, &[], wall);
    assert!(matches!(another(lab.now.wall), Err(InviteError::TooManyNodes(user)) if user == name("bob")));
    assert!(another(lab.now.wall.after(TICKET_LIFETIME)).is_ok(), "what has expired does not count");
    lab.invite("carol");
}

#[test]
fn revoking_bob_takes_all_his_nodes_out_and_nobody_else() {
    let lab = Lab::new(Policy::Invite);
    let keys = [NodeKey::generate(), NodeKey::generate()];
    let bobs = keys.clone().map(|key| welcomed(lab.ask(&lab.invite("bob"), &key, "bob")));
    let carol = welcomed(lab.ask(&lab.invite("carol"), &NodeKey::generate(), "carol"));
    assert_eq!(lab.authority.crl().unwrap(), None);

    let revocation = lab.authority.revoke(&name("bob"), lab.now.wall).unwrap();
    assert_eq!(revocation.nodes.len(), 2);
    let trust = lab.alice.trust();
    let list = Crl::read(&revocation.crl, trust).unwrap();
    for bob in bobs {
        let outcome = trust.identify(&bob.certificate, Some(&list), lab.now.wall);
        assert_eq!(outcome, Err(CertificateError::Revoked));
    }
    assert!(trust.identify(&carol.certificate, Some(&list), lab.now.wall).is_ok());
    assert_eq!(lab.crash().authority.crl().unwrap(), Some(revocation.crl));
}

#[test]
fn a_revoked_user_comes_back_by_a_new_invitation_only() {
    let lab = Lab::new(Policy::Open);
    let door = lab.authority.invite(None, TICKET_LIFETIME, &[], lab.now.wall).unwrap();
    let (used, unused, key) = (lab.invite("bob"), lab.invite("bob"), NodeKey::generate());
    lab.join(&used, &key, "bob");
    lab.authority.revoke(&name("bob"), lab.now.wall).unwrap();

    assert_eq!(refused(lab.ask(&used, &key, "bob")), EnrolRefusal::UsedTicket);
    assert_eq!(refused(lab.ask(&unused, &key, "bob")), EnrolRefusal::UnknownTicket);
    assert_eq!(refused(lab.ask(&door, &key, "bob")), EnrolRefusal::NameTaken);
    let back = lab.join(&lab.invite("bob"), &key, "bob");
    assert_eq!((back.node, back.user), (key.node_id(), name("bob")), "not on the list that came along");
}

#[test]
fn each_revocation_list_names_all_and_has_a_higher_number() {
    let lab = Lab::new(Policy::Invite);
    let trust = lab.alice.trust();
    let mut expelled = Vec::new();
    for (number, user) in [(1, "bob"), (2, "carol")] {
        expelled.push(welcomed(lab.ask(&lab.invite(user), &NodeKey::generate(), user)).certificate);
        let revocation = lab.authority.revoke(&name(user), lab.now.wall).unwrap();
        let list = Crl::read(&revocation.crl, trust).unwrap();
        assert_eq!(list.number(), number);
        for certificate in &expelled {
            let outcome = trust.identify(certificate, Some(&list), lab.now.wall);
            assert_eq!(outcome, Err(CertificateError::Revoked));
        }
    }
}

#[test]
fn nobody_who_is_not_there_is_revoked_nor_the_authority_itself() {
    let lab = Lab::new(Policy::Invite);
    let outcome = lab.authority.revoke(&name("eve"), lab.now.wall);
    assert!(matches!(outcome, Err(RevokeError::Unknown(_))));
    let outcome = lab.authority.revoke(&name("alice"), lab.now.wall);
    assert!(matches!(outcome, Err(RevokeError::Authority(_))));
    lab.invite("eve");
    assert_eq!(lab.authority.revoke(&name("eve"), lab.now.wall).unwrap().nodes, []);
}

#[test]
fn a_net_is_never_founded_over_another() {
    let lab = Lab::new(Policy::Invite);
    let before = fs::read(lab.dir().join("root.crt")).unwrap();
    assert!(matches!(found(&lab.dir(), Policy::Open, lab.now), Err(AuthorityError::Exists(_))));
    assert_eq!(fs::read(lab.dir().join("root.crt")).unwrap(), before);
}

#[test]
fn what_an_interrupted_founding_left_is_no_obstacle() {
    let scratch = TempDir::new().unwrap();
    let left = scratch.path().join("authority.unfinished");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("root.key"), "half").unwrap();
    assert!(found(&scratch.path().join("authority"), Policy::Invite, now()).is_ok());
    assert!(!left.exists());
}

#[test]
fn two_processes_do_not_keep_the_same_books() {
    let lab = Lab::new(Policy::Invite);
    assert!(matches!(Authority::open(&lab.dir()), Err(AuthorityError::Books(_))));
}

#[test]
#[cfg(unix)]
fn the_root_key_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new(Policy::Invite);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(lab.dir()), 0o700);
    assert_eq!(mode(lab.dir().join("root.key")), 0o600);
    let dir = lab.dir();
    let Lab { scratch: _scratch, authority, .. } = lab;
    drop(authority);
    fs::set_permissions(dir.join("root.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Authority::open(&dir), Err(AuthorityError::RootKey(_))));
}

#[test]
fn garbage_requests_are_refused_and_change_nothing() {
    let lab = Lab::new(Policy::Invite);
    let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
    let garbage = (bytes(), prop_oneof![bytes(), proptest::collection::vec(any::<u8>(), 16)]);
    proptest!(|((csr, secret) in garbage)| {
        let request = EnrolRequest { csr: csr.into(), secret: secret.into(), user: name("eve") };
        let reply = lab.authority.enrol(&request, HOME, &Welcome::default(), lab.now).unwrap();
        prop_assert!(matches!(reply, EnrolReply::Refused(_)));
    });
    assert!(matches!(lab.authority.revoke(&name("eve"), lab.now.wall), Err(RevokeError::Unknown(_))));
}
