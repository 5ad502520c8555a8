//! What a NAT's mapping looks like, from what observers saw of it (RFC 4787, section 4.1; RFC 5780, section 4.3).
//!
//! Observations of one socket by two different IP addresses that agree say EIM; two that differ say that the mapping depends on
//! the destination. Whether on its port too is told only by two ports of one IP address; where there
//! were no two, it is taken for APDM, which is by far the more common one and promises less.

use std::{collections::BTreeMap, net::SocketAddr};

use nearmesh_common::nat::Mapping;

/// Largest distance of two consecutive ports that is taken for a rule (guess: a NAT that counts goes by 1 or 2; other hosts
/// behind it take a few in between).
pub const MAX_PORT_STEP: i32 = 8;
/// Consecutive observations that show a rule: chance puts three two equal small steps apart once in a hundred million times.
pub const MIN_STEP_OBSERVATIONS: usize = 3;

/// What was seen of one socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observations {
    /// By observer.
    seen: BTreeMap<SocketAddr, SocketAddr>,
}

impl Observations {
    /// `observer` saw us as `observed`.
    pub(super) fn add(&mut self, observer: SocketAddr, observed: SocketAddr) {
        self.seen.insert(observer, observed);
    }

    /// What `observer` saw.
    pub(super) fn by(&self, observer: SocketAddr) -> Option<SocketAddr> {
        self.seen.get(&observer).copied()
    }

    /// All observed addresses, each once, in the order of their observers.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for address in self.seen.values() {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Without the observers that see us at one of our own addresses: they stand on our side of the NAT, if there is one.
    pub(super) fn translated(&self, host: &[SocketAddr]) -> Self {
        let own = |observed: &SocketAddr| host.iter().any(|host| host.ip() == observed.ip());
        let beyond = self.seen.iter().filter(|(_, observed)| !own(observed));
        Self { seen: beyond.map(|(observer, observed)| (*observer, *observed)).collect() }
    }

    /// What kind of mapping this is, on a node with these addresses of its own.
    pub(super) fn mapping(&self, host: &[SocketAddr]) -> Mapping {
        if self.is_empty() {
            return Mapping::Unknown;
        }
        let beyond = self.translated(host);
        if beyond.is_empty() {
            return Mapping::NoTranslation;
        }
        let pairs = || {
            let all = beyond.seen.iter().enumerate();
            all.flat_map(|(index, one)| beyond.seen.iter().skip(index + 1).map(move |other| (one, other)))
        };
        let same_ip = || pairs().filter(|((one, _), (other, _))| one.ip() == other.ip());
        let other_ip = || pairs().filter(|((one, _), (other, _))| one.ip() != other.ip());
        let differ = |((_, one), (_, other)): ((_, &SocketAddr), (_, &SocketAddr))| one != other;
        if same_ip().any(differ) {
            Mapping::AddressAndPortDependent
        } else if other_ip().any(differ) {
            match same_ip().next() {
                Some(_) => Mapping::AddressDependent,
                None => Mapping::AddressAndPortDependent,
            }
        } else if other_ip().next().is_some() {
            Mapping::EndpointIndependent
        } else {
            Mapping::Unknown
        }
    }
}

/// How far consecutive mappings lie apart, if three in a row or more follow a rule: a NAT that counts begins anew now and then. The
/// observed addresses are in the order in which the mappings were made.
pub fn port_step(observed: &[SocketAddr]) -> Option<i8> {
    let step = |one: &SocketAddr, next: &SocketAddr| {
        let step = i32::from(next.port()) - i32::from(one.port());
        let small = one.ip() == next.ip() && step != 0 && step.abs() <= MAX_PORT_STEP;
        small.then(|| i8::try_from(step).ok()).flatten()
    };
    observed.windows(MIN_STEP_OBSERVATIONS).find_map(|few| {
        let mut steps = few.windows(2).map(|two| step(&two[0], &two[1]));
        let first = steps.next()??;
        steps.all(|other| other == Some(first)).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(seen: &[(&str, &str)]) -> Mapping {
        let mut observations = Observations::default();
        for (observer, observed) in seen {
            observations.add(observer.parse().unwrap(), observed.parse().unwrap());
        }
        observations.mapping(&["10.0.0.2:7117".parse().unwrap()])
    }

    #[test]
    fn two_observers_on_two_addresses_tell_eim_from_what_depends_on_them() {
        assert_eq!(mapping(&[]), Mapping::Unknown);
        assert_eq!(mapping(&[("198.51.100.1:1", "203.0.113.7:7117")]), Mapping::Unknown);
        let eim = [("198.51.100.1:1", "203.0.113.7:7117"), ("198.51.100.2:1", "203.0.113.7:7117")];
        assert_eq!(mapping(&eim), Mapping::EndpointIndependent);
        let symmetric = [("198.51.100.1:1", "203.0.113.7:7117"), ("198.51.100.2:1", "203.0.113.7:7118")];
        assert_eq!(mapping(&symmetric), Mapping::AddressAndPortDependent);
    }

    #[test]
    fn a_second_port_of_one_observer_tells_adm_from_apdm() {
        let adm = [("198.51.100.1:1", "203.0.113.7:5"), ("198.51.100.1:2", "203.0.113.7:5")];
        assert_eq!(mapping(&adm), Mapping::Unknown, "one address says nothing of others");
        let adm = [adm[0], adm[1], ("198.51.100.2:1", "203.0.113.7:6")];
        assert_eq!(mapping(&adm), Mapping::AddressDependent);
        let apdm = [("198.51.100.1:1", "203.0.113.7:5"), ("198.51.100.1:2", "203.0.113.7:6")];
        assert_eq!(mapping(&apdm), Mapping::AddressAndPortDependent);
    }

    #[test]
    fn an_observer_on_our_own_network_says_nothing_of_the_nat_behind_which_both_are() {
        let own = ("10.0.0.3:1", "10.0.0.2:7117");
        assert_eq!(mapping(&[own]), Mapping::NoTranslation);
        let eim = [own, ("198.51.100.1:1", "203.0.113.7:5"), ("198.51.100.2:1", "203.0.113.7:5")];
        assert_eq!(mapping(&eim), Mapping::EndpointIndependent);
    }

    #[test]
    fn ports_that_follow_one_another_are_a_rule_from_the_third_on() {
        let step = |ports: &[u16]| {
            let at = |port: &u16| SocketAddr::from(([203, 0, 113, 7], *port));
            port_step(&ports.iter().map(at).collect::<Vec<_>>())
        };
        assert_eq!(step(&[40_000, 40_001, 40_002]), Some(1));
        assert_eq!(step(&[40_004, 40_002, 40_000, 39_998]), Some(-2));
        assert_eq!(step(&[40_000, 40_001]), None);
        assert_eq!(step(&[40_000, 40_001, 40_003]), None);
        assert_eq!(step(&[40_014, 40_015, 40_000, 40_001, 40_002]), Some(1), "it began anew");
        assert_eq!(step(&[40_000, 41_000, 42_000]), None);
        assert_eq!(step(&[40_000, 40_000, 40_000]), None);
    }
}
