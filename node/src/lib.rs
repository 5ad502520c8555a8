//! The node: everything that one machine of a net runs, and the program by which people use it.

pub mod authority;
mod durable;
pub mod enrol;
pub mod proto;
