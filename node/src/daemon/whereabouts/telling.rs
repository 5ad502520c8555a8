//! The same for the node's owner.

use nearmesh_common::nat::{Filtering, Mapping, Reach};

use super::{super::port_mapping::PortMapping, Whereabouts};
use crate::control::api;

impl Whereabouts {
    /// What the owner is told; what is not known is left out.
    pub fn tell(&self, router: &PortMapping) -> api::Reachability {
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let mapping = Some(self.nat.mapping).filter(|mapping| *mapping != Mapping::Unknown);
        let filtering = Some(self.nat.filtering).filter(|filtering| *filtering != Filtering::Unknown);
        api::Reachability {
            verdict: self.verdict.to_string(),
            reach: match self.reach {
                Reach::Unknown => api::Reach::Unknown,
                Reach::Reachable => api::Reach::Reachable,
                Reach::Behind(_) => api::Reach::Behind,
                Reach::Blocked => api::Reach::Blocked,
            },
            mapping: mapping.map(|mapping| mapping.to_string()),
            filtering: filtering.map(|filtering| filtering.to_string()),
            port_step: self.nat.port_step,
            hairpinning: self.nat.hairpinning,
            mapping_lifetime_ms: self.mapping_lifetime.map(millis),
            keep_alive_ms: millis(self.keep_alive),
            host: self.host.clone(),
            server_reflexive: self.server_reflexive.clone(),
            port_mapping: match router {
                PortMapping::Off => api::PortMapping::Off,
                PortMapping::Asking => api::PortMapping::Asking,
                PortMapping::None => api::PortMapping::None,
                PortMapping::Mapped { by, external } => api::PortMapping::Mapped {
                    protocol: by.to_string(),
                    address: *external,
                    public: router.external().is_some() && self.likely_mapped() == router.external(),
                },
            },
            relays: self.relays,
        }
    }
}
