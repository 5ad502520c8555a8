//! What a member of the net can do to its peers when it means harm: nothing that an honest one would notice.
//!
//! Mallory joined as anybody does and then speaks by hand (see [`tests::rogue`]). Alice is the victim: supernode,
//! authority, and bob's home. Every test ends with bob and alice going about their business.
#![allow(clippy::unwrap_used)] // All of this is test.

mod connections;
mod disk;
mod frames;
mod gifts;
mod liars;
mod names;
mod presences;
mod questions;

use tests::{
    process::{Lab, Node, eventually},
    rogue::Rogue,
};

use crate::PROGRAM;

/// What alice shares.
const EVIDENCE: &[u8] = b"honest evidence";

struct Scene {
    mallory: Rogue,
    alice: Node,
    bob: Node,
    lab: Lab,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new(PROGRAM);
        let alice = lab.authority("lab", "alice");
        let bob = lab.member(&alice, "bob", &[]);
        alice.write("papers/Honest Evidence.txt", EVIDENCE);
        alice.ok(&["share", "add", alice.home.join("papers").to_str().unwrap()]);
        let mallory = Rogue::of(&lab.joined(&alice, "mallory"));
        Self { mallory, alice, bob, lab }
    }

    /// They look each other up, search, and fetch.
    fn honest_people_go_on(&self) {
        for (asker, wanted) in [(&self.alice, &self.bob), (&self.bob, &self.alice)] {
            let user = format!("{}@lab", wanted.home.file_name().unwrap().to_str().unwrap());
            // A machine that stalls for four seconds loses its links and finds its home again.
            let (lookup, _) = eventually(&format!("{user} is online"), || {
                let lookup = asker.json(&["lookup", &user]);
                (lookup["online"] == true).then_some(lookup)
            });
            assert_eq!(lookup["nodes"][0]["node_id"], wanted.id(), "{lookup}");
            assert_eq!(lookup["nodes"][0]["addresses"][0], wanted.listen(), "{lookup}");
            assert_eq!(lookup["nodes"].as_array().unwrap().len(), 1, "{lookup}");
        }
        eventually("the search finds alice's file", || {
            let results = self.bob.json_lines(&["search", "honest", "evidence"]);
            results.iter().any(|result| result["sources"][0]["user"] == "alice@lab").then_some(())
        });
        let here = tempfile::tempdir_in(self.lab.path()).unwrap();
        let hash = blake3::hash(EVIDENCE).to_hex();
        self.bob.ok(&["get", hash.as_str(), "--output", here.path().to_str().unwrap()]);
        assert_eq!(std::fs::read(here.path().join("Honest Evidence.txt")).unwrap(), EVIDENCE);
    }

    /// Fails if alice's memory grew by more than this since `before`.
    fn alice_has_not_grown(&self, before: u64, at_most_mib: u64) {
        let grown = self.alice.resident_kib().saturating_sub(before) / 1024;
        println!("alice grew by {grown} MiB");
        assert!(grown <= at_most_mib, "alice grew by {grown} MiB");
    }
}
