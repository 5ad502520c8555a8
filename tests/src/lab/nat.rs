//! The NATs that a lab can build, in the words of RFC 4787, and what they let two nodes do.

use std::{fmt, str::FromStr};

use nearmesh_common::nat::{Filtering, Mapping};

/// How a site's gateway treats packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// No NAT and no firewall: hosts have public addresses.
    Open,
    /// Hosts have public addresses behind a stateful firewall.
    Firewall,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    Restricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering: the usual home router, and Linux'
    /// `masquerade` with the WAN input dropped.
    PortRestricted,
    /// The same with the WAN input accepted: a peer's packet that comes before ours has left costs us our mapping. Docker's
    /// and libvirt's NATs are of this kind.
    Leaky,
    /// Address-dependent mapping, address-and-port-dependent filtering.
    AddressDependent,
    /// Another, random port for each destination.
    Symmetric,
    /// Another port for each destination, one after the other.
    Sequential,
    /// Another, random port for each destination, each of which lets everybody in.
    SymmetricOpen,
    /// Port-restricted, behind a carrier's port-restricted NAT.
    Carrier,
    /// Full cone, behind a carrier's full cone.
    CarrierFullCone,
    /// Port-restricted, behind a carrier's symmetric NAT.
    CarrierSymmetric,
    /// Port-restricted, and forgets a mapping after [`SHORT_TIMEOUT_S`](super::rules::SHORT_TIMEOUT_S).
    ShortTimeout,
    /// Nothing but TCP to port 443 gets out.
    UdpBlocked,
}

/// A kind of NAT, with or without hairpinning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nat {
    /// What it does.
    pub kind: NatKind,
    /// Whether hosts behind it reach each other by their outside addresses. At a carrier's: behind the carrier.
    pub hairpin: bool,
}

/// How two nodes that want each other should come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// By hole punching at most.
    Direct,
    /// Directly if ports are guessed.
    Guessed,
    /// Through a relay.
    Relayed,
    /// Not over UDP.
    Nothing,
}

impl NatKind {
    /// All of them: those of the notes' matrix, in its order, each with its variants.
    pub const ALL: [Self; 15] = [
        Self::Open,
        Self::Firewall,
        Self::FullCone,
        Self::Restricted,
        Self::PortRestricted,
        Self::ShortTimeout,
        Self::Leaky,
        Self::AddressDependent,
        Self::Symmetric,
        Self::Sequential,
        Self::SymmetricOpen,
        Self::Carrier,
        Self::CarrierFullCone,
        Self::CarrierSymmetric,
        Self::UdpBlocked,
    ];

    /// This kind, with hairpinning.
    pub fn hairpin(self) -> Nat {
        Nat { kind: self, hairpin: true }
    }

    /// The home's NAT and the carrier's, where there is one.
    pub fn layers(self) -> (Self, Option<Self>) {
        match self {
            Self::Carrier => (Self::PortRestricted, Some(Self::PortRestricted)),
            Self::CarrierFullCone => (Self::FullCone, Some(Self::FullCone)),
            Self::CarrierSymmetric => (Self::PortRestricted, Some(Self::Symmetric)),
            one => (one, None),
        }
    }

    /// Whether its hosts have addresses that everybody knows the way to.
    pub fn is_public(self) -> bool {
        matches!(self, Self::Open | Self::Firewall)
    }

    /// What an observer with two addresses sees.
    pub fn mapping(self) -> Mapping {
        match self {
            Self::Open | Self::Firewall => Mapping::NoTranslation,
            Self::UdpBlocked => Mapping::Unknown,
            Self::AddressDependent => Mapping::AddressDependent,
            Self::Symmetric | Self::Sequential | Self::SymmetricOpen | Self::CarrierSymmetric => {
                Mapping::AddressAndPortDependent
            }
            _ => Mapping::EndpointIndependent,
        }
    }

    /// Whose packets come in.
    pub fn filtering(self) -> Filtering {
        match self {
            Self::Open | Self::FullCone | Self::SymmetricOpen | Self::CarrierFullCone => {
                Filtering::EndpointIndependent
            }
            Self::Restricted => Filtering::AddressDependent,
            Self::UdpBlocked => Filtering::Unknown,
            _ => Filtering::AddressAndPortDependent,
        }
    }

    /// How nodes of two sites should come together, whoever calls. (With a priming packet that dies on the way also
    /// where one is [`Self::Leaky`].)
    pub fn towards(self, other: Self) -> Expected {
        let kinds = [self, other];
        if kinds.contains(&Self::UdpBlocked) {
            return Expected::Nothing;
        }
        let stable = kinds.iter().filter(|kind| kind.mapping().is_stable()).count();
        let strict = kinds.iter().all(|kind| kind.filtering() == Filtering::AddressAndPortDependent);
        match stable {
            _ if !strict => Expected::Direct,
            2 => Expected::Direct,
            1 => Expected::Guessed,
            _ => Expected::Relayed,
        }
    }
}

impl From<NatKind> for Nat {
    fn from(kind: NatKind) -> Self {
        Self { kind, hairpin: false }
    }
}

impl fmt::Display for NatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Firewall => "fw",
            Self::FullCone => "fullcone",
            Self::Restricted => "restricted",
            Self::PortRestricted => "prc",
            Self::ShortTimeout => "prc-short",
            Self::Leaky => "prc-leaky",
            Self::AddressDependent => "adm",
            Self::Symmetric => "sym",
            Self::Sequential => "sym-seq",
            Self::SymmetricOpen => "sym-eif",
            Self::Carrier => "cgn",
            Self::CarrierFullCone => "cgn-fc",
            Self::CarrierSymmetric => "cgn-sym",
            Self::UdpBlocked => "udpblock",
        })
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hairpin = if self.hairpin { "-hairpin" } else { "" };
        f.pad(&format!("{}{hairpin}", self.kind))
    }
}

impl FromStr for Nat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (kind, hairpin) = match name.strip_suffix("-hairpin") {
            Some(kind) => (kind, true),
            None => (name, false),
        };
        let found = NatKind::ALL.into_iter().find(|known| known.to_string() == kind);
        found.map(|kind| Self { kind, hairpin }).ok_or_else(|| {
            let known = NatKind::ALL.map(|kind| kind.to_string()).join(", ");
            format!("there is no NAT {name:?}; there are {known}, each also with -hairpin")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in NatKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(Nat::from(kind)));
            assert_eq!(kind.hairpin().to_string().parse(), Ok(kind.hairpin()));
        }
        assert!("cone".parse::<Nat>().unwrap_err().contains("prc-leaky"));
    }

    /// The upper triangle of the matrix that was measured with plain hole punching; `-` where UDP is blocked. Leaky NATs
    /// need the priming packet, so they count as the port-restricted that they are then.
    #[test]
    fn what_is_expected_is_what_was_measured() {
        let measured = [
            ("open", "ok ok ok ok ok ok ok ok ok ok ok -"),
            ("fw", "ok ok ok ok no no ok ok ok no -"),
            ("fullcone", "ok ok ok ok ok ok ok ok ok -"),
            ("restricted", "ok ok ok ok ok ok ok ok -"),
            ("prc", "ok no no ok ok ok no -"),
            ("adm", "no no ok no ok no -"),
            ("sym", "no ok no ok no -"),
            ("sym-eif", "ok ok ok ok -"),
            ("cgn", "ok ok no -"),
            ("cgn-fc", "ok ok -"),
            ("cgn-sym", "no -"),
            ("udpblock", "-"),
        ];
        for (row, (name, cells)) in measured.iter().enumerate() {
            for (cell, (other, _)) in cells.split(' ').zip(&measured[row..]) {
                let pair = [name, other].map(|name| name.parse::<Nat>().unwrap().kind);
                let there = match pair[0].towards(pair[1]) {
                    Expected::Direct => "ok",
                    Expected::Guessed | Expected::Relayed => "no",
                    Expected::Nothing => "-",
                };
                assert_eq!(there, cell, "{name} x {other}");
                assert_eq!(pair[0].towards(pair[1]), pair[1].towards(pair[0]));
            }
        }
    }
}
