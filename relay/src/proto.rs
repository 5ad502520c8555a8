//! What is decided about packets, without touching the world.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admission;
pub mod demux;
pub mod forward;
pub mod framing;
pub mod nat;
pub mod path;
pub mod rate;
pub mod sort;
pub mod stun;
pub mod stun_client;
pub mod stun_message;

/// Some moment to begin a test at.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
fn start() -> nearmesh_common::Now {
    nearmesh_common::Now { instant: std::time::Instant::now(), wall: nearmesh_common::UnixMillis(0) }
}
