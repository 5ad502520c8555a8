//! Supernodes in the local network, by mDNS and DNS-SD (RFC 6762 and 6763), service `_nearmesh._udp.local`.
//!
//! A supernode's announcement holds its node id and a tag of the net: eight bytes of a hash of the root's key, so that nodes of other nets
//! ignore it and nobody learns a name. Only somebody without a home listens, and only for [`BROWSE_FOR`] at a time: what the library
//! keeps of what others say in the local network goes with the end of that.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use data_encoding::BASE32_NOPAD;
use mdns_sd::{IfKind, IfPredicate, ResolvedService, ServiceDaemon, ServiceEvent};
use nearmesh_common::{
    NodeId, dialable::is_dialable, identity::NetTrust, presence::MAX_ADDRESSES, wire::NodeAddress,
};
use tokio::{sync::mpsc, time::timeout};

use super::{News, Node};

/// The service.
pub const SERVICE: &str = "_nearmesh._udp.local.";
/// The property that holds the node id.
pub const NODE: &str = "id";
/// The property that holds the net's tag.
pub const NET: &str = "net";
/// How long one round lasts: answers come within half a second (RFC 6762, section 6), the question is repeated after one second and
/// three (section 5.2).
const BROWSE_FOR: Duration = Duration::from_secs(8);
/// Supernodes taken from one round (guess: nobody needs more to begin with, and any machine in the network can invent them).
const MAX_LOCAL: usize = 16;
/// Bytes of the net's tag: two nets in one network have the same one once in 10^19 times.
const TAG_BYTES: usize = 8;

/// Whether there may be others in the network of a socket bound to `listen`.
pub fn makes_sense(listen: SocketAddr) -> bool {
    !listen.ip().is_loopback()
}

/// What stands for the net in announcements.
pub fn tag(net: &NetTrust) -> String {
    let hash = blake3::derive_key("nearmesh local discovery 1", &net.root().0);
    BASE32_NOPAD.encode(&hash[..TAG_BYTES]).to_ascii_lowercase()
}

/// The library at work on the interfaces that the node's socket is bound to, the loopback excepted.
pub fn daemon(listen: SocketAddr) -> Result<ServiceDaemon, mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    let reached = move |ip: IpAddr| {
        let bound = listen.ip().is_unspecified() || listen.ip() == ip;
        bound && !ip.is_loopback() && ip.is_ipv4() == listen.is_ipv4()
    };
    daemon
        .disable_interface(IfKind::Predicate(IfPredicate::new(move |interface| !reached(interface.ip()))))?;
    Ok(daemon)
}

/// Asks the local network for one round. How many supernodes were heard of, each of which went out as news at once.
pub async fn browse(node: &Arc<Node>, news: &mpsc::Sender<News>) -> (usize, Option<String>) {
    let begun = daemon(node.listen).and_then(|daemon| Ok((daemon.browse(SERVICE)?, daemon)));
    let (events, daemon) = match begun {
        Ok(begun) => begun,
        Err(error) => return (0, Some(error.to_string())),
    };
    let ours = tag(node.keyring.membership().trust());
    let mut heard: Vec<NodeId> = Vec::new();
    let listening = async {
        while let Ok(event) = events.recv_async().await {
            let ServiceEvent::ServiceResolved(service) = event else { continue };
            let Some(found) = supernode(&service, &ours).filter(|found| found.node != node.id) else {
                continue;
            };
            if !heard.contains(&found.node) {
                if heard.len() == MAX_LOCAL {
                    return;
                }
                heard.push(found.node);
            }
            if news.send(News::Found(vec![found])).await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(BROWSE_FOR, listening).await;
    let _ = daemon.shutdown();
    (heard.len(), None)
}

/// The supernode that an announcement tells of, if it is of this net.
fn supernode(service: &ResolvedService, tag: &str) -> Option<NodeAddress> {
    if service.get_property_val_str(NET) != Some(tag) {
        return None;
    }
    let node = service.get_property_val_str(NODE)?.parse().ok()?;
    let port = service.get_port();
    let addresses = service.get_addresses().iter().map(|ip| SocketAddr::new(ip.to_ip_addr(), port));
    let addresses: Vec<SocketAddr> =
        addresses.filter(|address| is_dialable(*address)).take(MAX_ADDRESSES).collect();
    (!addresses.is_empty()).then_some(NodeAddress { node, addresses })
}

#[cfg(test)]
mod tests {
    use mdns_sd::ServiceInfo;
    use nearmesh_common::identity::RootKey;

    use super::*;

    fn announced(net: &str, node: &str, address: &str) -> ResolvedService {
        let properties = [(NET, net), (NODE, node)];
        let info = ServiceInfo::new(SERVICE, "alice", "alice.local.", address, 7117, &properties[..]);
        info.unwrap().as_resolved_service()
    }

    #[test]
    fn an_announcement_of_this_net_is_a_supernode_and_others_are_not() {
        let node = NodeId([7; 32]);
        let tag = tag(&NetTrust::new("lab".parse().unwrap(), RootKey([1; 32])));
        let found = supernode(&announced(&tag, &node.to_string(), "192.0.2.7"), &tag);
        assert_eq!(found, Some(NodeAddress { node, addresses: vec!["192.0.2.7:7117".parse().unwrap()] }));
        assert_eq!(supernode(&announced("other", &node.to_string(), "192.0.2.7"), &tag), None);
        assert_eq!(supernode(&announced(&tag, "nobody", "192.0.2.7"), &tag), None);
        assert_eq!(supernode(&announced(&tag, &node.to_string(), "224.0.0.251"), &tag), None);
    }

    #[test]
    fn nets_of_one_name_have_different_tags_and_no_tag_has_the_name() {
        let tag = |root| tag(&NetTrust::new("lab".parse().unwrap(), RootKey([root; 32])));
        assert_ne!(tag(1), tag(2));
        assert_eq!(tag(1).len(), 13);
    }

    #[test]
    fn a_node_on_the_loopback_says_and_asks_nothing() {
        assert!(!makes_sense("127.0.0.1:7117".parse().unwrap()));
        assert!(makes_sense("0.0.0.0:7117".parse().unwrap()));
    }
}
