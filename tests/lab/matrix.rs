//! Who reaches whom, in a reduced form: a few pairs, each for one thing that has to work. All of them: `lab matrix`.

use std::{path::Path, time::Duration};

use tests::lab::{
    Internet, NatKind,
    NatKind::{Carrier, FullCone, Leaky, Open, PortRestricted, Symmetric},
    Town,
    matrix::{Patience, Runs, complaints, late, measure},
};

use crate::PROGRAM;

/// Who calls whom, and what for.
const PAIRS: [(NatKind, NatKind, &str); 8] = [
    (Open, Open, "plain"),
    (Symmetric, Open, "dialling out"),
    (Open, Symmetric, "asked to dial out"),
    (PortRestricted, Carrier, "hole punching"),
    (Leaky, PortRestricted, "hole punching, after a priming packet"),
    (Symmetric, FullCone, "hole punching, where one port is never told"),
    (PortRestricted, Symmetric, "guessing, or relayed"),
    (Symmetric, Symmetric, "relayed"),
];
/// As many as a small machine bears without being late itself.
const CALLS_AT_A_TIME: usize = 2;
/// For the direct way, where it must come within 3 s; the guess is given less than it may take, and may fail.
const PATIENCE: Patience = Patience { guessing: Duration::from_secs(8), otherwise: Duration::from_secs(5) };

#[test]
fn every_way_of_reaching_somebody_works() {
    let Some(internet) = Internet::or_skip() else { return };
    let mut town = Town::found(internet, Path::new(PROGRAM));
    let name = |number: usize, side| format!("{side}{number}");
    town.settle(PAIRS.iter().enumerate().flat_map(|(number, (caller, callee, _))| {
        [(name(number, "caller"), (*caller).into()), (name(number, "callee"), (*callee).into())]
    }));
    let outside: Vec<_> = town.people.iter().filter_map(|person| person.outside.as_ref()).collect();
    assert!(outside.is_empty(), "{outside:?}");
    let find = |number, side| town.find(&name(number, side)).unwrap();
    let pairs: Vec<_> =
        (0..PAIRS.len()).map(|number| (find(number, "caller"), find(number, "callee"))).collect();
    let cells = measure(&pairs, CALLS_AT_A_TIME, PATIENCE, |_| {});
    for (cell, (.., what)) in cells.iter().zip(PAIRS) {
        let [caller, callee] = cell.nats;
        let call = &cell.call;
        println!(
            "{caller} calls {callee} ({what}): {} after {:.0?}, direct after {:.0?}",
            call.reached, call.first, call.direct
        );
    }
    let measured: Vec<Runs> = cells.into_iter().map(|cell| Runs(vec![cell])).collect();
    // Told, not demanded: other tests run meanwhile.
    late(&measured).iter().for_each(|pair| println!("{pair}"));
    assert_eq!(complaints(&measured), Vec::<String>::new());
}
