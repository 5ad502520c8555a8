//! Dialling an authority as a newcomer, who has no certificate yet and so no [`Endpoint`](super::endpoint::Endpoint).

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use nearmesh_common::NodeId;
use quinn::{Connection, ConnectionError};
use tokio::time::timeout;

use super::{acceptor::HANDSHAKE_LIMIT, endpoint::DialError, tls};

/// Connects to the authority `node` at `address` over a port of its own; `tls` trusts the root that the ticket names.
///
/// # Errors
/// If nobody answers there, or somebody else does.
pub async fn dial(
    node: NodeId,
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
) -> Result<(quinn::Endpoint, Connection), DialError> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let config = tls::enrol_client(tls)?;
    let endpoint = quinn::Endpoint::client(any).map_err(DialError::Socket)?;
    let connecting = endpoint.connect_with(config, address, &node.dns_name())?;
    match timeout(HANDSHAKE_LIMIT, connecting).await {
        Ok(Ok(connection)) => Ok((endpoint, connection)),
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => Err(DialError::NoAnswer),
        Ok(Err(error)) => Err(DialError::Handshake(error)),
    }
}
