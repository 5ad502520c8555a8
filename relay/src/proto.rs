//! What is decided about packets, without touching the world.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admission;
pub mod demux;
pub mod rate;
pub mod stun;
pub mod stun_client;
pub mod stun_message;
