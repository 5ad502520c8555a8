//! The running node: what its parts share.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use nearmesh_common::{
    NodeId, UnixMillis,
    identity::MemberKeyring,
    wire::{NodeAddress, home::RequestId},
};
use nearmesh_relay::io::endpoint::Endpoint;
use tokio::sync::{mpsc, watch};

use super::{accept::Incoming, connections::Connections, links::Links, overlay::Overlay};
use crate::{authority::Authority, profile::Profile, shares::Shares};
