//! The running node, and what the command line may ask of it.
//!
//! One process is one node: one UDP port, one profile. What runs in it:
//! - the overlay task (`overlay`), which alone owns the protocol machines of `proto`;
//! - a task for each link (`links`) and each stream that a peer opens (`accept`);
//! - a task for each download (`downloads`); a thread that scans and hashes shared folders;
//! - the control API (`api`) on the profile's socket.
//!
//! They share one `node::Node`. Nothing here decides what the protocol means: that is in `proto`.

mod accept;
mod addresses;
mod admission;
mod api;
mod asking;
mod bandwidth;
mod bootstrap;
mod clock;
mod connect;
mod connections;
mod dialling;
mod downloads;
mod events;
mod facts;
mod gifts;
mod host_cache;
mod links;
mod node;
mod outbox;
mod overlay;
mod people;
mod pinging;
mod port_mapping;
mod pulse;
mod push;
mod reachability;
mod search;
mod sessions;
mod sharing;
mod signals;
mod start;
mod status;
mod ways;
mod whereabouts;

use std::pin::Pin;

use crate::{config::Settings, control::api::Ready, profile::ProfileLock};

pub use admission::{create_net, join_net};
pub use dialling::DIAL_TIMEOUT;
pub use pulse::LOOKS as LOOKS_BETWEEN_PULSES;
pub use start::{UpError, run};

/// What `up` hands over.
pub struct UpOptions {
    /// How to run.
    pub settings: Settings,
    /// That nobody else runs the profile; to be kept until the end.
    pub lock: ProfileLock,
    /// To be called once, when the node takes orders and has looked for a home.
    pub ready: Box<dyn FnOnce(&Ready) + Send>,
    /// Comes true when the node should end: a signal. `NodeApi::stop` is the other way.
    pub interrupted: Pin<Box<dyn Future<Output = ()> + Send>>,
}
