//! Transfers between people behind NATs, while what is between them changes.
//!
//! In CI they are small and slow; by hand, as large as they should be:
//! `NEARMESH_LAB_MIB=1024 cargo test -p tests --test lab transfers -- --nocapture --test-threads 1`.

use std::{path::Path, time::Duration};

use tests::lab::{Gateway, Internet, NatKind, Resident, Town, matrix};

use crate::{
    PROGRAM,
    flow::{fetch, mebibytes, share},
};

/// The network promises that no change of the path stalls a transfer for longer.
const LONGEST_STALL: Duration = Duration::from_secs(2);
/// What is carried for a byte of the file at most: headers of all layers, proofs, what is sent again because it was lost.
/// A piece that was fetched twice would be a quarter of a small file.
const OVERHEAD: f64 = 1.10;
/// For a transfer of that many MiB.
const USUAL_MIB: u64 = 64;
/// How long the transfers should last at least: time for what happens in them.
const WITH_A_DEATH_S: u64 = 10;
const WITH_MANY_CHANGES_S: u64 = 25;

/// Supernodes, alice and bob.
fn town(alice: NatKind, bob: NatKind) -> Option<Town> {
    let mut town = Town::found(Internet::or_skip()?, Path::new(PROGRAM));
    town.settle([("alice".to_owned(), alice.into()), ("bob".to_owned(), bob.into())]);
    Some(town)
}

fn resident<'a>(town: &'a Town, name: &str) -> &'a Resident {
    town.find(name).unwrap()
}

/// Makes the way to each of these no faster than to let a file of so many MiB last so long.
fn slow_down(town: &Town, mebibytes: u64, seconds: u64, to: &[&Gateway]) {
    let rate = Some((mebibytes << 20) * 8 / seconds);
    for site in to {
        for from in town.everybody().filter(|from| from.site.name() != site.name()) {
            town.internet.change(&from.site, site, |path| path.rate = rate);
        }
    }
}

/// Which supernode has carried most to somebody: how many bytes each.
fn carried_by(town: &Town, to: &Gateway) -> Vec<u64> {
    town.supernodes.iter().map(|hub| town.internet.carried(&hub.site, to).bytes).collect()
}

#[test]
fn a_transfer_outlives_its_relay() {
    let Some(mut town) = town(NatKind::Symmetric, NatKind::Symmetric) else { return };
    let size = mebibytes(USUAL_MIB);
    let content = (share(resident(&town, "alice"), resident(&town, "bob"), size), size);
    slow_down(&town, size, WITH_A_DEATH_S, &[&resident(&town, "bob").site]);
    let call = matrix::call(&resident(&town, "bob").node, "alice", Duration::from_secs(1));
    assert_eq!(call.reached, matrix::Reached::Relayed, "{call:?}");

    // Whoever carries it when half of it is there.
    let before = carried_by(&town, &resident(&town, "bob").site);
    let relay = std::cell::Cell::new(usize::MAX);
    let pids: Vec<u32> = town.supernodes.iter().map(|hub| hub.node.pid()).collect();
    let kill = || {
        let now = carried_by(&town, &resident(&town, "bob").site);
        let carried = now.iter().zip(&before).map(|(now, before)| now - before);
        let busiest = carried.enumerate().max_by_key(|(_, bytes)| *bytes).unwrap().0;
        relay.set(busiest);
        let killed = std::process::Command::new("kill").args(["-9", &pids[busiest].to_string()]).status();
        assert!(killed.unwrap().success());
    };
    let flow =
        fetch(&town, resident(&town, "bob"), content, vec![(0.5, "kill -9 of the relay", Box::new(kill))]);
    let dead = relay.get();
    println!("{} relayed and was killed", town.supernodes[dead].name);
    flow.report();
    town.supernodes[dead].node.kill();
    assert!(flow.longest() < LONGEST_STALL, "{flow:?}");
    assert!((flow.carried as f64) < OVERHEAD * flow.size as f64, "something was fetched twice: {flow:?}");
}

#[test]
fn a_transfer_becomes_direct_and_follows_flushed_mappings_and_a_laptop_that_moves() {
    let Some(town) = town(NatKind::PortRestricted, NatKind::PortRestricted) else { return };
    let (alice, bob) = (resident(&town, "alice"), resident(&town, "bob"));
    let cafe = town.internet.site("cafe", NatKind::PortRestricted);
    let size = mebibytes(USUAL_MIB);
    let content = (share(alice, bob, size), size);
    slow_down(&town, size, WITH_MANY_CHANGES_S, &[&bob.site, &cafe]);

    // Relayed, because the direct way is shut.
    town.internet.cut(&alice.site, &bob.site);
    let call = matrix::call(&bob.node, "alice", Duration::from_secs(1));
    assert_eq!(call.reached, matrix::Reached::Relayed, "{call:?}");
    let straight = |to: &Gateway| town.internet.carried(&alice.site, to).bytes;
    let moved = std::cell::Cell::new(0);
    let flow = fetch(
        &town,
        bob,
        content,
        vec![
            (0.1, "the direct way opened", Box::new(|| town.internet.mend(&alice.site, &bob.site))),
            (0.4, "bob's mappings were flushed", Box::new(|| bob.site.rebind())),
            (0.5, "alice's mappings were flushed", Box::new(|| alice.site.rebind())),
            (0.6, "bob's mappings were flushed again", Box::new(|| bob.site.rebind())),
            (0.7, "bob got another address in his LAN", Box::new(|| bob.host.change_address())),
            (
                0.85,
                "bob moved to the café",
                Box::new(|| {
                    moved.set(straight(&bob.site));
                    bob.host.move_to(&cafe);
                }),
            ),
        ],
    );
    flow.report();
    let direct = (moved.get() as f64 / flow.size as f64, straight(&cafe) as f64 / flow.size as f64);
    println!("  directly: {:.0} % at home, {:.0} % at the café", direct.0 * 100.0, direct.1 * 100.0);
    assert!(direct.0 > 0.2, "it went directly at home: {direct:?}");
    assert!(flow.longest() < LONGEST_STALL, "{flow:?}");
}
