//! What follows from the facts, for peers and in words.

use std::{fmt, net::SocketAddr, time::Duration};

use nearmesh_common::nat::{Filtering, Mapping, Nat, Reach};

/// Bounds of the time between two keep-alives: at least once in 30 s, because a NAT that was not asked lately may have been
/// replaced; a NAT that wants more than one a second serves nobody (guess).
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// All that was found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// What stands before the node.
    pub nat: Nat,
    /// The node's address as others see it, where it is none of its own; several if they do not agree.
    pub server_reflexive: Vec<SocketAddr>,
    /// A silence that the NAT was seen to survive.
    pub mapping_lifetime: Option<Duration>,
    /// How many others have seen, independently, that strangers come in: of a reachable node at least one, and at most
    /// [`ENOUGH_WITNESSES`](super::ENOUGH_WITNESSES) are counted.
    pub witnesses: usize,
}

/// How well a node can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// No supernode is known, or none that could tell.
    #[default]
    NobodyToAsk,
    /// It is being found out, for the first time here.
    Asking,
    /// What could be found out does not suffice.
    Undecided,
    /// Everybody can send to it.
    Reachable,
    /// Something lets in only those who are expected.
    Behind(Nat),
    /// Nothing comes back.
    Blocked {
        /// How many addresses were asked.
        asked: usize,
    },
}

impl Verdict {
    /// What peers are told.
    pub fn reach(self) -> Reach {
        match self {
            Self::NobodyToAsk | Self::Asking | Self::Undecided => Reach::Unknown,
            Self::Reachable => Reach::Reachable,
            Self::Behind(nat) => Reach::Behind(nat),
            Self::Blocked { .. } => Reach::Blocked,
        }
    }
}

impl fmt::Display for Verdict {
    /// One plain sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyToAsk => f.write_str("not known yet: there is nobody to ask"),
            Self::Asking => f.write_str("not known yet: it is being found out"),
            Self::Undecided => f.write_str("not known: too few supernodes answer to tell"),
            Self::Reachable => f.write_str("reachable"),
            Self::Behind(nat) => behind(nat, f),
            Self::Blocked { asked: 1 } => {
                f.write_str("UDP is blocked, or the only supernode that is known is down")
            }
            Self::Blocked { asked } => write!(f, "UDP is blocked: none of {asked} supernodes answers"),
        }
    }
}

fn behind(nat: &Nat, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (nat.mapping, nat.port_step) {
        (Mapping::NoTranslation, _) => {
            f.write_str("behind a firewall: direct connections work with most peers")
        }
        (Mapping::EndpointIndependent, _) => {
            f.write_str("behind a NAT: direct connections work with most peers")
        }
        (Mapping::Unknown, _) => f.write_str("behind a NAT: too few supernodes answer to tell which kind"),
        (Mapping::AddressDependent | Mapping::AddressAndPortDependent, Some(_)) => f.write_str(
            "behind a symmetric NAT that counts its ports: direct connections work with most peers, by guessing",
        ),
        (Mapping::AddressDependent | Mapping::AddressAndPortDependent, None) => f.write_str(
            "behind a symmetric NAT: direct connections work with some peers, the others are reached through a relay",
        ),
    }
}

/// How often something must pass so that the NAT does not forget: half of what it was seen to survive, so that one may get lost.
pub fn keep_alive(lifetime: Option<Duration>, unmeasured: Duration) -> Duration {
    lifetime.map_or(unmeasured, |lifetime| (lifetime / 2).clamp(KEEP_ALIVE.0, KEEP_ALIVE.1))
}

/// The verdict on a node whose home could ask about it. `stranger`: somebody to whom the node had not sent has come in by itself.
pub(super) fn judge(nat: Nat, stranger: bool) -> Verdict {
    let open = nat.filtering == Filtering::EndpointIndependent;
    match nat.mapping {
        _ if stranger => Verdict::Reachable,
        // Packets come in, but answers leave from another address: who dials gets none.
        Mapping::AddressDependent | Mapping::AddressAndPortDependent => Verdict::Behind(nat),
        Mapping::NoTranslation | Mapping::EndpointIndependent if open => Verdict::Reachable,
        _ if nat.filtering == Filtering::Unknown => Verdict::Undecided,
        _ => Verdict::Behind(nat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat(mapping: Mapping, filtering: Filtering) -> Nat {
        Nat { mapping, filtering, port_step: None, hairpinning: None }
    }

    #[test]
    fn only_a_stable_address_that_is_open_to_all_is_reachable() {
        use Filtering::{
            AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif,
        };
        use Mapping::{AddressAndPortDependent as Apdm, EndpointIndependent as Eim, NoTranslation};
        for mapping in [NoTranslation, Eim] {
            assert_eq!(judge(nat(mapping, Eif), false), Verdict::Reachable);
            for filtering in [Adf, Apdf] {
                assert_eq!(judge(nat(mapping, filtering), false), Verdict::Behind(nat(mapping, filtering)));
            }
            assert_eq!(judge(nat(mapping, Filtering::Unknown), false), Verdict::Undecided);
        }
        for filtering in [Eif, Adf, Apdf, Filtering::Unknown] {
            assert_eq!(judge(nat(Apdm, filtering), false), Verdict::Behind(nat(Apdm, filtering)));
        }
        assert_eq!(judge(nat(Mapping::Unknown, Filtering::Unknown), true), Verdict::Reachable);
    }

    #[test]
    fn a_keep_alive_comes_twice_in_what_the_nat_was_seen_to_survive() {
        let unmeasured = Duration::from_secs(15);
        let of = |seconds| keep_alive(Some(Duration::from_secs(seconds)), unmeasured).as_secs();
        assert_eq!((of(2), of(16), of(64), of(120)), (1, 8, 30, 30));
        assert_eq!(keep_alive(None, unmeasured), unmeasured);
    }
}
