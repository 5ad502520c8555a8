//! What real nodes find out about the NATs that they are behind, and say in `status`.

use std::path::Path;

use nearmesh_common::nat::{Filtering, Mapping};
use serde_json::{Value, json};
use tests::{
    lab::{Internet, NatKind, Resident, SHORT_TIMEOUT_S, Town},
    process::{Lab, Node, eventually},
};

use crate::PROGRAM;

#[test]
fn status_says_what_stands_before_a_node() {
    let Some(internet) = Internet::or_skip() else { return };
    let mut town = Town::found(internet, Path::new(PROGRAM));
    let kinds = NatKind::ALL.into_iter().filter(|kind| *kind != NatKind::UdpBlocked);
    town.settle(kinds.map(|kind| (kind.to_string(), kind.into())));
    // Nobody joins from where UDP is blocked; but a laptop may get there.
    town.settle([("laptop".to_owned(), NatKind::PortRestricted.into())]);
    let laptop = town.find("laptop").unwrap();
    let blocked = town.internet.site("hotel", NatKind::UdpBlocked);
    blocked.host("somebody else");
    laptop.host.move_to(&blocked);

    let mut wrong = Vec::new();
    for resident in town.people.iter().filter(|resident| resident.name != "laptop") {
        let told = decided(&resident.node);
        println!("{:12} {}", resident.name, told["verdict"]);
        wrong.extend(mistakes(resident, &told));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // A relay is who is reachable, and says so in its presence.
    for (name, relays) in [("fullcone", true), ("prc", false)] {
        assert_eq!(reachability(&town.find(name).unwrap().node)["relays"], relays, "{name}");
    }
    let short = &town.find("prc-short").unwrap().node;
    let survived = |told: &Value| told["mapping_lifetime_ms"].as_u64();
    let (lifetime, _) = eventually("the lifetime is measured", || survived(&reachability(short)));
    assert!((1000..=u64::from(SHORT_TIMEOUT_S) * 1000).contains(&lifetime), "{lifetime}");
    assert_eq!(
        reachability(short)["keep_alive_ms"],
        1000,
        "twice in what the NAT survives, once a second at most"
    );

    eventually("the laptop sees that nothing comes back", || {
        (reachability(&laptop.node)["reach"] == "blocked").then_some(())
    });
    assert!(laptop.node.ok(&["status"]).stdout.contains("reach       UDP is blocked: none of "));
}

/// What a node says against what it is.
fn mistakes(resident: &Resident, told: &Value) -> Vec<String> {
    let kind = resident.nat.kind;
    let open = kind.filtering() == Filtering::EndpointIndependent;
    let reach = if open && kind.mapping().is_stable() { "reachable" } else { "behind" };
    // Towards ports of one address, some see less than there is.
    let mapping = match kind.mapping() {
        Mapping::Unknown => Value::Null,
        mapping => mapping.to_string().into(),
    };
    let step = if kind == NatKind::Sequential { json!(1) } else { Value::Null };
    let expected = [
        ("reach", json!(reach)),
        ("mapping", mapping),
        ("filtering", kind.filtering().to_string().into()),
        ("port_step", step),
    ];
    let wrong = expected.into_iter().filter(|(fact, expected)| told[fact] != *expected);
    wrong.map(|(fact, expected)| format!("{}: {fact} is not {expected} in {told}", resident.name)).collect()
}

#[test]
fn a_node_that_moves_finds_out_anew() {
    let Some(internet) = Internet::or_skip() else { return };
    let lab = Lab::new(PROGRAM);
    let [north, south] = ["north", "south"].map(|name| internet.site(name, NatKind::Open).host(name));
    let alice = lab.node_in("alice", &north).founds("lab", "alice", &[]);
    let laptop = internet.site("home", NatKind::PortRestricted).host("laptop");
    let carol = lab.node_in("carol", &laptop).joins(&alice, "carol", &["--promote", "never"]);

    // One supernode cannot know what port another one would see.
    let (told, _) = eventually("a verdict by one supernode", || {
        let told = reachability(&carol);
        (told["reach"] == "behind").then_some(told)
    });
    println!("by one supernode: {told}");
    let facts = (&told["mapping"], &told["filtering"]);
    assert_eq!(facts, (&Value::Null, &json!("address-and-port-dependent")));
    assert_eq!(told["verdict"], "behind a NAT: too few supernodes answer to tell which kind");
    let presence =
        |of: &Node| alice.json(&["lookup", of.ready["user"].as_str().unwrap()])["nodes"][0].clone();

    let bob = lab.node_in("bob", &south).joins(&alice, "bob", &["--promote", "always"]);
    let (_, took) = eventually("both supernodes see one port", || {
        (reachability(&carol)["mapping"] == "endpoint-independent").then_some(())
    });
    println!("both supernodes see one port after {took:?}");
    let before = reachability(&carol)["server_reflexive"].clone();
    laptop.gateway().change_address();
    eventually("the router's new address is noticed", || {
        let told = reachability(&carol);
        let seen = told["server_reflexive"][0].as_str()?.starts_with(&laptop.gateway().wan().to_string());
        (seen && told["server_reflexive"] != before && told["reach"] == "behind").then_some(())
    });

    let cafe = internet.site("cafe", NatKind::Symmetric);
    cafe.host("somebody else");
    laptop.move_to(&cafe);
    let (told, took) = eventually("the café's NAT is recognised", || {
        let told = reachability(&carol);
        (told["mapping"] == "address-and-port-dependent").then_some(told)
    });
    println!("after {took:?}: {}", told["verdict"]);
    let office = internet.site("office", NatKind::Open);
    laptop.move_to(&office);
    let (told, took) = eventually("the office lets everybody in", || {
        let told = reachability(&carol);
        (told["reach"] == "reachable").then_some(told)
    });
    println!("after {took:?}: {}", told["verdict"]);
    assert_eq!((&told["mapping"], &told["relays"]), (&json!("none"), &json!(true)));
    let address = laptop.address().to_string();
    eventually("the presence says where carol is now", || {
        let addresses = presence(&carol)["addresses"].clone();
        addresses[0].as_str()?.starts_with(&address).then_some(())
    });
    drop(bob);
}

/// What a node says of how it is reached.
pub fn reachability(node: &Node) -> Value {
    node.json(&["status"])["reachability"].clone()
}

/// The same, once it knows.
pub fn decided(node: &Node) -> Value {
    let (told, _) = eventually("a verdict", || {
        let told = reachability(node);
        (told["reach"] != "unknown" && told["mapping"] != Value::Null).then_some(told)
    });
    told
}
