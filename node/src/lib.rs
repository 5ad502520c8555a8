//! The node: everything that one machine of a net runs, and the program by which people use it.

pub mod authority;
<<<<<<< HEAD
pub mod cli;
pub mod config;
pub mod content;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod durable;
pub mod enrol;
pub mod profile;
=======
mod durable;
pub mod enrol;
>>>>>>> lane-identity
pub mod proto;
pub mod safe_name;
pub mod shares;
pub mod transfer;
