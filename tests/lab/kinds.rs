//! Each NAT behaves as its kind says.

use nearmesh_common::nat::{Filtering, Mapping};
use tests::lab::{Internet, NatKind};

use crate::observer::Observers;

#[test]
fn every_kind_of_nat_is_what_it_is_called() {
    let Some(internet) = Internet::or_skip() else { return };
    let observers = Observers::new(&internet);
    let mut wrong = Vec::new();
    for kind in NatKind::ALL {
        for nat in [kind.into(), kind.hairpin()] {
            let alice = internet.site("home", nat).host("alice");
            let seen = (
                observers.mapping(&alice.udp(0), alice.address()),
                // Another socket: the one before has asked everybody.
                observers.filtering(&alice.udp(0)),
            );
            println!("{nat:20} mapping {}, filtering {}", seen.0, seen.1);
            if seen != (kind.mapping(), kind.filtering()) {
                wrong.push((nat, seen));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
