//! The supernode: what a well-placed node does for others.
//!
//! [`proto`] holds all of its logic as one machine; [`index`] holds the children's files; [`summary`] is the compact
//! filter by which other supernodes know whom to ask. No module here opens a socket, reads a clock or spawns a
//! task: `nearmesh` (the node) drives the machine on real links, the simulator drives it on virtual ones.

pub mod index;
pub mod proto;
pub mod summary;
