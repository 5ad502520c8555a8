//! What touches the world: the socket, the clock, tasks.
// The lists are there for `proto`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod acceptor;
pub mod aside;
pub(crate) mod congestion;
pub mod counters;
pub mod dial_back;
pub mod endpoint;
pub mod forward;
pub mod kick;
pub mod newcomer;
pub mod path_driver;
pub(crate) mod paths;
pub mod peer_path;
pub(crate) mod port;
pub mod probe;
pub mod reservation;
pub mod socket;
pub mod tls;
pub mod transport;
pub mod writable;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nearmesh_common::{Now, UnixMillis};

/// Both clocks, read once for each input of a machine.
fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = UnixMillis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX));
    Now { instant: Instant::now(), wall }
}
