//! One mapping, by whichever protocol it was given.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    time::{Duration, Instant},
};

use crab_nat::{InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp};
use igd_next::{
    AddPortError, PortMappingProtocol, SearchOptions,
    aio::{
        Gateway,
        tokio::{Tokio, search_gateway},
    },
};
use tokio::time::timeout;
use tracing::debug;

use super::{Protocol, gateway::default_gateway};

/// What routers show to the person who looks.
const DESCRIPTION: &str = "nearmesh";
/// How long PCP and NAT-PMP wait: a router is milliseconds away. RFC 6886, section 3.1, begins with 250 ms and doubles.
const ATTEMPTS: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};
/// How long UPnP looks for a router (UPnP device architecture: answers may be delayed by MX, 2 s here).
const SEARCH: Duration = Duration::from_secs(3);
/// How long PCP and NAT-PMP may take together, and one UPnP request: that is served by a slow processor over TCP (guess).
const REQUEST: Duration = Duration::from_secs(5);

/// A mapping.
#[derive(Debug)]
pub(super) struct Lease {
    external: SocketAddr,
    until: Instant,
    given: Given,
}

#[derive(Debug)]
enum Given {
    /// PCP or NAT-PMP.
    Asked(crab_nat::PortMapping),
    Upnp {
        gateway: Box<Gateway<Tokio>>,
        own: SocketAddr,
        permanent: bool,
    },
}

impl Lease {
    /// Asks the router for a mapping to `own`, with the same port outside if it is free.
    pub(super) async fn acquire(own: SocketAddr, lifetime: Duration) -> Option<Self> {
        let asked = timeout(REQUEST, by_request(own, lifetime)).await;
        match asked.unwrap_or_else(|silent| Err(silent.into())) {
            Ok(lease) => return Some(lease),
            Err(error) => debug!(%error, "no mapping by PCP or NAT-PMP"),
        }
        match by_upnp(own, lifetime).await {
            Ok(lease) => Some(lease),
            Err(error) => {
                debug!(%error, "no mapping by UPnP");
                None
            }
        }
    }

    /// Prolongs it; whether that worked.
    pub(super) async fn renew(&mut self, lifetime: Duration) -> bool {
        let renewed = match &mut self.given {
            Given::Asked(mapping) => match timeout(REQUEST, mapping.renew()).await {
                Ok(Ok(())) => {
                    self.until = mapping.expiration();
                    outside(mapping).await.map_err(|error| error.to_string())
                }
                Ok(Err(error)) => Err(error.to_string()),
                Err(silent) => Err(silent.to_string()),
            },
            Given::Upnp { gateway, own, permanent } => {
                let asked_for = if *permanent { Duration::ZERO } else { lifetime };
                let port = self.external.port();
                let renewed = timeout(REQUEST, renew_upnp(gateway, *own, port, asked_for)).await;
                self.until = Instant::now() + lifetime;
                renewed.unwrap_or_else(|_| Err("the router does not answer".to_owned()))
            }
        };
        match renewed {
            Ok(external) => self.external = external,
            Err(ref error) => debug!(%error, "the router's mapping was not renewed"),
        }
        renewed.is_ok()
    }

    /// Gives it back.
    pub(super) async fn release(self) {
        let released = match self.given {
            Given::Asked(mapping) => mapping.try_drop().await.map_err(|(error, _)| error.to_string()),
            Given::Upnp { gateway, .. } => gateway
                .remove_port(PortMappingProtocol::UDP, self.external.port())
                .await
                .map_err(|error| error.to_string()),
        };
        if let Err(error) = released {
            debug!(error, "the router's mapping was not given back; it ends by itself");
        }
    }

    pub(super) fn external(&self) -> SocketAddr {
        self.external
    }

    /// How long it still holds.
    pub(super) fn lifetime(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    pub(super) fn protocol(&self) -> Protocol {
        match &self.given {
            Given::Upnp { .. } => Protocol::Upnp,
            Given::Asked(mapping) => match mapping.mapping_type() {
                PortMappingType::NatPmp => Protocol::NatPmp,
                PortMappingType::Pcp { .. } => Protocol::Pcp,
            },
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum MappingError {
    #[error("the address or the port cannot be mapped")]
    Own,
    #[error(transparent)]
    Request(#[from] crab_nat::MappingFailure),
    #[error(transparent)]
    NatPmp(#[from] natpmp::Failure),
    #[error("no router was found: {0}")]
    Search(#[from] igd_next::SearchError),
    #[error("the router does not say its address: {0}")]
    Address(#[from] igd_next::GetExternalIpError),
    #[error("the router refused: {0}")]
    Refused(#[from] AddPortError),
    #[error("the router refused any port: {0}")]
    RefusedAny(#[from] igd_next::AddAnyPortError),
    #[error("the router does not answer")]
    Silent(#[from] tokio::time::error::Elapsed),
}

async fn by_request(own: SocketAddr, lifetime: Duration) -> Result<Lease, MappingError> {
    let (IpAddr::V4(ip), Some(port)) = (own.ip(), NonZeroU16::new(own.port())) else {
        return Err(MappingError::Own);
    };
    let options = PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: u32::try_from(lifetime.as_secs()).ok(),
        timeout_config: Some(ATTEMPTS),
    };
    let gateway = default_gateway(ip).into();
    let mapping = crab_nat::PortMapping::new(gateway, own.ip(), InternetProtocol::Udp, port, options).await?;
    let external = outside(&mapping).await?;
    Ok(Lease { external, until: mapping.expiration(), given: Given::Asked(mapping) })
}

async fn outside(mapping: &crab_nat::PortMapping) -> Result<SocketAddr, MappingError> {
    let ip = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip,
        PortMappingType::NatPmp => natpmp::external_address(mapping.gateway(), Some(ATTEMPTS)).await?.into(),
    };
    Ok(SocketAddr::new(ip, mapping.external_port().get()))
}

async fn by_upnp(own: SocketAddr, lifetime: Duration) -> Result<Lease, MappingError> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new(own.ip(), 0);
    options.timeout = Some(SEARCH);
    options.single_search_timeout = Some(SEARCH);
    let gateway = search_gateway(options).await?;
    let (port, permanent) = timeout(REQUEST, add_upnp(&gateway, own, lifetime)).await??;
    let external_ip = timeout(REQUEST, gateway.get_external_ip()).await??;
    Ok(Lease {
        external: SocketAddr::new(external_ip, port),
        until: Instant::now() + lifetime,
        given: Given::Upnp { gateway: Box::new(gateway), own, permanent },
    })
}

/// The port outside, and whether it was given for ever, as some routers only can.
async fn add_upnp(
    gateway: &Gateway<Tokio>,
    own: SocketAddr,
    lifetime: Duration,
) -> Result<(u16, bool), MappingError> {
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    let add = |seconds| gateway.add_port(PortMappingProtocol::UDP, own.port(), own, seconds, DESCRIPTION);
    match add(seconds).await {
        Ok(()) => Ok((own.port(), false)),
        Err(AddPortError::OnlyPermanentLeasesSupported) => {
            add(0).await?;
            Ok((own.port(), true))
        }
        Err(AddPortError::PortInUse) => {
            let any = gateway.add_any_port(PortMappingProtocol::UDP, own, seconds, DESCRIPTION);
            Ok((any.await?, false))
        }
        Err(error) => Err(error.into()),
    }
}

async fn renew_upnp(
    gateway: &Gateway<Tokio>,
    own: SocketAddr,
    port: u16,
    lifetime: Duration,
) -> Result<SocketAddr, String> {
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    let add = gateway.add_port(PortMappingProtocol::UDP, port, own, seconds, DESCRIPTION);
    add.await.map_err(|error| error.to_string())?;
    let ip = gateway.get_external_ip().await.map_err(|error| error.to_string())?;
    Ok(SocketAddr::new(ip, port))
}
