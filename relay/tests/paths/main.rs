//! Connections whose path changes beneath them: real endpoints on loopback, and wires between them that can be cut.
// The lists are there for `proto`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod changing;
#[path = "../port/net.rs"]
#[expect(dead_code)] // Newcomers and strangers are for the other tests.
mod net;
mod pair;
mod strangers;
mod wire;
