//! Back into the net without those who were there at first: by a list in a file, by DNS. (The local network is the lab's.)

use std::{fs, net::Ipv4Addr};

use serde_json::Value;
use tests::{
    dns::{DnsServer, Record},
    process::{Lab, Node, eventually},
};

use crate::PROGRAM;

/// A net whose first supernode is gone, another supernode, and a node that remembers neither.
struct Stranded {
    alice: String,
    bob: Node,
    carol: Node,
    // Last: the directory goes when no process writes into it any more.
    lab: Lab,
}

fn stranded() -> Stranded {
    let lab = Lab::new(PROGRAM);
    let mut alice = lab.authority("lab", "alice");
    let bob = lab.member(&alice, "bob", &["--promote", "always"]);
    let carol = lab.joined(&alice, "carol");
    fs::remove_file(carol.profile.join("hosts")).expect("it had a host cache");
    let gone = pointer(&alice);
    alice.kill();
    Stranded { alice: gone, bob, carol, lab }
}

fn pointer(node: &Node) -> String {
    format!("{}@{}", node.id(), node.listen())
}

/// Waits until carol is at home with bob, and can be found from there; what she says of this way.
fn arrives(stranded: &Stranded, way: &str) -> Value {
    let Stranded { bob, carol, .. } = stranded;
    eventually("carol is at home with bob", || {
        (carol.json(&["status"])["home"]["node_id"] == bob.id()).then_some(())
    });
    eventually("carol is found", || (bob.run(&["lookup", "carol@lab"]).code == 0).then_some(()));
    told(carol, way)
}

fn told(node: &Node, way: &str) -> Value {
    let status = node.json(&["status"]);
    let ways = status["bootstrap"].as_array().expect("a list of ways");
    ways.iter().find(|told| told["way"] == way).unwrap_or_else(|| panic!("no {way} in {ways:?}")).clone()
}

#[test]
fn a_node_that_remembers_nobody_finds_its_net_by_a_list_and_reads_it_again_when_it_changes() {
    let mut stranded = stranded();
    let list = stranded.lab.path().join("hubs");
    fs::write(&list, format!("# the first one\n{}\nwhat is this?\n", stranded.alice)).unwrap();
    stranded.carol.up(&["--promote", "never", "--bootstrap", list.to_str().unwrap()]);
    assert!(stranded.carol.ready["home"].is_null(), "{:?}", stranded.carol.ready);
    let said = told(&stranded.carol, "list");
    assert_eq!((&said["found"], &said["place"]), (&1.into(), &list.to_str().unwrap().into()));
    assert!(said["problem"].as_str().unwrap().starts_with("line 3: "), "{said}");
    assert_eq!(told(&stranded.carol, "remembered")["found"], 0);

    fs::write(&list, format!("{}\n{}\n", stranded.alice, pointer(&stranded.bob))).unwrap();
    let said = arrives(&stranded, "list");
    assert_eq!((&said["found"], &said["problem"]), (&2.into(), &Value::Null));
}

#[test]
fn a_node_that_remembers_nobody_finds_its_net_by_texts_behind_a_dns_name() {
    let mut stranded = stranded();
    let dns = DnsServer::new();
    let texts = [&stranded.alice, &pointer(&stranded.bob)].map(|pointer| format!("nearmesh={pointer}"));
    dns.knows("hubs.test", Record::Txt(vec!["v=spf1 -all".to_owned()]));
    dns.knows("hubs.test", Record::Txt(texts.into()));
    up_with_name(&mut stranded.carol, &dns);
    let said = arrives(&stranded, "name");
    assert_eq!((&said["found"], &said["problem"]), (&2.into(), &Value::Null), "{said}");
    assert!(dns.asked().contains(&"hubs.test".to_owned()));
}

#[test]
fn a_node_that_remembers_nobody_finds_its_net_by_services_behind_a_dns_name() {
    let mut stranded = stranded();
    let dns = DnsServer::new();
    let target = format!("{}.hubs.test", stranded.bob.id());
    let port = stranded.bob.listen().rsplit(':').next().unwrap().parse().unwrap();
    dns.knows(&target, Record::A(Ipv4Addr::LOCALHOST));
    dns.knows("_nearmesh._udp.hubs.test", Record::Srv { port, target });
    up_with_name(&mut stranded.carol, &dns);
    let said = arrives(&stranded, "name");
    assert_eq!(said["found"], 1, "{said}");
}

fn up_with_name(carol: &mut Node, dns: &DnsServer) {
    let server = dns.address().to_string();
    carol.up(&["--promote", "never", "--bootstrap", "hubs.test", "--dns-server", &server]);
}
