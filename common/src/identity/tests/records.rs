use serde::{Deserialize, Serialize};

use super::{DAY, Net};
use crate::{
    identity::{LEAF_LIFETIME, MemberKeyring},
    signed::{Content, Keyring, Renewal, Signed, VerifyError},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note(u32);

impl Content for Note {
    const CONTEXT: &'static str = "test note 1";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict(u32);

impl Content for Verdict {
    const CONTEXT: &'static str = "test verdict 1";
}

/// The same parts under another type: what whoever carries a record could pass on.
fn parts<T: Content>(signed: &Signed<T>) -> (&[u8], &[u8], &[u8]) {
    (&signed.payload, &signed.certificate, &signed.signature)
}

fn reread<T: Content, U: Content>(signed: &Signed<T>) -> Signed<U> {
    crate::codec::decode(&crate::codec::encode(signed)).unwrap()
}

#[test]
fn bob_reads_what_alice_signed() {
    let lab = Net::new("lab");
    let alice = MemberKeyring::new(lab.join("alice").membership);
    let bob = MemberKeyring::new(lab.join("bob").membership);
    let (alice, bob): (&dyn Keyring, &dyn Keyring) = (&alice, &bob);
    let note = alice.seal(&Note(7));
    for time in ["first", "second, from memory"] {
        let read = bob.verify(note.clone(), lab.wall).expect(time);
        assert_eq!(read.content, Note(7));
        assert_eq!((read.signer.node, read.signer.user.as_str()), (alice.node(), "alice"));
    }
}

#[test]
fn a_renewal_is_read_by_who_has_an_earlier_record_of_its_signer_and_by_nobody_else() {
    let lab = Net::new("lab");
    let alice = MemberKeyring::new(lab.join("alice").membership);
    let mallory = MemberKeyring::new(lab.join("mallory").membership);
    let (alice, mallory): (&dyn Keyring, &dyn Keyring) = (&alice, &mallory);
    let (before, whole) = (alice.seal(&Note(7)), alice.seal(&Note(8)));
    let bytes = crate::codec::encode(&Renewal::of(whole.clone()));
    assert!(bytes.len() * 3 < crate::codec::encode(&whole).len(), "{} bytes", bytes.len());
    let read = || crate::codec::decode::<Renewal<Note>>(&bytes).unwrap();
    let read_after = |before: &Signed<Note>| alice.verify(read().completed(before), lab.wall);
    assert_eq!(read_after(&before).unwrap().content, Note(8));
    assert_eq!(read_after(&mallory.seal(&Note(7))).unwrap_err(), VerifyError::Signature);
}

#[test]
fn a_record_replayed_as_another_kind_is_refused() {
    let lab = Net::new("lab");
    let alice = MemberKeyring::new(lab.join("alice").membership);
    let alice: &dyn Keyring = &alice;
    let verdict: Signed<Verdict> = reread(&alice.seal(&Note(7)));
    assert_eq!(alice.verify(verdict, lab.wall).unwrap_err(), VerifyError::Signature);
}

#[test]
fn a_forged_record_is_refused() {
    let lab = Net::new("lab");
    let alice = MemberKeyring::new(lab.join("alice").membership);
    let mallory = MemberKeyring::new(lab.join("mallory").membership);
    let (alice, mallory): (&dyn Keyring, &dyn Keyring) = (&alice, &mallory);
    let (genuine, other) = (alice.seal(&Note(7)), mallory.seal(&Note(8)));

    let mut changed = genuine.clone();
    changed.payload = other.payload.clone();
    assert_eq!(alice.verify(changed, lab.wall).unwrap_err(), VerifyError::Signature);

    let mut borrowed = other.clone();
    borrowed.certificate = genuine.certificate.clone();
    assert_eq!(alice.verify(borrowed, lab.wall).unwrap_err(), VerifyError::Signature);

    let mut cut = genuine.clone();
    cut.signature = parts(&genuine).2[..63].into();
    assert_eq!(alice.verify(cut, lab.wall).unwrap_err(), VerifyError::Signature);
}

#[test]
fn a_record_of_another_net_is_refused() {
    let (lab, other) = (Net::new("lab"), Net::new("lab"));
    let alice = MemberKeyring::new(lab.join("alice").membership);
    let stranger = MemberKeyring::new(other.join("bob").membership);
    let (alice, stranger): (&dyn Keyring, &dyn Keyring) = (&alice, &stranger);
    let outcome = alice.verify(stranger.seal(&Note(7)), lab.wall);
    assert!(matches!(outcome, Err(VerifyError::Certificate(_))), "{outcome:?}");
}

#[test]
fn a_revoked_member_is_no_longer_believed_although_it_was_before() {
    let lab = Net::new("lab");
    let bob = lab.join("bob");
    let list = lab.revoke(&[&bob], 1);
    let alice = MemberKeyring::new(lab.join("alice").membership);
    let bob = MemberKeyring::new(bob.membership);
    let note = (&bob as &dyn Keyring).seal(&Note(7));
    assert!((&alice as &dyn Keyring).verify(note.clone(), lab.wall).is_ok());

    assert_eq!(alice.adopt_crl(&list), Ok(true));
    let outcome = (&alice as &dyn Keyring).verify(note, lab.wall);
    assert_eq!(outcome.unwrap_err(), VerifyError::Certificate("it was revoked".to_owned()));
    assert_eq!(alice.membership().crl().unwrap().number(), 1);

    let own = (&alice as &dyn Keyring).seal(&Note(8));
    assert!((&alice as &dyn Keyring).verify(own, lab.wall).is_ok());
}

#[test]
fn a_remembered_certificate_still_expires() {
    let lab = Net::new("lab");
    let alice = MemberKeyring::new(lab.join("alice").membership);
    let alice: &dyn Keyring = &alice;
    let note = alice.seal(&Note(7));
    assert!(alice.verify(note.clone(), lab.wall).is_ok());
    let outcome = alice.verify(note, lab.wall.after(LEAF_LIFETIME + DAY));
    assert!(matches!(outcome, Err(VerifyError::Certificate(_))), "{outcome:?}");
}
