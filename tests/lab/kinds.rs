//! Each NAT behaves as its kind says.

use tests::lab::{Internet, Nat, NatKind};

use crate::observer::Observers;

#[test]
fn every_kind_of_nat_is_what_it_is_called() {
    all_are_what_they_are_called(NatKind::ALL.map(Nat::from));
}

#[test]
fn hairpinning_changes_nothing_for_those_outside() {
    all_are_what_they_are_called(NatKind::ALL.map(NatKind::hairpin));
}

fn all_are_what_they_are_called(nats: impl IntoIterator<Item = Nat>) {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let mut wrong = Vec::new();
    for nat in nats {
        let alice = internet.site("home", nat).host("alice");
        let mapping = observers.mapping(&alice.udp(0), alice.address());
        // By another socket: the one before has asked everybody.
        let filtering = observers.filtering(&alice.udp(0));
        println!("{nat:20} mapping {mapping}, filtering {filtering}");
        if (mapping, filtering) != (nat.kind.mapping(), nat.kind.filtering()) {
            wrong.push((nat, mapping, filtering));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
