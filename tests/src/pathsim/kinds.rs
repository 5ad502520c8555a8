//! The kinds of places that a node may be in, and the oracle's knowledge: which pairs of them can be direct.
//!
//! The table is that of the lab, measured between Linux NATs (a peer that answers to where a packet really came from), with
//! two additions: priming makes leaky NATs like the others, and guessing finds a random port.

use std::time::Duration;

use nearmesh_common::nat::{Filtering, Mapping, Nat};

use super::nat::Behaviour;

/// What stands between a node and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing, but the node does not know that it is reachable.
    Open,
    /// A stateful firewall, no NAT.
    Firewall,
    /// EIM, EIF.
    FullCone,
    /// EIM, ADF.
    Restricted,
    /// EIM, APDF.
    PortRestricted,
    /// The same, but a packet that comes too early spoils it.
    Leaky,
    /// ADM, APDF.
    AddressDependent,
    /// APDM, APDF, random ports.
    Symmetric,
    /// APDM, APDF, ports in sequence.
    Predictable,
    /// APDM, EIF.
    SymmetricOpen,
    /// APDM, APDF, and a port that the router forwards on request.
    Forwarded,
    /// Two port-restricted ones, one behind the other.
    Cgn,
    /// Two full cones.
    CgnFullCone,
    /// A symmetric one behind a port-restricted one.
    CgnSymmetric,
    /// No UDP at all.
    Blocked,
}

/// All of them, but for the one by which nothing is possible.
pub const KINDS: [Kind; 14] = [
    Kind::Open,
    Kind::Firewall,
    Kind::FullCone,
    Kind::Restricted,
    Kind::PortRestricted,
    Kind::Leaky,
    Kind::AddressDependent,
    Kind::Symmetric,
    Kind::Predictable,
    Kind::SymmetricOpen,
    Kind::Forwarded,
    Kind::Cgn,
    Kind::CgnFullCone,
    Kind::CgnSymmetric,
];

/// Where two nodes stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// In different networks.
    Apart,
    /// In one local network.
    Lan,
    /// Behind one provider's NAT, each with a router of its own.
    SameCgn {
        /// Whether that NAT lets them reach each other by its addresses.
        hairpin: bool,
    },
}

/// What the oracle expects of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// In the local network.
    Lan,
    /// Direct, always.
    Direct,
    /// Direct, nearly always: a port must be guessed.
    Guessed,
    /// Direct, nearly always, but not by the first guesses: they spoil a leaky NAT.
    GuessedLate,
    /// Relayed.
    Relayed,
    /// Not at all.
    Nothing,
}

impl Expected {
    /// Direct, and without guessing a port.
    pub fn needs_no_guessing(self) -> bool {
        matches!(self, Self::Lan | Self::Direct)
    }
}

impl Kind {
    /// The boxes, the one nearest to the node first.
    pub fn boxes(self, lifetime: Duration) -> Vec<Behaviour> {
        use Filtering as F;
        use Mapping as M;
        let behaviour = |mapping, filtering| Behaviour {
            mapping,
            filtering,
            leaky: false,
            hairpin: false,
            blocked: false,
            step: None,
            lifetime,
        };
        let picky = |mapping| behaviour(mapping, F::AddressAndPortDependent);
        let cone = |filtering| behaviour(M::EndpointIndependent, filtering);
        match self {
            Self::Open => vec![],
            Self::Firewall => vec![picky(M::NoTranslation)],
            Self::FullCone => vec![cone(F::EndpointIndependent)],
            Self::Restricted => vec![cone(F::AddressDependent)],
            Self::PortRestricted => vec![picky(M::EndpointIndependent)],
            Self::Leaky => vec![Behaviour { leaky: true, ..picky(M::EndpointIndependent) }],
            Self::AddressDependent => vec![picky(M::AddressDependent)],
            Self::Symmetric | Self::Forwarded => vec![picky(M::AddressAndPortDependent)],
            Self::Blocked => vec![Behaviour { blocked: true, ..picky(M::AddressAndPortDependent) }],
            Self::Predictable => vec![Behaviour { step: Some(1), ..picky(M::AddressAndPortDependent) }],
            Self::SymmetricOpen => vec![behaviour(M::AddressAndPortDependent, F::EndpointIndependent)],
            Self::Cgn => vec![picky(M::EndpointIndependent); 2],
            Self::CgnFullCone => vec![cone(F::EndpointIndependent); 2],
            Self::CgnSymmetric => vec![picky(M::EndpointIndependent), picky(M::AddressAndPortDependent)],
        }
    }

    /// What a node there finds out about itself.
    pub fn verdict(self) -> Nat {
        let boxes = self.boxes(Duration::ZERO);
        let mapping = boxes.iter().map(|each| each.mapping).max().unwrap_or(Mapping::NoTranslation);
        let filtering = boxes.iter().map(|each| each.filtering).max();
        Nat {
            mapping,
            filtering: filtering.unwrap_or(Filtering::EndpointIndependent),
            port_step: boxes.iter().find_map(|each| each.step),
            hairpinning: None,
        }
    }

    fn is_hard(self) -> bool {
        !self.verdict().mapping.is_stable()
    }

    /// Anybody's packets come in by an address that is known to all.
    fn is_reachable(self) -> bool {
        matches!(
            self,
            Self::Open | Self::FullCone | Self::SymmetricOpen | Self::Forwarded | Self::CgnFullCone
        )
    }
}

/// What becomes of two nodes in such places.
pub fn expected(alice: Kind, bob: Kind, together: Together) -> Expected {
    if alice == Kind::Blocked || bob == Kind::Blocked {
        return Expected::Nothing;
    }
    match together {
        Together::Lan => return Expected::Lan,
        Together::SameCgn { hairpin: true } => return Expected::Direct,
        Together::SameCgn { hairpin: false } => return Expected::Relayed,
        Together::Apart => {}
    }
    if alice.is_reachable() || bob.is_reachable() {
        return Expected::Direct;
    }
    match (alice.is_hard(), bob.is_hard()) {
        (false, false) => Expected::Direct,
        (true, true) => Expected::Relayed,
        (true, false) => beside_hard(bob),
        (false, true) => beside_hard(alice),
    }
}

/// A place with a stable mapping, against one with a hard one.
fn beside_hard(stable: Kind) -> Expected {
    match stable {
        Kind::Restricted => Expected::Direct,
        Kind::Leaky => Expected::GuessedLate,
        _ => Expected::Guessed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lab's table, upper half, in its order; G where the lab says no without guessing, g for a leaky one.
    const LAB: [(Kind, &str); 12] = [
        (Kind::Open, "oooooooooooo"),
        (Kind::Firewall, "ooooooGGoooG"),
        (Kind::FullCone, "oooooooooooo"),
        (Kind::Restricted, "oooooooooooo"),
        (Kind::PortRestricted, "ooooooGGoooG"),
        (Kind::Leaky, "ooooooggooog"),
        (Kind::AddressDependent, "oGooGgrroGor"),
        (Kind::Symmetric, "oGooGgrroGor"),
        (Kind::SymmetricOpen, "oooooooooooo"),
        (Kind::Cgn, "ooooooGGoooG"),
        (Kind::CgnFullCone, "oooooooooooo"),
        (Kind::CgnSymmetric, "oGooGgrroGor"),
    ];

    #[test]
    fn the_oracle_knows_what_was_measured_in_the_lab() {
        for (row, letters) in LAB {
            for ((column, _), letter) in LAB.iter().zip(letters.chars()) {
                let expected = match expected(row, *column, Together::Apart) {
                    Expected::Direct => 'o',
                    Expected::Guessed => 'G',
                    Expected::GuessedLate => 'g',
                    Expected::Relayed => 'r',
                    other => panic!("{other:?}"),
                };
                assert_eq!(expected, letter, "{row:?} and {column:?}");
            }
        }
    }
}
