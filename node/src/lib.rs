//! The node: everything that one machine of a net runs, and the program by which people use it.

pub mod authority;
pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod content;
pub mod control;
pub mod daemon;
pub mod demo;
mod durable;
pub mod enrol;
pub mod profile;
pub mod proto;
pub mod safe_name;
pub mod shares;
pub mod transfer;
