//! The control API: how the owner of a running node, and nobody else, tells it what to do.
//!
//! HTTP and JSON over a Unix socket in the profile's directory. [`api`] says what can be asked, [`server`] answers for
//! whatever implements [`api::NodeApi`], [`client`] asks. The command line uses nothing else, and a script may:
//! `curl --unix-socket PROFILE/control.sock http://node/v1/status`.
#![allow(clippy::disallowed_methods, reason = "io: it serves sockets")]

pub mod api;
pub mod client;
pub mod server;
