//! What this node knows of its own reachability, for everybody in the house who needs it.
//!
//! One task (`reachability`) finds it out and publishes it; presence, tickets, the search for paths to a peer and `status` read it.

mod telling;

use std::{net::SocketAddr, time::Duration};

use nearmesh_common::{
    nat::{Nat, Reach},
    presence::MAX_ADDRESSES,
    wire::signal::{Candidate, CandidateKind, MAX_CANDIDATES},
};
use nearmesh_relay::proto::nat::Verdict;

/// How often something must pass through a NAT of which nothing is known (RFC 8445, section 11: Tr is 15 s).
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where this node is, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The machine's own addresses with the node's port, that of the way out first. Those that mean "here" (loopback,
    /// link-local) only where there are no others. At most [`MAX_ADDRESSES`].
    pub host: Vec<SocketAddr>,
    /// The address that a router gave on request (UPnP IGD, NAT-PMP, PCP).
    pub mapped: Option<SocketAddr>,
    /// The node's address as supernodes see it, where it is none of its own; several if they do not agree.
    pub server_reflexive: Vec<SocketAddr>,
    /// What stands before the node; [`Reach`] says what follows.
    pub nat: Nat,
    /// Whether, and how, others can reach it.
    pub reach: Reach,
    /// The same in more detail, for the user.
    pub verdict: Verdict,
    /// How many others have seen, independently, that strangers come in.
    pub witnesses: usize,
    /// A silence that the NAT was seen to survive.
    pub mapping_lifetime: Option<Duration>,
    /// How often something must pass on a path through the NAT, so that it stays open.
    pub keep_alive: Duration,
    /// Whether it relays for others: it can, and its user allows it.
    pub relays: bool,
}

impl Whereabouts {
    /// What a node knows at first: its own addresses.
    pub fn new(host: Vec<SocketAddr>) -> Self {
        Self {
            host,
            mapped: None,
            server_reflexive: Vec::new(),
            nat: Nat::default(),
            reach: Reach::Unknown,
            verdict: Verdict::default(),
            witnesses: 0,
            mapping_lifetime: None,
            keep_alive: DEFAULT_KEEP_ALIVE,
            relays: false,
        }
    }

    /// Where strangers may try, best first: what others see of a node behind a NAT is of no use to them, unless the node is reachable.
    /// At most [`MAX_ADDRESSES`].
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let seen = self.server_reflexive.iter().filter(|_| self.reach.is_reachable());
        distinct(self.host.iter().chain(&self.likely_mapped()).chain(seen).copied(), MAX_ADDRESSES)
    }

    /// The address that the router gave, unless supernodes see the node elsewhere: then the router lies, or is not the last one, and
    /// peers would send their first packets to somebody who has nothing to do with them.
    fn likely_mapped(&self) -> Option<SocketAddr> {
        let contradicted = |mapped: &SocketAddr| {
            let seen = || self.server_reflexive.iter().map(|seen| seen.ip());
            seen().next().is_some() && seen().all(|ip| ip != mapped.ip())
        };
        self.mapped.filter(|mapped| !contradicted(mapped))
    }

    /// Where a peer that is expected may try (RFC 8445, section 5.1.1). At most [`MAX_CANDIDATES`].
    pub fn candidates(&self) -> Vec<Candidate> {
        let of = |kind, addresses: &[SocketAddr]| -> Vec<Candidate> {
            addresses.iter().map(|address| Candidate { kind, address: *address }).collect()
        };
        let mut candidates = of(CandidateKind::Mapped, self.likely_mapped().as_slice());
        candidates.extend(of(CandidateKind::ServerReflexive, &self.server_reflexive));
        candidates.extend(of(CandidateKind::Host, &self.host));
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }
}

fn distinct(addresses: impl Iterator<Item = SocketAddr>, most: usize) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for address in addresses {
        if !found.contains(&address) && found.len() < most {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Whereabouts {
        let host = vec!["192.168.1.5:7117".parse().unwrap(), "10.8.0.2:7117".parse().unwrap()];
        let mut alice = Whereabouts::new(host);
        alice.server_reflexive = vec!["203.0.113.7:41000".parse().unwrap()];
        alice
    }

    #[test]
    fn what_supernodes_see_is_told_to_strangers_only_by_a_reachable_node() {
        let mut alice = alice();
        alice.reach = Reach::Behind(Nat::default());
        assert_eq!(alice.addresses(), alice.host);
        alice.reach = Reach::Reachable;
        assert_eq!(alice.addresses().last(), alice.server_reflexive.last());
    }

    #[test]
    fn a_mapped_address_is_listed_once() {
        let mut alice = alice();
        alice.reach = Reach::Reachable;
        alice.mapped = alice.server_reflexive.first().copied();
        assert_eq!(alice.addresses().len(), 3);
    }

    #[test]
    fn a_mapped_address_of_another_machine_than_supernodes_see_is_told_nobody() {
        let mut alice = alice();
        alice.mapped = Some("8.8.8.8:53".parse().unwrap());
        assert_eq!(alice.addresses(), alice.host);
        assert!(alice.candidates().iter().all(|candidate| candidate.kind != CandidateKind::Mapped));
        alice.mapped = Some("203.0.113.7:7117".parse().unwrap());
        assert_eq!(alice.addresses().last(), alice.mapped.as_ref());
        alice.server_reflexive.clear();
        assert_eq!(alice.addresses().last(), alice.mapped.as_ref(), "nobody has seen the node yet");
    }

    #[test]
    fn a_peer_that_is_expected_is_told_everything() {
        let kinds: Vec<_> = alice().candidates().iter().map(|candidate| candidate.kind).collect();
        assert_eq!(kinds, [CandidateKind::ServerReflexive, CandidateKind::Host, CandidateKind::Host]);
    }
}
