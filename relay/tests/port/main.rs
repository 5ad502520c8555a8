//! The port as its users see it: endpoints on loopback, with certificates of a small net.
// The lists are there for `proto`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dialled_back;
mod net;
mod one_port;
mod reserving;
mod streams;
mod who_comes_in;
